"""open_clip's models as base models: its architectures by name, its checkpoints into our `Clip`, its tokeniser.

Only what a CLIP of two plain transformers needs is read: the dimensions from open_clip's model configurations (without
importing it), the list of published checkpoints, and the byte-pair tokeniser. Weights come from a file or from the
caches that open_clip and Hugging Face keep; nothing is downloaded unless the caller says so. Every tensor must fit.

Source: Ilharco et al., OpenCLIP, 2021 (doi 10.5281/zenodo.5143773), MIT licence.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import pickle
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from catransformers.errors import InputError, IntegrityError, Problem, unknown_name
from catransformers.models.clip import Clip
from catransformers.models.storage import assign_tensors
from catransformers.models.torchvision_compat import ENVIRONMENT, declare_operators, is_mismatch
from catransformers.workloads.spec import ClipSpec, TextSpec, VisionSpec
from catransformers.workloads.zoo import ZOO

#: Texts (n) → token ids (n, context).
Tokenizer = Callable[[Sequence[str]], Tensor]

EXTRA: Final = 'pip install "catransformers[clip]"'
_MAX_NAMED_FAULTS: Final = 8
#: Entries of OpenAI's first checkpoints that are facts about the model, not weights.
_NOT_WEIGHTS: Final = ("input_resolution", "context_length", "vocab_size")
_CLIP_KEYS: Final = frozenset({"embed_dim", "vision_cfg", "text_cfg", "quick_gelu"})
_VISION_KEYS: Final = frozenset({"image_size", "layers", "width", "head_width", "mlp_ratio", "patch_size"})
_TEXT_KEYS: Final = frozenset({"context_length", "vocab_size", "width", "heads", "layers", "mlp_ratio"})


def import_open_clip() -> Any:
    """The open_clip package.

    Raises:
        InputError: if it is not installed, or torchvision, which it imports, does not fit the installed torch.
    """
    if os.environ.get(ENVIRONMENT) == "1" and importlib.util.find_spec("torchvision") is not None:
        declare_operators()
    try:
        return importlib.import_module("open_clip")
    except ImportError as error:
        raise InputError(Problem("open_clip", f"cannot be imported: {error}", hint=EXTRA)) from error
    except RuntimeError as error:
        if not is_mismatch(error):
            raise
        what = f"cannot be imported: the installed torchvision was not built for torch {torch.__version__}"
        hint = f"install the torchvision that belongs to it, from where torch came from, or set {ENVIRONMENT}=1"
        raise InputError(Problem("open_clip", what, hint=hint)) from error


def _configurations() -> dict[str, Path]:
    """open_clip's model configuration files by model name; empty if it is not installed."""
    found = importlib.util.find_spec("open_clip")
    if found is None or not found.submodule_search_locations:
        return {}
    folder = Path(next(iter(found.submodule_search_locations))) / "model_configs"
    return {path.stem: path for path in sorted(folder.glob("*.json"))}


def open_clip_spec(name: str) -> ClipSpec:
    """The spec of an open_clip model by name (`ViT-B-16`, `ViT-B/16-quickgelu`); open_clip is not imported.

    Raises:
        InputError: for an unknown name (the nearest is offered), or an architecture that is not two plain transformers.
    """
    files = _configurations()
    known = {known.casefold(): known for known in (*ZOO, *files)}
    exact = known.get(name.replace("/", "-").casefold())
    if exact is None:
        problem = unknown_name("model.base", "base model", name, known.values())
        if not files:
            problem = Problem(problem.where, problem.what, problem.allowed, f"open_clip's other models need {EXTRA}")
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


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """The weights in a checkpoint file of open_clip's making: safetensors, or torch's format without any code.

    Raises:
        InputError: if the file cannot be read, holds more than tensors, or is an executable TorchScript archive.
    """
    where = "model.pretrained"
    try:
        if path.suffix == ".safetensors":
            content: Any = load_file(path)
        else:
            content = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise InputError(Problem(where, f"{path} cannot be read: {error.strerror or error}")) from error
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        hint = "damaged, or holds code beside the tensors; give a safetensors file"
        raise InputError(Problem(where, f"{path} is not a checkpoint of tensors: {reason}", hint=hint)) from error
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise InputError(Problem(where, f"{path} does not hold a model's tensors by name"))
    return {str(name).removeprefix("module."): tensor for name, tensor in content.items()}


def clip_from_state_dict(spec: ClipSpec, tensors: Mapping[str, Tensor], where: str) -> Clip:
    """A `Clip` of `spec` with open_clip's weights, as float32.

    Raises:
        InputError: if a tensor is missing, too many or of another shape; they are named.
    """
    weights = {name: tensor.float() for name, tensor in tensors.items() if name not in _NOT_WEIGHTS}
    if "logit_scale" in weights and weights["logit_scale"].numel() == 1:
        weights["logit_scale"] = weights["logit_scale"].reshape(())
    with torch.device("meta"):
        model = Clip(spec)
    try:
        assign_tensors(model, weights, where)
    except IntegrityError as error:
        faults = str(error).split("; ")
        shown = "; ".join(faults[:_MAX_NAMED_FAULTS])
        more = f"; … ({len(faults)} in all)" if len(faults) > _MAX_NAMED_FAULTS else ""
        raise InputError(Problem("model.pretrained", shown + more)) from error
    return model.eval()


def checkpoint(name: str, pretrained: str, *, allow_network: bool) -> tuple[Path, Mapping[str, Any]]:
    """The file of a published checkpoint (a tag of open_clip's list) and open_clip's settings for it.

    Args:
        name: the model's name in open_clip.
        pretrained: the tag, e.g. `datacomp_xl_s13b_b90k`.
        allow_network: whether it may be downloaded if no cache has it.

    Raises:
        InputError: for an unknown tag, and for a file that is not there while the network is not allowed.
    """
    open_clip = import_open_clip()
    name = name.replace("/", "-")
    tags = open_clip.list_pretrained_tags_by_model(name)
    if not open_clip.pretrained.is_pretrained_cfg(name, pretrained):
        problem = unknown_name("model.pretrained", "checkpoint", pretrained, tags)
        raise InputError(
            Problem(problem.where, problem.what, f"a file, or {problem.allowed or 'nothing'}", problem.hint)
        )
    settings: Mapping[str, Any] = open_clip.get_pretrained_cfg(name, pretrained)
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
    return path, settings


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
