"""One door to every base model: folders as the original libraries write them; what is wrong with others, by name."""

from __future__ import annotations

import importlib
import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from catransformers.errors import InputError, IntegrityError
from catransformers.models.families.nets import make_net
from catransformers.models.loading.base import Base, load_base, spec_of_base
from catransformers.models.loading.preprocess import HALF, Preprocess
from catransformers.models.loading.storage import save_model
from catransformers.workloads.dimensions import EncoderSpec, VisionSpec
from catransformers.workloads.spec import BertSpec, ClipSpec, LlamaSpec, ModelSpec, VitSpec
from catransformers.workloads.vit import parameters as vit_parameters


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing in this file may reach the network."""
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("the network was used"))
    monkeypatch.setattr("socket.getaddrinfo", lambda *_a, **_k: pytest.fail("the network was used"))


def randomised(net: Any) -> Any:
    """The net with every parameter drawn anew: no bias zero, no norm the identity."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.2)
            if parameter.ndim == 1:
                parameter.add_(0.5)
    return net.eval()


ENCODER = {"hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 2, "num_attention_heads": 3}
IMAGE = {"image_size": 32, "patch_size": 16}
TEXT = {"vocab_size": 60, "max_position_embeddings": 16, "num_labels": 3}
NAMES = {"id2label": {0: "cat", 1: "dog", 2: "cow"}, "label2id": {"cat": 0, "dog": 1, "cow": 2}}
DISTIL = {"dim": 24, "hidden_dim": 40, "n_layers": 2, "n_heads": 3}
CAUSAL = {
    "hidden_size": 24,
    "intermediate_size": 40,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 60,
    "max_position_embeddings": 16,
    "eos_token_id": 1,
    "bos_token_id": 0,
    "pad_token_id": None,
}
#: Class, its configuration's, and arguments of that.
MODELS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "clip": (
        "CLIPModel",
        "CLIPConfig",
        {
            "text_config": {**ENCODER, "vocab_size": 60, "max_position_embeddings": 16, "eos_token_id": 59},
            "vision_config": ENCODER | IMAGE,
            "projection_dim": 20,
        },
    ),
    "vit": ("ViTForImageClassification", "ViTConfig", ENCODER | IMAGE | NAMES),
    "vit without classes": ("ViTModel", "ViTConfig", ENCODER | IMAGE),
    "bert": ("BertForSequenceClassification", "BertConfig", ENCODER | TEXT | NAMES),
    "bert without classes": ("BertModel", "BertConfig", ENCODER | TEXT),
    "roberta": ("RobertaForSequenceClassification", "RobertaConfig", ENCODER | TEXT | {"pad_token_id": 1}),
    "distilbert": ("DistilBertForSequenceClassification", "DistilBertConfig", DISTIL | TEXT),
    "llama": ("LlamaForCausalLM", "LlamaConfig", CAUSAL),
    "llama with a tied table": ("LlamaForCausalLM", "LlamaConfig", CAUSAL | {"tie_word_embeddings": True}),
    "mistral": ("MistralForCausalLM", "MistralConfig", CAUSAL | {"sliding_window": None}),
    "qwen2": ("Qwen2ForCausalLM", "Qwen2Config", CAUSAL),
}


def made(transformers: Any, name: str) -> Any:
    kind, config, arguments = MODELS[name]
    return randomised(getattr(transformers, kind)(getattr(transformers, config)(**arguments)))


def batch() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randint(5, 50, (3, 10), generator=generator)
    tokens[:, 9] = 59
    images = torch.randn(3, 3, 32, 32, generator=generator)
    return {"images": images, "tokens": tokens, "mask": torch.ones(3, 10, dtype=torch.bool)}


