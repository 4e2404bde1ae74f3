"""Base models by name: what ships with the package, the names of open_clip, timm and the zoo, and the hub's.

A name is looked up here, in this order: shipped models, paths, timm's names, open_clip's, the zoo's, repositories of
Hugging Face's hub. Weights lie in files that the user gives or in the libraries' caches; a download needs leave.

Sources: the repositories that the authors of the zoo's models published their weights in.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from catransformers.errors import InputError, Problem, nearest, present, unknown_name
from catransformers.extras import install
from catransformers.lazy import lazy
from catransformers.models.loading import open_clip as open_clip_base
from catransformers.models.loading.checkpoints import (
    CONFIG,
    cached_folder,
    find_folder,
    has_weights,
    hub_name,
    read_tensors,
)
from catransformers.models.loading.folders import (
    OWN_FILE,
    WHERE,
    WHERE_WEIGHTS,
    ModelSource,
    file_source,
    fill,
    folder_source,
    own_source,
    spec_in,
    timm_source,
)
from catransformers.workloads.spec import BertSpec, ClipSpec, ModelSpec
from catransformers.workloads.zoo import MODELS, ZOO

if TYPE_CHECKING:
    from catransformers.models.families.net import Net
    from catransformers.models.formats import vit as vit_formats
    from catransformers.models.loading import preprocess as preprocessing
    from catransformers.models.loading import torchvision_compat as compat
    from catransformers.models.loading.preprocess import Preprocess
else:  # these import torch; what a model is can be told without it
    vit_formats = lazy("catransformers.models.formats.vit")
    preprocessing = lazy("catransformers.models.loading.preprocess")
    compat = lazy("catransformers.models.loading.torchvision_compat")

#: Models that may ship with the package, and their folders in its data.
_SHIPPED: Final = {
    "embedded": "embedded",
    "small-vit": "small_vit",
    "small-bert": "small_bert",
    "small-llama": "small_llama",
}

#: The named models of the zoo on Hugging Face's hub; names of the same repository, the present one first.
HUB: Final[Mapping[str, tuple[str, ...]]] = {
    "vit-tiny-patch16-224": ("facebook/deit-tiny-patch16-224",),
    "vit-small-patch16-224": ("facebook/deit-small-patch16-224",),
    "vit-base-patch16-224": ("google/vit-base-patch16-224",),
    "vit-large-patch16-224": ("google/vit-large-patch16-224",),
    "bert-base": ("google-bert/bert-base-uncased", "bert-base-uncased"),
    "bert-large": ("google-bert/bert-large-uncased", "bert-large-uncased"),
    "distilbert-base": ("distilbert/distilbert-base-uncased", "distilbert-base-uncased"),
    "MiniLM-L6-H384": ("nreimers/MiniLM-L6-H384-uncased",),
    "Llama-2-7B": ("meta-llama/Llama-2-7b-hf",),
    "Llama-3.1-8B": ("meta-llama/Llama-3.1-8B", "meta-llama/Meta-Llama-3.1-8B"),
    "Llama-3.2-1B": ("meta-llama/Llama-3.2-1B",),
    "Llama-3.2-3B": ("meta-llama/Llama-3.2-3B",),
    "TinyLlama-1.1B": ("TinyLlama/TinyLlama-1.1B-Chat-v1.0",),
}

#: timm's names have underscores, by which they differ from the zoo's.
_TIMM_NAME: Final = re.compile(r"(vit|deit)\w*_patch\d+\w*(\.\w+)?")
_WEIGHT_SUFFIXES: Final = (".safetensors", ".pt", ".pth", ".bin")


@cache
def shipped() -> Mapping[str, Path]:
    """The models that ship with the package by name, and their folders."""
    data = Path(str(files("catransformers.data")))
    return {name: data / folder for name, folder in _SHIPPED.items() if (data / folder).is_dir()}


def find_source(base: str, pretrained: str | None, *, allow_network: bool) -> ModelSource:
    """Where a base model comes from.

    Where an architecture is known by its name, but no weights are on this machine, only reading them is an error.

    Args:
        base: a shipped model's name, a path, a name of open_clip, timm or the zoo, or a repository on the hub.
        pretrained: for a name, which weights.
        allow_network: whether what no cache has may be downloaded.

    Raises:
        InputError: if nothing is known by that name, or what is there cannot be a base model.
    """
    if base in shipped() or Path(base).expanduser().exists():
        return _here(base, pretrained, allow_network=allow_network)
    if pretrained is not None and Path(pretrained).expanduser().is_dir():
        return _as_named(base, folder_source(Path(pretrained).expanduser(), pretrained))
    if base.startswith((".", "/", "~")):
        raise _no_path(Path(base).expanduser())
    if _TIMM_NAME.fullmatch(base):
        return _timm(base, pretrained, allow_network=allow_network)
    spec = ZOO.get(base) or _open_clip_named(base)
    if spec is not None:
        return _open_clip(base, spec, pretrained, allow_network=allow_network)
    return _hub(base, pretrained, allow_network=allow_network)


def _here(base: str, pretrained: str | None, *, allow_network: bool) -> ModelSource:
    """What ships with the package or has a path on this machine."""
    path = Path(base).expanduser()
    if base not in shipped() and path.is_file() and path.suffix == ".json":
        return _open_clip(base, spec_in(path, base), pretrained, allow_network=allow_network)
    if pretrained is not None:
        what = f"{base!r} comes with its weights; {pretrained!r} cannot be added"
        raise InputError(Problem(WHERE_WEIGHTS, what, hint="leave it out"))
    if base in shipped():
        return own_source(shipped()[base] / OWN_FILE)
    return folder_source(path, base) if path.is_dir() else file_source(path)


def _no_path(path: Path) -> InputError:
    """The error for a path that leads nowhere; what lies beside it under a similar name is offered."""
    siblings = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
    return InputError(Problem(WHERE, f"there is no folder or file {path}", hint=nearest(path.name, siblings)))


def _open_clip_named(name: str) -> ClipSpec | None:
    """The spec of an open_clip model; None if there is none of this name."""
    return open_clip_base.open_clip_spec(name) if open_clip_base.is_open_clip_name(name) else None


def _open_clip(name: str, spec: ClipSpec, pretrained: str | None, *, allow_network: bool) -> ModelSource:
    """An architecture of open_clip by name, with a checkpoint file or a tag of open_clip's list."""
    if pretrained is None:

        def missing() -> Net:
            what = f"missing: which weights of {name}?"
            hint = "a random model would be searched for nothing"
            raise InputError(Problem(WHERE_WEIGHTS, what, "a checkpoint file, or a tag of open_clip's list", hint))

        return ModelSource(spec, missing)
    settings: Mapping[str, Any] = {}
    file = _weights_file(pretrained)
    if file is None and find_spec("open_clip") is not None:  # without it only reading the weights is an error
        settings = open_clip_base.checkpoint_settings(name, pretrained)
    if settings.get("quick_gelu"):
        spec = replace(spec, activation="quick_gelu")

    def net() -> Net:
        path = file or open_clip_base.checkpoint(name, pretrained, allow_network=allow_network)
        tensors = open_clip_base.tensors_from_open_clip(read_tensors(path, WHERE_WEIGHTS))
        return fill(spec, tensors, str(path), WHERE_WEIGHTS)

    def preprocess() -> Preprocess:
        return preprocessing.preprocess_from(spec.vision.image_size, settings, WHERE_WEIGHTS)

    return ModelSource(spec, net, preprocess)


