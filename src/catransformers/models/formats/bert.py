"""Hugging Face state dicts and configurations of BERT, RoBERTa and DistilBERT, both ways.

Read are encoders alone and models with a classifier (`…ForSequenceClassification`). The heads of pre-training (words
left out, next sentences) and the table of position ids, which is no weight, are dropped, by the names listed here and
no others. RoBERTa's classification head is our pooler and classifier, and so is DistilBERT's `pre_classifier`.

Nothing of transformers is imported: the formats are known by its published configurations and names of tensors
(Apache-2.0; Wolf et al., *Transformers*, EMNLP 2020, demonstrations).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import torch
from torch import Tensor

from catransformers.errors import InputError, Problem, Problems, unknown_name
from catransformers.models.families.bert import Bert
from catransformers.models.families.layers import INITIAL_STD
from catransformers.models.loading.storage import assign_tensors
from catransformers.workloads.bert import BertActivation, BertSpec
from catransformers.workloads.spec import EncoderSpec

_ACTIVATIONS: Final[Mapping[str, BertActivation]] = {
    "gelu": "gelu",
    "gelu_python": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_python_tanh": "gelu_tanh",
    "relu": "relu",
}
_ACTIVATION_NAMES: Final[Mapping[BertActivation, str]] = {
    "gelu": "gelu",
    "gelu_tanh": "gelu_pytorch_tanh",
    "relu": "relu",
}
#: Classes of which the weights are an encoder, and something that is dropped.
_ENCODERS: Final = ("Model", "ForMaskedLM", "ForPreTraining", "ForNextSentencePrediction")
_CLASSIFIER: Final = "ForSequenceClassification"
#: Settings by which BERT becomes something else, and the values that leave it as it is.
_PLAIN: Final[Mapping[str, tuple[object, ...]]] = {
    "position_embedding_type": ("absolute", None),
    "is_decoder": (False, None),
    "add_cross_attention": (False, None),
    "is_encoder_decoder": (False, None),
    "pruned_heads": ({}, None),
}


@dataclass(frozen=True, slots=True)
class _Kind:
    """One kind of model: what its classes and settings are called, and which tensors are not the net's.

    Args:
        title: first part of its classes' names.
        prefix: of the encoder's tensors in a model with a head.
        keys: its names of the sizes: layers, FFN, width, heads.
        activation: its name of the setting.
        dropped: pattern of the tensors of heads of pre-training.
    """

    title: str
    prefix: str
    keys: tuple[str, str, str, str]
    activation: str
    dropped: str


_BERT_KEYS: Final = ("num_hidden_layers", "intermediate_size", "hidden_size", "num_attention_heads")
_KINDS: Final[Mapping[str, _Kind]] = {
    "bert": _Kind("Bert", "bert.", _BERT_KEYS, "hidden_act", r"cls\..*"),
    "roberta": _Kind("Roberta", "roberta.", _BERT_KEYS, "hidden_act", r"lm_head\..*"),
    "xlm-roberta": _Kind("XLMRoberta", "roberta.", _BERT_KEYS, "hidden_act", r"lm_head\..*"),
    "distilbert": _Kind(
        "DistilBert",
        "distilbert.",
        ("n_layers", "hidden_dim", "dim", "n_heads"),
        "activation",
        r"vocab_(transform|layer_norm|projector)\..*",
    ),
}
MODEL_TYPES: Final = tuple(_KINDS)

#: Ours and DistilBERT's names of a block's parts.
_DISTILBERT_BLOCK: Final = {
    "attention.self.query": "attention.q_lin",
    "attention.self.key": "attention.k_lin",
    "attention.self.value": "attention.v_lin",
    "attention.output.dense": "attention.out_lin",
    "attention.output.LayerNorm": "sa_layer_norm",
    "intermediate.dense": "ffn.lin1",
    "output.dense": "ffn.lin2",
    "output.LayerNorm": "output_layer_norm",
}


def _is_roberta(model_type: str) -> bool:
    return model_type in ("roberta", "xlm-roberta")


def _heads(model_type: str) -> dict[str, str]:
    """Our and their names of what stands behind the encoder in a model with a classifier, where they differ."""
    if _is_roberta(model_type):
        return {"pooler.dense": "classifier.dense", "classifier": "classifier.out_proj"}
    return {"pooler.dense": "pre_classifier"} if model_type == "distilbert" else {}


def _kind(config: Mapping[str, Any], where: str) -> _Kind:
    model_type = config.get("model_type")
    if not isinstance(model_type, str) or model_type not in _KINDS:
        raise InputError(unknown_name(f"{where}: model_type", "kind of BERT", str(model_type), _KINDS))
    return _KINDS[model_type]


def _classes(config: Mapping[str, Any]) -> Any:
    """How many classes a classifier has: of a checkpoint that does not say, two."""
    labels = config.get("id2label")
    return len(labels) if isinstance(labels, Mapping) else config.get("num_labels", 2)


def spec_from_huggingface(config: Mapping[str, Any], where: str, tensors: Collection[str] | None = None) -> BertSpec:
    """The spec of a BERT, RoBERTa, XLM-RoBERTa or DistilBERT by its `config.json`.

    Args:
        config: the content of `config.json`.
        where: what to call it in messages.
        tensors: names of the checkpoint's tensors, if known. They tell whether an encoder has a pooler, which the
            configuration does not (many are published as `BertForMaskedLM`, with one); without them an encoder that
            was left by the training of a masked language model has none.

    Returns:
        The spec, with texts as long as the model admits.

    Raises:
        InputError: with everything that our net cannot be, and every size that is missing.
    """
    kind = _kind(config, where)
    problems = Problems()
    sizes: dict[str, int] = {}
    wanted = dict.fromkeys((*kind.keys, "vocab_size", "max_position_embeddings"), 1)
    if kind.title != "DistilBert":
        wanted["type_vocab_size"] = 0
    roberta = _is_roberta(str(config["model_type"]))
    if roberta:
        wanted["pad_token_id"] = 0
    for key, lowest in wanted.items():
        value = config.get(key, {"type_vocab_size": 2, "pad_token_id": 1, "max_position_embeddings": 512}.get(key))
        if type(value) is not int or value < lowest:
            what = "missing" if value is None else f"{value!r} is not a size"
            problems.append(Problem(f"{where}: {key}", what, f"integers from {lowest}"))
            value = 1
        sizes[key] = value
    layers, ffn, width, heads = (sizes[key] for key in kind.keys)
    if width % heads:
        what = f"{width} channels are not divisible by {heads} heads"
        problems.append(Problem(f"{where}: {kind.keys[2]}", what))
    for key, values in _PLAIN.items():
        if config.get(key) not in values:
            problems.append(Problem(f"{where}: {key}", f"{config[key]!r} is not supported", str(values[0])))
    activation = str(config.get(kind.activation, "gelu"))
    if activation not in _ACTIVATIONS:
        problems.append(unknown_name(f"{where}: {kind.activation}", "activation", activation, _ACTIVATIONS))
    eps = 1e-12 if kind.title == "DistilBert" else config.get("layer_norm_eps", 1e-12)
    if type(eps) not in (int, float) or not 0 <= eps < 1:
        problems.append(Problem(f"{where}: layer_norm_eps", f"{eps!r} is out of range", "0 to 1"))
    offset = sizes["pad_token_id"] + 1 if roberta else 0
    if offset >= sizes["max_position_embeddings"]:
        what = f"{sizes['max_position_embeddings']} rows are all before the first token's, {offset}"
        problems.append(Problem(f"{where}: max_position_embeddings", what, f"more than {offset}"))
    architecture, problem = _architecture(config, kind, where)
    problems += problem
    classes = _classes(config) if architecture == _CLASSIFIER else 0
    if type(classes) is not int or classes < 0:
        problems.append(Problem(f"{where}: num_labels", f"{classes!r} is not a number of classes", "integers from 1"))
    problems.finish()
    return BertSpec(
        EncoderSpec(layers, ffn, width, heads, width // heads, sizes["max_position_embeddings"] - offset),
        vocab_size=sizes["vocab_size"],
        positions=sizes["max_position_embeddings"],
        token_types=sizes.get("type_vocab_size", 0),
        pooler=_has_pooler(kind, architecture, tensors),
        classes=classes,
        norm_eps=float(eps),
        position_offset=offset,
        activation=_ACTIVATIONS[activation],
        pooler_activation="relu" if kind.title == "DistilBert" else "tanh",
    )


def _architecture(config: Mapping[str, Any], kind: _Kind, where: str) -> tuple[str, list[Problem]]:
    """What follows the kind in the name of the checkpoint's class; without any it is an encoder."""
    names = config.get("architectures") or [f"{kind.title}Model"]
    name = str(names[0]) if isinstance(names, list | tuple) else str(names)
    known = {kind.title + ending: ending for ending in (*_ENCODERS, _CLASSIFIER)}
    if name not in known:
        return "Model", [unknown_name(f"{where}: architectures", "class", name, known)]
    return known[name], []