def theirs(model: Any, name: str) -> dict[str, Tensor]:
    """What the original makes of the batch, by our names."""
    values = batch()
    if name == "clip":
        result = model(input_ids=values["tokens"], pixel_values=values["images"])
        return {"image": result.image_embeds, "text": result.text_embeds}
    result = model(values["images"] if name.startswith("vit") else values["tokens"])
    if name.startswith("vit without"):
        return {"features": result.last_hidden_state[:, 0]}
    return {"features": result.pooler_output} if "without" in name else {"logits": result.logits}


def same_outputs(base: Base, expected: dict[str, Tensor], tolerance: float = 1e-6) -> None:
    with torch.no_grad():
        outputs = base.net.outputs(batch())
    for name, value in expected.items():
        assert float(value.std()) > 0.01
        scale = max(1.0, float(value.abs().max()))
        torch.testing.assert_close(outputs[name], value, atol=tolerance * scale, rtol=0)


@pytest.mark.parametrize("name", MODELS)
def test_what_transformers_saves_gives_its_outputs(transformers: Any, name: str, tmp_path: Path) -> None:
    model = made(transformers, name)
    model.save_pretrained(tmp_path)
    base = load_base(str(tmp_path))
    with torch.no_grad():
        same_outputs(base, theirs(model, name))
    assert base.net.spec == spec_of_base(str(tmp_path))
    assert not base.net.training
    assert (base.preprocess is not None) == (name.split(maxsplit=1)[0] in ("clip", "vit"))
    assert base.class_names == (("cat", "dog", "cow") if name in ("vit", "bert") else None)


@pytest.mark.parametrize("name", ["llama", "bert", "clip"])
def test_shards_are_read_and_a_missing_one_is_named(transformers: Any, name: str, tmp_path: Path) -> None:
    model = made(transformers, name)
    model.save_pretrained(tmp_path, max_shard_size="8KB")
    shards = sorted(tmp_path.glob("model-*.safetensors"))
    assert len(shards) > 2
    with torch.no_grad():
        same_outputs(load_base(str(tmp_path)), theirs(model, name))
    shards[1].unlink()
    with pytest.raises(InputError, match=shards[1].name):
        load_base(str(tmp_path))


@pytest.mark.parametrize("name", [name for name in MODELS if "without" not in name])
def test_missing_and_extra_tensors_are_named(transformers: Any, name: str, tmp_path: Path) -> None:
    made(transformers, name).save_pretrained(tmp_path)
    path = tmp_path / "model.safetensors"
    tensors = load_file(path)
    gone = max(
        name
        for name in tensors
        if name.endswith(("fc1.weight", "lin1.weight", "mlp.up_proj.weight", "intermediate.dense.weight"))
    )
    del tensors[gone]
    save_file({**tensors, "surprise.weight": torch.zeros(2)}, path, {"format": "pt"})
    with pytest.raises(InputError) as caught:
        load_base(str(tmp_path))
    assert "missing" in str(caught.value)
    assert "unexpected surprise.weight" in str(caught.value)
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(InputError, match=r"model\.safetensors is not a"):
        load_base(str(tmp_path))


@pytest.mark.parametrize(
    ("dtype", "name"),
    [(torch.bfloat16, "llama"), (torch.float16, "qwen2"), (torch.float16, "vit"), (torch.bfloat16, "clip")],
)
def test_language_models_keep_half_precision(transformers: Any, dtype: torch.dtype, name: str, tmp_path: Path) -> None:
    model = made(transformers, name).to(dtype)
    model.save_pretrained(tmp_path)
    base = load_base(str(tmp_path))
    kept = dtype if name in ("llama", "qwen2") else torch.float32
    assert {parameter.dtype for parameter in base.net.parameters()} == {kept}
    assert len(base.sha256) == 64
    if name not in ("llama", "qwen2"):
        with torch.no_grad():
            same_outputs(base, theirs(model.float(), name))


