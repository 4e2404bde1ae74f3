"""The contrastive loss: against its definition, and with repeated captions."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from catransformers.accuracy.training.losses import (
    class_loss,
    contrastive_loss,
    language_loss,
    next_token_nll,
    pair_loss,
    repeats,
)


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


def test_of_outputs_and_batch_it_is_the_same() -> None:
    generator = torch.Generator().manual_seed(0)
    image, text = (torch.nn.functional.normalize(torch.randn(4, 6, generator=generator), dim=1) for _ in range(2))
    outputs = {"image": image, "text": text, "logit_scale": torch.tensor(1.5)}
    expected = contrastive_loss(math.exp(1.5) * image @ text.T, distinct(4))
    torch.testing.assert_close(pair_loss(outputs, {"tokens": distinct(4)}), expected)


def test_the_loss_of_a_class_is_minus_the_log_of_its_probability() -> None:
    logits = torch.tensor([[0.0, 1.0, 2.0], [3.0, 0.0, -1.0]])
    labels = torch.tensor([2, 1])
    probabilities = torch.softmax(logits, dim=1)
    expected = -(math.log(probabilities[0, 2]) + math.log(probabilities[1, 1])) / 2
    assert float(class_loss({"logits": logits}, {"labels": labels})) == pytest.approx(expected, rel=1e-6)


def test_the_loss_of_a_text_is_that_of_its_next_real_tokens() -> None:
    """By hand, over the tokens that are predicted: all but the first, and no padding."""
    logits = torch.randn(2, 4, 5, generator=torch.Generator().manual_seed(2))
    tokens = torch.tensor([[1, 2, 3, 4], [4, 0, 1, 1]])
    mask = torch.tensor([[True, True, True, True], [True, True, False, False]])
    logs = torch.log_softmax(logits, dim=2)
    first = -(logs[0, 0, 2] + logs[0, 1, 3] + logs[0, 2, 4])
    second = -logs[1, 0, 0]
    total, number = next_token_nll(logits, tokens, mask)
    torch.testing.assert_close(total, torch.stack([first, second]))
    assert number.tolist() == [3, 1]
    loss = language_loss({"logits": logits}, {"tokens": tokens, "mask": mask})
    torch.testing.assert_close(loss, (first / 3 + second) / 2)
    whole = language_loss({"logits": logits}, {"tokens": tokens})
    torch.testing.assert_close(
        whole, torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten())
    )


def test_a_text_of_one_token_predicts_nothing() -> None:
    logits, mask = torch.randn(1, 3, 4), torch.tensor([[True, False, False]])
    assert float(language_loss({"logits": logits}, {"tokens": torch.zeros(1, 3, dtype=torch.int64), "mask": mask})) == 0
