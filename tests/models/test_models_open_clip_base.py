"""open_clip's models in ours: the same outputs and counts, strict loading, no network, helpful errors; TinyCLIP's."""

from __future__ import annotations

import importlib
import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from catransformers.errors import InputError, IntegrityError
from catransformers.models.families.clip import Clip
from catransformers.models.loading import open_clip as open_clip_base
from catransformers.models.loading import torchvision_compat
from catransformers.models.loading.base import load_base
from catransformers.models.loading.checkpoints import OPEN_CLIP_CONFIG
from catransformers.models.loading.folders import fill
from catransformers.models.loading.open_clip import open_clip_spec, spec_from_configuration, tensors_from_open_clip
from catransformers.models.loading.storage import save_model
from catransformers.models.loading.torchvision_compat import declare_operators, is_mismatch
from catransformers.models.pruning.importance import Importance, StackImportance
from catransformers.models.pruning.prune import prune
from catransformers.workloads.clip import parameters
from catransformers.workloads.spec import ClipSpec, TextSpec, VisionSpec
from catransformers.workloads.zoo import ZOO

SMALL = ClipSpec(
    vision=VisionSpec(layers=2, ffn_dim=32, embed_dim=16, heads=2, head_dim=8, tokens=5, image_size=32, patch_size=16),
    text=TextSpec(layers=2, ffn_dim=32, embed_dim=16, heads=2, head_dim=8, tokens=77, vocab_size=49408),
    projection_dim=8,
)
SMALL_CONFIGURATION = {
    "embed_dim": 8,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 16, "head_width": 8, "mlp_ratio": 2.0, "patch_size": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 2, "mlp_ratio": 2.0},
}


def flat_scores(spec: ClipSpec) -> Importance:
    def encoder(e: VisionSpec | TextSpec) -> StackImportance:
        shapes = ((e.layers, e.heads), (e.layers, e.ffn_dim), (e.embed_dim,), (e.layers,))
        return StackImportance(*(torch.rand(shape) for shape in shapes))

    return Importance({"vision": encoder(spec.vision), "text": encoder(spec.text)}, 1.0)


def clip_of(spec: ClipSpec, theirs: Any) -> Clip:
    net = fill(spec, tensors_from_open_clip(theirs.state_dict()), "open_clip", "model.pretrained")
    assert isinstance(net, Clip)
    return net


@pytest.fixture(scope="module")
def pair(open_clip: Any) -> tuple[Any, Clip]:
    """ViT-B-16 with open_clip's random weights, there and here."""
    torch.manual_seed(0)
    theirs = open_clip.create_model("ViT-B-16", pretrained=None).eval()
    ours = clip_of(open_clip_spec("ViT-B-16"), theirs)
    return theirs, ours


def inputs(open_clip: Any) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    texts = ["a dog on a beach", "two red cars"]
    return torch.randn(2, 3, 224, 224, generator=generator), open_clip.get_tokenizer("ViT-B-16")(texts)


def test_vit_b_16_gives_open_clips_outputs(open_clip: Any, pair: tuple[Any, Clip]) -> None:
    theirs, ours = pair
    images, tokens = inputs(open_clip)
    with torch.no_grad():
        torch.testing.assert_close(
            ours.encode_image(images), theirs.encode_image(images, normalize=True), atol=1e-5, rtol=0
        )
        torch.testing.assert_close(
            ours.encode_text(tokens), theirs.encode_text(tokens, normalize=True), atol=1e-5, rtol=0
        )
    assert sum(p.numel() for p in ours.parameters()) == 149_620_737


