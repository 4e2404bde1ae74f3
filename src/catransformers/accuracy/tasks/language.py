"""Language modelling (perplexity): how well a model foresees the next token of the user's text.

Accuracy is what the perplexity of all tokens leaves, 1 / perplexity = exp(−m) with m the mean −ln p of a token: the
geometric mean of the probabilities that the model gives to what comes, 0 … 1. The score's values are its linearisation,
block by block: with N blocks of n_i predicted tokens, whose −ln p add up to s_i, and n̄ their mean number,

    v_i = exp(−m) · (1 − (s_i − m·n_i) / n̄).

Their mean is exp(−m) exactly, for Σ (s_i − m·n_i) = 0, and their standard error that of exp(−m) by the delta method for
a ratio of sums.

Source: Cochran, Sampling Techniques, 1977, section 6.3 (the variance of a ratio).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import exp, log
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from catransformers.accuracy.data import DataSource, Sample, UnreadableError, open_data
from catransformers.accuracy.metrics.evaluation import judge
from catransformers.accuracy.metrics.score import Score, score_of
from catransformers.accuracy.tasks import PoolName
from catransformers.accuracy.tasks.on_data import CALIBRATION_SAMPLES, Collate, DataTask, text_length, trimmed
from catransformers.accuracy.tasks.text_blocks import Blocks, Stretches, padded, token_blocks
from catransformers.accuracy.training.losses import language_loss, next_token_nll
from catransformers.models.families.net import Batch, Net, Outputs
from catransformers.models.loading.tokenizer import TextTokenizer

if TYPE_CHECKING:
    from catransformers.config.sections import AccuracySection
    from catransformers.models.loading.base import Base


@dataclass(frozen=True, slots=True)
class Window:
    """So many tokens in a row of a sample's text, from a random place; fewer if it has no more."""

    tokenizer: TextTokenizer
    length: int

    def __call__(self, sample: Sample, rng: np.random.Generator) -> dict[str, Tensor]:
        """Its `tokens` and `mask`."""
        ids = self.tokenizer.encode_stream(sample.texts[0])
        if len(ids) < 2:
            raise UnreadableError("fewer than two tokens")
        start = int(rng.integers(max(1, len(ids) - self.length + 1)))
        return padded(ids[start : start + self.length], self.length, self.tokenizer.pad_id)


class LanguageTask(DataTask):
    """Language modelling; see the module.

    Args:
        source: of stretches of text; see `text_blocks.Stretches`.
        section: gives `workers` and `pool_samples`, the blocks of a pool.
        tokenizer: the base model's.
        length: tokens of a block.
    """

    name = "language-modelling"

    def __init__(self, source: DataSource, section: AccuracySection, tokenizer: TextTokenizer, length: int) -> None:
        self.stretches = Stretches(source, length)
        super().__init__(self.stretches, section)
        self.tokenizer, self.length = tokenizer, length

    def make(self, *, training: bool) -> Window:
        """A window of a sample's text."""
        return Window(self.tokenizer, self.length)

    def collate(self) -> Collate:
        """Padding only as far as a block of the batch goes."""
        return trimmed

    def loss(self, outputs: Outputs, batch: Batch) -> Tensor:
        """Mean −ln p of the tokens."""
        return language_loss(outputs, batch)

    def calibration_batches(self, batch_size: int) -> list[Batch]:
        """At most 512 blocks of the calibration split."""
        return list(self.blocks("calibration", CALIBRATION_SAMPLES).batches(batch_size, self.tokenizer.pad_id))

    def blocks(self, split: str, most: int) -> Blocks:
        """Blocks of a split, one after the other, without a token in two."""
        return token_blocks(self.stretches, split, self.tokenizer, self.length, most, self._note)

    def judged_on(self, pool: PoolName, batch_size: int) -> tuple[Iterator[Batch], NDArray[np.int64] | None]:
        """A pool's blocks."""
        blocks = self.blocks(pool, self.pool_samples)
        return blocks.batches(batch_size, self.tokenizer.pad_id), blocks.groups

    def judged(self, net: Net, pool: PoolName) -> Score:
        """1 / perplexity, with perplexity, bits a byte, and how often the likeliest token is the next one."""
        blocks = self.blocks(pool, self.pool_samples)
        rows = judged_rows(self.length, net.spec.vocab_size)
        found = judge(net, blocks.batches(rows, self.tokenizer.pad_id), _measure)
        sums, numbers, hits = (found[name].double().numpy() for name in ("nll", "number", "hits"))
        return language_score(sums, numbers, hits, blocks.groups, blocks.tokens_per_byte)


def _measure(outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
    """(b,) sums over the predicted tokens of −ln p, of ones, and of whether the token is the likeliest."""
    logits, tokens, mask = outputs["logits"].float(), batch["tokens"], batch["mask"]
    nll, number = next_token_nll(logits, tokens, mask)
    hits = ((logits[:, :-1].argmax(dim=-1) == tokens[:, 1:]) & mask[:, 1:]).sum(dim=1)
    return {"nll": nll, "number": number, "hits": hits}


def judged_rows(length: int, vocabulary: int, most_values: int = 2**26) -> int:
    """How many blocks are judged at a time: as many as have `most_values` logits (256 MB), from 1 to 64."""
    return max(1, min(64, most_values // (length * vocabulary)))


def language_score(
    sums: NDArray[np.float64],
    numbers: NDArray[np.float64],
    hits: NDArray[np.float64],
    groups: NDArray[np.int64] | None,
    tokens_per_byte: float,
) -> Score:
    """The score of N blocks; see the module. A loss that is not finite is an accuracy of 0.

    Args:
        sums: (N,) nats, of −ln p over a block's predicted tokens.
        numbers: (N,) of these tokens.
        hits: (N,) of the tokens, those that the model thought likeliest.
        groups: (N,) the group that a block belongs to; None: each is one.
        tokens_per_byte: of the text.
    """
    mean = float(sums.sum() / numbers.sum())
    accuracy = exp(-mean) if np.isfinite(mean) else 0.0
    off = (sums - mean * numbers) / numbers.mean() if accuracy > 0 else np.zeros(len(sums))
    metrics = {"next_token_accuracy": float(hits.sum() / numbers.sum())}
    if accuracy > 0:  # what is stored has to be finite
        metrics |= {"perplexity": 1 / accuracy, "bits_per_byte": mean / log(2) * tokens_per_byte}
    return score_of(accuracy * (1 - off), groups, metrics)


def open_task(section: AccuracySection, base: Base) -> LanguageTask:
    """The task of a study; see `catransformers.accuracy.tasks.open_task`."""
    length, tokenizer = text_length(section, base), base.text_tokenizer()
    return LanguageTask(open_data(section.data or "", "plain"), section, tokenizer, length)