def test_numbers_that_are_not_real_are_refused(transformers: Any, tmp_path: Path) -> None:
    made(transformers, "llama").save_pretrained(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    key = "model.layers.0.mlp.up_proj.weight"
    tensors[key] = tensors[key].to(torch.int8)
    save_file(tensors, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(InputError, match="quantised checkpoints"):
        load_base(str(tmp_path))


def test_kinds_that_are_not_known_are_told_with_those_that_are(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "robertta"}))
    with pytest.raises(InputError, match=r"unknown kind of model 'robertta'.*distilbert.*did you mean 'roberta'"):
        spec_of_base(str(tmp_path))
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(InputError, match=r"unknown kind of model 'None'"):
        load_base(str(tmp_path))


# --- images, classes, tokenisers -----------------------------------------------------------------------------------


def test_how_a_folder_wants_its_images(transformers: Any, tmp_path: Path) -> None:
    made(transformers, "vit").save_pretrained(tmp_path)
    assert load_base(str(tmp_path)).preprocess == Preprocess(
        32, HALF, HALF, "bilinear", "squash", resize_size=32, floor_crop=True
    )
    settings = {
        "image_processor_type": "ViTImageProcessor",
        "size": {"height": 32, "width": 32},
        "image_mean": [0, 0, 0],
    }
    (tmp_path / "processor_config.json").write_text(json.dumps({"image_processor": settings}))
    assert load_base(str(tmp_path)).preprocess.mean == (0, 0, 0)  # type: ignore[union-attr]
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(settings | {"image_mean": [0.1, 0.2, 0.3]}))
    assert load_base(str(tmp_path)).preprocess.mean == (0.1, 0.2, 0.3)  # type: ignore[union-attr]
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(settings | {"size": 64}))
    with pytest.raises(InputError, match="images of 64 pixels"):
        load_base(str(tmp_path))


@pytest.mark.parametrize("name", ["vit without classes", "bert without classes"])
def test_a_fresh_classifier_where_there_is_none(transformers: Any, name: str, tmp_path: Path) -> None:
    made(transformers, name).save_pretrained(tmp_path)
    plain, base = load_base(str(tmp_path)), load_base(str(tmp_path), classes=7)
    assert base.net.spec == spec_of_base(str(tmp_path), classes=7)
    assert base.net.spec.classes == 7
    with torch.no_grad():
        assert base.net.outputs(batch())["logits"].shape == (3, 7)
    kept = base.net.state_dict()
    assert all(torch.equal(kept[key], tensor) for key, tensor in plain.net.state_dict().items())
    assert base.sha256 == load_base(str(tmp_path), classes=7).sha256 != plain.sha256
    with pytest.raises(InputError, match="from 1"):
        load_base(str(tmp_path), classes=0)


@pytest.mark.parametrize("name", ["vit", "bert"])
def test_a_classifier_stays_or_makes_room_for_one_of_another_size(transformers: Any, name: str, tmp_path: Path) -> None:
    made(transformers, name).save_pretrained(tmp_path)
    plain, same = load_base(str(tmp_path)), load_base(str(tmp_path), classes=3)
    assert same.sha256 == plain.sha256
    assert same.class_names == plain.class_names
    other = load_base(str(tmp_path), classes=10)
    assert other.net.spec == spec_of_base(str(tmp_path), classes=10)
    assert other.class_names is None
    with torch.no_grad():
        assert other.net.outputs(batch())["logits"].shape == (3, 10)
    kept, own = other.net.state_dict(), plain.net.state_dict()
    shared = [key for key in own if not key.startswith(("head.", "classifier."))]
    assert all(torch.equal(kept[key], own[key]) for key in shared)
    for ask in (load_base, spec_of_base):
        with pytest.raises(InputError, match="family 'clip', which has no classifier"):
            ask("embedded", classes=10)