def test_vit_b_16_prunes_to_half_and_runs(open_clip: Any, pair: tuple[Any, Clip]) -> None:
    _, ours = pair
    spec = ours.spec.with_dimensions({name: value // 2 for name, value in ours.spec.dimensions().items()})
    pruned = prune(ours, spec, flat_scores(ours.spec))
    assert sum(p.numel() for p in pruned.parameters()) == parameters(spec)
    images, tokens = inputs(open_clip)
    with torch.no_grad():
        logits = pruned(images, tokens)
    assert logits.shape == (2, 2)
    assert bool(logits.isfinite().all())


def test_quick_gelu_is_honoured(open_clip: Any) -> None:
    spec = spec_from_configuration({**SMALL_CONFIGURATION, "quick_gelu": True}, "small")
    assert spec.activation == "quick_gelu"
    torch.manual_seed(0)
    theirs = open_clip.CLIP(**SMALL_CONFIGURATION, quick_gelu=True).eval()
    ours = clip_of(spec, theirs)
    plain = clip_of(SMALL, theirs)
    images = torch.randn(3, 3, 32, 32)
    with torch.no_grad():
        expected = theirs.encode_image(images, normalize=True)
        torch.testing.assert_close(ours.encode_image(images), expected, atol=1e-6, rtol=0)
        assert not torch.allclose(plain.encode_image(images), expected, atol=1e-6)


def test_the_zoo_agrees_with_open_clips_configurations(open_clip: Any) -> None:
    for name in ("ViT-B-16", "ViT-B-32", "ViT-L-14", "ViT-H-14"):
        assert open_clip_spec(name) == ZOO[name]
    assert open_clip_spec("vit-b/32-quickgelu").activation == "quick_gelu"
    assert open_clip_spec("TinyCLIP-8M-16") == ZOO["TinyCLIP-8M-16"]


def test_every_open_clip_architecture_is_read_or_refused_by_name(open_clip: Any) -> None:
    read = []
    for name in open_clip.list_models():
        try:
            spec = open_clip_spec(name)
        except InputError as error:
            assert "not a CLIP of two plain transformers" in str(error)
        else:
            read.append(name)
            with torch.device("meta"):
                assert sum(p.numel() for p in Clip(spec).parameters()) == parameters(spec)
    assert {"ViT-B-16", "ViT-L-14-336", "ViT-g-14"} <= set(read)
    assert not {"RN50", "ViT-B-16-SigLIP", "coca_ViT-B-32"} & set(read)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Clip:
    """A small model with CLIP's vocabulary, known by the name `small`."""
    monkeypatch.setitem(open_clip_base.ZOO, "small", SMALL)
    torch.manual_seed(1)
    return Clip(SMALL).eval()


def write(model: Clip, path: Path, kind: str) -> Path:
    tensors = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    if kind == "safetensors":
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)
    elif kind == "training checkpoint":
        content = {"epoch": 3, "state_dict": {f"module.{n}": t for n, t in tensors.items()}}
        content["state_dict"]["module.logit_scale"] = tensors["logit_scale"].reshape(1)
        torch.save(content, path)
    else:
        extra = {name: torch.tensor(7) for name in ("input_resolution", "context_length", "vocab_size")}
        torch.save({name: tensor.half() for name, tensor in tensors.items()} | extra, path)
    return path


@pytest.mark.parametrize(
    ("kind", "name", "tolerance"),
    [("safetensors", "w.safetensors", 0), ("training checkpoint", "w.pt", 0), ("half precision", "w.bin", 1e-3)],
)
def test_weights_load_from_a_path(kind: str, name: str, tolerance: float, small: Clip, tmp_path: Path) -> None:
    base = load_base("small", str(write(small, tmp_path / name, kind)))
    assert base.net.spec == SMALL
    assert base.preprocess.image_size == 32
    for own, loaded in zip(small.parameters(), base.net.parameters(), strict=True):
        assert loaded.dtype == torch.float32
        torch.testing.assert_close(loaded, own, atol=tolerance, rtol=0)
    assert not base.net.training


@pytest.mark.parametrize("wrapped", ["", "module."])
def test_tiny_clip_s_names_are_those_of_its_parts(wrapped: str, small: Clip, tmp_path: Path) -> None:
    parts = {"visual": "_image_encoder", "logit_scale": "_logit_scale"}
    content = {}
    for name, tensor in small.state_dict().items():
        content[f"{parts.get(name.partition('.')[0], '_text_encoder')}.{wrapped}{name}"] = tensor.clone()
    assert f"_logit_scale.{wrapped}logit_scale" in content
    torch.save(
        {"epoch": 1, "state_dict": {f"module.{name}": tensor for name, tensor in content.items()}}, tmp_path / "w.pt"
    )
    base = load_base("small", str(tmp_path / "w.pt"))
    for name, tensor in base.net.state_dict().items():
        assert torch.equal(tensor, small.state_dict()[name]), name


def test_an_architecture_in_a_file_goes_with_a_checkpoint(small: Clip, tmp_path: Path) -> None:
    (tmp_path / "architecture.json").write_text(json.dumps(SMALL_CONFIGURATION))
    weights = write(small, tmp_path / "w.pt", "training checkpoint")
    assert load_base(str(tmp_path / "architecture.json"), str(weights)).net.spec == SMALL
    with pytest.raises(InputError, match="which weights"):
        load_base(str(tmp_path / "architecture.json"))
    with pytest.raises(InputError, match="which architecture is it"):
        load_base(str(weights))


def test_the_same_weights_have_the_same_hash_in_any_file(small: Clip, tmp_path: Path) -> None:
    first = load_base("small", str(write(small, tmp_path / "a.safetensors", "safetensors")))
    second = load_base("small", str(write(small, tmp_path / "b.pt", "training checkpoint")))
    assert first.sha256 == second.sha256


def test_missing_and_extra_weights_are_named(small: Clip, tmp_path: Path) -> None:
    state = small.state_dict()
    del state["visual.ln_pre.bias"]
    state["surprise"] = torch.zeros(2)
    state["text_projection"] = torch.zeros(3, 3)
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, tmp_path / "w.safetensors")
    with pytest.raises(InputError) as caught:
        load_base("small", str(tmp_path / "w.safetensors"))
    for name in ("missing visual.ln_pre.bias", "unexpected surprise", "text_projection is (3, 3)"):
        assert name in str(caught.value)
    save_file({f"t{i}": torch.zeros(1) for i in range(40)}, tmp_path / "other.safetensors")
    with pytest.raises(InputError, match="in all"):
        load_base("small", str(tmp_path / "other.safetensors"))


