"""The loss that base training, fine-tuning and pruning importance share: CLIP's symmetric cross-entropy.

A batch of pairs is classified both ways, image → text and text → image, at the learnt temperature. A caption that
stands twice in a batch is right for both of its images, so its repeats are left out of the negatives instead of being
punished (with a few thousand captions and batches of 64 that happens often enough to matter).

Source: Radford et al., Learning Transferable Visual Models From Natural Language Supervision, ICML 2021, figure 3 and
section 2.5 (the temperature is kept at or below 100).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from catransformers.models.clip import MAXIMAL_LOGIT_SCALE


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


@torch.no_grad()
def clamp_logit_scale(logit_scale: Tensor) -> None:
    """Keep the temperature in CLIP's range, in place: 0 ≤ logit_scale ≤ ln 100; after every optimiser step."""
    logit_scale.clamp_(0.0, MAXIMAL_LOGIT_SCALE)
