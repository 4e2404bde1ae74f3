"""Other libraries' folders on disk: where they lie, their configurations, and their tensors, mapped from the file.

A folder is given by its path or by its name on Hugging Face's hub, which is looked up in the hub's local cache; nothing
is downloaded unless the caller says so. Tensors are mapped from their files, never read into memory at once: processes
that load the same checkpoint share the pages, and what nobody touches is never read. Formats without code only:
safetensors, whole or in shards, and torch's own with `weights_only`.

Source: the layout of Hugging Face's repositories and their index of shards (huggingface.co/docs/safetensors).
"""

from __future__ import annotations

import importlib
import json
import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from catransformers.errors import InputError, Problem, Problems
from catransformers.extras import install

if TYPE_CHECKING:
    from torch import Tensor

CONFIG: Final = "config.json"
OPEN_CLIP_CONFIG: Final = "open_clip_config.json"
#: What weights are called in a folder, the preferred first; an index names the shards.
WEIGHTS: Final = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
OPEN_CLIP_WEIGHTS: Final = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")

_HUB_PREFIXES: Final = ("hf_hub:", "hf-hub:")
_HUB_NAME: Final = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?")
#: Everything beside the weights that a model needs; and the weights, one kind after the other until one is there.
_SMALL_FILES: Final = ("*.json", "vocab.txt", "merges.txt", "spiece.model", "tokenizer.model")
_WEIGHT_FILES: Final = (
    ("model.safetensors", "model-*.safetensors"),
    ("open_clip_model.safetensors",),
    ("pytorch_model.bin", "pytorch_model-*.bin"),
    ("open_clip_pytorch_model.bin",),
)
_MAX_NAMED: Final = 8
#: Under which keys training programs nest a model's tensors.
_NESTS: Final = ("state_dict", "model")


def hub_name(name: str) -> str | None:
    """The name of a repository on the hub (`owner/model` or `model`), without `hf_hub:`; None if it cannot be one."""
    for prefix in _HUB_PREFIXES:
        name = name.removeprefix(prefix)
    return name if _HUB_NAME.fullmatch(name) and ".." not in name else None


def cached_folder(name: str) -> Path | None:
    """The folder of a repository in the hub's local cache, if it is there; the network is not touched."""
    repository = hub_name(name)
    if repository is None:
        return None
    try:
        hub = importlib.import_module("huggingface_hub")
    except ImportError:
        return None
    try:
        return Path(hub.snapshot_download(repository, local_files_only=True))
    except (OSError, ValueError):  # not there (`LocalEntryNotFoundError`), or no repository's name
        return None


def find_folder(name: str, *, allow_network: bool, where: str) -> Path:
    """The folder of a model: `name` itself, or a repository of Hugging Face's hub.

    Args:
        name: a directory, or a repository (`google/vit-base-patch16-224`).
        allow_network: whether it may be downloaded if the cache does not hold its weights.
        where: whose mistake it is if there is none (`model.base`).

    Raises:
        InputError: if it is neither, or is not on this machine and the network is not allowed or does not have it.
    """
    path = Path(name).expanduser()
    if path.is_dir():
        return path
    repository = hub_name(name)
    if repository is None:
        raise InputError(Problem(where, f"there is no folder {name}"))
    folder = cached_folder(name)
    if folder is not None and has_weights(folder):
        return folder
    if allow_network:
        return _download(repository, where)
    what = f"{repository!r} is neither a folder nor in Hugging Face's cache on this machine"
    if folder is not None:
        what = f"the weights of {repository!r} are not in Hugging Face's cache on this machine"
    hint = f"`hf download {repository}`, or set model.allow_network = true to download it once"
    raise InputError(Problem(where, f"{what}, and the network is not allowed", hint=hint))


def _download(repository: str, where: str) -> Path:
    """A repository's small files and one kind of weights, from the hub."""
    try:
        hub = importlib.import_module("huggingface_hub")
    except ImportError as error:
        raise InputError(
            Problem(where, "nothing can be downloaded without huggingface_hub", hint=install("hf"))
        ) from error
    for kind in _WEIGHT_FILES:
        try:
            patterns = [*_SMALL_FILES, *kind]
            folder = Path(hub.snapshot_download(repository, allow_patterns=patterns, ignore_patterns=["*/*"]))
        except Exception as error:  # the hub's client lets through whatever its transports raise
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise InputError(Problem(where, f"{repository!r} cannot be downloaded: {reason}")) from error
        if has_weights(folder):
            return folder
    raise InputError(Problem(where, f"{repository!r} holds no weights", ", ".join((*WEIGHTS, *OPEN_CLIP_WEIGHTS))))


def class_names_of_huggingface(config: Mapping[str, Any]) -> tuple[str, ...] | None:
    """The names of the classes in the order of the logits, or None if a configuration has none of its own."""
    labels = config.get("id2label")
    if not isinstance(labels, Mapping):
        return None
    names = {str(number): str(name) for number, name in labels.items()}
    numbers = [str(number) for number in range(len(names))]
    if set(names) != set(numbers) or all(names[number] == f"LABEL_{number}" for number in numbers):
        return None
    return tuple(names[number] for number in numbers)


def has_weights(folder: Path) -> bool:
    """Whether a folder holds weights under a name that is known."""
    return any((folder / name).is_file() for name in (*WEIGHTS, *OPEN_CLIP_WEIGHTS))


