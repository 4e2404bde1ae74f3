"""One door to every base model: CLIP, ViT, BERT and Llama, shipped, on disk, in a library's cache, or downloaded.

A base model is named by what people call it: `embedded`, a folder or file, an open_clip or timm name with a checkpoint,
a repository on Hugging Face's hub, or a name of the zoo. Every tensor of the checkpoint must find its place and every
parameter of the net its tensor; what differs is told by name. Weights are mapped from their files where their type and
layout allow it, so that processes share them.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from catransformers.errors import InputError, IntegrityError, Problem
from catransformers.lazy import lazy
from catransformers.models.loading.folders import TOKENIZER, WHERE
from catransformers.models.loading.named import find_source
from catransformers.registry import FAMILIES
from catransformers.workloads.families import family_of
from catransformers.workloads.spec import ModelSpec
from catransformers.workloads.zoo import CLIP_VOCABULARY

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from catransformers.models.families import nets
    from catransformers.models.families.net import Net
    from catransformers.models.loading import open_clip, storage, tensor_cache
    from catransformers.models.loading import tokenizer as tokenizers
    from catransformers.models.loading.preprocess import Preprocess
    from catransformers.models.loading.tokenizer import TextTokenizer
else:  # these import torch; what a model is can be told without it
    torch = lazy("torch")
    nets = lazy("catransformers.models.families.nets")
    open_clip = lazy("catransformers.models.loading.open_clip")
    storage = lazy("catransformers.models.loading.storage")
    tensor_cache = lazy("catransformers.models.loading.tensor_cache")
    tokenizers = lazy("catransformers.models.loading.tokenizer")

#: Seed of the fresh weights of a classifier's dense layer.
_CLASSIFIER_SEED: Final = 0


@dataclass(frozen=True, slots=True, eq=False)
class Base:
    """A model to start from, and how it wants its inputs.

    Args:
        name: as the user gave it.
        net: in evaluation mode.
        sha256: of its weights by name, whatever file they came from.
        preprocess: from image files to its images; None for a model of texts, or one that does not say.
        tokenizer_path: its `tokenizer.json`, or a folder with the older files of one; None if it has none of its own.
        class_names: of its classifier's outputs, where they have names.
    """

    name: str
    net: Net
    sha256: str
    preprocess: Preprocess | None = None
    tokenizer_path: Path | None = None
    class_names: tuple[str, ...] | None = None

    def tokenizer(self) -> Callable[[Sequence[str]], Tensor]:
        """A CLIP's tokeniser: texts (n) → ids (n, context), cut to the context with the end token kept.

        For CLIP's vocabulary it is open_clip's, where that is installed; else the model's own.

        Raises:
            InputError: if it is no CLIP, has neither vocabulary nor tokeniser, or a library for it is missing.
        """
        spec = self.net.spec
        if not family_of(spec).pairs:
            raise InputError(
                Problem(WHERE, f"{self.name!r} is of family {spec.family!r} and reads no captions", "clip")
            )
        words = spec.text.vocab_size
        own = self.tokenizer_path
        if words == CLIP_VOCABULARY and (own is None or find_spec("open_clip") is not None):
            return open_clip.clip_tokenizer(spec.text.tokens)
        if own is None:
            what = f"{self.name!r} has a vocabulary of {words} words of its own task and cannot read other captions"
            raise InputError(Problem(WHERE, what, hint="use an open_clip model for your own captions"))
        tokens = self.text_tokenizer()
        return lambda texts: tokens.encode(list(texts), spec.text.tokens)["tokens"]

    def text_tokenizer(self) -> TextTokenizer:
        """The tokeniser that came with the model.

        Raises:
            InputError: if there is none, it cannot be read, or does not fit the model's table of tokens.
        """
        if self.tokenizer_path is None:
            what = f"{self.name!r} has no tokeniser beside its weights"
            raise InputError(Problem(WHERE, what, hint=f"put its {TOKENIZER} into the folder"))
        tokens = tokenizers.TextTokenizer(self.tokenizer_path)
        spec = self.net.spec
        vocabulary = family_of(spec).vocabulary
        rows = vocabulary(spec) if vocabulary is not None else 0
        if tokens.vocab_size > rows:
            what = f"the tokeniser of {self.name!r} has {tokens.vocab_size} tokens, the model a table of {rows}"
            raise InputError(Problem(WHERE, what))
        return tokens

    def metadata(self) -> dict[str, object]:
        """What a model made from this one has to say in its description: how it wants images, its classes' names."""
        said: dict[str, object] = {}
        if self.preprocess is not None:
            said["preprocess"] = self.preprocess.to_dict()
        if self.class_names is not None:
            said["class_names"] = list(self.class_names)
        return said

    def save_files(self, folder: Path) -> list[Path]:
        """Write what a model made from this one needs beside its weights: the tokeniser, if there is one.

        Returns:
            The files written.

        Raises:
            InputError: if a tokeniser in older files cannot be read.
            OSError: if the folder cannot be written.
        """
        if self.tokenizer_path is None:
            return []
        target = folder / TOKENIZER
        folder.mkdir(parents=True, exist_ok=True)
        if self.tokenizer_path.is_dir():
            self.text_tokenizer().save(target)
        elif not (target.exists() and target.samefile(self.tokenizer_path)):
            shutil.copyfile(self.tokenizer_path, target)
        return [target]