def _weights_file(pretrained: str) -> Path | None:
    """The checkpoint file of this name; None if it may be a tag.

    Raises:
        InputError: if it can only be a file, and there is none.
    """
    file = Path(pretrained).expanduser()
    if file.is_file():
        return file
    if file.suffix in _WEIGHT_SUFFIXES or len(file.parts) > 1:
        raise InputError(Problem(WHERE_WEIGHTS, f"there is no file {pretrained}"))
    return None


def _timm(name: str, pretrained: str | None, *, allow_network: bool) -> ModelSource:
    """An architecture of timm by name, with a checkpoint file, or with the published weights of its tag."""
    if pretrained is None:
        repository = f"timm/{name}"
        return _repository(repository, lambda: vit_formats.spec_from_timm(name, WHERE), allow_network=allow_network)
    file = _weights_file(pretrained)
    if file is None:
        what = f"{pretrained!r} is no file"
        hint = f"which of timm's weights is said in the name: {name.partition('.')[0]}.<tag>"
        raise InputError(Problem(WHERE_WEIGHTS, what, hint=hint))
    timm = compat.import_beside_torchvision("timm", install("vit"))
    spec, settings = vit_formats.spec_from_timm(name, WHERE), timm.get_pretrained_cfg(name)
    described = {} if settings is None else settings.to_dict()
    return timm_source(spec, described, lambda: read_tensors(file, WHERE_WEIGHTS), str(file), WHERE_WEIGHTS)


