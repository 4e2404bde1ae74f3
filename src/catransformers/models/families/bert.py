"""BERT with Hugging Face's parameter names, and an attention whose width pruning may change.

One net for BERT, MiniLM, DistilBERT and RoBERTa: post-norm blocks on the normalised sum of token, position and
token-type embeddings; a pooler on the first token; a classifier. Names and shapes of all parameters are those of
Hugging Face's BERT (without its prefix `bert.`), so that its weights load strictly and give the same outputs. The one
difference: the attention width a = heads·head_dim is free of the residual width d. There is no dropout: a pruned model
is smaller already, and what it computes is the same in training and evaluation.

Sources: Devlin et al., *BERT*, NAACL 2019 (arXiv 1810.04805); Reimers and Gurevych, *Sentence-BERT*, EMNLP 2019 (arXiv
1908.10084), section 3, for the mean of a text's tokens.

Shapes in comments: b batch, s tokens, d residual width, a attention width, h heads, e head size.
"""

from __future__ import annotations

from typing import Final

from torch import Tensor, nn
from torch.nn import functional as F

from catransformers.errors import InputError, Problem
from catransformers.models.families.layers import ACTIVATIONS, initialise_normal, with_biases
from catransformers.models.families.net import Batch, Net, Stack
from catransformers.workloads.bert import COMPONENT, BertSpec

_BLOCK_AXES: Final = with_biases(
    {
        **dict.fromkeys((f"attention.self.{name}" for name in ("query", "key", "value")), ("attention", "embed")),
        "attention.output.dense": ("embed", "attention"),
        "attention.output.LayerNorm": ("embed",),
        "intermediate.dense": ("ffn", "embed"),
        "output.dense": ("embed", "ffn"),
        "output.LayerNorm": ("embed",),
    }
)
_STEM_AXES: Final = {
    "embeddings.word_embeddings.weight": ("vocabulary", "embed"),
    "embeddings.position_embeddings.weight": ("position", "embed"),
    **with_biases({"embeddings.LayerNorm": ("embed",)}),
}
_TYPE_AXES: Final = {"embeddings.token_type_embeddings.weight": ("type", "embed")}
_POOLER_AXES: Final = with_biases({"pooler.dense": ("embed", "embed")})
_CLASSIFIER_AXES: Final = with_biases({"classifier": ("class", "embed")})


class Embeddings(nn.Module):
    """The normalised sum of a token's own, its position's and its type's embedding."""

    def __init__(self, spec: BertSpec) -> None:
        super().__init__()
        d = spec.encoder.embed_dim
        self.offset, self.max_tokens = spec.position_offset, spec.max_tokens
        self.word_embeddings = nn.Embedding(spec.vocab_size, d)
        self.position_embeddings = nn.Embedding(spec.positions, d)
        self.token_type_embeddings = nn.Embedding(spec.token_types, d) if spec.token_types else None
        self.LayerNorm = nn.LayerNorm(d, eps=spec.norm_eps)

    def forward(self, tokens: Tensor, types: Tensor | None) -> Tensor:
        """Ids (b, s) of tokens and of their types to (b, s, d).

        Raises:
            InputError: if the texts are longer than the table of positions.
        """
        s = tokens.shape[1]
        if s > self.max_tokens:
            raise InputError(Problem("tokens", f"texts of {s} tokens are too long", f"1 to {self.max_tokens}"))
        x = self.word_embeddings(tokens)
        if self.token_type_embeddings is not None:  # before the positions, so that rounding is as in transformers
            table = self.token_type_embeddings
            x = x + (table.weight[0] if types is None else table(types))
        out: Tensor = self.LayerNorm(x + self.position_embeddings.weight[self.offset : self.offset + s])
        return out


class SelfAttention(nn.Module):
    """The heads' contexts, side by side: softmax(q·k/√e)·v for each head."""

    def __init__(self, embed_dim: int, heads: int, head_dim: int) -> None:
        super().__init__()
        self.heads, self.head_dim = heads, head_dim
        self.query = nn.Linear(embed_dim, heads * head_dim)
        self.key = nn.Linear(embed_dim, heads * head_dim)
        self.value = nn.Linear(embed_dim, heads * head_dim)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """(b, s, d) in, (b, s, a) out; keys where `mask` (b, 1, 1, s) is false are not attended to."""
        b, s, _ = x.shape
        q, k, v = (
            layer(x).view(b, s, self.heads, self.head_dim).transpose(1, 2)  # (b, h, s, e)
            for layer in (self.query, self.key, self.value)
        )
        context = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return context.transpose(1, 2).reshape(b, s, self.heads * self.head_dim)


class Output(nn.Module):
    """The end of each half of a block: norm(residual + dense(x))."""

    def __init__(self, width: int, embed_dim: int, norm_eps: float) -> None:
        super().__init__()
        self.dense = nn.Linear(width, embed_dim)
        self.LayerNorm = nn.LayerNorm(embed_dim, eps=norm_eps)

    def forward(self, x: Tensor, residual: Tensor) -> Tensor:
        """(b, s, width) and the residual stream (b, s, d) in, (b, s, d) out."""
        out: Tensor = self.LayerNorm(self.dense(x) + residual)
        return out


