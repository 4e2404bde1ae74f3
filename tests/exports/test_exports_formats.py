"""Exports: every format of every family, loaded by the library it is for; shapes that it cannot hold are refused."""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import catransformers
from catransformers.errors import InputError
from catransformers.exports.formats import CARD, TOKENIZER, Model, formats_of, write_model
from catransformers.models.families.net import Net
from catransformers.models.families.nets import make_net
from catransformers.models.loading.base import load_base
from catransformers.models.loading.preprocess import Preprocess
from catransformers.models.loading.tokenizer import TextTokenizer, train_bpe, train_wordpiece
from catransformers.models.loading.torchvision_compat import declare_operators
from catransformers.models.pruning.prune import prune
from catransformers.registry import EXPORT_FORMATS, FAMILIES
from catransformers.testing.kit import outputs_of, random_importance, randomised
from catransformers.workloads.spec import (
    BertSpec,
    ClipSpec,
    EncoderSpec,
    LlamaSpec,
    ModelSpec,
    TextSpec,
    VisionSpec,
    VitSpec,
)

VOCABULARY, SAMPLES = 40, 3
VISION = VisionSpec(layers=3, ffn_dim=22, embed_dim=12, heads=3, head_dim=4, tokens=5, image_size=32, patch_size=16)
ENCODER = EncoderSpec(layers=3, ffn_dim=22, embed_dim=12, heads=3, head_dim=4, tokens=9)
LLAMA = LlamaSpec(
    layers=3,
    ffn_dim=22,
    embed_dim=24,
    heads=6,
    kv_heads=3,
    head_dim=4,
    vocab_size=VOCABULARY,
    tied_embeddings=False,
    max_tokens=32,
    prompt_tokens=9,
    new_tokens=0,
)
BASES: dict[str, ModelSpec] = {
    "clip": ClipSpec(VISION, TextSpec(3, 22, 12, 3, 4, 9, vocab_size=VOCABULARY), 6, "quick_gelu"),
    "vit": VitSpec(VISION, classes=3),
    "vit of means": VitSpec(replace(VISION, tokens=4), classes=3, class_token=False, pooling="mean"),
    "bert": BertSpec(ENCODER, vocab_size=VOCABULARY, positions=16, classes=3),
    "roberta": BertSpec(
        ENCODER, vocab_size=VOCABULARY, positions=16, token_types=1, classes=3, norm_eps=1e-5, position_offset=2
    ),
    "distilbert": BertSpec(
        ENCODER, vocab_size=VOCABULARY, positions=16, token_types=0, classes=3, pooler_activation="relu"
    ),
    "encoder": BertSpec(ENCODER, vocab_size=VOCABULARY, positions=16, classes=0),
    "llama": LLAMA,
    "qwen2": replace(LLAMA, qkv_bias=True, tied_embeddings=True),
}
#: One head, four channels, half of the neurons and a layer less: the width is still heads × head size.
REGULAR = {"layers": 2, "ffn_dim": 11, "embed_dim": 8, "heads": 2}
REGULAR_LLAMA = {"layers": 2, "ffn_dim": 11, "embed_dim": 16, "kv_heads": 2}
#: The heads stay, the width does not.
IRREGULAR = {"layers": 2, "ffn_dim": 9, "embed_dim": 7, "heads": 2}
IRREGULAR_LLAMA = {"layers": 2, "ffn_dim": 9, "embed_dim": 19, "kv_heads": 1}


def pruned(name: str, *, regular: bool = True) -> Net:
    net = randomised(make_net(BASES[name]))
    if net.spec.family == "llama":
        values = REGULAR_LLAMA if regular else IRREGULAR_LLAMA
    else:
        small = REGULAR if regular else IRREGULAR
        prefixes = [stack.prefix for stack in net.stacks()]
        values = {prefix + key: value for prefix in prefixes for key, value in small.items()}
    return prune(net, net.spec.with_dimensions(values), random_importance(net))


def batch_of(net: Net, samples: int = SAMPLES, length: int | None = None) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(3)
    keys = {key for stack in net.stacks() for key in stack.inputs}
    batch = {}
    if "images" in keys:
        batch["images"] = torch.randn(samples, 3, 32, 32, generator=generator)
    if "tokens" in keys:
        batch["tokens"] = torch.randint(3, VOCABULARY, (samples, length or 9), generator=generator)
    if "mask" in keys:
        batch["mask"] = torch.arange(length or 9) < torch.arange(1, samples + 1)[:, None] + 1
    if "types" in keys and net.spec.token_types > 1:
        batch["types"] = torch.randint(0, 2, batch["tokens"].shape, generator=generator)
    return batch


