"""CLIP in other libraries' formats: transformers' and open_clip's outputs from our nets, and ours from theirs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from catransformers.errors import InputError
from catransformers.models.families.clip import Clip
from catransformers.models.formats.clip import (
    spec_from_huggingface,
    tensors_from_huggingface,
    to_huggingface,
    to_open_clip,
)
from catransformers.models.loading.folders import fill
from catransformers.models.loading.preprocess import HALF, Preprocess
from catransformers.workloads.clip import parameters
from catransformers.workloads.spec import ClipSpec, TextSpec, VisionSpec

VISION = {
    "hidden_size": 24,
    "intermediate_size": 40,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "image_size": 32,
    "patch_size": 16,
}
TEXT = {
    "vocab_size": 99,
    "hidden_size": 16,
    "intermediate_size": 36,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "max_position_embeddings": 12,
    "eos_token_id": 98,
    "bos_token_id": 97,
    "pad_token_id": 1,
}
SPEC = ClipSpec(VisionSpec(2, 40, 24, 3, 8, 5, 32, 16), TextSpec(3, 36, 16, 4, 4, 12, 99), 20, "quick_gelu")


def randomised(net: Any) -> Any:
    """The net with every parameter drawn anew: no bias zero, no norm the identity."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.2)
            if parameter.ndim == 1:
                parameter.add_(0.5)
    return net.eval()


def inputs() -> tuple[Tensor, Tensor]:
    """Images, and texts that end at different places, with tokens behind the end."""
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randint(2, 90, (4, 12), generator=generator)
    tokens[:, 0] = 97
    for row, end in enumerate((3, 11, 6, 9)):
        tokens[row, end] = 98
        tokens[row, end + 1 :] = (0, 98)[row % 2]
    return torch.randn(3, 3, 32, 32, generator=generator), tokens


def check_same(ours: Clip, theirs: Any) -> None:
    images, tokens = inputs()
    with torch.no_grad():
        expected = theirs(input_ids=tokens, pixel_values=images)
        outputs = ours.outputs({"images": images, "tokens": tokens})
        torch.testing.assert_close(outputs["image"], expected.image_embeds, atol=1e-6, rtol=0)
        torch.testing.assert_close(outputs["text"], expected.text_embeds, atol=1e-6, rtol=0)
        torch.testing.assert_close(ours(images, tokens), expected.logits_per_image, atol=1e-5, rtol=0)
    assert float(expected.image_embeds.std(dim=0).min()) > 1e-4
    assert float(expected.text_embeds.std(dim=0).min()) > 1e-4


def hugging_face(transformers: Any, activation: str, eos: int = 98) -> Any:
    config = transformers.CLIPConfig(
        text_config=TEXT | {"hidden_act": activation, "eos_token_id": eos},
        vision_config=VISION | {"hidden_act": activation},
        projection_dim=20,
    )
    return randomised(transformers.CLIPModel(config))


@pytest.mark.parametrize(("activation", "eos"), [("quick_gelu", 98), ("gelu", 98), ("quick_gelu", 2)])
def test_hugging_face_s_outputs_and_counts(transformers: Any, activation: str, eos: int) -> None:
    theirs = hugging_face(transformers, activation, eos)
    config = theirs.config.to_dict()
    spec = spec_from_huggingface(config, "test")
    assert spec.dimensions() == SPEC.dimensions()
    assert spec.activation == activation
    ours = fill(spec, tensors_from_huggingface(spec, config, theirs.state_dict(), "test"), "test", "model.base")
    assert isinstance(ours, Clip)
    check_same(ours, theirs)
    assert sum(p.numel() for p in theirs.parameters()) == parameters(spec)


