"""BERT, an encoder of texts with a pooler and a classifier: its spec and its closed form.

Post-norm blocks as in `blocks`; around them the sum of token, position and token-type embeddings with its norm, the
pooler (a dense layer and tanh on the first token) and the classifier. Every text fills its `tokens`: no padding.

What its descendants change, and no count of parameters or operators: DistilBERT's pooler ends in a ReLU; RoBERTa's
first token has position 2, so that two rows of its table of positions serve no token.

Sources: Devlin et al., *BERT*, NAACL 2019 (arXiv 1810.04805); Liu et al., *RoBERTa*, 2019 (arXiv 1907.11692); Sanh et
al., *DistilBERT*, 2019 (arXiv 1910.01108); the published configurations and classes of Hugging Face transformers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, get_args

from catransformers.errors import InputError, Problem
from catransformers.reading import Number, Rule, Table
from catransformers.workloads.blocks import (
    embedding,
    layer_norm,
    layer_parameters,
    layer_workload,
    linear,
    stored_values,
    with_parameters,
)
from catransformers.workloads.dimensions import (
    COUNT,
    FLAG,
    SIZE,
    Encoder,
    EncoderSpec,
    OneEncoderSpec,
    read_spec,
    words,
)
from catransformers.workloads.family import Family
from catransformers.workloads.operators import Operator, VectorOp, Workload, WorkloadPart

COMPONENT = "text"

#: Between the FFN's two layers. `gelu_tanh` is GELU by its tanh formula.
BertActivation = Literal["gelu", "gelu_tanh", "relu"]
#: After the pooler's dense layer: `tanh` in BERT and RoBERTa, `relu` in DistilBERT.
PoolerActivation = Literal["tanh", "relu"]


@dataclass(frozen=True, slots=True)
class BertSpec(OneEncoderSpec):
    """A BERT model.

    Args:
        encoder: the encoder; its `tokens` are the length of the texts it is used on (usage, not architecture).
        vocab_size: rows of the token table.
        positions: rows of the table of positions: the longest text and what `position_offset` leaves unused.
        token_types: rows of the table of token types (2 in BERT, 0 for none, as in DistilBERT).
        pooler: whether the first token goes through a dense layer of its own (BERT's pooler, DistilBERT's
            `pre_classifier`).
        classes: outputs of the classifier; 0 for none.
        norm_eps: added to the variance in every LayerNorm (BERT 1e-12, RoBERTa 1e-5).
        position_offset: row of the table of positions that a text's first token takes (RoBERTa: 2).
        activation: between the FFN's two layers.
        pooler_activation: after the pooler's dense layer.
    """

    encoder: EncoderSpec
    vocab_size: int
    positions: int = 512
    token_types: int = 2
    pooler: bool = True
    classes: int = 2
    norm_eps: float = 1e-12
    position_offset: int = 0
    activation: BertActivation = "gelu"
    pooler_activation: PoolerActivation = "tanh"

    family = "bert"

    @property
    def max_tokens(self) -> int:
        """The longest text that the table of positions admits."""
        return self.positions - self.position_offset

    def usage(self) -> dict[str, int]:
        """What else `with_dimensions` may set: the length of a text, 1 … `max_tokens`."""
        return {"tokens": self.encoder.tokens}

    def usage_ranges(self) -> dict[str, tuple[int, int]]:
        """Texts are as long as the table of positions admits, at most."""
        return {"tokens": (1, self.max_tokens)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> BertSpec:
        """The inverse of `to_dict`; what later versions added may be missing and has its default then.

        Raises:
            InputError: for every missing, unknown or impossible key, and for texts longer than the table of positions.
        """
        rules: dict[str, Rule | Table] = {
            "encoder": Encoder(EncoderSpec),
            "vocab_size": SIZE,
            "positions": SIZE,
            "token_types": COUNT,
            "pooler": FLAG,
            "classes": COUNT,
            "position_offset": COUNT,
            "activation": words(*get_args(BertActivation)),
            "pooler_activation": words(*get_args(PoolerActivation)),
            "norm_eps": Number(0, allowed="numbers from 0", kind="is out of range"),
        }
        later = {f.name: f.default for f in fields(cls) if f.name in _LATER}
        spec = cls(**read_spec(data, cls.family, rules, **later))
        if spec.encoder.tokens > spec.max_tokens:
            what = f"{spec.encoder.tokens} tokens are more than there are positions"
            raise InputError(Problem("model spec: encoder.tokens", what, f"1 to {spec.max_tokens}"))
        return spec


#: Keys that the first specs did not have.
_LATER = ("norm_eps", "position_offset", "activation", "pooler_activation")


def parameters(spec: BertSpec) -> int:
    """Parameters of the whole model (BERT-base, uncased, with pooler and two classes: 109,483,778)."""
    e = spec.encoder
    d = e.embed_dim
    embeddings = (spec.vocab_size + spec.positions + spec.token_types) * d + 2 * d
    pooler = d * d + d if spec.pooler else 0
    return e.layers * layer_parameters(e) + embeddings + pooler + (d + 1) * spec.classes


def stem_workload(spec: BertSpec) -> Workload:
    """What BERT does once: embed the tokens, pool, classify."""
    e = spec.encoder
    s, d = e.tokens, e.embed_dim
    operators: list[Operator] = [
        embedding("token_embed", COMPONENT, s, d, spec.vocab_size),
        with_parameters("positions", COMPONENT, "add", s, d, s * d, spec.positions * d),
    ]
    if spec.token_types:
        operators.append(with_parameters("token_types", COMPONENT, "add", s, d, spec.token_types * d))
    operators.append(layer_norm("ln_embed", COMPONENT, s, d))
    if spec.pooler:
        operators.append(linear("pooler", COMPONENT, 1, d, d, bias=True))
        operators.append(VectorOp("pooler_activation", COMPONENT, "activation", 1, d))
    if spec.classes:
        operators.append(linear("classifier", COMPONENT, 1, d, spec.classes, bias=True))
    alive = max(2 * s * d, d + spec.classes)
    return Workload("text stem", tuple(operators), stored_values(operators), alive)


def parts(spec: BertSpec) -> list[WorkloadPart]:
    """The one part of BERT: its layers and its stem."""
    layer = layer_workload(spec.encoder, COMPONENT, norm_first=False)
    return [WorkloadPart(COMPONENT, spec.encoder.layers, layer, stem_workload(spec))]


def with_classes(spec: BertSpec, classes: int) -> BertSpec:
    """The spec with a classifier of so many classes; a new one has a pooler before it, as in Hugging Face's classes."""
    return spec if spec.classes == classes else replace(spec, pooler=True, classes=classes)


FAMILY = Family(
    BertSpec.from_dict,
    parts,
    parameters,
    net="catransformers.models.families.bert:Bert",
    formats="catransformers.models.formats.bert",
    model_types=("bert", "roberta", "xlm-roberta", "distilbert"),
    exports=("huggingface", "onnx"),
    vocabulary=lambda spec: spec.vocab_size,
    with_classes=with_classes,
)