class Code:
    """Something that a checkpoint must not be allowed to run."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return eval, ("1/0",)


@pytest.mark.parametrize("content", ["code", "noise", "empty", "list"])
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_what_is_no_checkpoint_is_refused(content: str, suffix: str, small: Clip, tmp_path: Path) -> None:
    path = tmp_path / f"w{suffix}"
    if content in ("code", "list"):
        torch.save({"w": Code()} if content == "code" else [torch.zeros(1)], path)
    else:
        path.write_bytes(b"" if content == "empty" else b"\x93nothing" * 40)
    with pytest.raises(InputError, match=r"model\.pretrained"):
        load_base("small", str(path))


def test_missing_weights_are_an_error_that_says_what_to_do(open_clip: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_clip, "download_pretrained", lambda *_a, **_k: pytest.fail("the network was used"))
    hub = importlib.import_module("huggingface_hub")
    monkeypatch.setattr(hub, "try_to_load_from_cache", lambda *_a, **_k: None)
    monkeypatch.setattr(Path, "home", lambda: Path("/nowhere"))
    with pytest.raises(InputError, match="random model"):
        load_base("ViT-B-16")
    with pytest.raises(InputError, match="did you mean 'datacomp_xl_s13b_b90k'"):
        load_base("ViT-B-16", "datacomp_xl_s13b_b9k")
    with pytest.raises(InputError, match=r"allow_network = true.*hf download laion/CLIP-ViT-B-16-DataComp"):
        load_base("ViT-B-16", "datacomp_xl_s13b_b90k")
    with pytest.raises(InputError, match=r"there is no file weights/b16\.pt"):
        load_base("ViT-B-16", "weights/b16.pt")
    with pytest.raises(InputError, match="did you mean 'ViT-B-16'"):
        load_base("ViT-B-61", "openai")


def test_a_cached_tag_is_found_and_says_its_activation(
    open_clip: Any, small: Clip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(small, tmp_path / "w.safetensors", "safetensors")
    settings = {"hf_hub": "someone/small/", "quick_gelu": True, "mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, "small", {"tag": settings})
    hub = importlib.import_module("huggingface_hub")
    asked = []

    def cache(repository: str, name: str) -> str | None:
        asked.append((repository, name))
        return str(path) if name.endswith(".bin") else None

    monkeypatch.setattr(hub, "try_to_load_from_cache", cache)
    base = load_base("small", "tag")
    assert asked == [("someone/small", "open_clip_model.safetensors"), ("someone/small", "open_clip_pytorch_model.bin")]
    assert base.net.spec.activation == "quick_gelu"
    assert base.preprocess.mean == (0.5, 0.5, 0.5)


def test_a_download_needs_leave(open_clip: Any, small: Clip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(small, tmp_path / "w.safetensors", "safetensors")
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, "small", {"tag": {"hf_hub": "someone/small/"}})
    monkeypatch.setattr(importlib.import_module("huggingface_hub"), "try_to_load_from_cache", lambda *_: None)
    monkeypatch.setattr(open_clip, "download_pretrained", lambda _settings: str(path))
    with pytest.raises(InputError, match="network is not allowed"):
        load_base("small", "tag")
    assert load_base("small", "tag", allow_network=True).net.spec == SMALL


def test_without_open_clip_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "open_clip", None)
    with pytest.raises(InputError, match=r'pip install "catransformers\[clip\]"'):
        open_clip_base.import_open_clip()


def test_a_torchvision_that_does_not_fit_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_name: str) -> None:
        raise RuntimeError("operator torchvision::nms does not exist")

    monkeypatch.delenv(torchvision_compat.ENVIRONMENT, raising=False)
    monkeypatch.setattr(torchvision_compat.importlib, "import_module", broken)
    with pytest.raises(InputError, match=f"torchvision was not built for torch.*{torchvision_compat.ENVIRONMENT}=1"):
        open_clip_base.import_open_clip()
    assert not is_mismatch(RuntimeError("something else"))


def test_declared_operators_do_nothing_but_exist(open_clip: Any) -> None:
    if declare_operators() is None:
        pytest.skip("this torchvision fits the installed torch")
    for name in ("nms", "qnms"):
        operator = getattr(torch.ops.torchvision, name)
        assert "Tensor dets, Tensor scores, float iou_threshold" in str(operator.default._schema)
        with pytest.raises(NotImplementedError):
            operator(torch.zeros(1, 4), torch.zeros(1), 0.5)


def test_own_models_load_from_folder_and_file(small: Clip, tmp_path: Path) -> None:
    save_model(small, tmp_path / "model.safetensors")
    folder, file = load_base(str(tmp_path)), load_base(str(tmp_path / "model.safetensors"))
    assert folder.sha256 == file.sha256
    with pytest.raises(InputError, match="comes with its weights"):
        load_base(str(tmp_path), "laion2b")
    (tmp_path / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(IntegrityError):
        load_base(str(tmp_path))


def test_the_embedded_model_reads_its_own_words_only() -> None:
    base = load_base("embedded")
    with pytest.raises(InputError, match="words of its own task"):
        base.tokenizer()


def test_a_folder_in_open_clips_layout(small: Clip, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no model"):
        load_base(str(tmp_path))
    config = {"model_cfg": SMALL_CONFIGURATION, "preprocess_cfg": {"mean": [0.5, 0.5, 0.5], "resize_mode": "squash"}}
    (tmp_path / OPEN_CLIP_CONFIG).write_text(json.dumps(config))
    with pytest.raises(InputError, match="holds no weights"):
        load_base(str(tmp_path))
    write(small, tmp_path / "open_clip_model.safetensors", "safetensors")
    base = load_base(str(tmp_path))
    assert base.net.spec == SMALL
    assert base.preprocess.resize_mode == "squash"
    (tmp_path / OPEN_CLIP_CONFIG).write_text("{")
    with pytest.raises(InputError, match="is damaged, not JSON"):
        load_base(str(tmp_path))
    (tmp_path / OPEN_CLIP_CONFIG).write_text('{"vision_cfg": {}}')
    with pytest.raises(InputError, match="not an open_clip configuration"):
        load_base(str(tmp_path))


def test_the_tokenizer_is_clips(open_clip: Any, small: Clip, tmp_path: Path) -> None:
    save_model(small, tmp_path / "model.safetensors")
    tokens = load_base(str(tmp_path)).tokenizer()(["A Dog", "word " * 100])
    assert tokens.shape == (2, 77)
    assert torch.equal(tokens[:1], open_clip.tokenize(["a dog"]))
    assert tokens[1, -1] == 49407  # cut, the end token kept