def _has_pooler(kind: _Kind, architecture: str, tensors: Collection[str] | None) -> bool:
    if architecture == _CLASSIFIER:
        return True
    if kind.title == "DistilBert":
        return False
    if tensors is None:
        return architecture != "ForMaskedLM"
    return any(name.removeprefix(kind.prefix) == "pooler.dense.weight" for name in tensors)


def tensors_from_huggingface(
    spec: BertSpec, config: Mapping[str, Any], tensors: Mapping[str, Tensor], where: str
) -> dict[str, Tensor]:
    """A checkpoint's tensors by our names.

    Dropped are position ids, heads of pre-training, and an encoder's pooler if the spec has none or the classifier
    has one of its own (RoBERTa). Any other name comes through, so that loading finds what should not be there.

    Args:
        spec: of `spec_from_huggingface`.
        config: the content of `config.json`.
        tensors: the checkpoint's.
        where: what to call it in messages.

    Raises:
        InputError: for an unknown kind of model, and if two of its tensors are one of ours.
    """
    kind = _kind(config, where)
    model_type = str(config["model_type"])
    heads = {theirs: ours for ours, theirs in _heads(model_type).items()} if spec.classes else {}
    own_pooler = "pooler.dense" in heads.values() or not spec.pooler
    found: dict[str, Tensor] = {}
    problems = Problems()
    for name, tensor in tensors.items():
        inner = name.removeprefix(kind.prefix)
        if re.fullmatch(kind.dropped, name) or inner == "embeddings.position_ids":
            continue
        if own_pooler and re.fullmatch(r"pooler\.dense\.(weight|bias)", inner):
            continue
        stem, _, last = inner.rpartition(".")
        last = {"gamma": "weight", "beta": "bias"}.get(last, last)  # the names of BERT's first release
        if stem in heads and inner == name:
            stem = heads[stem]
        elif model_type == "distilbert":
            stem = _from_distilbert(stem)
        ours = f"{stem}.{last}" if stem else last
        if ours in found:
            problems.append(Problem(where, f"two tensors are {ours}", hint=f"one of them is {name}"))
        found[ours] = tensor
    problems.finish()
    return found


