"""Hugging Face state dicts and configurations of Llama, Mistral and Qwen2, both ways.

The three are one architecture in three `model_type`s. Whatever a configuration asks for that changes the outputs and
that our net has not is refused by name, all of it at once: other activations, biases elsewhere, other ways to stretch
rotary embeddings, quantised weights. Both places of the rotary settings are read: `rope_theta` and `rope_scaling`, and
the `rope_parameters` of transformers 5.

A sliding window (Mistral 7B v0.1) is no different from full attention in texts that it covers. So the spec's
`max_tokens` is the window, where that is the shorter, and a warning says so.

Source: the configuration classes of Hugging Face transformers 4 and 5 (names, defaults).
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from typing import Any, Final

import torch
from torch import Tensor

from catransformers.errors import CatransformersWarning, InputError, Problem, Problems, unknown_name
from catransformers.models.families.llama import Llama
from catransformers.reading import read_table
from catransformers.workloads.dimensions import ABOVE_0, SIZE
from catransformers.workloads.llama import LlamaSpec, RopeScaling, check_rope_scaling, rope_scaling

#: The `model_type`s that are this family.
MODEL_TYPES: Final = ("llama", "mistral", "qwen2")
#: What a text starts from, if the model admits it: tokens of the prompt and new ones.
PROMPT_TOKENS, NEW_TOKENS = 512, 128

_SIZES: Final = (
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "max_position_embeddings",
)
_ROPE_TYPES: Final = ("default", "llama3")
_ORIGINAL_MAX: Final = "original_max_position_embeddings"
#: What the library takes where a configuration says nothing.
_DEFAULT_THETA: Final = 10_000.0
_DEFAULT_WINDOW: Final = 4096
#: Frequencies of rotary embeddings, which old versions of the library stored as if they were weights.
_NOT_WEIGHTS: Final = re.compile(r"(.*\.)?rotary_emb\.inv_freq")
_PREFIX: Final = "model."


def spec_from_huggingface(config: Mapping[str, Any], where: str) -> LlamaSpec:
    """The spec that a `config.json` describes.

    Args:
        config: the configuration, with a `model_type` of `MODEL_TYPES`.
        where: what to call it in a message.

    Returns:
        The spec; its usage is 512 tokens of prompt and 128 new ones, or what the model admits.

    Raises:
        InputError: for everything in it that is missing, impossible, or not to be had in our net; all at once.

    Warns:
        CatransformersWarning: if a sliding window shortens `max_tokens`.
    """
    kind = config.get("model_type")
    if kind not in MODEL_TYPES:
        raise InputError(unknown_name(f"{where}: model_type", "model type", str(kind), MODEL_TYPES))
    problems, sizes = Problems(), dict.fromkeys(_SIZES, SIZE)
    read_table({key: config[key] for key in _SIZES if key in config}, sizes, f"{where}: ", problems)
    optional = [key for key in ("head_dim", "num_key_value_heads") if config.get(key) is not None]
    if "num_key_value_heads" not in config and kind != "llama":
        problems.append(Problem(f"{where}: num_key_value_heads", "missing"))
    for key in optional:
        problems.of(SIZE, config[key], f"{where}: {key}")
    problems += _foreign(config, where)
    if "rms_norm_eps" in config:
        problems.of(ABOVE_0, config["rms_norm_eps"], f"{where}: rms_norm_eps")
    else:
        problems.append(Problem(f"{where}: rms_norm_eps", "missing"))
    if type(config.get("tie_word_embeddings", False)) is not bool:
        what = f"{config['tie_word_embeddings']!r} is neither true nor false"
        problems.append(Problem(f"{where}: tie_word_embeddings", what))
    theta, scaling = _rotary(config, where, problems)
    if not problems:
        problems += _check_heads(config, where)
    problems.finish()
    heads, limit = config["num_attention_heads"], _longest(config, where)
    new = min(NEW_TOKENS, limit // 5)
    return LlamaSpec(
        layers=config["num_hidden_layers"],
        ffn_dim=config["intermediate_size"],
        embed_dim=config["hidden_size"],
        heads=heads,
        kv_heads=config.get("num_key_value_heads") or heads,
        head_dim=config.get("head_dim") or config["hidden_size"] // heads,
        vocab_size=config["vocab_size"],
        tied_embeddings=config.get("tie_word_embeddings", False),
        max_tokens=limit,
        prompt_tokens=min(PROMPT_TOKENS, limit - new),
        new_tokens=new,
        qkv_bias=kind == "qwen2",
        norm_eps=float(config["rms_norm_eps"]),
        rope_theta=theta,
        rope_scaling=scaling,
    )


def _check_heads(config: Mapping[str, Any], where: str) -> list[Problem]:
    """Mistakes of sizes that are each possible."""
    width, heads, own = config["hidden_size"], config["num_attention_heads"], config.get("head_dim")
    groups = config.get("num_key_value_heads") or heads
    problems = []
    if heads % groups:
        what = f"{heads} are not whole groups"
        problems.append(Problem(f"{where}: num_attention_heads", what, f"multiples of {groups}"))
    if own is None and width % heads:
        what = f"{width} are not {heads} heads of one size"
        problems.append(Problem(f"{where}: hidden_size", what, f"multiples of {heads}, or a head_dim"))
    elif (own or width // heads) % 2:
        problems.append(Problem(f"{where}: head_dim", f"{own or width // heads} is odd", "even sizes"))
    return problems


def _foreign(config: Mapping[str, Any], where: str) -> list[Problem]:
    """What the configuration asks for that our net has not, the rotary embeddings apart."""
    problems = []
    activation = config.get("hidden_act", "silu")
    if activation not in ("silu", "swish"):
        problems.append(Problem(f"{where}: hidden_act", f"{activation!r} is not supported", "silu"))
    for key, what in (
        ("attention_bias", "biases on all four projections of the attention"),
        ("mlp_bias", "FFN biases"),
    ):
        if config.get(key):
            problems.append(Problem(f"{where}: {key}", f"{what} are not supported", "false"))
    if config.get("quantization_config"):
        hint = "give the checkpoint in float32, bfloat16 or float16"
        problems.append(Problem(f"{where}: quantization_config", "quantised weights are not supported", hint=hint))
    layers = config.get("layer_types") or []
    known = ("full_attention", "sliding_attention")
    if not isinstance(layers, list):
        problems.append(Problem(f"{where}: layer_types", f"{layers!r} is no list"))
    else:
        problems += [
            Problem(f"{where}: layer_types", f"{name!r} is not supported", ", ".join(known))
            for name in dict.fromkeys(str(layer) for layer in layers)
            if name not in known
        ]
    window = _window(config)
    if window is not None and (type(window) is not int or window < 1):
        problems.append(Problem(f"{where}: sliding_window", f"{window!r} is not a size", "integers from 1, or null"))
    return problems


def _window(config: Mapping[str, Any]) -> Any:
    """How many tokens attention sees, or None for all; Llama has no such thing, and Qwen2 a switch for it."""
    if config["model_type"] == "llama":
        return None
    if config["model_type"] == "qwen2" and not config.get("use_sliding_window", False):
        return None
    return config.get("sliding_window", _DEFAULT_WINDOW)


def _longest(config: Mapping[str, Any], where: str) -> int:
    """The longest text: what the model was made for, or what a sliding window covers."""
    limit: int = config["max_position_embeddings"]
    window = _window(config)
    if window is None or window >= limit:
        return limit
    warnings.warn(
        CatransformersWarning(
            f"{where}: attention sees {window} tokens back (sliding_window); texts are limited to these, "
            f"of {limit}, since beyond them the outputs would differ"
        ),
        stacklevel=3,
    )
    return int(window)


def _rotary(config: Mapping[str, Any], where: str, problems: Problems) -> tuple[float, RopeScaling | None]:
    """Base and stretching of the rotary embeddings; what is wrong with them is added to `problems`."""
    key = "rope_scaling" if config.get("rope_scaling") else "rope_parameters"
    table = config.get(key) or {}
    place = f"{where}: {key}"
    if not isinstance(table, Mapping):
        problems.append(Problem(place, f"{table!r} is not a table"))
        return _DEFAULT_THETA, None
    nested = [name for name, value in table.items() if isinstance(value, Mapping)]
    if nested:
        what = f"settings of their own for kinds of layers ({', '.join(nested)}) are not supported"
        problems.append(Problem(place, what))
        return _DEFAULT_THETA, None
    theta = table.get("rope_theta", config.get("rope_theta"))
    theta = _DEFAULT_THETA if theta is None else theta
    theta = problems.of(ABOVE_0, theta, f"{where}: rope_theta") or _DEFAULT_THETA
    partial = table.get("partial_rotary_factor", config.get("partial_rotary_factor"))
    if partial not in (None, 1):
        problems.append(Problem(f"{where}: partial_rotary_factor", f"{partial!r} is not supported", "1"))
    rope_type = table.get("rope_type", table.get("type", "default"))
    if rope_type not in _ROPE_TYPES:
        problem = Problem(place, f"rotary embeddings of type {rope_type!r} are not supported", ", ".join(_ROPE_TYPES))
        problems.append(problem)
    if rope_type != "llama3":
        return theta, None
    original = config.get(_ORIGINAL_MAX) or table.get(_ORIGINAL_MAX) or config.get("max_position_embeddings")
    scaling = {name: table[name] for name in ("factor", "low_freq_factor", "high_freq_factor") if name in table}
    scaling[_ORIGINAL_MAX] = original
    mistakes = check_rope_scaling(scaling, f"{place}.", _ORIGINAL_MAX)
    problems += mistakes
    return theta, None if mistakes else rope_scaling(scaling, _ORIGINAL_MAX)


def tensors_from_huggingface(
    spec: LlamaSpec, config: Mapping[str, Any], tensors: Mapping[str, Tensor], where: str
) -> dict[str, Tensor]:
    """The tensors of a checkpoint by our names; no tensor is copied.

    The `model.` in front goes, and so do stored rotary frequencies, and a tied output that is stored beside the table
    that it equals. All else keeps its name, for the strict check of the net that it goes to.

    Args:
        spec: of the configuration.
        config: the configuration.
        tensors: of a `…ForCausalLM`, with `model.` in front of all but `lm_head`.
        where: what to call the checkpoint in a message.

    Raises:
        InputError: if the output is stored apart and differs from the table that it is said to be tied to.
    """
    found = {name.removeprefix(_PREFIX): value for name, value in tensors.items() if not _NOT_WEIGHTS.fullmatch(name)}
    head, table = found.get("lm_head.weight"), found.get("embed_tokens.weight")
    if spec.tied_embeddings and head is not None and table is not None:
        if head is not table and not (head.shape == table.shape and torch.equal(head, table)):
            what = f"differs from embed_tokens.weight, though {config['model_type']}'s tie_word_embeddings is true"
            raise InputError(Problem(f"{where}: lm_head.weight", what))
        del found["lm_head.weight"]
    return found


def to_huggingface(net: Llama) -> tuple[dict[str, object], dict[str, Tensor]]:
    """A net as transformers' own classes load it, pruned or not: configuration and tensors.

    With biases it is a Qwen2, without a Llama; where the width is no multiple of the heads, which Llama's configuration
    refuses, a Mistral without a window, which computes the same. `head_dim` tells the heads' size apart from the width.
    The configuration names no start or end token, for a net knows none.

    Returns:
        The content of `config.json`, and the tensors by transformers' names, sharing the net's memory.
    """
    spec = net.spec
    more: dict[str, object]
    if spec.qkv_bias:
        kind, name, more = "qwen2", "Qwen2ForCausalLM", {"use_sliding_window": False}
    elif spec.embed_dim % spec.heads == 0:
        kind, name, more = "llama", "LlamaForCausalLM", {"attention_bias": False, "mlp_bias": False}
    else:
        kind, name, more = "mistral", "MistralForCausalLM", {"sliding_window": None}
    config: dict[str, object] = {
        "architectures": [name],
        "model_type": kind,
        "vocab_size": spec.vocab_size,
        "hidden_size": spec.embed_dim,
        "intermediate_size": spec.ffn_dim,
        "num_hidden_layers": spec.layers,
        "num_attention_heads": spec.heads,
        "num_key_value_heads": spec.kv_heads,
        "head_dim": spec.head_dim,
        "hidden_act": "silu",
        "max_position_embeddings": spec.max_tokens,
        "rms_norm_eps": spec.norm_eps,
        "rope_theta": spec.rope_theta,
        "rope_scaling": _scaling_of(spec.rope_scaling),
        "tie_word_embeddings": spec.tied_embeddings,
        "bos_token_id": None,
        "eos_token_id": None,
        "torch_dtype": str(net.embed_tokens.weight.dtype).removeprefix("torch."),
        **more,
    }
    tensors = {
        name if name.startswith("lm_head.") else _PREFIX + name: tensor.detach()
        for name, tensor in net.state_dict().items()
    }
    return config, tensors


def _scaling_of(scaling: RopeScaling | None) -> dict[str, object] | None:
    if scaling is None:
        return None
    return {
        "rope_type": "llama3",
        "factor": scaling.factor,
        "low_freq_factor": scaling.low_freq_factor,
        "high_freq_factor": scaling.high_freq_factor,
        _ORIGINAL_MAX: scaling.original_max,
    }