def _hub(base: str, pretrained: str | None, *, allow_network: bool) -> ModelSource:
    """A model of the zoo, or any repository of Hugging Face's hub."""
    known, repositories = _in_zoo(base)
    if not repositories:
        owned = hub_name(base) is not None and ("/" in base or base.startswith("hf"))
        if not owned and cached_folder(base) is None:
            raise InputError(_unknown(base))
        repositories = (base,)
    if pretrained is not None:
        what = f"{pretrained!r} is not the folder of a {base}"
        raise InputError(Problem(WHERE_WEIGHTS, what, f"a folder with {CONFIG} and weights, or nothing"))
    found = [name for name in repositories if cached_folder(name) is not None]
    published = None if known is None else lambda: _published(MODELS[known])
    return _as_named(base, _repository((found or repositories)[0], published, allow_network=allow_network))


def _repository(name: str, published: Callable[[], ModelSpec] | None, *, allow_network: bool) -> ModelSource:
    """A repository of the hub: from its cache, or downloaded, or at least the spec that it is known to have."""
    folder = cached_folder(name)
    complete = folder is not None and has_weights(folder)
    if complete or allow_network or (folder is None and published is None):
        return folder_source(find_folder(name, allow_network=allow_network, where=WHERE), name)

    def later() -> Net:
        return folder_source(find_folder(name, allow_network=allow_network, where=WHERE), name).net()

    if folder is not None:
        return replace(folder_source(folder, name), net=later)
    return ModelSource(present(published)(), later)


def _unknown(base: str) -> Problem:
    """Nothing is known by a name."""
    known = dict.fromkeys((*shipped(), *HUB, *open_clip_base.open_clip_names()))
    problem = unknown_name(WHERE, "base model", base, known)
    hint = problem.hint or "or a folder, a name of timm, or a repository of Hugging Face's hub"
    if find_spec("open_clip") is None:
        hint += f"; open_clip's other models need {install('clip')}"
    return Problem(problem.where, problem.what, problem.allowed, hint)


def _in_zoo(name: str) -> tuple[str | None, tuple[str, ...]]:
    """The zoo's name of a model and the repositories that have it, by either name; nothing if it is not there."""
    wanted = _folded(name)
    for known, repositories in HUB.items():
        if wanted in {_folded(n) for n in (known, *repositories, *(r.rpartition("/")[2] for r in repositories))}:
            return known, repositories
    return None, ()


def _folded(name: str) -> str:
    return name.replace("_", "-").casefold()


def _published(spec: ModelSpec) -> ModelSpec:
    """A spec of the zoo as its repository has it: BERT's encoders come without a classifier."""
    if isinstance(spec, BertSpec):
        return replace(spec, classes=0, pooler=spec.token_types > 0)
    return spec


def _as_named(name: str, source: ModelSource) -> ModelSource:
    """A source that stands for a named model: of the same dimensions, and used on texts as long as the name says.

    Raises:
        InputError: if it is another model.
    """
    known = _in_zoo(name)[0]
    spec = MODELS[known] if known is not None else ZOO.get(name) or _open_clip_named(name)
    if spec is None:
        return source
    own, there = source.spec.dimensions(), spec.dimensions()
    if source.spec.family != spec.family or own != there:
        shown = ", ".join(f"{key} {value}" for key, value in own.items() if there.get(key) != value)
        what = f"not a {name} but another {source.spec.family}: {shown}"
        raise InputError(Problem(WHERE_WEIGHTS, what, hint="give the folder itself as model.base"))
    usage = spec.usage()
    return replace(source, spec=source.spec.with_dimensions(usage), net=lambda: _used(source.net(), usage))


def _used(net: Net, usage: Mapping[str, int]) -> Net:
    """The net, its spec with other lengths of texts; they change nothing in it."""
    net.spec = net.spec.with_dimensions(usage)
    return net