def same(ours: Tensor, theirs: Tensor, tolerance: float = 1e-6) -> None:
    assert ours.std() > 0.01
    largest = max(1.0, float(ours.detach().abs().max()))
    torch.testing.assert_close(theirs.float(), ours, rtol=0, atol=tolerance * largest)


def library(name: str) -> Any:
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"{name} is not installed")
    if importlib.util.find_spec("torchvision") is not None:
        declare_operators()
    return importlib.import_module(name)


# The package's own format.


@pytest.mark.parametrize("name", BASES)
@pytest.mark.parametrize("regular", [True, False])
def test_the_own_format_holds_every_shape(tmp_path: Path, name: str, regular: bool) -> None:
    net = pruned(name, regular=regular)
    files = write_model(Model(net, {"note": "x"}), "catransformers", tmp_path)
    assert sorted(files) == sorted(tmp_path.iterdir())
    again = catransformers.load(tmp_path)
    assert again.spec == net.spec
    for key, output in outputs_of(net, batch_of(net)).items():
        assert torch.equal(outputs_of(again, batch_of(net))[key], output)


# Other libraries.


def test_open_clip_loads_it(tmp_path: Path) -> None:
    open_clip, net = library("open_clip"), pruned("clip")
    preprocess = Preprocess(32, (0.1, 0.2, 0.3), (0.4, 0.5, 0.6), "bilinear")
    write_model(Model(net, {"preprocess": preprocess.to_dict()}), "open_clip", tmp_path)
    model, transform = open_clip.create_model_from_pretrained(f"local-dir:{tmp_path}")
    batch = batch_of(net)
    ours = outputs_of(net, batch)
    with torch.no_grad():
        same(ours["image"], model.encode_image(batch["images"], normalize=True))
        same(ours["text"], model.encode_text(batch["tokens"], normalize=True))
    assert torch.equal(model.logit_scale, ours["logit_scale"])
    (normalize,) = [step for step in transform.transforms if type(step).__name__ == "Normalize"]
    assert tuple(normalize.mean) == preprocess.mean
    assert tuple(normalize.std) == preprocess.std
    assert load_base(str(tmp_path)).preprocess == preprocess


@pytest.mark.parametrize("name", ["vit", "vit of means"])
def test_timm_loads_it(tmp_path: Path, name: str) -> None:
    timm, net = library("timm"), pruned(name)
    preprocess = Preprocess(32, (0.1, 0.2, 0.3), (0.4, 0.5, 0.6), "bilinear", resize_size=37)
    metadata = {"preprocess": preprocess.to_dict(), "class_names": ["a", "b", "c"]}
    write_model(Model(net, metadata), "timm", tmp_path)
    model = timm.create_model(f"local-dir:{tmp_path}", pretrained=True).eval()
    with torch.no_grad():
        same(outputs_of(net, batch_of(net))["logits"], model(batch_of(net)["images"]))
    config = timm.data.resolve_data_config({}, model=model)
    assert config["input_size"] == (3, 32, 32)
    assert (tuple(config["mean"]), tuple(config["std"])) == (preprocess.mean, preprocess.std)
    assert model.pretrained_cfg["label_names"] == ["a", "b", "c"]
    again = load_base(str(tmp_path))
    assert again.net.spec == net.spec
    assert again.preprocess == preprocess


HUGGINGFACE = {
    "clip": "CLIPModel",
    "vit": "ViTForImageClassification",
    "bert": "BertForSequenceClassification",
    "roberta": "RobertaForSequenceClassification",
    "distilbert": "DistilBertForSequenceClassification",
    "encoder": "BertModel",
    "llama": "LlamaForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
}


