"""open_clip's models as base models: its architectures by name, its checkpoints' tensors, its tokeniser.

Only what a CLIP of two plain transformers needs is read: the dimensions from open_clip's model configurations (without
importing it), the list of published checkpoints, and the byte-pair tokeniser. Weights come from a file or from the
caches that open_clip and Hugging Face keep; nothing is downloaded unless the caller says so. TinyCLIP's checkpoints are
open_clip's with each part under a name of its own.

Sources: Ilharco et al., OpenCLIP, 2021 (doi 10.5281/zenodo.5143773), MIT licence; Wu et al., *TinyCLIP*, ICCV 2023
(arXiv 2309.12314), with the names in its published checkpoints.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from catransformers.errors import InputError, Problem, unknown_name
from catransformers.extras import install
from catransformers.workloads.spec import ClipSpec, TextSpec, VisionSpec
from catransformers.workloads.zoo import ZOO

if TYPE_CHECKING:
    from torch import Tensor

#: Texts (n) → token ids (n, context).
Tokenizer: TypeAlias = "Callable[[Sequence[str]], Tensor]"

#: Entries of OpenAI's first checkpoints that are facts about the model, not weights.
_NOT_WEIGHTS: Final = ("input_resolution", "context_length", "vocab_size")
#: What TinyCLIP puts before the names of a part, each wrapped for several devices or not.
_TINY_CLIP_PART: Final = re.compile(r"^_(?:image_encoder|text_encoder|logit_scale)\.(?:module\.)?")
_CLIP_KEYS: Final = frozenset({"embed_dim", "vision_cfg", "text_cfg", "quick_gelu"})
_VISION_KEYS: Final = frozenset({"image_size", "layers", "width", "head_width", "mlp_ratio", "patch_size"})
_TEXT_KEYS: Final = frozenset({"context_length", "vocab_size", "width", "heads", "layers", "mlp_ratio"})


def import_open_clip() -> Any:
    """The open_clip package.

    Raises:
        InputError: if it is not installed, or torchvision, which it imports, does not fit the installed torch.
    """
    from catransformers.models.loading.torchvision_compat import import_beside_torchvision  # noqa: PLC0415 - imports torch

    return import_beside_torchvision("open_clip", install("clip"))


def _configurations() -> dict[str, Path]:
    """open_clip's model configuration files by model name; empty if it is not installed."""
    found = importlib.util.find_spec("open_clip")
    if found is None or not found.submodule_search_locations:
        return {}
    folder = Path(next(iter(found.submodule_search_locations))) / "model_configs"
    return {path.stem: path for path in sorted(folder.glob("*.json"))}


def is_open_clip_name(name: str) -> bool:
    """Whether an open_clip model, of two plain transformers or not, has this name."""
    return _folded(name) in {known.casefold() for known in open_clip_names()}


def open_clip_names() -> tuple[str, ...]:
    """The names of open_clip's architectures; without it, those of the zoo."""
    return tuple(dict.fromkeys((*ZOO, *_configurations())))


def _folded(name: str) -> str:
    return name.replace("/", "-").casefold()


def open_clip_spec(name: str) -> ClipSpec:
    """The spec of an open_clip model by name (`ViT-B-16`, `ViT-B/16-quickgelu`); open_clip is not imported.

    Raises:
        InputError: for an unknown name (the nearest is offered), or an architecture that is not two plain transformers.
    """
    files = _configurations()
    known = {known.casefold(): known for known in (*ZOO, *files)}
    exact = known.get(_folded(name))
    if exact is None:
        problem = unknown_name("model.base", "base model", name, known.values())
        if not files:
            problem = Problem(
                problem.where, problem.what, problem.allowed, f"open_clip's other models need {install('clip')}"
            )
        raise InputError(problem)
    if exact not in files:
        return ZOO[exact]
    return spec_from_configuration(json.loads(files[exact].read_text(encoding="utf-8")), exact)