def test_a_text_model_brings_its_tokeniser(transformers: Any, tmp_path: Path) -> None:
    from catransformers.models.loading.tokenizer import train_wordpiece

    made(transformers, "bert").save_pretrained(tmp_path)
    with pytest.raises(InputError, match="no tokeniser beside its weights"):
        load_base(str(tmp_path)).text_tokenizer()
    train_wordpiece(["a cat sat on a mat"] * 3, 40).save(tmp_path / "tokenizer.json")
    base = load_base(str(tmp_path))
    assert base.tokenizer_path == tmp_path / "tokenizer.json"
    encoded = base.text_tokenizer().encode(["a cat", "a mat sat"], 10)
    assert base.net.outputs(encoded)["logits"].shape == (2, 3)
    with pytest.raises(InputError, match="reads no captions"):
        base.tokenizer()
    assert base.save_files(tmp_path / "copy") == [tmp_path / "copy" / "tokenizer.json"]
    assert (tmp_path / "copy" / "tokenizer.json").read_bytes() == (tmp_path / "tokenizer.json").read_bytes()
    assert base.save_files(tmp_path) == [tmp_path / "tokenizer.json"], "its own folder"
    train_wordpiece([f"{chr(97 + i)}{chr(97 + j)}" for i in range(26) for j in range(26)], 300).save(
        tmp_path / "tokenizer.json"
    )
    with pytest.raises(InputError, match="the model a table of 60"):
        load_base(str(tmp_path)).text_tokenizer()


def test_a_clip_of_another_vocabulary_reads_with_its_own_tokeniser(transformers: Any, tmp_path: Path) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    made(transformers, "clip").save_pretrained(tmp_path)
    own = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({"<pad>": 0, "<unk>": 1, "dog": 2, "<s>": 58, "</s>": 59}, "<unk>")
    )
    own.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    own.post_processor = tokenizers.processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 58), ("</s>", 59)]
    )
    own.save(str(tmp_path / "tokenizer.json"))
    base = load_base(str(tmp_path))
    tokens = base.tokenizer()(["dog", "dog " * 30])
    assert tokens.tolist() == [[58, 2, 59] + [0] * 13, [58] + [2] * 14 + [59]]
    assert base.net.outputs({"tokens": tokens})["text"].shape == (2, 20)


# --- this package's own folders --------------------------------------------------------------------------------------

VISION = VisionSpec(2, 40, 24, 3, 8, 5, 32, 16)
OWN: list[ModelSpec] = [
    VitSpec(VISION, 3),
    BertSpec(EncoderSpec(2, 40, 24, 3, 8, 10), 60, 16, classes=3),
    LlamaSpec(2, 40, 24, 4, 2, 6, 60, True, 16, 8, 4),
]


@pytest.mark.parametrize("spec", OWN, ids=lambda spec: spec.family)
def test_own_folders_of_every_family(spec: ModelSpec, tmp_path: Path) -> None:
    net = randomised(make_net(spec))
    preprocess = Preprocess(32, HALF, HALF, "bilinear", resize_size=36)
    said = {"class_names": ["a", "b", "c"], "preprocess": preprocess.to_dict(), "note": "kept"}
    save_model(net, tmp_path / "model.safetensors", said)
    base = load_base(str(tmp_path))
    assert base.net.spec == spec == spec_of_base(str(tmp_path))
    assert (base.class_names, base.preprocess) == (("a", "b", "c"), preprocess)
    assert base.metadata() == {"class_names": ["a", "b", "c"], "preprocess": preprocess.to_dict()}
    assert all(torch.equal(base.net.state_dict()[key], tensor) for key, tensor in net.state_dict().items())
    save_model(net, tmp_path / "again" / "model.safetensors", base.metadata())
    assert load_base(str(tmp_path / "again")).sha256 == base.sha256


def test_a_damaged_description_of_our_own_is_told(tmp_path: Path) -> None:
    save_model(randomised(make_net(OWN[0])), tmp_path / "model.safetensors", {"class_names": "cat"})
    with pytest.raises(InputError, match="class_names: 'cat' is no list"):
        spec_of_base(str(tmp_path))
    description = json.loads((tmp_path / "model.json").read_text())
    (tmp_path / "model.json").write_text(json.dumps(description | {"class_names": None, "preprocess": {"sice": 3}}))
    assert spec_of_base(str(tmp_path)) == OWN[0]
    with pytest.raises(InputError, match=r"preprocess\.sice"):
        load_base(str(tmp_path))
    (tmp_path / "model.json").write_text('{"spec": 3}')
    with pytest.raises(InputError, match="describes no model"):
        load_base(str(tmp_path))
    (tmp_path / "model.json").write_text(json.dumps(description | {"class_names": None, "sha256": "0"}))
    with pytest.raises(IntegrityError, match="SHA-256"):
        load_base(str(tmp_path))