@pytest.mark.parametrize("name", HUGGINGFACE)
def test_transformers_loads_it(tmp_path: Path, name: str) -> None:
    transformers, net = library("transformers"), pruned(name)
    metadata = {"class_names": ["no", "maybe", "yes"]} if getattr(net.spec, "classes", 0) else {}
    write_model(Model(net, metadata), "huggingface", tmp_path)
    kind = getattr(transformers, HUGGINGFACE[name])
    model, report = kind.from_pretrained(tmp_path, output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    compare_with_transformers(net, model.eval())
    if metadata:
        assert model.config.id2label == {0: "no", 1: "maybe", 2: "yes"}
        assert model.config.label2id["yes"] == 2
        assert load_base(str(tmp_path)).class_names == ("no", "maybe", "yes")
    assert load_base(str(tmp_path)).net.spec.dimensions() == net.spec.dimensions()


def compare_with_transformers(net: Net, model: Any) -> None:
    batch = batch_of(net)
    ours = outputs_of(net, batch)
    given = {}
    if "images" in batch:
        given["pixel_values"] = batch["images"]
    if "tokens" in batch:
        given["input_ids"] = batch["tokens"]
    if "mask" in batch:
        given["attention_mask"] = batch["mask"].long()
    if "types" in batch:
        given["token_type_ids"] = batch["types"]
    with torch.no_grad():
        theirs = model(**given)
    if net.spec.family == "clip":
        same(ours["image"], theirs.image_embeds)
        same(ours["text"], theirs.text_embeds)
    elif "features" in ours:
        same(ours["features"], theirs.pooler_output)
    else:
        same(ours["logits"], theirs.logits)


@pytest.mark.parametrize("name", ["clip", "vit"])
def test_transformers_prepares_images_alike(tmp_path: Path, name: str) -> None:
    from PIL import Image

    transformers, net = library("transformers"), pruned(name)
    mode = "shortest" if name == "clip" else "squash"
    preprocess = Preprocess(32, (0.1, 0.2, 0.3), (0.4, 0.5, 0.6), "bicubic", mode, resize_size=36, floor_crop=True)
    write_model(Model(net, {"preprocess": preprocess.to_dict()}), "huggingface", tmp_path)
    assert load_base(str(tmp_path)).preprocess == preprocess
    kind = transformers.CLIPImageProcessor if name == "clip" else transformers.ViTImageProcessor
    processor = kind.from_pretrained(tmp_path)
    pixels = torch.randint(0, 256, (50, 40, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    image = Image.fromarray(pixels.numpy())
    theirs = processor(image, return_tensors="pt")["pixel_values"][0]
    gap = (theirs - preprocess(image)).abs()
    assert theirs.shape == (3, 32, 32)
    if name == "clip":  # a ViT's processor does not crop
        assert float(gap.median()) < 0.02  # it resizes with another library


@pytest.mark.parametrize("name", ["vit", "llama", "qwen2"])
def test_transformers_holds_every_shape_of_families_that_say_the_head_s_size(tmp_path: Path, name: str) -> None:
    transformers, net = library("transformers"), pruned(name, regular=False)
    write_model(Model(net), "huggingface", tmp_path)
    kind = json.loads((tmp_path / "config.json").read_text())["architectures"][0]
    compare_with_transformers(net, getattr(transformers, kind).from_pretrained(tmp_path).eval())


# Refusals.


@pytest.mark.parametrize(
    ("name", "kind", "told"),
    [
        ("clip", "open_clip", ["vision.heads", "text.heads"]),
        ("clip", "huggingface", ["vision.heads", "text.heads"]),
        ("vit", "timm", ["heads"]),
        ("bert", "huggingface", ["heads"]),
        ("roberta", "huggingface", ["heads"]),
        ("distilbert", "huggingface", ["heads"]),
    ],
)
def test_irregular_shapes_are_refused_with_the_reason(tmp_path: Path, name: str, kind: str, told: list[str]) -> None:
    folder = tmp_path / "new"
    with pytest.raises(InputError) as caught:
        write_model(Model(pruned(name, regular=False)), kind, folder)
    assert [problem.where for problem in caught.value.problems] == told
    assert all("own format" in problem.hint for problem in caught.value.problems)
    assert not folder.exists()


def test_timm_s_classes_have_one_epsilon(tmp_path: Path) -> None:
    net = randomised(make_net(replace(BASES["vit"], norm_eps=1e-5)))  # type: ignore[type-var]
    with pytest.raises(InputError, match="norm_eps"):
        write_model(Model(net), "timm", tmp_path)


def test_unknown_formats_are_told_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="did you mean 'huggingface'"):
        write_model(Model(pruned("vit")), "hugingface", tmp_path)


@pytest.mark.parametrize(("name", "kind"), [("bert", "timm"), ("llama", "open_clip"), ("vit", "open_clip")])
def test_formats_of_other_families_are_refused(tmp_path: Path, name: str, kind: str) -> None:
    with pytest.raises(InputError) as caught:
        write_model(Model(pruned(name)), kind, tmp_path)
    (problem,) = caught.value.problems
    assert problem.allowed == ", ".join(formats_of(pruned(name).spec.family))
    assert not list(tmp_path.iterdir())


def test_class_names_must_be_as_many_as_classes(tmp_path: Path) -> None:
    for kind in ("huggingface", "timm"):
        with pytest.raises(InputError, match="names of 3 classes"):
            write_model(Model(pruned("vit"), {"class_names": ["a", "b"]}), kind, tmp_path)
    assert not list(tmp_path.iterdir())


def test_every_family_has_the_own_format_onnx_and_hugging_face_s() -> None:
    for family in FAMILIES:
        assert {"catransformers", "huggingface", "onnx"} <= set(formats_of(family))
    assert formats_of("a family of others") == ("catransformers",)
    assert all(kind.text for kind in EXPORT_FORMATS.values())
    assert all(set(FAMILIES[family].exports) <= set(EXPORT_FORMATS) for family in FAMILIES)


# What goes beside.


TEXTS = ("The quick brown fox  jumps over\n the lazy dog.", "A smaller model is quicker, too. Ärger, café") * 3


def tokenizer(folder: Path, kind: str) -> Path:
    library("tokenizers")
    path = folder / "words.json"
    made = train_bpe(TEXTS, 300) if kind == "pairs" else train_wordpiece(TEXTS, 150)
    made.save(path)
    return path


@pytest.mark.parametrize("words", ["pairs", "pieces"])
@pytest.mark.parametrize("name", ["bert", "roberta", "distilbert", "llama", "qwen2", "clip"])
def test_transformers_reads_texts_alike(tmp_path: Path, name: str, words: str) -> None:
    transformers, net = library("transformers"), pruned(name)
    path = tokenizer(tmp_path, words)
    write_model(Model(net, tokenizer=path), "huggingface", tmp_path / "model")
    # For a Qwen2 AutoTokenizer takes Qwen2's own class, whatever the folder says.
    kind = transformers.PreTrainedTokenizerFast if (name, words) == ("qwen2", "pieces") else transformers.AutoTokenizer
    theirs = kind.from_pretrained(tmp_path / "model")
    ours = TextTokenizer(path)
    texts = ["the  Quick dog. café\n x", "a"]
    batch = theirs(texts, padding=True, return_tensors="pt")
    expected = ours.encode(texts, batch["input_ids"].shape[1])
    assert torch.equal(batch["input_ids"], expected["tokens"])
    assert torch.equal(batch["attention_mask"].bool(), expected["mask"])
    assert ("token_type_ids" in batch) == bool(getattr(net.spec, "token_types", 0))
    assert theirs.pad_token_id == ours.pad_id


def test_a_tokenizer_that_cannot_be_read_is_told_before_anything_is_written(tmp_path: Path) -> None:
    library("tokenizers")
    words = tmp_path / "words.json"
    words.write_text("{}")
    with pytest.raises(InputError, match=r"words\.json"):
        write_model(Model(pruned("bert"), tokenizer=words), "huggingface", tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_a_folder_of_a_tokenizer_does_too(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    tokenizer(source, "pieces").rename(source / TOKENIZER)
    write_model(Model(pruned("bert"), tokenizer=source), "catransformers", tmp_path / "model")
    text = "the lazy dog"
    assert torch.equal(
        TextTokenizer(tmp_path / "model" / TOKENIZER).encode_stream(text),
        TextTokenizer(source / TOKENIZER).encode_stream(text),
    )


@pytest.mark.parametrize("kind", ["catransformers", "huggingface", "open_clip"])
def test_tokenizer_and_card_go_beside(tmp_path: Path, kind: str) -> None:
    words = tokenizer(tmp_path, "pieces")
    folder = tmp_path / "a" / "b"
    files = write_model(Model(pruned("clip"), tokenizer=words, card="# A model\n"), kind, folder)
    assert sorted(files) == sorted(folder.iterdir())
    assert (folder / TOKENIZER).read_bytes() == words.read_bytes()
    assert (folder / CARD).read_text() == "# A model\n"


def test_an_export_replaces_what_is_there(tmp_path: Path) -> None:
    write_model(Model(pruned("vit")), "catransformers", tmp_path)
    other = pruned("vit", regular=False)
    write_model(Model(other), "catransformers", tmp_path)
    assert catransformers.load(tmp_path).spec == other.spec


@pytest.mark.parametrize("kind", ["catransformers", "huggingface", "timm"])
def test_a_folder_that_cannot_be_written(tmp_path: Path, kind: str) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(OSError, match="file"):
        write_model(Model(pruned("vit")), kind, tmp_path / "file" / "folder")


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write everywhere")
def test_a_folder_without_the_right_to_write(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(OSError, match="denied"):
        write_model(Model(pruned("vit")), "catransformers", tmp_path)


def test_half_precision_is_kept(tmp_path: Path) -> None:
    net = pruned("bert").bfloat16()
    write_model(Model(net), "catransformers", tmp_path)
    again = catransformers.load(tmp_path)
    assert {parameter.dtype for parameter in again.parameters()} == {torch.bfloat16}
