"""Tensors that are costly to make, in files found by what they were made from.

A key is the SHA-256 of everything the tensors depend on. The file keeps it, and a SHA-256 of the tensors: stale or
damaged numbers are never read. What is damaged is made again, with a warning.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from catransformers.errors import CatransformersWarning, IntegrityError
from catransformers.files import write_whole


def digest(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, types, shapes and bytes of `tensors`, in the order of their names; hexadecimal."""
    result = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        result.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        result.update(tensor.reshape(-1).view(torch.uint8).numpy().data)  # numpy has no bfloat16
    return result.hexdigest()


def save_keyed(tensors: Mapping[str, Tensor], path: Path, key: str) -> None:
    """Write `tensors` to `path` (safetensors), atomically, with their `key` and their digest.

    Raises:
        OSError: if the folder cannot be written.
    """
    whole = {name: tensor.contiguous() for name, tensor in tensors.items()}
    write_whole(path, save_tensors(whole, {"key": key, "digest": digest(whole)}))


def load_keyed(path: Path, key: str) -> dict[str, Tensor]:
    """The tensors that `save_keyed` wrote to `path` under `key`.

    Raises:
        FileNotFoundError: if there is no such file.
        IntegrityError: if they are not what was written, or were written under another key.
    """
    content = path.read_bytes()
    try:
        tensors = load_tensors(content)
        metadata = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])["__metadata__"]
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise IntegrityError(f"{path}: damaged, not a file of tensors: {error}") from error
    if metadata != {"key": key, "digest": digest(tensors)}:
        raise IntegrityError(f"{path}: damaged, or made from other content")
    return tensors


def cached(folder: Path, prefix: str, key: str, make: Callable[[], Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The tensors under `key` in `folder`, made and written if they are not there yet.

    Args:
        folder: where `<prefix>-<key>.safetensors` lies; made if needed. Processes may share it.
        prefix: what the tensors are.
        key: of what they depend on (`file_cache.content_key`).
        make: makes them.

    Warns:
        CatransformersWarning: if the file was damaged; it is written again.

    Raises:
        OSError: if the folder cannot be written.
    """
    path = folder / f"{prefix}-{key[:32]}.safetensors"
    try:
        return load_keyed(path, key)
    except FileNotFoundError:
        pass
    except IntegrityError as error:
        warnings.warn(f"{error}; made again", CatransformersWarning, stacklevel=3)
    tensors = dict(make())
    folder.mkdir(parents=True, exist_ok=True)
    save_keyed(tensors, path, key)
    return tensors