class Attention(nn.Module):
    """The first half of a block."""

    def __init__(self, spec: BertSpec) -> None:
        super().__init__()
        e = spec.encoder
        self.self = SelfAttention(e.embed_dim, e.heads, e.head_dim)
        self.output = Output(e.attention_dim, e.embed_dim, spec.norm_eps)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """(b, s, d) in, (b, s, d) out."""
        out: Tensor = self.output(self.self(x, mask), x)
        return out


class Dense(nn.Module):
    """A linear layer and an activation: the FFN's first half, and the pooler."""

    def __init__(self, inputs: int, outputs: int, activation: str) -> None:
        super().__init__()
        self.dense = nn.Linear(inputs, outputs)
        self.activation = ACTIVATIONS[activation]()

    def forward(self, x: Tensor) -> Tensor:
        """(…, inputs) in, (…, outputs) out."""
        out: Tensor = self.activation(self.dense(x))
        return out


class Block(nn.Module):
    """One post-norm block: x ← norm(x + attention(x)), then norm(x + FFN(x))."""

    def __init__(self, spec: BertSpec) -> None:
        super().__init__()
        e = spec.encoder
        self.attention = Attention(spec)
        self.intermediate = Dense(e.embed_dim, e.ffn_dim, spec.activation)
        self.output = Output(e.ffn_dim, e.embed_dim, spec.norm_eps)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """(b, s, d) in, (b, s, d) out."""
        x = self.attention(x, mask)
        out: Tensor = self.output(self.intermediate(x), x)
        return out


class Encoder(nn.Module):
    """The stack of blocks, `layer`."""

    def __init__(self, spec: BertSpec) -> None:
        super().__init__()
        self.layer = nn.ModuleList(Block(spec) for _ in range(spec.encoder.layers))

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """(b, s, d) in, (b, s, d) out."""
        for block in self.layer:
            x = block(x, mask)
        return x


class Bert(Net):
    """A BERT of any (pruned) spec.

    Args:
        spec: its dimensions. Weights start as BERT's do (from torch's global generator).
    """

    spec: BertSpec

    def __init__(self, spec: BertSpec) -> None:
        super().__init__()
        self.spec = spec
        d = spec.encoder.embed_dim
        self.embeddings = Embeddings(spec)
        self.encoder = Encoder(spec)
        self.pooler = Dense(d, d, spec.pooler_activation) if spec.pooler else None
        self.classifier = nn.Linear(d, spec.classes) if spec.classes else None
        self.apply(initialise_normal)

    def hidden(self, tokens: Tensor, mask: Tensor | None = None, types: Tensor | None = None) -> Tensor:
        """The last states of all tokens.

        Args:
            tokens: (b, s) ids, at most `spec.max_tokens` a row, padded on the right.
            mask: (b, s) bool, true where a token is real, at least once a row; all are without it.
            types: (b, s) token types; all 0 without them, and of no effect on a model that has none.

        Returns:
            (b, s, d); what stands where a token is not real means nothing.

        Raises:
            InputError: if the texts are longer than the table of positions.
        """
        keys = None if mask is None else mask[:, None, None, :]
        out: Tensor = self.encoder(self.embeddings(tokens, types), keys)
        return out

    def features(self, tokens: Tensor, mask: Tensor | None = None, types: Tensor | None = None) -> Tensor:
        """One vector (b, d) a text, of `hidden`'s arguments: what the classifier reads.

        The pooler's output where there is one. Without, a classifier reads the first token's last state as it is; a
        net without a classifier gives the mean of the real tokens' last states, the sentence embedding of MiniLM.
        """
        x = self.hidden(tokens, mask, types)
        if self.pooler is not None:
            pooled: Tensor = self.pooler(x[:, 0])
            return pooled
        if self.classifier is not None:
            return x[:, 0]
        if mask is None:
            return x.mean(dim=1)
        weights = mask.unsqueeze(-1).to(x.dtype)  # (b, s, 1)
        return (x * weights).sum(dim=1) / weights.sum(dim=1)

    def forward(self, tokens: Tensor, mask: Tensor | None = None, types: Tensor | None = None) -> Tensor:
        """Logits (b, classes), or `features` (b, d) if there is no classifier, of `hidden`'s arguments."""
        x = self.features(tokens, mask, types)
        return x if self.classifier is None else self.classifier(x)

    def outputs(self, batch: Batch) -> dict[str, Tensor]:
        """`logits` (b, classes), or `features` (b, d) without a classifier.

        Args:
            batch: with `tokens` and, if not all of them are real and of type 0, `mask` and `types`.

        Raises:
            InputError: if the texts are longer than the table of positions.
        """
        name = "features" if self.classifier is None else "logits"
        return {name: self(batch["tokens"], batch.get("mask"), batch.get("types"))}

    def stacks(self) -> tuple[Stack, ...]:
        """The one stack `text`."""
        spec = self.spec
        stem = dict(_STEM_AXES)
        for has, axes in (
            (spec.token_types, _TYPE_AXES),
            (spec.pooler, _POOLER_AXES),
            (spec.classes, _CLASSIFIER_AXES),
        ):
            if has:
                stem |= axes
        return (
            Stack(
                name=COMPONENT,
                prefix="",
                blocks="encoder.layer",
                block_axes=_BLOCK_AXES,
                stem_axes=stem,
                head_size=spec.encoder.head_dim,
                context="attention.output.dense",
                neurons="output.dense",
                norms=("attention.output.LayerNorm", "output.LayerNorm"),
                outer_norms=("embeddings.LayerNorm",),
                inputs=("tokens", "mask", "types"),
            ),
        )
