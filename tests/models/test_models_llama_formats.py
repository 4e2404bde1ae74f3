"""Configurations and tensors of transformers' Llama, Mistral and Qwen2, read and written."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from catransformers.errors import CatransformersWarning, InputError, IntegrityError
from catransformers.models.families.llama import Llama
from catransformers.models.formats.llama import spec_from_huggingface, tensors_from_huggingface, to_huggingface
from catransformers.models.loading.storage import assign_tensors
from catransformers.workloads.llama import LlamaSpec, RopeScaling
from catransformers.workloads.zoo import named_spec

CONFIG: dict[str, Any] = {
    "model_type": "llama",
    "vocab_size": 50,
    "hidden_size": 24,
    "intermediate_size": 40,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "rms_norm_eps": 1e-5,
    "hidden_act": "silu",
}
SCALING: dict[str, Any] = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
SPEC = LlamaSpec(
    layers=3,
    ffn_dim=40,
    embed_dim=24,
    heads=6,
    kv_heads=2,
    head_dim=4,
    vocab_size=50,
    tied_embeddings=False,
    max_tokens=64,
    prompt_tokens=52,
    new_tokens=12,
)
#: Specs whose exports go to each of the three stock classes; pruned ones among them.
EXPORTS: dict[str, tuple[str, LlamaSpec]] = {
    "llama": ("LlamaForCausalLM", SPEC),
    "llama, tied and stretched": (
        "LlamaForCausalLM",
        replace(SPEC, tied_embeddings=True, rope_theta=5e5, rope_scaling=RopeScaling(8.0, 1.0, 4.0, 32)),
    ),
    "llama with heads pruned": ("LlamaForCausalLM", SPEC.with_dimensions({"kv_heads": 1, "embed_dim": 18})),
    "a width that heads do not divide": ("MistralForCausalLM", SPEC.with_dimensions({"embed_dim": 23, "ffn_dim": 31})),
    "the same, tied and stretched": (
        "MistralForCausalLM",
        replace(SPEC, embed_dim=23, tied_embeddings=True, rope_scaling=RopeScaling(8.0, 1.0, 4.0, 32), norm_eps=1e-3),
    ),
    "qwen2": ("Qwen2ForCausalLM", replace(SPEC, qkv_bias=True, rope_theta=1e6)),
    "qwen2 pruned": (
        "Qwen2ForCausalLM",
        replace(SPEC, qkv_bias=True, tied_embeddings=True).with_dimensions(
            {"kv_heads": 1, "embed_dim": 17, "layers": 2, "ffn_dim": 21}
        ),
    ),
}


def random_net(spec: LlamaSpec, seed: int = 0) -> Llama:
    net = Llama(spec)
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in net.named_parameters():
        parameter.data = 0.3 * torch.randn(parameter.shape, generator=generator) + ("norm" in name)
    return net.eval()


def tokens(length: int) -> Tensor:
    return torch.randint(0, 50, (2, length), generator=torch.Generator().manual_seed(1))


def problems(config: dict[str, Any]) -> list[str]:
    with pytest.raises(InputError) as caught:
        spec_from_huggingface(config, "config.json")
    return [str(problem).removeprefix("config.json: ") for problem in caught.value.problems]


def write(net: Llama, folder: Path) -> dict[str, Any]:
    config, tensors = to_huggingface(net)
    text = json.dumps(config)
    (folder / "config.json").write_text(text, encoding="utf-8")
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / "model.safetensors")
    found: dict[str, Any] = json.loads(text)
    return found


@pytest.mark.parametrize("name", EXPORTS)
@torch.no_grad()
def test_an_export_loads_in_the_stock_class_with_equal_outputs(transformers: Any, name: str, tmp_path: Path) -> None:
    kind, spec = EXPORTS[name]
    net = random_net(spec)
    write(net, tmp_path)
    model, report = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, output_loading_info=True)
    assert type(model).__name__ == kind
    assert not any(report[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    ids = tokens(40)
    expected = net.outputs({"tokens": ids})["logits"]
    found = model.eval()(ids, use_cache=False).logits
    assert float((found - expected).abs().max()) <= 1e-6 * float(expected.abs().max())
    assert model.num_parameters() == sum(p.numel() for p in net.parameters())


@pytest.mark.parametrize("name", EXPORTS)
def test_an_export_comes_back_bit_for_bit(name: str, tmp_path: Path) -> None:
    _, spec = EXPORTS[name]
    net = random_net(spec)
    config = write(net, tmp_path)
    again = spec_from_huggingface(config, "config.json")
    assert again == spec
    found = tensors_from_huggingface(again, config, load_file(tmp_path / "model.safetensors"), "model.safetensors")
    other = Llama(again)
    assign_tensors(other, found, "test")
    for key, tensor in net.state_dict().items():
        assert torch.equal(other.state_dict()[key], tensor)


@pytest.mark.parametrize("name", EXPORTS)
def test_what_the_library_saves_is_read_again(transformers: Any, name: str, tmp_path: Path) -> None:
    """Its own writing of the same model: other keys, rotary settings in another place."""
    _, spec = EXPORTS[name]
    net = random_net(spec)
    (tmp_path / "ours").mkdir()
    write(net, tmp_path / "ours")
    transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "ours").save_pretrained(tmp_path / "theirs")
    config = json.loads((tmp_path / "theirs/config.json").read_text(encoding="utf-8"))
    assert "rope_parameters" in config
    again = spec_from_huggingface(config, "config.json")
    assert again == spec
    stored = load_file(tmp_path / "theirs/model.safetensors")
    found = tensors_from_huggingface(again, config, stored, "model.safetensors")
    assert sorted(found) == sorted(net.state_dict())
    assert all(torch.equal(found[key], tensor) for key, tensor in net.state_dict().items())


def test_half_precision_stays_so_in_an_export(transformers: Any, tmp_path: Path) -> None:
    net = random_net(SPEC).to(torch.bfloat16)
    assert write(net, tmp_path)["torch_dtype"] == "bfloat16"
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, dtype="auto")
    assert model.dtype == torch.bfloat16


def test_a_configuration_becomes_a_spec() -> None:
    assert spec_from_huggingface(CONFIG, "config.json") == SPEC
    own = spec_from_huggingface(CONFIG | {"head_dim": 10, "tie_word_embeddings": True, "rope_theta": 100}, "c")
    assert (own.head_dim, own.embed_dim, own.tied_embeddings, own.rope_theta) == (10, 24, True, 100.0)
    alone = {key: value for key, value in CONFIG.items() if key != "num_key_value_heads"}
    assert spec_from_huggingface(alone, "c").kv_heads == 6
    tiny = spec_from_huggingface(CONFIG | {"max_position_embeddings": 1}, "c")
    assert (tiny.max_tokens, tiny.prompt_tokens, tiny.new_tokens) == (1, 1, 0)
    assert spec_from_huggingface(CONFIG | {"model_type": "qwen2", "sliding_window": 8}, "c").qkv_bias


def test_published_configurations_are_the_named_models() -> None:
    """Of Llama-3.1-8B and TinyLlama, as they are published, but for what says nothing of the outputs."""
    big = {
        "architectures": ["LlamaForCausalLM"],
        "attention_bias": False,
        "attention_dropout": 0.0,
        "bos_token_id": 128000,
        "eos_token_id": 128001,
        "hidden_act": "silu",
        "hidden_size": 4096,
        "initializer_range": 0.02,
        "intermediate_size": 14336,
        "max_position_embeddings": 131072,
        "mlp_bias": False,
        "model_type": "llama",
        "num_attention_heads": 32,
        "num_hidden_layers": 32,
        "num_key_value_heads": 8,
        "pretraining_tp": 1,
        "rms_norm_eps": 1e-05,
        "rope_scaling": SCALING | {"original_max_position_embeddings": 8192},
        "rope_theta": 500000.0,
        "tie_word_embeddings": False,
        "torch_dtype": "bfloat16",
        "use_cache": True,
        "vocab_size": 128256,
    }
    assert spec_from_huggingface(big, "c") == named_spec("Llama-3.1-8B")
    small = {
        "model_type": "llama",
        "hidden_size": 2048,
        "intermediate_size": 5632,
        "max_position_embeddings": 2048,
        "num_attention_heads": 32,
        "num_hidden_layers": 22,
        "num_key_value_heads": 4,
        "rms_norm_eps": 1e-05,
        "rope_scaling": None,
        "rope_theta": 10000.0,
        "tie_word_embeddings": False,
        "vocab_size": 32000,
    }
    assert spec_from_huggingface(small, "c") == named_spec("TinyLlama-1.1B")


def test_rotary_settings_are_read_in_both_places() -> None:
    stretched = RopeScaling(8.0, 1.0, 4.0, 32)
    old = spec_from_huggingface(CONFIG | {"rope_theta": 5e5, "rope_scaling": SCALING}, "c")
    new = spec_from_huggingface(CONFIG | {"rope_parameters": SCALING | {"rope_theta": 5e5}}, "c")
    assert old == new == replace(SPEC, rope_theta=5e5, rope_scaling=stretched)
    plain = spec_from_huggingface(CONFIG | {"rope_parameters": {"rope_type": "default", "rope_theta": 7.0}}, "c")
    assert plain == replace(SPEC, rope_theta=7.0)
    unsaid = {key: value for key, value in SCALING.items() if key != "original_max_position_embeddings"}
    found = spec_from_huggingface(CONFIG | {"rope_scaling": unsaid}, "c").rope_scaling
    assert found == replace(stretched, original_max=64)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "lama"}, "model_type: unknown model type 'lama'"),
        ({"model_type": None}, "model_type: unknown model type 'None'; allowed: llama, mistral, qwen2"),
        ({"hidden_act": "gelu"}, "hidden_act: 'gelu' is not supported; allowed: silu"),
        ({"attention_bias": True}, "attention_bias: biases on all four projections"),
        ({"mlp_bias": True}, "mlp_bias: FFN biases"),
        ({"quantization_config": {"bits": 4}}, "quantization_config: quantised weights"),
        ({"rope_scaling": {"rope_type": "yarn", "factor": 4.0}}, "rope_scaling: rotary embeddings of type 'yarn'"),
        ({"rope_scaling": {"type": "linear", "factor": 2.0}}, "of type 'linear' are not supported; allowed: default"),
        ({"rope_parameters": {"rope_type": "longrope"}}, "rope_parameters: rotary embeddings of type 'longrope'"),
        ({"rope_parameters": {"rope_type": "dynamic"}}, "of type 'dynamic'"),
        ({"rope_parameters": {"full_attention": {"rope_theta": 1.0}}}, "kinds of layers (full_attention)"),
        ({"rope_scaling": {"rope_type": "llama3"}}, "rope_scaling.low_freq_factor: missing"),
        ({"rope_scaling": SCALING | {"high_freq_factor": 1.0}}, "rope_scaling.high_freq_factor: 1.0 leaves no ramp"),
        ({"rope_scaling": "llama3"}, "rope_scaling: 'llama3' is not a table"),
        ({"rope_theta": 0}, "rope_theta: 0 is not a number above 0"),
        ({"partial_rotary_factor": 0.5}, "partial_rotary_factor: 0.5 is not supported"),
        ({"layer_types": ["full_attention", "linear_attention"]}, "layer_types: 'linear_attention'"),
        ({"layer_types": 3}, "layer_types: 3 is no list"),
        ({"num_attention_heads": 7, "head_dim": 4}, "num_attention_heads: 7 are not whole groups"),
        ({"hidden_size": 26}, "hidden_size: 26 are not 6 heads of one size"),
        ({"head_dim": 5}, "head_dim: 5 is odd"),
        ({"hidden_size": 18}, "head_dim: 3 is odd"),
        ({"vocab_size": "50"}, "vocab_size: '50' is not a size"),
        ({"rms_norm_eps": None}, "rms_norm_eps: None is not a number"),
        ({"tie_word_embeddings": 1}, "tie_word_embeddings: 1 is neither true nor false"),
        ({"model_type": "mistral", "sliding_window": 0}, "sliding_window: 0 is not a size"),
    ],
)
def test_what_our_net_has_not_is_refused_by_name(change: dict[str, Any], message: str) -> None:
    assert any(problem.startswith(message) or message in problem for problem in problems(CONFIG | change))


def test_all_of_it_is_told_at_once() -> None:
    config = {key: value for key, value in CONFIG.items() if key not in ("hidden_size", "rms_norm_eps")}
    config |= {"model_type": "mistral", "num_attention_heads": 0, "mlp_bias": True, "rope_scaling": {"type": "yarn"}}
    del config["num_key_value_heads"]
    told = [problem.split(":")[0] for problem in problems(config)]
    assert sorted(told) == sorted(
        ["hidden_size", "rms_norm_eps", "num_attention_heads", "mlp_bias", "rope_scaling", "num_key_value_heads"]
    )
    everything = [problem.split(":")[0] for problem in problems({"model_type": "llama"})]
    assert len(everything) == 7


@torch.no_grad()
def test_a_window_limits_texts_to_what_it_covers_and_says_so(transformers: Any) -> None:
    """Up to the window the library's outputs are ours, one token later they are not."""
    config = transformers.MistralConfig(**{k: v for k, v in CONFIG.items() if k != "model_type"}, sliding_window=16)
    with pytest.warns(CatransformersWarning, match="16 tokens back .* limited to these, of 64"):
        spec = spec_from_huggingface(config.to_dict(), "config.json")
    assert (spec.max_tokens, spec.prompt_tokens, spec.new_tokens) == (16, 13, 3)
    net = random_net(replace(spec, max_tokens=64))
    model = transformers.MistralForCausalLM(config).eval()
    model.load_state_dict(to_huggingface(net)[1])
    ids = tokens(17)
    ours, theirs = net(ids), model(ids, use_cache=False).logits
    near = 1e-6 * float(ours.abs().max())
    assert float((ours - theirs)[:, :16].abs().max()) <= near
    assert float((ours - theirs)[:, 16].abs().max()) > 100 * near