def load_base(
    base: str, pretrained: str | None = None, *, allow_network: bool = False, classes: int | None = None
) -> Base:
    """Load a base model.

    Args:
        base: `embedded` or another model that ships with the package; a folder or a `.safetensors` file that this
            package wrote; a folder in the layout of open_clip, timm or Hugging Face; the name of an open_clip or timm
            model, or open_clip's JSON file of one; a repository on the hub, or a name of the zoo (`bert-base`).
        pretrained: for a name, which weights: a checkpoint file, a folder, or a tag of open_clip's list.
        allow_network: whether weights may be downloaded where no cache has them.
        classes: asks for a classifier of so many classes on an encoder (ViT, BERT): a fresh one, unless it has that.

    Raises:
        InputError: for an unknown name or tag, a missing file, weights that do not fit; says what to do.
        IntegrityError: if a file that this package wrote is damaged.
    """
    source = find_source(base, pretrained, allow_network=allow_network)
    _with_classes(source.spec, classes, base)
    preprocess, net = source.preprocess(), source.net()
    names = source.class_names
    if classes is not None and net.spec.classes != classes:
        net, names = _add_classifier(net, classes), None
    return Base(base, net.eval(), tensor_cache.digest(net.state_dict()), preprocess, source.tokenizer, names)


def spec_of_base(
    base: str, pretrained: str | None = None, *, allow_network: bool = False, classes: int | None = None
) -> ModelSpec:
    """The spec of the base model that `load_base` gives for the same arguments; its weights are not read.

    Where a named model is not on this machine, its architecture as published; `load_base` says what is missing.

    Raises:
        InputError: for an unknown name or tag, or what cannot be a base model.
    """
    try:
        source = find_source(base, pretrained, allow_network=allow_network)
    except IntegrityError as error:
        raise InputError(Problem(WHERE, str(error))) from error
    return _with_classes(source.spec, classes, base)


def _with_classes(spec: ModelSpec, classes: int | None, name: str) -> ModelSpec:
    """The spec with the classifier that is asked for, in the place of one of another size.

    Raises:
        InputError: if there cannot be one.
    """
    if classes is None:
        return spec
    change = family_of(spec).with_classes
    if change is None:
        able = ", ".join(known for known, family in FAMILIES.items() if family.with_classes is not None)
        raise InputError(Problem(WHERE, f"{name!r} is of family {spec.family!r}, which has no classifier", able))
    if classes < 1:
        raise InputError(Problem(WHERE, f"a classifier of {classes} classes", "from 1"))
    changed: ModelSpec = change(spec, classes)
    return changed


def _add_classifier(net: Net, classes: int) -> Net:
    """The net with a fresh classifier; its own tensors are shared, not copied, where the family allows it."""
    if net.spec.classes:
        bare = nets.make_net(replace(net.spec, classes=0), empty=True)
        own = net.state_dict()
        storage.assign_tensors(
            bare, {name: own[name] for name in bare.state_dict()}, "without its classifier", copy=False
        )
        net = bare
    formats: Any = import_module(family_of(net.spec).formats)
    if hasattr(formats, "add_classifier"):  # the family's own way to initialise it
        added: Net = formats.add_classifier(net, classes, _CLASSIFIER_SEED)
        return added
    made = nets.make_net(replace(net.spec, classes=classes), empty=True)
    tensors = net.state_dict()
    for name, tensor in made.state_dict().items():
        if name not in tensors:
            tensors[name] = torch.zeros(tensor.shape)
    storage.assign_tensors(made, tensors, "a fresh classifier", copy=False)
    return made
