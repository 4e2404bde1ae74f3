"""Importance scores on disk, found by what they were computed from.

Scoring a large base takes minutes and every trial of a study needs the same scores, so they are kept in a file whose
name is the SHA-256 over the base's weights, the calibration data and the version of the method: another base, other
data or another method is another file, and nothing stale can ever be read. A damaged file is computed again.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from catransformers.errors import CatransformersWarning, IntegrityError
from catransformers.models.clip import Clip
from catransformers.models.importance import Batch, EncoderImportance, Importance, Loss, importance
from catransformers.models.storage import write_atomically
from catransformers.workloads.spec import ClipSpec

#: Raise it when the scores of the same model and data would come out differently.
METHOD: Final = "taylor-gates-1"

_FIELDS = ("heads", "ffn", "embed", "layers")


def digest(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, types, shapes and bytes of `tensors`, in the order of their names; hexadecimal."""
    result = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        result.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        result.update(tensor.numpy().tobytes())
    return result.hexdigest()


def importance_key(model: Clip, batches: Sequence[Batch]) -> str:
    """The content that scores depend on: base, calibration batches (their division too) and method, as one SHA-256."""
    data = {f"{i:06d} {kind}": t for i, pair in enumerate(batches) for kind, t in zip("it", pair, strict=True)}
    parts = {
        "method": METHOD,
        "spec": model.spec.to_dict(),
        "base": digest(model.state_dict()),
        "calibration": digest(data),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def save_importance(scores: Importance, path: Path, key: str) -> None:
    """Write `scores` to `path` (safetensors), atomically, with their `key` and a SHA-256 of the numbers.

    Raises:
        OSError: if the folder cannot be written.
    """
    tensors = {f"{c}.{f}": getattr(getattr(scores, c), f) for c in ("vision", "text") for f in _FIELDS}
    metadata = {"key": key, "loss": scores.loss.hex(), "digest": digest(tensors)}
    write_atomically(path, save_tensors({name: t.contiguous() for name, t in tensors.items()}, metadata))


def load_importance(path: Path, spec: ClipSpec, key: str) -> Importance:
    """The scores at `path`, checked against `key`, their own SHA-256 and the shapes of `spec`.

    Raises:
        FileNotFoundError: if there is no such file.
        IntegrityError: if they are not what was written, or belong to other content.
    """
    content = path.read_bytes()
    try:
        tensors = load_tensors(content)
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        metadata = dict(header["__metadata__"])
        loss = float.fromhex(metadata["loss"])
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise IntegrityError(f"{path}: damaged, not a file of importance scores: {error}") from error
    shapes: dict[str, tuple[int, ...]] = {}
    for component, e in (("vision", spec.vision), ("text", spec.text)):
        sizes = ((e.layers, e.heads), (e.layers, e.ffn_dim), (e.embed_dim,), (e.layers,))
        shapes |= {f"{component}.{f}": size for f, size in zip(_FIELDS, sizes, strict=True)}
    if {name: tuple(t.shape) for name, t in tensors.items()} != shapes:
        raise IntegrityError(f"{path}: the scores are those of a model of another size")
    if metadata.get("key") != key or metadata.get("digest") != digest(tensors):
        raise IntegrityError(f"{path}: damaged, or scores of another model or other data")
    return Importance(
        vision=EncoderImportance(*(tensors[f"vision.{f}"] for f in _FIELDS)),
        text=EncoderImportance(*(tensors[f"text.{f}"] for f in _FIELDS)),
        loss=loss,
    )


def cached_importance(model: Clip, batches: Sequence[Batch], loss_fn: Loss, folder: Path) -> Importance:
    """`importance.importance`, from the cache in `folder` where it holds the same base and calibration data.

    Args:
        model: the base.
        batches: calibration batches, as for `importance`.
        loss_fn: the loss, as for `importance`; not part of the key, the package has one (`METHOD` stands for it).
        folder: where `importance-<key>.safetensors` lies; made if needed. Processes may share it.

    Warns:
        CatransformersWarning: if the cached file was damaged; it is computed and written again.

    Raises:
        InputError: as `importance` does.
        OSError: if the folder cannot be written.
    """
    key = importance_key(model, batches)
    path = folder / f"importance-{key[:32]}.safetensors"
    try:
        return load_importance(path, model.spec, key)
    except FileNotFoundError:
        pass
    except IntegrityError as error:
        warnings.warn(f"{error}; computed again", CatransformersWarning, stacklevel=2)
    scores = importance(model, batches, loss_fn)
    folder.mkdir(parents=True, exist_ok=True)
    save_importance(scores, path, key)
    return scores