@pytest.mark.parametrize(
    "change",
    [
        {"model_type": "mistral", "sliding_window": None},
        {"model_type": "mistral", "sliding_window": 64},
        {"model_type": "mistral"},
        {"model_type": "qwen2", "sliding_window": 16, "use_sliding_window": False},
        {"model_type": "llama", "sliding_window": 16},
    ],
)
def test_no_window_or_a_wide_one_limits_nothing(change: dict[str, Any]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert spec_from_huggingface(CONFIG | change, "config.json").max_tokens == 64


def test_qwen2s_window_counts_when_it_is_switched_on() -> None:
    config = CONFIG | {"model_type": "qwen2", "sliding_window": 16, "use_sliding_window": True}
    with pytest.warns(CatransformersWarning, match="sliding_window"):
        assert spec_from_huggingface(config, "config.json").max_tokens == 16


def stored(net: Llama) -> dict[str, Tensor]:
    return dict(to_huggingface(net)[1])


def test_frequencies_and_tied_outputs_that_are_stored_too_are_dropped() -> None:
    spec = replace(SPEC, tied_embeddings=True)
    net = random_net(spec)
    tensors = stored(net)
    table = tensors["model.embed_tokens.weight"]
    extra = {
        "model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(2),
        "model.rotary_emb.inv_freq": torch.ones(2),
        "lm_head.weight": table.clone(),
    }
    config = CONFIG | {"tie_word_embeddings": True}
    found = tensors_from_huggingface(spec, config, tensors | extra, "checkpoint")
    assert sorted(found) == sorted(net.state_dict())
    assert found["embed_tokens.weight"] is table
    wrong = extra | {"lm_head.weight": table + 1}
    with pytest.raises(InputError, match=r"checkpoint: lm_head.weight: differs from embed_tokens.weight"):
        tensors_from_huggingface(spec, config, tensors | wrong, "checkpoint")


def test_missing_and_extra_tensors_are_named() -> None:
    net = random_net(SPEC)
    tensors = stored(net)
    del tensors["lm_head.weight"]
    del tensors["model.layers.1.mlp.up_proj.weight"]
    tensors["model.layers.1.self_attn.q_proj.bias"] = torch.zeros(24)
    tensors["score.weight"] = torch.zeros(2, 24)
    found = tensors_from_huggingface(SPEC, CONFIG, tensors, "checkpoint")
    with pytest.raises((IntegrityError, InputError)) as caught:
        assign_tensors(Llama(SPEC), found, "checkpoint")
    for name in ("lm_head", "layers.1.mlp.up_proj.weight", "layers.1.self_attn.q_proj.bias", "score.weight"):
        assert name in str(caught.value)
