"""Vision transformers of timm and Hugging Face: the same outputs and counts, there and back, refusals that say why."""

from __future__ import annotations

import importlib
import importlib.util
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from catransformers.errors import InputError, IntegrityError
from catransformers.models.families.vit import Vit
from catransformers.models.formats.vit import (
    class_names_of_huggingface,
    spec_from_huggingface,
    spec_from_timm,
    spec_of_timm_model,
    tensors_from_huggingface,
    tensors_from_timm,
    timm_arguments,
    to_huggingface,
    to_timm,
)
from catransformers.models.loading.storage import assign_tensors
from catransformers.workloads.dimensions import VisionSpec
from catransformers.workloads.vit import VitSpec, parameters
from catransformers.workloads.zoo import MODELS

TINY = {"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 3, "num_classes": 5}
#: Arguments of timm's VisionTransformer: class token, mean then norm, norm then mean (SigLIP), and more.
TIMM = {
    "class": {},
    "class without a classifier": {"num_classes": 0},
    "mean": {"global_pool": "avg"},
    "mean without class token": {"global_pool": "avg", "class_token": False, "mlp_ratio": 2.5},
    "normed mean": {"global_pool": "avg", "fc_norm": False},
    "SigLIP": {
        "global_pool": "avg",
        "fc_norm": False,
        "class_token": False,
        "num_classes": 0,
        "act_layer": "gelu_tanh",
    },
    "quick GELU": {"act_layer": "quick_gelu"},
}
CONFIG = {
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 40,
    "image_size": 32,
    "patch_size": 8,
}
ENCODER = VisionSpec(layers=2, ffn_dim=20, embed_dim=12, heads=3, head_dim=4, tokens=5, image_size=8, patch_size=4)


def randomised(net: Any) -> Any:
    """The net with every parameter drawn anew: no bias zero, no norm the identity."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.2)
            if parameter.ndim == 1:
                parameter.add_(0.5)
    return net.eval()


def images(size: int) -> Tensor:
    return torch.randn(3, 3, size, size, generator=torch.Generator().manual_seed(2))


def loaded(spec: VitSpec, tensors: dict[str, Tensor]) -> Vit:
    net = Vit(spec)
    assign_tensors(net, tensors, "test")
    return net.eval()


def same(ours: Tensor, theirs: Tensor) -> None:
    assert ours.std() > 0.01
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)


# --- timm ---


@pytest.mark.parametrize("case", TIMM)
def test_timm_s_outputs_and_counts(timm: Any, case: str) -> None:
    theirs = randomised(timm.models.VisionTransformer(**(TINY | TIMM[case])))
    spec = spec_of_timm_model(theirs, "test")
    ours = loaded(spec, tensors_from_timm(spec, theirs.state_dict(), "test"))
    with torch.no_grad():
        (output,) = ours.outputs({"images": images(32)}).values()
        same(output, theirs(images(32)))
    assert parameters(spec) == sum(p.numel() for p in theirs.parameters())


@pytest.mark.parametrize("case", TIMM)
def test_to_timm_and_back(timm: Any, case: str) -> None:
    spec = spec_of_timm_model(timm.models.VisionTransformer(**(TINY | TIMM[case])), "test")
    spec = replace(spec, encoder=replace(spec.encoder, ffn_dim=41))  # 24 · (41 / 24) rounds to less than 41
    ours = randomised(Vit(spec))
    arguments, tensors = to_timm(ours)
    arguments = json.loads(json.dumps(arguments))
    theirs = timm.create_model(**arguments).eval()
    theirs.load_state_dict(tensors, strict=True)
    with torch.no_grad():
        same(ours(images(32)), theirs(images(32)))
    assert spec_from_timm(arguments.pop("model_name"), "test", **arguments) == spec


def test_every_ffn_width_survives_timm_s_ratio(timm: Any) -> None:
    for width in range(1, 200):
        spec = VitSpec(replace(ENCODER, embed_dim=49, heads=7, head_dim=7, ffn_dim=width, layers=1), 0)
        with torch.device("meta"):
            arguments, _ = to_timm(Vit(spec))
        ratio = arguments["mlp_ratio"]
        assert isinstance(ratio, float)
        assert int(49 * ratio) == width


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "vit_small_patch32_384", "vit_base_patch16_224.augreg_in1k"])
def test_names_of_timm(timm: Any, name: str) -> None:
    with torch.device("meta"):
        theirs = timm.create_model(name)
    spec = spec_from_timm(name, "test")
    assert parameters(spec) == sum(p.numel() for p in theirs.parameters())


def test_timm_and_the_zoo_have_the_same_vit_base(timm: Any) -> None:
    assert spec_from_timm("vit_base_patch16_224", "test") == MODELS["vit-base-patch16-224"]


def test_siglip_s_mean_of_normalised_patches_by_name(timm: Any) -> None:
    spec = spec_from_timm("vit_base_patch16_siglip_gap_224.webli", "test")
    assert (spec.pooling, spec.class_token, spec.classes, spec.encoder.tokens) == ("normed_mean", False, 0, 196)
    assert spec_from_timm("vit_base_patch16_siglip_gap_224", "test", num_classes=10).classes == 10


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"init_values": 1e-5}, ["layer scale"]),
        ({"qk_norm": True}, ["norms of queries and keys"]),
        ({"reg_tokens": 4}, ["register tokens"]),
        ({"global_pool": "map"}, ["pooling 'map'"]),
        ({"global_pool": "max"}, ["pooling 'max'"]),
        ({"pre_norm": True}, ["pre_norm"]),
        ({"pos_embed": "none"}, ["no learnt positions"]),
        ({"no_embed_class": True}, ["no_embed_class"]),
        ({"qkv_bias": False}, ["qkv_bias"]),
        ({"proj_bias": False}, ["proj_bias"]),
        ({"in_chans": 1}, ["images of 1 colours"]),
        ({"img_size": (32, 16)}, ["not square"]),
        ({"act_layer": "relu"}, ["activation ReLU"]),
        ({"norm_layer": "rmsnorm"}, ["not LayerNorm", "no LayerNorm at the end"]),
        ({"final_norm": False}, ["no LayerNorm at the end"]),
        ({"fc_norm": True}, ["fc_norm"]),
        ({"global_pool": "avg", "pool_include_prefix": True}, ["pool_include_prefix"]),
        ({"scale_attn_norm": True}, ["scale_attn_norm"]),
        ({"scale_mlp_norm": True}, ["scale_mlp_norm"]),
        ({"attn_layer": "diff"}, ["DiffAttention"]),
        ({"init_values": 1e-5, "reg_tokens": 4, "pre_norm": True}, ["layer scale", "register tokens", "pre_norm"]),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else None,
)
def test_what_timm_can_and_we_cannot_is_named(timm: Any, arguments: dict[str, object], words: list[str]) -> None:
    model = timm.models.VisionTransformer(**(TINY | arguments))
    with pytest.raises(InputError) as caught:
        spec_of_timm_model(model, "model.base")
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("vit_base_patch16_225", {}, ["unknown timm model 'vit_base_patch16_225'", "vit_base_patch16_224"]),
        ("vit_base_patch16_224.augreg_in1j", {}, ["unknown tag", "augreg_in1k"]),
        ("vit_tiny_patch16_224", {"widht": 3}, ["timm cannot make 'vit_tiny_patch16_224'", "widht"]),
        ("vit_tiny_patch16_224", {"num_heads": 5}, ["timm cannot make", "divisible"]),
        ("deit_tiny_distilled_patch16_224", {}, ["distillation token"]),
        ("resnet18", {}, ["ResNet is not timm's plain VisionTransformer"]),
        ("deit3_small_patch16_224", {}, ["layer scale", "no_embed_class"]),
        ("vit_base_patch16_siglip_224", {}, ["'map'"]),
        ("hf-hub:timm/vit_tiny_patch16_224", {}, ["unknown timm model"]),
    ],
)
def test_names_and_arguments_that_timm_or_we_refuse(
    timm: Any, name: str, arguments: dict[str, object], words: list[str]
) -> None:
    with pytest.raises(InputError) as caught:
        spec_from_timm(name, "model.base", **arguments)
    for word in words:
        assert word in str(caught.value)


def test_a_folder_s_configuration_in_timm_s_layout(timm: Any) -> None:
    config = {
        "architecture": "vit_tiny_patch16_224",
        "num_classes": 7,
        "global_pool": "token",
        "model_args": {"depth": 2},
        "pretrained_cfg": {"input_size": [3, 96, 96], "num_classes": 1000},
    }
    name, arguments = timm_arguments(config, "config.json")
    spec = spec_from_timm(name, "config.json", **arguments)
    assert (spec.classes, spec.encoder.layers, spec.encoder.image_size, spec.pooling) == (7, 2, 96, "class")
    assert timm_arguments({"architecture": name, "num_classes": 3}, "x") == (name, {"num_classes": 3})
    with pytest.raises(InputError) as caught:
        timm_arguments({"pretrained_cfg": 3, "model_args": 4}, "config.json")
    for key in ("architecture", "pretrained_cfg", "model_args"):
        assert f"config.json: {key}" in str(caught.value)


def test_missing_and_extra_tensors_of_timm_are_errors() -> None:
    spec = VitSpec(ENCODER, 3)
    tensors = dict(Vit(spec).state_dict())
    tensors["attn_pool.latent"] = tensors.pop("head.bias")
    with pytest.raises(IntegrityError) as caught:
        loaded(spec, tensors_from_timm(spec, tensors, "test"))
    assert "missing head.bias" in str(caught.value)
    assert "unexpected attn_pool.latent" in str(caught.value)


def test_the_vision_half_of_an_open_clip_checkpoint_without_its_attention_pooling() -> None:
    spec = VitSpec(replace(ENCODER, tokens=4), 0, class_token=False, pooling="normed_mean")
    net = randomised(Vit(spec))
    tensors = {f"visual.trunk.{name}": tensor for name, tensor in net.state_dict().items()}
    tensors |= {"visual.trunk.attn_pool.latent": torch.zeros(1), "text.token_embedding.weight": torch.zeros(1)}
    again = loaded(spec, tensors_from_timm(spec, tensors, "test"))
    with torch.no_grad():
        same(again(images(8)), net(images(8)))
    with pytest.raises(InputError, match="not timm's"):
        tensors_from_timm(spec, {"visual.conv1.weight": torch.zeros(1)}, "test")


def test_shapes_that_timm_refuses_are_told_at_once() -> None:
    spec = VitSpec(replace(ENCODER, embed_dim=10), 3, norm_eps=1e-12)
    with pytest.raises(InputError) as caught:
        to_timm(Vit(spec))
    assert "3 heads of 4 do not make the width 10" in str(caught.value)
    assert "1e-12" in str(caught.value)


def test_without_timm_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    imported = importlib.import_module

    def without(name: str, package: str | None = None) -> Any:
        if name == "timm":
            raise ImportError("No module named 'timm'")
        return imported(name, package)

    monkeypatch.setattr(importlib, "import_module", without)
    with pytest.raises(InputError, match=r"catransformers\[vit\]"):
        spec_from_timm("vit_tiny_patch16_224", "test")


# --- Hugging Face ---


def huggingface(transformers: Any, kind: str, **changes: object) -> Any:
    config = transformers.ViTConfig(**(CONFIG | {"num_labels": 4} | changes))
    return randomised(getattr(transformers, kind)(config))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"hidden_act": "gelu_pytorch_tanh"},
        {"hidden_act": "quick_gelu", "layer_norm_eps": 1e-3},
        {"head_dim": 5},
        {"hidden_size": 25, "head_dim": 8},
    ],
    ids=str,
)
def test_hugging_face_s_outputs_and_counts(transformers: Any, changes: dict[str, object], tmp_path: Path) -> None:
    theirs = huggingface(transformers, "ViTForImageClassification", **changes)
    theirs.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    spec = spec_from_huggingface(config, "test")
    for tensors in (load_file(tmp_path / "model.safetensors"), theirs.state_dict()):
        ours = loaded(spec, tensors_from_huggingface(spec, config, tensors, "test"))
        with torch.no_grad():
            same(ours.outputs({"images": images(32)})["logits"], theirs(images(32)).logits)
    assert parameters(spec) == sum(p.numel() for p in theirs.parameters())


def test_the_features_of_vit_model_without_its_pooler(transformers: Any, tmp_path: Path) -> None:
    theirs = huggingface(transformers, "ViTModel")
    theirs.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    tensors = load_file(tmp_path / "model.safetensors")
    assert "pooler.dense.weight" in tensors
    spec = spec_from_huggingface(config, "test")
    ours = loaded(spec, tensors_from_huggingface(spec, config, tensors, "test"))
    with torch.no_grad():
        same(ours.outputs({"images": images(32)})["features"], theirs(images(32)).last_hidden_state[:, 0])
    pooler = sum(p.numel() for p in theirs.pooler.parameters())
    assert parameters(spec) == sum(p.numel() for p in theirs.parameters()) - pooler


SHAPES: dict[str, Callable[[VitSpec], VitSpec]] = {
    "plain": lambda spec: spec,
    "heads narrower than the width": lambda spec: replace(spec, encoder=replace(spec.encoder, heads=2)),
    "a width that heads do not divide": lambda spec: replace(spec, encoder=replace(spec.encoder, embed_dim=11)),
    "another activation and epsilon": lambda spec: replace(spec, activation="gelu_tanh", norm_eps=1e-5),
    "features": lambda spec: replace(spec, classes=0),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_to_hugging_face_and_back(transformers: Any, shape: str, tmp_path: Path) -> None:
    spec = SHAPES[shape](VitSpec(ENCODER, 3, norm_eps=1e-12))
    ours = randomised(Vit(spec))
    config, tensors = to_huggingface(ours, [f"kind {n}" for n in range(spec.classes)])
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, tmp_path / "model.safetensors")
    kind = getattr(transformers, config["architectures"][0])  # type: ignore[index]
    keywords: dict[str, object] = {} if spec.classes else {"add_pooling_layer": False}
    theirs, report = kind.from_pretrained(tmp_path, output_loading_info=True, **keywords)
    assert not any(report.values())
    with torch.no_grad():
        result = theirs.eval()(images(8))
        same(ours(images(8)), result.logits if spec.classes else result.last_hidden_state[:, 0])
    assert spec_from_huggingface(config, "test") == spec
    again = tensors_from_huggingface(spec, config, tensors, "test")
    assert all(torch.equal(again[name], tensor) for name, tensor in ours.state_dict().items())
    if spec.classes:
        assert class_names_of_huggingface(config) == ("kind 0", "kind 1", "kind 2")


def test_class_names() -> None:
    assert class_names_of_huggingface({"id2label": {"1": "dog", "0": "cat"}}) == ("cat", "dog")
    assert class_names_of_huggingface({"id2label": {0: "cat", 1: "dog"}}) == ("cat", "dog")
    assert class_names_of_huggingface({"id2label": {"0": "LABEL_0", "1": "LABEL_1"}}) is None
    assert class_names_of_huggingface({"id2label": {"0": "cat", "7": "dog"}}) is None
    assert class_names_of_huggingface({}) is None


@pytest.mark.parametrize(
    ("config", "classes"),
    [
        ({"architectures": ["ViTForImageClassification"]}, 2),
        ({"architectures": ["ViTForImageClassification"], "id2label": {"0": "a", "1": "b", "2": "c"}}, 3),
        ({"num_labels": 6}, 6),
        ({"architectures": ["ViTModel"], "id2label": {"0": "a"}}, 0),
    ],
)
def test_the_number_of_classes(config: dict[str, object], classes: int) -> None:
    assert spec_from_huggingface({"model_type": "vit", **config}, "test").classes == classes


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model_type": "deit"}, ["distillation token"]),
        ({"model_type": "swin"}, ["'swin' is not a plain vision transformer"]),
        ({"architectures": ["ViTForMaskedImageModeling"]}, ["'ViTForMaskedImageModeling' is not supported"]),
        ({"architectures": None}, ["architectures: missing"]),
        ({"qkv_bias": False}, ["qkv_bias"]),
        ({"num_channels": 1}, ["num_channels"]),
        ({"hidden_act": "relu"}, ["'relu' is not supported", "quick_gelu"]),
        ({"hidden_act": ["gelu"]}, ["hidden_act"]),
        ({"layer_norm_eps": "small"}, ["'small' is out of range"]),
        ({"num_attention_heads": 5}, ["5 heads do not divide the width 24"]),
        ({"image_size": [32, 16]}, ["image_size"]),
        ({"patch_size": 64}, ["64 is more than the image's 32"]),
        ({"num_labels": "two"}, ["num_labels"]),
        ({"hidden_size": 0, "num_hidden_layers": "12", "qkv_bias": False}, ["hidden_size", "'12'", "qkv_bias"]),
    ],
    ids=str,
)
def test_configurations_that_are_no_plain_vit(change: dict[str, object], words: list[str]) -> None:
    config = {"model_type": "vit", "architectures": ["ViTForImageClassification"], **CONFIG, **change}
    with pytest.raises(InputError) as caught:
        spec_from_huggingface(config, "config.json")
    for word in words:
        assert word in str(caught.value)


def test_missing_and_extra_tensors_of_hugging_face_are_errors_by_name() -> None:
    spec = VitSpec(ENCODER, 3)
    config, tensors = to_huggingface(Vit(spec))
    del tensors["vit.encoder.layer.1.attention.attention.key.bias"], tensors["vit.layernorm.weight"]
    tensors |= {"vit.pooler.dense.bias": torch.zeros(12), "vit.embeddings.mask_token": torch.zeros(1, 1, 12)}
    with pytest.raises(IntegrityError) as caught:
        loaded(spec, tensors_from_huggingface(spec, config, tensors, "test"))
    told = str(caught.value)
    for name in (
        "missing blocks.1.attn.qkv.bias",
        "missing norm.weight",
        "unexpected vit.encoder.layer.1.attention.attention.query.bias",
        "unexpected vit.pooler.dense.bias",
    ):
        assert name in told
    assert "mask_token" not in told


@pytest.mark.parametrize("twin", ["layernorm.weight", "vit.layers.0.attention.q_proj.weight"])
def test_two_tensors_of_one_meaning_are_refused(twin: str) -> None:
    spec = VitSpec(ENCODER, 3)
    config, tensors = to_huggingface(Vit(spec))
    with pytest.raises(InputError, match="the same as another"):
        tensors_from_huggingface(spec, config, tensors | {twin: torch.zeros(1)}, "test")


def test_what_hugging_face_s_classes_refuse_is_told() -> None:
    net = Vit(VitSpec(ENCODER, 3, pooling="mean"))
    with pytest.raises(InputError) as caught:
        to_huggingface(net, ["one"])
    assert "'mean'" in str(caught.value)
    assert "1 names for 3 classes" in str(caught.value)


def test_formats_leave_the_net_alone() -> None:
    net = randomised(Vit(VitSpec(ENCODER, 3)))
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    for tensors in (to_huggingface(net)[1], to_timm(net)[1]):
        assert all(isinstance(tensor, Tensor) and not isinstance(tensor, nn.Parameter) for tensor in tensors.values())
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
