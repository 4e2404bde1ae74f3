"""The contrastive loss: against its definition, and with repeated captions."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from catransformers.accuracy.losses import clamp_logit_scale, contrastive_loss, repeats


def distinct(number: int) -> torch.Tensor:
    return torch.arange(number * 3).reshape(number, 3)


def test_it_is_the_mean_of_both_directions() -> None:
    logits = torch.randn(5, 5, generator=torch.Generator().manual_seed(0)).double()
    rows = -torch.log(torch.softmax(logits, 1).diagonal()).mean()
    columns = -torch.log(torch.softmax(logits, 0).diagonal()).mean()
    torch.testing.assert_close(contrastive_loss(logits, distinct(5)), (rows + columns) / 2)


def test_a_model_that_knows_nothing_loses_the_logarithm_of_the_batch() -> None:
    assert float(contrastive_loss(torch.zeros(8, 8), distinct(8))) == pytest.approx(math.log(8))


@settings(max_examples=25, deadline=None)
@given(number=st.integers(2, 6), seed=st.integers(0, 99))
def test_a_repeated_caption_is_no_negative(number: int, seed: int) -> None:
    """With pair 1 repeating caption 0, neither logit between them matters, in value or gradient."""
    tokens = distinct(number)
    tokens[1] = tokens[0]
    logits = torch.randn(number, number, generator=torch.Generator().manual_seed(seed), requires_grad=True)
    loss = contrastive_loss(logits, tokens)
    loss.backward()
    assert bool(logits.grad.isfinite().all())
    assert float(logits.grad[0, 1]) == float(logits.grad[1, 0]) == 0
    changed = logits.detach().clone()
    changed[0, 1], changed[1, 0] = 50.0, -50.0
    torch.testing.assert_close(contrastive_loss(changed, tokens), loss.detach())
    assert float(contrastive_loss(logits.detach(), distinct(number))) > float(loss.detach())


def test_repeats_finds_equal_rows_only() -> None:
    tokens = torch.tensor([[1, 2], [1, 3], [1, 2], [2, 1]])
    assert repeats(tokens).nonzero().tolist() == [[0, 2], [2, 0]]


def test_the_temperature_is_clamped_as_in_clip() -> None:
    for start, end in ((9.0, math.log(100)), (-1.0, 0.0), (2.0, 2.0)):
        scale = torch.tensor(start)
        clamp_logit_scale(scale)
        assert float(scale) == pytest.approx(end)
