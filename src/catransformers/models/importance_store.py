"""Importance scores kept on disk: scoring a large base takes minutes, and every trial of a study needs the same ones.

The key holds the base's weights, the calibration data and the version of the method: another base, other data or
another method is another file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from catransformers.models.clip import Clip
from catransformers.models.importance import Batch, EncoderImportance, Importance, Loss, importance
from catransformers.models.tensor_cache import cached, content_key, digest

#: Raise it when the scores of the same model and data would come out differently.
METHOD: Final = "taylor-gates-1"

_FIELDS = ("heads", "ffn", "embed", "layers")


def importance_key(model: Clip, batches: Sequence[Batch]) -> str:
    """The content that scores depend on: base, calibration batches (their division too) and method, as one SHA-256."""
    data = {f"{i:06d} {kind}": t for i, pair in enumerate(batches) for kind, t in zip("it", pair, strict=True)}
    return content_key(
        {
            "method": METHOD,
            "spec": model.spec.to_dict(),
            "base": digest(model.state_dict()),
            "calibration": digest(data),
        }
    )


def to_tensors(scores: Importance) -> dict[str, Tensor]:
    """Scores as named tensors: `vision.heads` … `text.layers`, and the `loss` in double precision."""
    parts = {f"{c}.{f}": getattr(getattr(scores, c), f) for c in ("vision", "text") for f in _FIELDS}
    return parts | {"loss": torch.tensor(scores.loss, dtype=torch.float64)}


def from_tensors(tensors: Mapping[str, Tensor]) -> Importance:
    """The inverse of `to_tensors`."""
    return Importance(
        vision=EncoderImportance(*(tensors[f"vision.{f}"] for f in _FIELDS)),
        text=EncoderImportance(*(tensors[f"text.{f}"] for f in _FIELDS)),
        loss=tensors["loss"].item(),
    )


def cached_importance(model: Clip, batches: Sequence[Batch], loss_fn: Loss, folder: Path) -> Importance:
    """`importance.importance`, from the cache in `folder` where it holds the same base and calibration data.

    Args:
        model: the base.
        batches: calibration batches, as for `importance`.
        loss_fn: the loss, as for `importance`; not part of the key, the package has one (`METHOD` stands for it).
        folder: where `importance-<key>.safetensors` lies; made if needed. Processes may share it.

    Warns:
        CatransformersWarning: if the cached file was damaged; it is made and written again.

    Raises:
        InputError: as `importance` does.
        OSError: if the folder cannot be written.
    """
    key = importance_key(model, batches)
    return from_tensors(cached(folder, "importance", key, lambda: to_tensors(importance(model, batches, loss_fn))))