@pytest.mark.parametrize("activation", ["quick_gelu", "gelu"])
def test_to_hugging_face_and_back(transformers: Any, activation: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    ours = randomised(Clip(ClipSpec(SPEC.vision, SPEC.text, SPEC.projection_dim, activation)))  # type: ignore[arg-type]
    config, tensors = to_huggingface(ours)
    (tmp_path / "config.json").write_text(json.dumps(config))
    save_file(tensors, tmp_path / "model.safetensors", {"format": "pt"})
    theirs, report = transformers.CLIPModel.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(report.values())
    check_same(ours, theirs.eval())
    spec = spec_from_huggingface(config, "test")
    assert spec == ours.spec
    back = tensors_from_huggingface(spec, config, tensors, "test")
    assert all(torch.equal(back[name], tensor) for name, tensor in ours.state_dict().items())


def test_pruned_widths_and_neurons_go_to_hugging_face_and_open_clip(transformers: Any, open_clip: Any) -> None:
    vision, text = VisionSpec(1, 7, 16, 2, 8, 5, 32, 16), TextSpec(2, 13, 12, 3, 4, 12, 99)
    ours = randomised(Clip(ClipSpec(vision, text, 20)))
    config, tensors = to_huggingface(ours)
    theirs = transformers.CLIPModel(transformers.CLIPConfig(**config)).eval()
    theirs.load_state_dict(tensors)
    check_same(ours, theirs)
    config, tensors = to_open_clip(ours)
    copy = open_clip.CLIP(**config["model_cfg"]).eval()
    copy.load_state_dict(tensors)
    images, tokens = inputs()
    with torch.no_grad():
        torch.testing.assert_close(
            ours.encode_image(images), copy.encode_image(images, normalize=True), atol=1e-6, rtol=0
        )
        torch.testing.assert_close(
            ours.encode_text(tokens), copy.encode_text(tokens, normalize=True), atol=1e-6, rtol=0
        )


@pytest.mark.parametrize("width", [48, 49, 768])
def test_every_number_of_neurons_survives_open_clip_s_ratio(width: int) -> None:
    for neurons in (*range(1, 60), 3071, 3072):
        vision = VisionSpec(1, neurons, width, 1, width, 5, 32, 16)
        with torch.device("meta"):
            net = Clip(ClipSpec(vision, SPEC.text, 20))
        model: Any = to_open_clip(net)[0]["model_cfg"]
        assert int(width * model["vision_cfg"]["mlp_ratio"]) == neurons


def test_open_clip_loads_our_folder(open_clip: Any, tmp_path: Path) -> None:
    ours = randomised(Clip(SPEC))
    config, tensors = to_open_clip(ours, Preprocess(32, mean=HALF, std=HALF, resize_mode="squash"))
    (tmp_path / "open_clip_config.json").write_text(json.dumps(config))
    save_file(tensors, tmp_path / "open_clip_model.safetensors", {"format": "pt"})
    theirs, transform = open_clip.create_model_from_pretrained(f"local-dir:{tmp_path}")
    images, tokens = inputs()
    with torch.no_grad():
        torch.testing.assert_close(
            ours.encode_image(images), theirs.eval().encode_image(images, normalize=True), atol=1e-6, rtol=0
        )
        torch.testing.assert_close(
            ours.encode_text(tokens), theirs.encode_text(tokens, normalize=True), atol=1e-6, rtol=0
        )
    assert "0.5" in str(transform)


def test_shapes_that_the_libraries_refuse_are_told_at_once() -> None:
    ours = Clip(SPEC.with_dimensions({"vision.heads": 2, "text.embed_dim": 15}))
    for write in (to_huggingface, to_open_clip):
        with pytest.raises(InputError) as caught:
            write(ours)
        assert [p.where for p in caught.value.problems] == ["vision.heads", "text.heads"]


def test_a_configuration_says_by_its_absence_what_openai_s_first_model_has() -> None:
    spec = spec_from_huggingface({"model_type": "clip", "text_config": {}, "vision_config": {}}, "test")
    assert spec == ClipSpec(
        VisionSpec(12, 3072, 768, 12, 64, 50, 224, 32), TextSpec(12, 2048, 512, 8, 64, 77, 49408), 512, "quick_gelu"
    )
    old = {"text_config": {"hidden_size": 1}, "text_config_dict": {"hidden_size": 768, "num_attention_heads": 12}}
    assert spec_from_huggingface(old, "test").text.embed_dim == 768


@pytest.mark.parametrize("name", ["openai/clip-vit-large-patch14"])
def test_defaults_are_those_of_transformers(transformers: Any, name: str) -> None:
    complete = transformers.CLIPConfig().to_dict()
    assert spec_from_huggingface(complete, name) == spec_from_huggingface({}, name)


def test_what_we_have_not_is_named_at_once() -> None:
    config = {
        "projection_dim": 0,
        "text_config": TEXT | {"hidden_act": "gelu_new", "layer_norm_eps": 1e-12, "hidden_size": 15},
        "vision_config": VISION | {"num_hidden_layers": "2", "patch_size": [16, 8]},
    }
    with pytest.raises(InputError) as caught:
        spec_from_huggingface(config, "here")
    told = str(caught.value)
    for part in (
        "text_config.hidden_act: 'gelu_new'",
        "text_config.layer_norm_eps: 1e-12",
        "text_config: 15 channels are not 4 equal heads",
        "vision_config.num_hidden_layers: '2'",
        "vision_config.patch_size: [16, 8]",
        "projection_dim: 0",
    ):
        assert part in told, part
    mixed = {
        "text_config": TEXT | {"eos_token_id": 5},
        "vision_config": VISION | {"hidden_act": "gelu", "num_channels": 1},
    }
    with pytest.raises(InputError) as caught:
        spec_from_huggingface(mixed, "here")
    assert len(caught.value.problems) == 3
    with pytest.raises(InputError, match="text_config is not a table"):
        spec_from_huggingface({"text_config": 3}, "here")


def test_missing_and_extra_tensors_have_the_names_of_the_file() -> None:
    ours = Clip(SPEC)
    config, tensors = to_huggingface(ours)
    tensors["vision_model.embeddings.position_ids"] = torch.arange(5)  # harmless, as old files have it
    assert set(tensors_from_huggingface(SPEC, config, tensors, "here")) == set(ours.state_dict())
    key = "text_model.encoder.layers.1.self_attn.k_proj.weight"
    del tensors[key]
    tensors["text_model.surprise"] = torch.zeros(1)
    with pytest.raises(InputError) as caught:
        tensors_from_huggingface(SPEC, config, tensors, "here")
    assert str(caught.value) == f"here: missing {key}\nhere: unexpected text_model.surprise"
    tensors[key] = torch.zeros(16, 9)
    del tensors["text_model.surprise"]
    with pytest.raises(InputError, match="in_proj_weight is"):
        fill(SPEC, tensors_from_huggingface(SPEC, config, tensors, "here"), "here", "model.base")
