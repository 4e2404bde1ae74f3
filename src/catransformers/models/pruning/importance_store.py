"""Importance scores kept on disk: scoring a large base takes minutes, and every trial of a study needs the same ones.

The key holds the base's weights, the calibration data, the methods and their version: another base, other data or
another method is another file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from catransformers.file_cache import content_key
from catransformers.models.families.net import Batch, Net
from catransformers.models.loading.tensor_cache import cached, digest
from catransformers.models.pruning.importance import Importance, Methods, StackImportance, importance
from catransformers.models.pruning.part_scores import PARTS, Loss

#: Raise it when the scores of the same model and data would come out differently.
VERSION: Final = "importance-2"


def importance_key(
    model: Net,
    batches: Sequence[Batch],
    methods: Methods = Methods(),
    seed: int = 0,
    base_sha256: str | None = None,
) -> str:
    """The content that scores depend on: base, calibration batches (their division too) and methods, as one SHA-256."""
    data = {f"{i:06d} {name}": tensor for i, batch in enumerate(batches) for name, tensor in batch.items()}
    return content_key(
        {
            "version": VERSION,
            "methods": asdict(methods),
            "seed": seed,
            "spec": model.spec.to_dict(),
            "base": base_sha256 or digest(model.state_dict()),
            "calibration": digest(data),
        }
    )


def to_tensors(scores: Importance) -> dict[str, Tensor]:
    """Scores as named tensors: `vision.heads` … `text.layers`, and the `loss` in double precision."""
    parts = {
        f"{name}.{part}": getattr(stack, part).contiguous() for name, stack in scores.stacks.items() for part in PARTS
    }
    return parts | {"loss": torch.tensor(scores.loss, dtype=torch.float64)}


def from_tensors(tensors: Mapping[str, Tensor]) -> Importance:
    """The inverse of `to_tensors`."""
    names = dict.fromkeys(name.rpartition(".")[0] for name in tensors if name != "loss")
    stacks = {name: StackImportance(**{part: tensors[f"{name}.{part}"] for part in PARTS}) for name in names}
    return Importance(stacks, tensors["loss"].item())


def cached_importance(
    model: Net,
    batches: Sequence[Batch],
    loss_fn: Loss,
    folder: Path,
    methods: Methods = Methods(),
    *,
    error_fn: Loss | None = None,
    seed: int = 0,
    base_sha256: str | None = None,
) -> Importance:
    """`importance.importance`, from the cache in `folder` where it holds the same base, data and methods.

    Args:
        model: the base.
        batches: calibration batches, as for `importance`.
        loss_fn: the loss, as for `importance`; not part of the key, each family's task has one.
        folder: where `importance-<key>.safetensors` lies; made if needed. Processes may share it.
        methods: as for `importance`.
        error_fn: as for `importance`.
        seed: as for `importance`.
        base_sha256: digest of the base's weights, where it is known; large ones take a while.

    Warns:
        CatransformersWarning: if the cached file was damaged; it is made and written again.

    Raises:
        InputError: as `importance` does.
        OSError: if the folder cannot be written.
    """
    key = importance_key(model, batches, methods, seed, base_sha256)
    tensors = cached(
        folder,
        "importance",
        key,
        lambda: to_tensors(importance(model, batches, loss_fn, methods, error_fn=error_fn, seed=seed)),
    )
    return from_tensors(tensors)