def spec_from_configuration(config: Mapping[str, Any], name: str) -> ClipSpec:
    """The spec that an open_clip model configuration describes.

    Raises:
        InputError: if it asks for anything that a CLIP of two plain transformers has not; all of it is named.
    """
    vision, text = dict(config.get("vision_cfg", {})), dict(config.get("text_cfg", {}))
    foreign = [
        prefix + key
        for prefix, table, keys in (
            ("", config, _CLIP_KEYS),
            ("vision.", vision, _VISION_KEYS),
            ("text.", text, _TEXT_KEYS),
        )
        for key, value in table.items()
        if key not in keys and value not in (None, False)
    ]
    foreign += [f"vision.{k}" for k in ("layers", "image_size", "patch_size") if not isinstance(vision.get(k, 0), int)]
    if foreign:
        problem = Problem("model.base", f"{name!r} is not a CLIP of two plain transformers: {', '.join(foreign)}")
        raise InputError(problem)
    width, text_width = int(vision.get("width", 768)), int(text.get("width", 512))
    head_dim, heads = int(vision.get("head_width", 64)), int(text.get("heads", 8))
    image, patch = int(vision.get("image_size", 224)), int(vision.get("patch_size", 16))
    return ClipSpec(
        vision=VisionSpec(
            layers=int(vision.get("layers", 12)),
            ffn_dim=int(width * float(vision.get("mlp_ratio", 4.0))),
            embed_dim=width,
            heads=width // head_dim,
            head_dim=head_dim,
            tokens=(image // patch) ** 2 + 1,
            image_size=image,
            patch_size=patch,
        ),
        text=TextSpec(
            layers=int(text.get("layers", 12)),
            ffn_dim=int(text_width * float(text.get("mlp_ratio", 4.0))),
            embed_dim=text_width,
            heads=heads,
            head_dim=text_width // heads,
            tokens=int(text.get("context_length", 77)),
            vocab_size=int(text.get("vocab_size", 49408)),
        ),
        projection_dim=int(config["embed_dim"]),
        activation="quick_gelu" if config.get("quick_gelu") else "gelu",
    )


def tensors_from_open_clip(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a checkpoint of open_clip, OpenAI or TinyCLIP by our names, which are open_clip's."""
    weights = {_TINY_CLIP_PART.sub("", name): tensor for name, tensor in tensors.items() if name not in _NOT_WEIGHTS}
    if "logit_scale" in weights and weights["logit_scale"].numel() == 1:
        weights["logit_scale"] = weights["logit_scale"].reshape(())
    return weights


def checkpoint_settings(name: str, pretrained: str) -> Mapping[str, Any]:
    """open_clip's settings of a published checkpoint: where it lies, its activation, how it wants its images.

    Args:
        name: the model's name in open_clip.
        pretrained: the tag, e.g. `datacomp_xl_s13b_b90k`.

    Raises:
        InputError: for an unknown tag, or if open_clip cannot be imported.
    """
    open_clip = import_open_clip()
    name = name.replace("/", "-")
    if not open_clip.pretrained.is_pretrained_cfg(name, pretrained):
        tags = open_clip.list_pretrained_tags_by_model(name)
        problem = unknown_name("model.pretrained", "checkpoint", pretrained, tags)
        allowed = ", or ".join(["a file", *([problem.allowed] if tags else [])])
        raise InputError(Problem(problem.where, problem.what, allowed, problem.hint))
    settings: Mapping[str, Any] = open_clip.get_pretrained_cfg(name, pretrained)
    return settings


def checkpoint(name: str, pretrained: str, *, allow_network: bool) -> Path:
    """The file of a published checkpoint.

    Args:
        name: the model's name in open_clip.
        pretrained: the tag.
        allow_network: whether it may be downloaded if no cache has it.

    Raises:
        InputError: for an unknown tag, and for a file that is not there while the network is not allowed.
    """
    settings, open_clip = checkpoint_settings(name, pretrained), import_open_clip()
    path = _cached(open_clip, settings)
    if path is None and allow_network:
        path = Path(open_clip.download_pretrained(settings))
    if path is None:
        repository = str(settings.get("hf_hub", "")).rpartition("/")[0]
        hint = "set model.allow_network = true to download it once, or give the path of a checkpoint file"
        if repository:
            hint += f" (for instance after `hf download {repository}`)"
        what = f"the weights {pretrained!r} of {name} are not on this machine, and the network is not allowed"
        raise InputError(Problem("model.pretrained", what, hint=hint))
    return path


def _cached(open_clip: Any, settings: Mapping[str, Any]) -> Path | None:
    """Where a checkpoint lies in Hugging Face's cache or in open_clip's own, if it does; safetensors first."""
    hub = importlib.import_module("huggingface_hub")
    repository, _, filename = str(settings.get("hf_hub", "")).rpartition("/")
    if repository:
        constants = importlib.import_module("open_clip.constants")
        names = [filename] if filename else [constants.HF_SAFE_WEIGHTS_NAME, constants.HF_WEIGHTS_NAME]
        names = list(dict.fromkeys([*(str(Path(n).with_suffix(".safetensors")) for n in names if filename), *names]))
        for candidate in names:
            found = hub.try_to_load_from_cache(repository, candidate)
            if isinstance(found, str):
                return Path(found)
    url = str(settings.get("url", ""))
    target = Path.home() / ".cache" / "clip" / url.rpartition("/")[2]
    return target if url and target.is_file() else None


def clip_tokenizer(context: int) -> Tokenizer:
    """CLIP's lower-case byte-pair tokeniser: texts (n) → ids (n, context), cut to `context` with the end token kept.

    Raises:
        InputError: if open_clip cannot be imported.
    """
    tokenizer = import_open_clip().SimpleTokenizer(context_length=context)

    def tokenize(texts: Sequence[str]) -> Tensor:
        ids: Tensor = tokenizer(list(texts))
        return ids

    return tokenize
