"""The formats that a model can be written in, by name, and which family has which.

A stock library has classes for regular shapes only: an attention as wide as the residual stream, a width that its heads
divide. Where pruning has left these, the library's format is refused with the reason; `catransformers` and `onnx` take
every shape.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from safetensors.torch import save as save_tensors
from torch import Tensor

from catransformers.errors import InputError, Problem
from catransformers.files import write_whole
from catransformers.models.families.net import Net
from catransformers.models.loading.preprocess import Preprocess, preprocess_to_huggingface, preprocess_to_timm
from catransformers.models.loading.storage import save_model
from catransformers.models.loading.tokenizer import TextTokenizer
from catransformers.registry import EXPORT_FORMATS, FAMILIES
from catransformers.workloads.families import family_of

WEIGHTS, CARD, TOKENIZER = "model.safetensors", "README.md", "tokenizer.json"


@dataclass(frozen=True, slots=True)
class Model:
    """A net and what belongs to it.

    Args:
        net: as it is to be used.
        metadata: what the model's `.json` says beside its spec: `preprocess`, `class_names`, where it comes from.
        tokenizer: for nets that read texts, the tokeniser's file, or a folder with the older files of one.
        card: the model card, Markdown; empty for none.
    """

    net: Net
    metadata: Mapping[str, object] = field(default_factory=dict)
    tokenizer: Path | None = None
    card: str = ""


@dataclass(frozen=True, slots=True)
class ExportFormat:
    """One format.

    Args:
        write: writes a model into a folder and gives the files, or raises an InputError for what it cannot hold.
        families: that have it: none listed for all of them, None for those that name it in the `exports` of their row.
        text: what reads it, for people.
    """

    write: Callable[[Model, Path], list[Path]]
    families: tuple[str, ...] | None
    text: str


def write_own(model: Model, folder: Path) -> list[Path]:
    """This package's own format, for `catransformers.load`: every family and shape."""
    save_model(model.net, folder / WEIGHTS, model.metadata)
    return [folder / WEIGHTS, (folder / WEIGHTS).with_suffix(".json"), *_beside(model, folder)]


def write_huggingface(model: Model, folder: Path) -> list[Path]:
    """Hugging Face's format, for `from_pretrained`; how images are prepared for its image processors."""
    family = family_of(model.net.spec)
    module = import_module(family.formats)
    config, tensors = module.to_huggingface(model.net)
    names, preprocess, tokens = _class_names(model), _preprocess(model), _tokenizer_settings(model)
    if names:
        config = {
            **config,
            "id2label": {str(i): name for i, name in enumerate(names)},
            "label2id": {name: i for i, name in enumerate(names)},
        }
    files = _foreign(folder, "config.json", config, WEIGHTS, tensors)
    if preprocess is not None:
        kind = {"clip": "CLIPImageProcessor", "vit": "ViTImageProcessor"}[family.processor]
        settings = {"image_processor_type": kind, **preprocess_to_huggingface(preprocess)}
        files.append(_json(folder / "preprocessor_config.json", settings))
    if tokens:
        files.append(_json(folder / "tokenizer_config.json", tokens))
    return [*files, *_beside(model, folder)]


def write_open_clip(model: Model, folder: Path) -> list[Path]:
    """open_clip's format, for `create_model_from_pretrained("local-dir:…")`."""
    module = import_module("catransformers.models.formats.clip")
    config, tensors = module.to_open_clip(model.net, _preprocess(model))
    files = _foreign(folder, "open_clip_config.json", config, "open_clip_model.safetensors", tensors)
    return [*files, *_beside(model, folder)]


def write_timm(model: Model, folder: Path) -> list[Path]:
    """timm's format, for `create_model("local-dir:…", pretrained=True)`."""
    module = import_module("catransformers.models.formats.vit")
    arguments, tensors = module.to_timm(model.net)
    size, names, preprocess = arguments["img_size"], _class_names(model), _preprocess(model)
    settings = {"input_size": [3, size, size], "num_classes": arguments["num_classes"], "fixed_input_size": True}
    config = {
        "architecture": arguments.pop("model_name"),
        "num_classes": arguments["num_classes"],
        "num_features": model.net.spec.encoder.embed_dim,
        "global_pool": arguments["global_pool"],
        "model_args": {key: value for key, value in arguments.items() if key != "num_classes"},
        "pretrained_cfg": settings | (preprocess_to_timm(preprocess) if preprocess is not None else {}),
    }
    if names:
        config["label_names"] = names
    return [*_foreign(folder, "config.json", config, WEIGHTS, tensors), *_beside(model, folder)]