# --- timm ----------------------------------------------------------------------------------------------------------

TINY = {"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 3, "num_classes": 3}


def timm_model(timm: Any) -> Any:
    return randomised(timm.create_model("vit_base_patch16_224", **TINY))


def test_what_timm_saves_gives_its_outputs(timm: Any, tmp_path: Path) -> None:
    model = timm_model(timm)
    timm.models.save_for_hf(
        model, tmp_path, model_config={"label_names": ["cat", "dog", "cow"]}, model_args=TINY, safe_serialization=True
    )
    base = load_base(str(tmp_path))
    with torch.no_grad():
        same_outputs(base, {"logits": model(batch()["images"])})
    assert base.net.spec == spec_of_base(str(tmp_path))
    assert sum(p.numel() for p in model.parameters()) == vit_parameters(base.net.spec)
    assert base.class_names == ("cat", "dog", "cow")
    assert base.preprocess is not None
    assert base.preprocess.resize_size == 35  # 32 of 0.9


def test_a_timm_name_with_a_file_or_from_the_cache(timm: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    model = timm.create_model("vit_tiny_patch16_224").eval()
    torch.save({"model": model.state_dict()}, tmp_path / "w.pth")
    base = load_base("vit_tiny_patch16_224.augreg_in21k_ft_in1k", str(tmp_path / "w.pth"))
    assert base.net.spec == spec_of_base("vit_tiny_patch16_224.augreg_in21k_ft_in1k")
    assert all(torch.equal(base.net.state_dict()[key], tensor) for key, tensor in model.state_dict().items())
    assert (base.preprocess.mean, base.preprocess.resize_size) == (HALF, 248)  # type: ignore[union-attr]
    empty = importlib.import_module("huggingface_hub.constants")
    monkeypatch.setattr(empty, "HF_HUB_CACHE", str(tmp_path / "hub"))
    with pytest.raises(InputError, match=r"'timm/vit_tiny_patch16_224.augreg_in21k_ft_in1k' is neither"):
        load_base("vit_tiny_patch16_224.augreg_in21k_ft_in1k")
    with pytest.raises(InputError, match="is said in the name"):
        load_base("vit_tiny_patch16_224", "augreg_in21k")
    with pytest.raises(InputError, match="there is no file gone"):
        load_base("vit_tiny_patch16_224", "gone.pt")


# --- names ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of Hugging Face's hub."""
    pytest.importorskip("huggingface_hub")
    monkeypatch.setattr(importlib.import_module("huggingface_hub.constants"), "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def in_cache(hub: Path, repository: str) -> Path:
    root = hub / f"models--{repository.replace('/', '--')}"
    folder = root / "snapshots" / ("0" * 40)
    folder.mkdir(parents=True)
    (root / "refs").mkdir()
    (root / "refs" / "main").write_text("0" * 40)
    return folder


def test_a_repository_in_the_cache(transformers: Any, hub: Path) -> None:
    model = made(transformers, "llama")
    model.save_pretrained(in_cache(hub, "someone/tiny-llama"))
    for name in ("someone/tiny-llama", "hf_hub:someone/tiny-llama"):
        base = load_base(name)
        assert base.name == name
        with torch.no_grad():
            same_outputs(base, theirs(model, "llama"))
    with pytest.raises(InputError, match="is not the folder of a someone/tiny-llama"):
        load_base("someone/tiny-llama", "laion2b")


@pytest.mark.parametrize("repository", ["google-bert/bert-base-uncased", "bert-base-uncased"])
@pytest.mark.parametrize("name", ["bert-base", "bert-base-uncased", "google-bert/bert-base-uncased"])
def test_a_name_of_the_zoo_is_found_in_the_cache(hub: Path, repository: str, name: str) -> None:
    if name == "google-bert/bert-base-uncased" and repository == "bert-base-uncased":
        pytest.skip("whoever gives the whole name means it")
    config = {"model_type": "bert", "architectures": ["BertForMaskedLM"], "vocab_size": 30522, "hidden_size": 768}
    config |= {"num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072}
    (in_cache(hub, repository) / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 512}))
    spec = spec_of_base(name)
    assert isinstance(spec, BertSpec)
    assert (spec.classes, spec.encoder.tokens, spec.positions) == (0, 128, 512)
    assert spec_of_base(name, classes=2).classes == 2  # type: ignore[union-attr]
    with pytest.raises(InputError, match=f"the weights of '{repository}' are not in"):
        load_base(name)


def test_names_are_known_without_any_cache_and_their_weights_are_missed(hub: Path) -> None:
    llama = spec_of_base("Llama-3.1-8B")
    assert isinstance(llama, LlamaSpec)
    assert (llama.embed_dim, llama.prompt_tokens) == (4096, 512)
    assert spec_of_base("google/vit-base-patch16-224").classes == 1000  # type: ignore[union-attr]
    assert isinstance(spec_of_base("ViT-B/16"), ClipSpec)
    with pytest.raises(InputError, match=r"'meta-llama/Llama-3\.1-8B' is neither a folder nor .*not allowed"):
        load_base("Llama-3.1-8B")
    for ask in (load_base, spec_of_base):
        with pytest.raises(InputError, match="did you mean 'bert-base'"):
            ask("bert-bse")
        with pytest.raises(InputError, match="'someone/nothing' is neither a folder nor"):
            ask("someone/nothing")


def test_a_folder_for_a_name_must_be_that_model(transformers: Any, tmp_path: Path) -> None:
    made(transformers, "bert without classes").save_pretrained(tmp_path)
    with pytest.raises(
        InputError, match="not a bert-base but another bert: layers 2, ffn_dim 40, embed_dim 24, heads 3"
    ):
        load_base("bert-base", str(tmp_path))
    with pytest.raises(InputError, match="not a ViT-B-16 but another bert"):
        spec_of_base("ViT-B-16", str(tmp_path))


def test_a_folder_of_the_right_model_has_the_name_s_usage(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from catransformers.models.loading import named as named_sources

    spec = BertSpec(EncoderSpec(2, 40, 24, 3, 8, tokens=6), 60, 16)
    save_model(
        randomised(make_net(BertSpec(EncoderSpec(2, 40, 24, 3, 8, tokens=16), 60, 16))), tmp_path / "model.safetensors"
    )
    monkeypatch.setitem(named_sources.MODELS, "bert-base", spec)  # type: ignore[arg-type]
    assert load_base("bert-base", str(tmp_path)).net.spec == spec == spec_of_base("bert-base", str(tmp_path))
    assert spec_of_base(str(tmp_path)).usage() == {"tokens": 16}


def test_everything_shipped_loads_and_says_how_it_reads() -> None:
    from catransformers.models.loading.named import shipped

    assert "embedded" in shipped()
    for name in shipped():
        base = load_base(name)
        assert base.net.spec == spec_of_base(name)
        if isinstance(base.net.spec, ClipSpec | VitSpec):
            assert base.preprocess is not None
        else:
            assert base.text_tokenizer().vocab_size <= base.net.spec.vocab_size


def test_a_path_that_leads_nowhere_is_said_with_its_neighbour(tmp_path: Path) -> None:
    (tmp_path / "my-bert").mkdir()
    with pytest.raises(InputError, match=r"there is no folder or file .*my-bertt.*did you mean 'my-bert'"):
        load_base(str(tmp_path / "my-bertt"))
