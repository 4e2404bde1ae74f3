"""One door to every base model: the shipped one, open_clip's by name, or a folder or file on disk."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from catransformers.errors import InputError, IntegrityError, Problem
from catransformers.models.clip import Clip
from catransformers.models.open_clip_base import (
    Tokenizer,
    checkpoint,
    clip_from_state_dict,
    clip_tokenizer,
    open_clip_spec,
    read_state_dict,
    spec_from_configuration,
)
from catransformers.models.preprocess import Preprocess, preprocess_from
from catransformers.models.storage import embedded_model, load_model
from catransformers.models.tensor_cache import digest
from catransformers.workloads.zoo import CLIP_VOCABULARY

#: What save_model writes, and what open_clip's folders (as published on Hugging Face) hold.
OWN_FILE: Final = "model.safetensors"
OPEN_CLIP_CONFIGURATION: Final = "open_clip_config.json"
OPEN_CLIP_WEIGHTS: Final = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")


@dataclass(frozen=True, slots=True, eq=False)
class Base:
    """A model to start from, and how it wants its inputs.

    Args:
        name: as the user gave it.
        model: in evaluation mode.
        sha256: of its weights by name, whatever file they came from.
        preprocess: from image files to its images; the embedded task makes its images itself.
    """

    name: str
    model: Clip
    sha256: str
    preprocess: Preprocess

    @property
    def reads_any_text(self) -> bool:
        """Whether it has CLIP's byte-pair vocabulary; the embedded model knows the words of its own task only."""
        return self.model.spec.text.vocab_size == CLIP_VOCABULARY

    def tokenizer(self) -> Tokenizer:
        """CLIP's tokeniser for this model's context length.

        Raises:
            InputError: if its vocabulary is not CLIP's, or open_clip cannot be imported.
        """
        if not self.reads_any_text:
            words = self.model.spec.text.vocab_size
            raise InputError(
                Problem(
                    "model.base",
                    f"{self.name!r} has a vocabulary of {words} words of its own task and cannot read other captions",
                    hint="use an open_clip model for your own captions",
                )
            )
        return clip_tokenizer(self.model.spec.text.tokens)


def load_base(base: str, pretrained: str | None = None, *, allow_network: bool = False) -> Base:
    """Load a base model.

    Args:
        base: `embedded`; a folder or a `.safetensors` file that this package wrote; a folder in open_clip's layout
            (as Hugging Face has them); or the name of an open_clip model.
        pretrained: for a name, which weights: a checkpoint file, or a tag of open_clip's list.
        allow_network: whether a tag's file may be downloaded where no cache has it.

    Raises:
        InputError: for an unknown name or tag, a missing file, weights that do not fit; says what to do.
        IntegrityError: if a file that this package wrote is damaged.
    """
    path = Path(base).expanduser()
    if base == "embedded" or path.exists():
        if pretrained is not None:
            what = f"{base!r} comes with its weights; {pretrained!r} cannot be added"
            raise InputError(Problem("model.pretrained", what, hint="leave it out"))
        if base == "embedded":
            return _own(base, embedded_model())
        return _from_path(base, path)
    spec = open_clip_spec(base)
    if pretrained is None:
        what = f"missing: which weights of {base}?"
        hint = "a random model would be searched for nothing"
        raise InputError(Problem("model.pretrained", what, "a checkpoint file, or a tag of open_clip's list", hint))
    file = Path(pretrained).expanduser()
    settings = {}
    if not file.is_file():
        if file.suffix in (".safetensors", ".pt", ".pth", ".bin") or len(file.parts) > 1:
            raise InputError(Problem("model.pretrained", f"there is no file {pretrained}"))
        file, found = checkpoint(base, pretrained, allow_network=allow_network)
        settings = dict(found)
    if settings.get("quick_gelu"):
        spec = replace(spec, activation="quick_gelu")
    model = clip_from_state_dict(spec, read_state_dict(file), str(file))
    preprocess = preprocess_from(spec.vision.image_size, settings, "model.pretrained")
    return Base(base, model, digest(model.state_dict()), preprocess)


def _own(name: str, model: Clip) -> Base:
    model = model.eval()
    return Base(name, model, digest(model.state_dict()), Preprocess(model.spec.vision.image_size))


def _from_path(base: str, path: Path) -> Base:
    if path.is_file():
        return _own(base, load_model(path))
    if (path / OPEN_CLIP_CONFIGURATION).is_file():
        return _from_open_clip_folder(base, path)
    if not (path / OWN_FILE).is_file():
        allowed = f"{OWN_FILE} with its .json, or {OPEN_CLIP_CONFIGURATION} with its weights"
        raise InputError(Problem("model.base", f"the folder {base} holds no model", allowed))
    return _own(base, load_model(path / OWN_FILE))


def _from_open_clip_folder(base: str, path: Path) -> Base:
    try:
        config = json.loads((path / OPEN_CLIP_CONFIGURATION).read_text(encoding="utf-8"))
        description, settings = config.get("model_cfg", config), config.get("preprocess_cfg", {})
        spec = spec_from_configuration(description, base)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise IntegrityError(f"{path / OPEN_CLIP_CONFIGURATION}: not an open_clip configuration: {error}") from error
    weights = next((path / name for name in OPEN_CLIP_WEIGHTS if (path / name).is_file()), None)
    if weights is None:
        problem = Problem("model.base", f"the folder {base} holds no weights", ", ".join(OPEN_CLIP_WEIGHTS))
        raise InputError(problem)
    model = clip_from_state_dict(spec, read_state_dict(weights), str(weights))
    return Base(
        base, model, digest(model.state_dict()), preprocess_from(spec.vision.image_size, settings, "model.base")
    )
