"""Base models on disk: this package's own files, and folders in the layouts of open_clip, timm and Hugging Face.

One function per layout. Each gives a `ModelSource`: the spec now, from the configuration; the weights when they are
asked for. So a spec and its net cannot come from different places, and a study is checked without reading weights.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from catransformers.errors import InputError, IntegrityError, Problem, unknown_name
from catransformers.lazy import lazy
from catransformers.models.loading.checkpoints import (
    CONFIG,
    OPEN_CLIP_CONFIG,
    OPEN_CLIP_WEIGHTS,
    class_names_of_huggingface,
    has_weights,
    named,
    read_config,
    read_folder,
    tensor_names,
)
from catransformers.models.loading.open_clip import spec_from_configuration, tensors_from_open_clip
from catransformers.registry import FAMILIES
from catransformers.workloads.families import family_of, spec_from_dict
from catransformers.workloads.spec import ClipSpec, ModelSpec, VitSpec

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from catransformers.models.families import nets
    from catransformers.models.families.net import Net
    from catransformers.models.formats import vit as vit_formats
    from catransformers.models.loading import preprocess as preprocessing
    from catransformers.models.loading import storage
    from catransformers.models.loading.preprocess import Preprocess
else:  # these import torch; what a model is can be told without it
    torch = lazy("torch")
    nets = lazy("catransformers.models.families.nets")
    vit_formats = lazy("catransformers.models.formats.vit")
    preprocessing = lazy("catransformers.models.loading.preprocess")
    storage = lazy("catransformers.models.loading.storage")

WHERE: Final = "model.base"
WHERE_WEIGHTS: Final = "model.pretrained"
#: What save_model writes.
OWN_FILE: Final = "model.safetensors"
TOKENIZER: Final = "tokenizer.json"


@dataclass(frozen=True, slots=True, eq=False)
class ModelSource:
    """A base model whose weights are not read yet.

    Args:
        spec: its spec, as in its configuration.
        net: reads the weights into a net of that spec.
        preprocess: how it wants its images, if it has any and says so.
        tokenizer: a `tokenizer.json`, or a folder with the older files of one.
        class_names: of its classifier's outputs, where they have names.
    """

    spec: ModelSpec
    net: Callable[[], Net]
    preprocess: Callable[[], Preprocess | None] = lambda: None
    tokenizer: Path | None = None
    class_names: tuple[str, ...] | None = None


def file_source(path: Path) -> ModelSource:
    """A model in one file: one that this package wrote.

    Raises:
        InputError: for any other; a checkpoint alone does not say what its architecture is.
    """
    if path.suffix == ".safetensors" and path.with_suffix(".json").is_file():
        return own_source(path)
    what = f"{path} has no description beside it: which architecture is it?"
    hint = f'base = "<an open_clip or timm name, or open_clip\'s JSON file of it>", pretrained = "{path}"'
    raise InputError(Problem(WHERE, what, "a file that this package wrote, with its .json", hint))


def own_source(path: Path) -> ModelSource:
    """A file that `save_model` wrote.

    Raises:
        InputError: if the description beside it is missing or damaged.
    """
    description = path.with_suffix(".json")
    content = read_config(description, WHERE)
    if not isinstance(content.get("spec"), dict):
        raise InputError(Problem(WHERE, f"{description} describes no model of this package"))
    spec = spec_from_dict(content["spec"])
    names = content.get("class_names")
    if names is not None and not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
        raise InputError(Problem(WHERE, f"{description}: class_names: {names!r} is no list of names"))

    def net() -> Net:
        return storage.load_model(path)

    def preprocess() -> Preprocess | None:
        if "preprocess" in content:
            return preprocessing.Preprocess.from_dict(content["preprocess"], f"{description}: preprocess")
        family = family_of(spec)
        return preprocessing.Preprocess(family.vision(spec).image_size) if family.pairs and family.vision else None

    return ModelSource(spec, net, preprocess, _tokenizer(path.parent), None if names is None else tuple(names))


def _tokenizer(folder: Path) -> Path | None:
    if (folder / TOKENIZER).is_file():
        return folder / TOKENIZER
    return folder if any((folder / name).is_file() for name in ("vocab.txt", "vocab.json", "tokenizer.model")) else None


def folder_source(folder: Path, name: str) -> ModelSource:
    """A folder in any of the layouts; of open_clip's and Hugging Face's in one, that of which there are weights.

    Args:
        folder: where it is.
        name: what to call it in messages.

    Raises:
        InputError: if there is no model in it, or one that cannot be a base model.
    """
    if (folder / OWN_FILE).with_suffix(".json").is_file():
        return own_source(folder / OWN_FILE)
    config = read_config(folder / CONFIG, WHERE) if (folder / CONFIG).is_file() else None
    chosen = config is None or any((folder / weights).is_file() for weights in OPEN_CLIP_WEIGHTS)
    if chosen and (folder / OPEN_CLIP_CONFIG).is_file():
        return _open_clip_folder(folder, name)
    if config is None:
        allowed = f"{OWN_FILE} with its .json, or weights with {CONFIG} or {OPEN_CLIP_CONFIG}"
        raise InputError(Problem(WHERE, f"the folder {name} holds no model", allowed))
    if "architecture" in config and config.get("model_type") in (None, "timm_wrapper"):
        return _timm_folder(folder, config, name)
    return _huggingface(folder, config, name)


def spec_in(path: Path, name: str) -> ClipSpec:
    """The spec in one of open_clip's configuration files, as in its repositories or as in its own package.

    Raises:
        InputError: if it is damaged, or not a CLIP of two plain transformers.
    """
    content = read_config(path, WHERE)
    try:
        return spec_from_configuration(content.get("model_cfg", content), name)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(Problem(WHERE, f"{path} is not an open_clip configuration: {error!r}")) from error


def _open_clip_folder(folder: Path, name: str) -> ModelSource:
    spec, settings = spec_in(folder / OPEN_CLIP_CONFIG, name), read_config(folder / OPEN_CLIP_CONFIG, WHERE)

    def net() -> Net:
        tensors = tensors_from_open_clip(read_folder(folder, WHERE, OPEN_CLIP_WEIGHTS))
        return fill(spec, tensors, str(folder), WHERE)

    def preprocess() -> Preprocess:
        return preprocessing.preprocess_from(spec.vision.image_size, settings.get("preprocess_cfg") or {}, WHERE)

    return ModelSource(spec, net, preprocess, _tokenizer(folder))


def _timm_folder(folder: Path, config: Mapping[str, Any], name: str) -> ModelSource:
    architecture, arguments = vit_formats.timm_arguments(config, name)
    spec = vit_formats.spec_from_timm(architecture, name, **arguments)
    settings = {"label_names": config.get("label_names")} | dict(config.get("pretrained_cfg", config))
    return timm_source(spec, settings, lambda: read_folder(folder, WHERE), name, WHERE)


def timm_source(
    spec: VitSpec, settings: Mapping[str, Any], read: Callable[[], dict[str, Tensor]], name: str, where: str
) -> ModelSource:
    """A vision transformer of timm's.

    Args:
        spec: its spec.
        settings: its `pretrained_cfg`, with `label_names` if its classes have names.
        read: reads its tensors.
        name: what to call them in messages.
        where: whose mistake it is if something does not fit.
    """
    names = settings.get("label_names")
    return ModelSource(
        spec,
        lambda: fill(spec, vit_formats.tensors_from_timm(spec, read(), where), name, where),
        lambda: preprocessing.preprocess_of_timm(settings, spec.encoder.image_size, where),
        class_names=tuple(map(str, names)) if isinstance(names, list) and len(names) == spec.classes else None,
    )


def _huggingface(folder: Path, config: Mapping[str, Any], name: str) -> ModelSource:
    """A folder that transformers' `save_pretrained` wrote, or that was published in its layout."""
    kind = str(config.get("model_type"))
    formats = {known: family.formats for family in FAMILIES.values() for known in family.model_types}
    if kind not in formats:
        raise InputError(unknown_name(f"{WHERE}: {name}: model_type", "kind of model", kind, formats))
    module: Any = import_module(formats[kind])
    asks = "tensors" in signature(module.spec_from_huggingface).parameters
    told = {"tensors": tensor_names(folder, WHERE)} if asks and has_weights(folder) else {}
    spec: ModelSpec = module.spec_from_huggingface(config, name, **told)
    family = family_of(spec)

    def net() -> Net:
        tensors = module.tensors_from_huggingface(spec, config, read_folder(folder, WHERE), name)
        return fill(spec, tensors, name, WHERE)

    def preprocess() -> Preprocess | None:
        if family.vision is None:
            return None
        size = family.vision(spec).image_size
        settings = _processor(folder) or {"size": size, "crop_size": size}
        return preprocessing.preprocess_of_huggingface(settings, size, name, family.processor)

    tokenizer = None if family.vocabulary is None else _tokenizer(folder)
    return ModelSource(spec, net, preprocess, tokenizer, _class_names(config, spec))


