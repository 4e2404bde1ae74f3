"""Recall@1 and its clustered standard error, on similarities small enough to check by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from catransformers.accuracy.metrics.retrieval import RetrievalPool, recall_at_1, score_similarity
from catransformers.accuracy.metrics.score import clustered_standard_error, paired_difference
from catransformers.errors import InputError
from catransformers.models.families.clip import Clip
from catransformers.workloads.spec import ClipSpec, TextSpec, VisionSpec


def test_hits_of_both_directions_by_hand() -> None:
    similarity = torch.tensor([[0.9, 0.1, 0.2], [0.3, 0.5, 0.6], [0.0, 0.4, 0.7]])
    score = score_similarity(similarity, np.array([0, 0, 1]))
    assert score.values.tolist() == [1, 0.5, 1]
    assert score.metrics["image_to_text"] == pytest.approx(2 / 3)
    assert score.metrics["text_to_image"] == 1
    assert score.accuracy == pytest.approx(5 / 6)
    # Deviations of the pair means 1, 0.5, 1 from 5/6, summed by group: 1/6 − 1/3 = −1/6 and 1/6.
    assert score.standard_error == pytest.approx(math.sqrt(2 / 1 * 2 / 36) / 3)


def test_ties_and_nan_are_misses() -> None:
    assert score_similarity(torch.ones(4, 4), np.arange(4)).accuracy == 0
    assert score_similarity(torch.full((4, 4), torch.nan), np.arange(4)).accuracy == 0
    one_bad = torch.eye(4)
    one_bad[0, 0] = torch.nan
    assert score_similarity(one_bad, np.arange(4)).accuracy == pytest.approx(0.75)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=2, max_size=40))
def test_with_groups_of_one_it_is_the_plain_standard_error(values: list[float]) -> None:
    array = np.array(values)
    plain = array.std(ddof=1) / math.sqrt(len(array))
    assert clustered_standard_error(array, np.arange(len(array))) == pytest.approx(plain, abs=1e-12)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=2, max_size=20), st.integers(2, 6))
def test_copies_within_a_group_add_no_information(values: list[float], copies: int) -> None:
    once = clustered_standard_error(np.array(values), np.arange(len(values)))
    groups = np.repeat(np.arange(len(values)), copies)
    assert clustered_standard_error(np.repeat(values, copies), groups) == pytest.approx(once, abs=1e-12)


def test_one_group_says_nothing_of_its_error() -> None:
    assert clustered_standard_error(np.array([0.0, 1.0]), np.zeros(2, dtype=np.int64)) == math.inf


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**31 - 1))
def test_the_order_of_pairs_does_not_matter(seed: int) -> None:
    rng = np.random.default_rng(seed)
    similarity, groups = torch.from_numpy(rng.normal(size=(24, 24))), np.repeat(np.arange(6), 4)
    order = rng.permutation(24)
    first = score_similarity(similarity, groups)
    second = score_similarity(similarity[order][:, order], groups[order])
    assert second.accuracy == pytest.approx(first.accuracy)
    assert second.standard_error == pytest.approx(first.standard_error)
    assert np.array_equal(second.values, first.values[order])


def test_paired_difference_cancels_what_both_share() -> None:
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(50), 4)
    similarity = torch.from_numpy(rng.normal(size=(200, 200))) + 2.5 * torch.eye(200)
    a = score_similarity(similarity, groups)
    worse = similarity.clone()
    worse[:5] = 0
    b = score_similarity(worse, groups)
    delta, error = paired_difference(a, b)
    assert delta == pytest.approx(a.accuracy - b.accuracy)
    assert 0 < error < a.standard_error
    assert paired_difference(a, a) == (0.0, 0.0)
    with pytest.raises(InputError, match="different pools"):
        paired_difference(a, score_similarity(torch.eye(4), np.arange(4)))


def test_a_model_is_scored_alike_whatever_the_batch_and_left_as_it_was() -> None:
    spec = ClipSpec(VisionSpec(1, 16, 8, 2, 4, 5, 8, 4), TextSpec(1, 16, 8, 2, 4, 6, 11), 6)
    torch.manual_seed(0)
    model = Clip(spec).train()
    pool = RetrievalPool(torch.randn(30, 3, 8, 8), torch.randint(0, 11, (30, 6)), np.repeat(np.arange(10), 3))
    scores = [recall_at_1(model, pool, batch_size) for batch_size in (7, 30, 1000)]
    assert model.training
    assert all(np.array_equal(score.values, scores[0].values) for score in scores)
    empty = RetrievalPool(torch.zeros(0, 3, 8, 8), torch.zeros(0, 6, dtype=torch.int64), np.zeros(0, dtype=np.int64))
    with pytest.raises(InputError, match="no pairs"):
        recall_at_1(model, empty)
