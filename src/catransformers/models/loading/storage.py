"""Models on disk: tensors as safetensors, and beside them a JSON file with the spec and the SHA-256 of the tensors.

Files appear whole or not at all (temporary file, fsync, rename), and nothing is loaded that was not written: the hash,
every tensor's name and every shape must agree. No pickle anywhere. Weights are mapped, not read: processes that load
the same file share its pages, and a net that is only read from costs no memory of its own.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from importlib.resources import as_file, files
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as save_tensors

from catransformers.errors import InputError, IntegrityError, Problem, Problems
from catransformers.files import write_whole
from catransformers.models.families.net import Net
from catransformers.models.families.nets import make_net
from catransformers.workloads.families import spec_from_dict

if TYPE_CHECKING:
    from catransformers.models.families.clip import Clip

RESERVED = ("spec", "sha256")


def save_model(model: Net, path: Path, metadata: Mapping[str, object] | None = None) -> str:
    """Write `path` (safetensors) and the `.json` beside it: spec, SHA-256 and the `metadata`'s keys.

    Returns:
        The SHA-256 of the tensor file, in hexadecimal. The same weights give the same bytes.

    Raises:
        InputError: if the path does not end in `.safetensors` or the metadata use a reserved key.
        OSError: if the folder cannot be written.
    """
    metadata = dict(metadata or {})
    problems = Problems(
        Problem("metadata", f"{key!r} is written by save_model itself") for key in RESERVED if key in metadata
    )
    if path.suffix != ".safetensors":
        problems.append(Problem(str(path), "not a model file name", "a name that ends in .safetensors"))
    problems.finish()
    content = save_tensors({name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()})
    digest = hashlib.sha256(content).hexdigest()
    description = {"spec": model.spec.to_dict(), "sha256": digest, **metadata}
    text = json.dumps(description, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    write_whole(path, content)
    write_whole(path.with_suffix(".json"), text)
    return digest


def read_description(path: Path) -> dict[str, object]:
    """The JSON beside the tensor file `path`: `spec`, `sha256` and what else was stored.

    Raises:
        InputError: if there is no such file.
        IntegrityError: if it is not a JSON object with a spec and a hash.
    """
    beside = path.with_suffix(".json")
    try:
        description = json.loads(beside.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(Problem(str(beside), f"cannot be read: {error.strerror}")) from error
    except ValueError as error:
        raise IntegrityError(f"{beside}: damaged, not JSON: {error}") from error
    if not isinstance(description, dict) or not all(key in description for key in RESERVED):
        raise IntegrityError(f"{beside}: damaged, no {' and '.join(RESERVED)}")
    return description


def load_model(path: str | os.PathLike[str]) -> Net:
    """The model at `path`, of any family, its weights checked against the SHA-256 and the spec of the JSON beside it.

    Args:
        path: the `.safetensors` file, or the folder that holds `model.safetensors`.

    Returns:
        The model on the CPU, in evaluation mode; its weights are mapped from the file.

    Raises:
        InputError: if a file is missing or the spec is no model's.
        IntegrityError: if the tensors are not the ones described: another hash, a tensor missing or too many,
            another shape or type.
    """
    path = Path(path)
    if path.is_dir():
        path /= "model.safetensors"
    description = read_description(path)
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(Problem(str(path), f"cannot be read: {error.strerror}")) from error
    if digest != description["sha256"]:
        raise IntegrityError(f"{path}: SHA-256 is {digest}, not {description['sha256']} as its .json says")
    try:
        tensors = load_file(path)
    except SafetensorError as error:
        raise IntegrityError(f"{path}: not a safetensors file: {error}") from error
    spec = description["spec"]
    if not isinstance(spec, dict):
        raise InputError(Problem(str(path.with_suffix(".json")), "the spec is not an object"))
    model = make_net(spec_from_dict(spec), empty=True)
    assign_tensors(model, tensors, str(path), copy=False)
    return model.eval()


def assign_tensors(model: Net, tensors: Mapping[str, torch.Tensor], where: str, *, copy: bool = True) -> None:
    """Make `tensors` the model's weights (copied, or themselves); every tensor of both sides must find its partner.

    Raises:
        IntegrityError: with every missing and extra name, every wrong shape and type.
    """
    expected = model.state_dict()
    faults = [f"missing {name}" for name in expected if name not in tensors]
    faults += [f"unexpected {name}" for name in tensors if name not in expected]
    for name, tensor in tensors.items():
        if name in expected and tensor.shape != expected[name].shape:
            faults.append(f"{name} is {tuple(tensor.shape)}, not {tuple(expected[name].shape)}")
        if name in expected and not tensor.is_floating_point():
            faults.append(f"{name} is of {tensor.dtype}, not of a real type")
    if faults:
        raise IntegrityError(f"{where}: the tensors do not fit the model: " + "; ".join(faults))
    own = {name: tensor.detach().clone() if copy else tensor.detach() for name, tensor in tensors.items()}
    model.load_state_dict(own, strict=True, assign=True)


def shipped_model(folder: str) -> Net:
    """A model that ships with the package, by its folder in `data`.

    Raises:
        IntegrityError: if the shipped files are damaged.
    """
    with as_file(files("catransformers.data").joinpath(folder)) as place:
        return load_model(place / "model.safetensors")


def embedded_model() -> Clip:
    """The small CLIP that ships with the package (`data/embedded`), trained by `tools/train_base_model.py`.

    Raises:
        IntegrityError: if the shipped files are damaged.
    """
    from catransformers.models.families.clip import Clip  # noqa: PLC0415 - families are loaded when used

    model = shipped_model("embedded")
    assert isinstance(model, Clip)  # noqa: S101 - for the type checker
    return model