def write_onnx(model: Model, folder: Path) -> list[Path]:
    """ONNX, for ONNX Runtime and others: every family and shape."""
    from catransformers.exports.onnx import write_graphs  # noqa: PLC0415 - needs the extra `onnx`

    return [*write_graphs(model.net, folder), *_beside(model, folder)]


CATRANSFORMERS = ExportFormat(write_own, (), "catransformers.load(folder)")
HUGGINGFACE = ExportFormat(write_huggingface, None, "transformers, from_pretrained")
OPEN_CLIP = ExportFormat(write_open_clip, None, 'open_clip, "local-dir:folder"')
TIMM = ExportFormat(write_timm, None, 'timm, create_model("local-dir:folder")')
ONNX = ExportFormat(write_onnx, None, "ONNX Runtime and others")


def check_format(name: str, family: str) -> None:
    """That a family's models can be written in a format.

    Raises:
        InputError: for an unknown format, or one that the family has not.
    """
    if not _has(name, EXPORT_FORMATS.find(name), family):
        raise InputError(Problem("--format", f"{name!r} has no {family} models", ", ".join(formats_of(family))))


def write_model(model: Model, name: str, folder: Path) -> list[Path]:
    """Write a model in a format.

    Args:
        model: what to write.
        name: of the format.
        folder: where to; made if need be. Files of the same names are replaced.

    Returns:
        The files.

    Raises:
        InputError: for an unknown format, one that the family has not, or a shape that it cannot hold; nothing is
            written then.
        OSError: if the folder cannot be written.
    """
    check_format(name, model.net.spec.family)
    return EXPORT_FORMATS[name].write(model, folder)


def formats_of(family: str) -> tuple[str, ...]:
    """The formats that models of a family can be written in."""
    return tuple(name for name, kind in EXPORT_FORMATS.items() if _has(name, kind, family))


def _has(name: str, kind: ExportFormat, family: str) -> bool:
    if kind.families is None:
        return family in FAMILIES and name in FAMILIES[family].exports
    return not kind.families or family in kind.families


def _foreign(
    folder: Path, config_name: str, config: Mapping[str, Any], weights_name: str, tensors: Mapping[str, Tensor]
) -> list[Path]:
    """Another library's two files."""
    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_whole(folder / weights_name, save_tensors(whole, {"format": "pt"}))
    return [folder / weights_name, _json(folder / config_name, config)]


def _json(path: Path, content: Mapping[str, Any]) -> Path:
    write_whole(path, json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
    return path


def _beside(model: Model, folder: Path) -> list[Path]:
    """The tokeniser and the card."""
    files = []
    if model.tokenizer is not None:
        if model.tokenizer.is_dir():
            folder.mkdir(parents=True, exist_ok=True)
            TextTokenizer(model.tokenizer).save(folder / TOKENIZER)
        else:
            write_whole(folder / TOKENIZER, model.tokenizer.read_bytes())
        files.append(folder / TOKENIZER)
    if model.card:
        write_whole(folder / CARD, model.card)
        files.append(folder / CARD)
    return files


def _preprocess(model: Model) -> Preprocess | None:
    settings = model.metadata.get("preprocess")
    return None if settings is None else Preprocess.from_dict(settings, "preprocess")


def _tokenizer_settings(model: Model) -> dict[str, object]:
    """What makes transformers take the tokeniser as it is, and not rebuild it as the one its family usually has.

    Raises:
        InputError: if the tokeniser cannot be read.
    """
    if model.tokenizer is None:
        return {}
    spec = model.net.spec
    types = bool(getattr(spec, "token_types", 0))
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": spec.text.tokens if family_of(spec).pairs else spec.max_tokens,
        "model_input_names": ["input_ids", *(["token_type_ids"] if types else []), "attention_mask"],
        "pad_token": TextTokenizer(model.tokenizer).pad_token,
    }


def _class_names(model: Model) -> list[str]:
    """The names of the classifier's outputs, or none.

    Raises:
        InputError: if there are more or fewer names than outputs.
    """
    names = model.metadata.get("class_names")
    if names is None:
        return []
    classes = getattr(model.net.spec, "classes", 0)
    if not isinstance(names, list | tuple) or len(names) != classes:
        raise InputError(Problem("class_names", f"{names!r} are not names of {classes} classes"))
    return [str(name) for name in names]
