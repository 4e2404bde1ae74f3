"""The losses that base training, fine-tuning and pruning importance share.

CLIP's symmetric cross-entropy: a batch of pairs is classified both ways, image → text and text → image, at the learnt
temperature. A caption that stands twice in a batch is right for both of its images, so its repeats are left out of the
negatives instead of being punished (with a few thousand captions and batches of 64 that happens often enough to
matter). Classifiers have their cross-entropy, language models that of the next token. Each is the mean of the samples'
losses.

Source: Radford et al., Learning Transferable Visual Models From Natural Language Supervision, ICML 2021, figure 3.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from catransformers.models.families.net import Batch, Outputs, wide


def repeats(tokens: Tensor) -> Tensor:
    """Which other captions of a batch read the same.

    Args:
        tokens: (b, s) token ids.

    Returns:
        (b, b) bool: true at (i, j), i ≠ j, where captions i and j are equal; the diagonal is false.
    """
    same = (tokens[:, None, :] == tokens[None, :, :]).all(dim=-1)
    return same.fill_diagonal_(False)


def contrastive_loss(logits_per_image: Tensor, tokens: Tensor) -> Tensor:
    """CLIP's loss of a batch of pairs, repeats of a caption not counted as negatives.

    Args:
        logits_per_image: (b, b) temperature × cosine of image i and text j, as `Clip.forward` returns them.
        tokens: (b, s) token ids of the texts.

    Returns:
        The scalar mean of both directions, in nats; ln(b) for a model that knows nothing.

    Reference: Radford et al. 2021, figure 3.
    """
    logits = logits_per_image.masked_fill(repeats(tokens), -torch.inf)
    targets = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, targets) + F.cross_entropy(logits.T, targets)) / 2


def pair_loss(outputs: Outputs, batch: Batch) -> Tensor:
    """`contrastive_loss` of a CLIP's outputs on a batch of pairs."""
    logits = outputs["logit_scale"].exp() * outputs["image"] @ outputs["text"].T
    return contrastive_loss(logits, batch["tokens"])


def class_loss(outputs: Outputs, batch: Batch) -> Tensor:
    """Mean cross-entropy of `logits` (b, classes) and `labels` (b,), in nats."""
    return F.cross_entropy(outputs["logits"], batch["labels"])


def next_token_nll(logits: Tensor, tokens: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """What a language model makes of each sample's tokens but the first.

    Args:
        logits: (b, s, V).
        tokens: (b, s).
        mask: (b, s) bool, true where a token is real; padding is on the right.

    Returns:
        (b,) the sum of −ln p(token) over the tokens that are predicted, and (b,) their number.
    """
    nll = F.cross_entropy(wide(logits[:, :-1]).transpose(1, 2), tokens[:, 1:], reduction="none")  # (b, s - 1)
    real = torch.ones_like(nll) if mask is None else mask[:, 1:].to(nll.dtype)
    return (nll * real).sum(dim=1), real.sum(dim=1)


def language_loss(outputs: Outputs, batch: Batch) -> Tensor:
    """Mean over samples of the mean −ln p of their tokens, in nats."""
    total, number = next_token_nll(outputs["logits"], batch["tokens"], batch.get("mask"))
    return (total / number.clamp_min(1)).mean()


@torch.no_grad()
def error_rate(outputs: Outputs, batch: Batch) -> Tensor:
    """How often a net is wrong on a batch, 0 … 1: what its task's metric counts, on the batch alone.

    Of a classifier: the share of wrong classes. Of a CLIP: the share of images and texts whose partner does not rank
    first among the batch's (repeats of a caption do not compete). Of a language model: the mean share of wrong next
    tokens.
    """
    if "logits" in outputs and outputs["logits"].dim() == 2:
        return (outputs["logits"].argmax(dim=-1) != batch["labels"]).double().mean()
    if "text" in outputs:
        similarity = outputs["image"] @ outputs["text"].T
        similarity = similarity.masked_fill(repeats(batch["tokens"]), -torch.inf)
        own = torch.arange(len(similarity), device=similarity.device)
        wrong = [(way.argmax(dim=1) != own).double().mean() for way in (similarity, similarity.T)]
        return torch.stack(wrong).mean()
    wrong_tokens = (outputs["logits"][:, :-1].argmax(dim=-1) != batch["tokens"][:, 1:]).double()
    mask = batch.get("mask")
    real = torch.ones_like(wrong_tokens) if mask is None else mask[:, 1:].double()
    return ((wrong_tokens * real).sum(dim=1) / real.sum(dim=1).clamp_min(1)).mean()