def _from_distilbert(stem: str) -> str:
    match = re.fullmatch(r"transformer\.layer\.(\d+)\.(.+)", stem)
    if match is None:
        return stem
    parts = {theirs: ours for ours, theirs in _DISTILBERT_BLOCK.items()}
    return f"encoder.layer.{match[1]}.{parts.get(match[2], match[2])}"


def _to_distilbert(stem: str) -> str:
    match = re.fullmatch(r"encoder\.layer\.(\d+)\.(.+)", stem)
    return stem if match is None else f"transformer.layer.{match[1]}.{_DISTILBERT_BLOCK[match[2]]}"


def to_huggingface(net: Bert) -> tuple[dict[str, object], dict[str, Tensor]]:
    """What `config.json` and the tensor file of Hugging Face's classes hold for this net.

    A net without token types becomes a DistilBERT, one whose positions start later a RoBERTa, any other a BERT.

    Returns:
        The configuration, and the tensors by their names there (not copied).

    Raises:
        InputError: with everything that these classes cannot be: a pruned attention narrower or wider than the
            residual stream above all.
    """
    spec, e = net.spec, net.spec.encoder
    model_type = "roberta" if spec.position_offset else "bert" if spec.token_types else "distilbert"
    kind = _KINDS[model_type]
    problems = Problems(_foreign(spec, model_type))
    problems.finish()
    layers, ffn, width, heads = kind.keys
    config: dict[str, object] = {
        "model_type": model_type,
        "architectures": [kind.title + (_CLASSIFIER if spec.classes else "Model")],
        layers: e.layers,
        ffn: e.ffn_dim,
        width: e.embed_dim,
        heads: e.heads,
        "vocab_size": spec.vocab_size,
        "max_position_embeddings": spec.positions,
        "pad_token_id": spec.position_offset - 1 if spec.position_offset else 0,
        kind.activation: _ACTIVATION_NAMES[spec.activation],
    }
    if model_type != "distilbert":
        config |= {"type_vocab_size": spec.token_types, "layer_norm_eps": spec.norm_eps}
    if spec.classes:
        names = {str(i): f"LABEL_{i}" for i in range(spec.classes)}
        config |= {"id2label": names, "label2id": {name: int(i) for i, name in names.items()}}
    tensors = {}
    behind = _heads(model_type)
    for name, tensor in net.state_dict().items():
        stem, _, last = name.rpartition(".")
        if not spec.classes:
            prefix = ""
        elif stem in behind or stem == "classifier":
            prefix, stem = "", behind.get(stem, stem)
        else:
            prefix = kind.prefix
        if model_type == "distilbert":
            stem = _to_distilbert(stem)
        tensors[f"{prefix}{stem}.{last}"] = tensor
    return config, tensors