def read_config(path: Path, where: str) -> dict[str, Any]:
    """The JSON object in a file.

    Raises:
        InputError: if the file cannot be read or does not hold one.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(Problem(where, f"{path} cannot be read: {error.strerror}")) from error
    except ValueError as error:
        raise InputError(Problem(where, f"{path} is damaged, not JSON: {error}")) from error
    if not isinstance(content, dict):
        raise InputError(Problem(where, f"{path} does not hold a JSON object"))
    return content


def read_folder(folder: Path, where: str, names: tuple[str, ...] = WEIGHTS) -> dict[str, Tensor]:
    """The weights in a folder, in one file or in shards.

    Args:
        folder: where to look.
        where: whose mistake it is if there are none.
        names: the names that weights may have, the preferred first.

    Raises:
        InputError: if there are none, a shard is missing or lacks a tensor, or a file is damaged.
    """
    path = next((folder / name for name in names if (folder / name).is_file()), None)
    if path is None:
        raise InputError(Problem(where, f"the folder {folder} holds no weights", ", ".join(names)))
    return _read_shards(path, where) if path.suffix == ".json" else read_tensors(path, where)


def _weight_map(index: Path, where: str) -> dict[str, str]:
    """An index of shards: the file of every tensor."""
    shards = read_config(index, where).get("weight_map")
    if not isinstance(shards, dict) or not all(isinstance(name, str) for name in shards.values()):
        raise InputError(Problem(where, f"{index} is damaged: no weight_map of tensors and files"))
    return shards


def _read_shards(index: Path, where: str) -> dict[str, Tensor]:
    shards = _weight_map(index, where)
    files = sorted(set(shards.values()))
    problems = Problems(
        Problem(where, f"{index} names the shard {name!r}, which is no file beside it")
        for name in files
        if Path(name).name != name or not (index.parent / name).is_file()
    )
    problems.finish()
    tensors: dict[str, Tensor] = {}
    for name in files:
        found = read_tensors(index.parent / name, where)
        lacking = [tensor for tensor, file in shards.items() if file == name and tensor not in found]
        if lacking:
            problems.append(Problem(where, f"the shard {index.parent / name} lacks {named(lacking)}"))
        tensors |= found
    problems.finish()
    return tensors


def read_tensors(path: Path, where: str) -> dict[str, Tensor]:
    """The tensors in one file by name, mapped from it: safetensors, or torch's format without any code.

    A training checkpoint's tensors are taken from under `state_dict` or `model`; what wrapping for several devices put
    before their names is taken off.

    Raises:
        InputError: if the file cannot be read, holds more than tensors, or is an executable TorchScript archive.
    """
    safetensors = importlib.import_module("safetensors")
    try:
        if path.suffix == ".safetensors":
            content: Any = importlib.import_module("safetensors.torch").load_file(path)
        else:
            content = _load_torch(path)
    except OSError as error:
        raise InputError(Problem(where, f"{path} cannot be read: {error.strerror or error}")) from error
    except (safetensors.SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        reason = str(error).splitlines()[0].partition(". ")[0] if str(error) else type(error).__name__
        hint = "damaged, cut short, or holds code beside the tensors; give a safetensors file"
        raise InputError(Problem(where, f"{path} is not a checkpoint of tensors: {reason}", hint=hint)) from error
    for nest in _NESTS:
        if isinstance(content, dict) and isinstance(content.get(nest), dict):
            content = content[nest]
    if not isinstance(content, dict) or not all(hasattr(value, "dtype") for value in content.values()):
        raise InputError(Problem(where, f"{path} does not hold a model's tensors by name"))
    return {str(name).removeprefix("module."): tensor for name, tensor in content.items()}


def _load_torch(path: Path) -> Any:
    """What a file in torch's format holds; mapped, but for the format that torch wrote before version 1.6."""
    torch = importlib.import_module("torch")
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except RuntimeError as error:
        if "mmap can only be used" not in str(error):
            raise
        return torch.load(path, map_location="cpu", weights_only=True)


def tensor_names(folder: Path, where: str) -> set[str]:
    """The names of the tensors in a folder; of safetensors, whole or in shards, nothing else is read.

    Raises:
        InputError: if there are none, or a file is damaged.
    """
    whole, index = folder / WEIGHTS[0], folder / WEIGHTS[1]
    if whole.is_file():
        safetensors = importlib.import_module("safetensors")
        try:
            with safetensors.safe_open(whole, framework="numpy") as file:
                return set(file.keys())
        except (OSError, safetensors.SafetensorError) as error:
            raise InputError(Problem(where, f"{whole} is not a file of tensors: {error}")) from error
    if index.is_file():
        return set(_weight_map(index, where))
    return set(read_folder(folder, where))


def named(names: list[str], separator: str = ", ") -> str:
    """The first few of `names`, and how many there are."""
    shown = separator.join(names[:_MAX_NAMED])
    return shown if len(names) <= _MAX_NAMED else f"{shown}{separator}… ({len(names)} in all)"


def check_names(expected: Mapping[str, object], tensors: Mapping[str, object], where: str) -> None:
    """Every tensor that a format expects is there, and no other.

    Raises:
        InputError: with what is missing and what is too many.
    """
    missing = [name for name in expected if name not in tensors]
    extra = [name for name in tensors if name not in expected]
    problems = Problems(
        Problem(where, f"{what} {named(names)}")
        for what, names in (("missing", missing), ("unexpected", extra))
        if names
    )
    problems.finish()