def _processor(folder: Path) -> dict[str, Any] | None:
    """The settings of the image processor that lies beside the weights."""
    if (folder / "preprocessor_config.json").is_file():
        return read_config(folder / "preprocessor_config.json", WHERE)
    if (folder / "processor_config.json").is_file():
        settings = read_config(folder / "processor_config.json", WHERE).get("image_processor")
        return settings if isinstance(settings, dict) else None
    return None


def _class_names(config: Mapping[str, Any], spec: ModelSpec) -> tuple[str, ...] | None:
    """The names of a classifier's outputs; None for those that the library makes up."""
    names = class_names_of_huggingface(config)
    classes = getattr(spec, "classes", None)
    if names is None or len(names) != classes or not all(names):
        return None
    return names


def fill(spec: ModelSpec, tensors: Mapping[str, Tensor], name: str, where: str) -> Net:
    """A net of `spec` with a checkpoint's weights, in evaluation mode; not copied where their type can stay.

    A language model keeps a half-precision type, as it is too large for another one; all others become float32.

    Args:
        spec: its spec.
        tensors: by our names.
        name: what to call them in messages.
        where: whose mistake it is if they do not fit.

    Raises:
        InputError: if a tensor is missing, too many, of another shape or not of real numbers; they are named.
    """
    halves = (torch.float16, torch.bfloat16)
    types = {tensor.dtype for tensor in tensors.values()}
    real = (*halves, torch.float32, torch.float64)
    foreign = [key for key, tensor in tensors.items() if tensor.dtype not in real]
    if foreign:
        what = f"{name}: these are not weights of real numbers: {named(foreign)}"
        raise InputError(Problem(where, what, hint="quantised checkpoints are not supported"))
    keep = family_of(spec).generates and len(types) == 1 and types <= set(halves)
    model = nets.make_net(spec, empty=True)
    weights = tensors if keep else {key: tensor.float() for key, tensor in tensors.items()}
    try:
        storage.assign_tensors(model, weights, name, copy=False)
    except IntegrityError as error:
        faults = str(error).split("; ")
        raise InputError(Problem(where, named(faults, "; "))) from error
    return model.eval()