def _foreign(spec: BertSpec, model_type: str) -> list[Problem]:
    """What Hugging Face's classes of a kind cannot express of a spec."""
    e, title = spec.encoder, _KINDS[model_type].title
    problems = []
    if e.attention_dim != e.embed_dim:
        what = f"{e.heads} heads of {e.head_dim} channels are not the {e.embed_dim} of {title}'s residual stream"
        problems.append(Problem("heads", what, hint="such a model is saved and loaded in this package's own format"))
    if not spec.token_types and model_type != "distilbert":
        problems.append(Problem("token_types", f"{title} has at least one type of tokens", "from 1"))
    if spec.classes and not spec.pooler:
        problems.append(Problem("pooler", f"{title} does not classify without one"))
    activation = "relu" if model_type == "distilbert" else "tanh"
    if spec.pooler and spec.pooler_activation != activation:
        problems.append(Problem("pooler_activation", f"{title} has not {spec.pooler_activation!r}", activation))
    if model_type == "distilbert":
        if spec.pooler and not spec.classes:
            problems.append(Problem("pooler", f"{title} has none without a classifier"))
        if spec.norm_eps != 1e-12:
            problems.append(Problem("norm_eps", f"{title} has not {spec.norm_eps}", "1e-12"))
    return problems


def add_classifier(net: Bert, classes: int, seed: int) -> Bert:
    """The net with a fresh classifier in place of none; and with a fresh pooler, if it has none.

    Hugging Face's classes for classification do the same to an encoder: all of them put a dense layer before it.

    Args:
        net: without a classifier; left as it is.
        classes: outputs of the new one, from 1.
        seed: of the fresh weights; torch's global generator is left alone.

    Returns:
        A new net, with independent weights, on the same device, in the same training mode.

    Raises:
        InputError: if the net has a classifier, or there are to be no classes.
    """
    problems = Problems()
    if net.spec.classes:
        problems.append(Problem("classes", f"the model has a classifier already, of {net.spec.classes} classes"))
    if classes < 1:
        problems.append(Problem("classes", f"{classes} is out of range", "integers from 1"))
    problems.finish()
    with torch.device("meta"):
        made = Bert(replace(net.spec, pooler=True, classes=classes))
    tensors = net.state_dict()
    like = net.embeddings.word_embeddings.weight
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in made.state_dict().items():
        if name not in tensors:
            fresh = torch.zeros(tensor.shape)
            if name.endswith("weight"):
                fresh.normal_(std=INITIAL_STD, generator=generator)
            tensors[name] = fresh.to(like.device, like.dtype)
    assign_tensors(made, tensors, "a fresh classifier")
    return made.train(net.training)
