"""Llama, Mistral and Qwen2 with Hugging Face's parameter names, and an attention whose width pruning may change.

A decoder of pre-norm blocks: RMSNorm, rotary embeddings on queries and keys, groups of query heads that share a key and
value head, a gated FFN. The names and shapes of all parameters are those of Hugging Face's `LlamaForCausalLM` without
the `model.` in front, so its tensors load strictly and give the same outputs; a tied output holds no tensor of its own.
The one freedom: the attention width a = heads·head_dim need not be the residual width d.

Rotary embeddings follow Hugging Face's convention, in which channel i turns with channel i + e/2 (Meta's has 2i and
2i + 1; its checkpoints are permuted when converted). They are computed in every forward pass, in float32: there is no
buffer that a change of type could round, or that a net made on the meta device would miss.

Sources: Touvron et al., Llama 2, 2023 (arXiv 2307.09288); Grattafiori et al., The Llama 3 Herd of Models, 2024 (arXiv
2407.21783); Su et al., RoFormer, 2021 (arXiv 2104.09864); Ainslie et al., GQA, EMNLP 2023 (arXiv 2305.13245); Zhang and
Sennrich, RMSNorm, NeurIPS 2019 (arXiv 1910.07467); Shazeer, GLU Variants, 2020 (arXiv 2002.05202).

Shapes in comments: b batch, s tokens, t tokens with those before, d residual width, a attention width, h heads, k key
and value heads, e head size, f FFN width, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import pi
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from catransformers.errors import InputError, Problem
from catransformers.models.families.layers import initialise_normal
from catransformers.models.families.net import Batch, Net, Stack
from catransformers.workloads.spec import LlamaSpec

_BLOCK_AXES: dict[str, tuple[str, ...]] = {
    "input_layernorm.weight": ("embed",),
    "self_attn.q_proj.weight": ("attention", "embed"),
    "self_attn.k_proj.weight": ("kv", "embed"),
    "self_attn.v_proj.weight": ("kv", "embed"),
    "self_attn.o_proj.weight": ("embed", "attention"),
    "post_attention_layernorm.weight": ("embed",),
    "mlp.gate_proj.weight": ("ffn", "embed"),
    "mlp.up_proj.weight": ("ffn", "embed"),
    "mlp.down_proj.weight": ("embed", "ffn"),
}
_BIAS_AXES: dict[str, tuple[str, ...]] = {
    "self_attn.q_proj.bias": ("attention",),
    "self_attn.k_proj.bias": ("kv",),
    "self_attn.v_proj.bias": ("kv",),
}
_STEM_AXES: dict[str, tuple[str, ...]] = {
    "embed_tokens.weight": ("vocabulary", "embed"),
    "norm.weight": ("embed",),
}

#: Cosines and sines of the positions' angles, each (s, e), float32.
Rotary = tuple[Tensor, Tensor]


def frequencies(spec: LlamaSpec) -> Tensor:
    """Radians a token by which each pair of a head's channels turns, (e/2,) float32, on the CPU.

    θ^(−2i/e). With a `RopeScaling`, waves longer than the first training saw are stretched by its factor, short ones
    are not, and in between the two are mixed linearly in the number of waves.

    Reference: Su et al. 2021, section 3.2.2; Grattafiori et al. 2024, section 3.4.2.
    """
    exponents = torch.arange(0, spec.head_dim, 2, device="cpu").float() / spec.head_dim
    plain = 1.0 / spec.rope_theta**exponents
    scaling = spec.rope_scaling
    if scaling is None:
        return plain
    waves = scaling.original_max / (2 * pi / plain)  # that the first training's longest text holds
    low, high = scaling.low_freq_factor, scaling.high_freq_factor
    kept = ((waves - low) / (high - low)).clamp(0, 1)
    return (1 - kept) * plain / scaling.factor + kept * plain


def rotate(x: Tensor, rotary: Rotary) -> Tensor:
    """x (b, h, s, e) with the pairs (i, i + e/2) of its channels turned by their positions' angles."""
    cos, sin = rotary
    first, second = x.chunk(2, dim=-1)
    return (x * cos + torch.cat([-second, first], dim=-1) * sin).type_as(x)


@dataclass(slots=True)
class Memory:
    """The keys and values of one block's past tokens: room for `capacity` tokens, of which `length` are there."""

    capacity: int
    length: int = 0
    keys: Tensor | None = None
    values: Tensor | None = None

    def extend(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Append keys and values (b, k, s, e); all of them so far come out, (b, k, t, e)."""
        if self.keys is None or self.values is None:
            b, k, _, e = keys.shape
            self.keys, self.values = keys.new_empty(b, k, self.capacity, e), values.new_empty(b, k, self.capacity, e)
        start, self.length = self.length, self.length + keys.shape[2]
        self.keys[:, :, start : self.length] = keys
        self.values[:, :, start : self.length] = values
        return self.keys[:, :, : self.length], self.values[:, :, : self.length]


class Attention(nn.Module):
    """Causal self-attention of width a = heads·head_dim, in which groups of query heads share keys and values."""

    def __init__(self, spec: LlamaSpec) -> None:
        super().__init__()
        d, a, kv, bias = spec.embed_dim, spec.attention_dim, spec.kv_dim, spec.qkv_bias
        self.head_dim, self.group_size = spec.head_dim, spec.group_size
        self.q_proj = nn.Linear(d, a, bias=bias)
        self.k_proj = nn.Linear(d, kv, bias=bias)
        self.v_proj = nn.Linear(d, kv, bias=bias)
        self.o_proj = nn.Linear(a, d, bias=False)

    def forward(self, x: Tensor, rotary: Rotary, memory: Memory | None = None) -> Tensor:
        """(b, s, d) in, (b, s, d) out; beside a memory that is not empty, x is one token."""
        b, s, _ = x.shape
        q, k, v = (p(x).view(b, s, -1, self.head_dim).transpose(1, 2) for p in (self.q_proj, self.k_proj, self.v_proj))
        q, k = rotate(q, rotary), rotate(k, rotary)  # (b, h, s, e), (b, k, s, e)
        if memory is not None:
            k, v = memory.extend(k, v)  # (b, k, t, e)
        causal = bool(s > 1)  # in a translation to a graph, where a length is a symbol, it has to be settled
        context = F.scaled_dot_product_attention(q, self._for_queries(k), self._for_queries(v), is_causal=causal)
        out: Tensor = self.o_proj(context.transpose(1, 2).reshape(b, s, -1))
        return out

    def _for_queries(self, x: Tensor) -> Tensor:
        """(b, k, t, e) to (b, h, t, e): each head once for every query head of its group."""
        b, k, t, e = x.shape
        return x[:, :, None].expand(b, k, self.group_size, t, e).reshape(b, k * self.group_size, t, e)


class FeedForward(nn.Module):
    """The gated FFN: down(silu(gate(x)) · up(x))."""

    def __init__(self, spec: LlamaSpec) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(spec.embed_dim, spec.ffn_dim, bias=False)
        self.up_proj = nn.Linear(spec.embed_dim, spec.ffn_dim, bias=False)
        self.down_proj = nn.Linear(spec.ffn_dim, spec.embed_dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(b, s, d) in, (b, s, d) out."""
        out: Tensor = self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))
        return out


class Block(nn.Module):
    """One pre-norm block: x + attention(norm(x)), then x + FFN(norm(x))."""

    def __init__(self, spec: LlamaSpec) -> None:
        super().__init__()
        self.input_layernorm = nn.RMSNorm(spec.embed_dim, eps=spec.norm_eps)
        self.self_attn = Attention(spec)
        self.post_attention_layernorm = nn.RMSNorm(spec.embed_dim, eps=spec.norm_eps)
        self.mlp = FeedForward(spec)

    def forward(self, x: Tensor, rotary: Rotary, memory: Memory | None = None) -> Tensor:
        """(b, s, d) in, (b, s, d) out."""
        x = x + self.self_attn(self.input_layernorm(x), rotary, memory)
        out: Tensor = x + self.mlp(self.post_attention_layernorm(x))
        return out


class Llama(Net):
    """A Llama of any (pruned) spec; its token counts are usage and change nothing here.

    Args:
        spec: its dimensions. Weights start as Llama's do (from torch's global generator).

    Raises:
        InputError: if the query heads are not whole groups, or a head's size is odd and cannot be turned in pairs.
    """

    def __init__(self, spec: LlamaSpec) -> None:
        super().__init__()
        problems = spec.problems()
        if spec.head_dim % 2:
            problems.append(Problem("head_dim", f"{spec.head_dim} is odd", "even sizes: rotary embeddings turn pairs"))
        problems.finish()
        self.spec: LlamaSpec = spec
        self.embed_tokens = nn.Embedding(spec.vocab_size, spec.embed_dim)
        self.layers = nn.ModuleList(Block(spec) for _ in range(spec.layers))
        self.norm = nn.RMSNorm(spec.embed_dim, eps=spec.norm_eps)
        if not spec.tied_embeddings:
            self.lm_head = nn.Linear(spec.embed_dim, spec.vocab_size, bias=False)
        self.apply(initialise_normal)

    def stacks(self) -> tuple[Stack, ...]:
        """The one stack, `decoder`: a prunable head is a key and value head with its group of query heads."""
        spec = self.spec
        output: dict[str, tuple[str, ...]] = {} if spec.tied_embeddings else {"lm_head.weight": ("vocabulary", "embed")}
        return (
            Stack(
                name="decoder",
                prefix="",
                blocks="layers",
                block_axes=_BLOCK_AXES | (_BIAS_AXES if spec.qkv_bias else {}),
                stem_axes=_STEM_AXES | output,
                head_size=spec.group_size * spec.head_dim,
                kv_size=spec.head_dim,
                head_dimension="kv_heads",
                context="self_attn.o_proj",
                neurons="mlp.down_proj",
                norms=("input_layernorm", "post_attention_layernorm"),
                outer_norms=("norm",),
                inputs=("tokens",),
            ),
        )

    def outputs(self, batch: Batch) -> dict[str, Tensor]:
        """`logits` (b, s, V) of the tokens that follow each of `tokens` (b, s).

        Sequences are padded on the right, where causality keeps padding from all that goes before it: a `mask` in the
        batch is for the loss, and is not needed here. The logits at padding mean nothing.

        Raises:
            InputError: if there are more tokens than the model admits.
        """
        return {"logits": self(batch["tokens"])}

    def forward(self, tokens: Tensor) -> Tensor:
        """Token ids (b, s) to logits (b, s, V).

        Raises:
            InputError: if there are more tokens than the model admits.
        """
        self._check_length(tokens.shape[1])
        return self._logits(self._features(tokens, 0, None))

    @torch.no_grad()
    def generate(self, tokens: Tensor, steps: int) -> Tensor:
        """Continue prompts greedily: one pass over the prompts, then one over each new token beside a cache.

        Args:
            tokens: ids (b, p) of prompts of one length, at least one token each, without padding.
            steps: how many tokens to append, from 0. No token ends a text.

        Returns:
            Ids (b, p + steps), the prompts first.

        Raises:
            InputError: if there is no prompt, the steps are negative, or the whole is longer than the model admits.
        """
        if tokens.shape[1] < 1 or steps < 0:
            what = f"{steps} steps after {tokens.shape[1]} tokens"
            raise InputError(Problem("generate", what, "prompts from 1 token, steps from 0"))
        self._check_length(tokens.shape[1] + steps)
        memories = [Memory(tokens.shape[1] + steps) for _ in self.layers]
        found, fresh, start = [tokens], tokens, 0
        for _ in range(steps):
            features = self._features(fresh, start, memories)[:, -1:]
            start += fresh.shape[1]
            fresh = self._logits(features).argmax(dim=-1)  # (b, 1)
            found.append(fresh)
        return torch.cat(found, dim=1)

    def _features(self, tokens: Tensor, start: int, memories: list[Memory] | None) -> Tensor:
        """Ids (b, s) at the positions from `start` to the normalised stream (b, s, d)."""
        x = self.embed_tokens(tokens)
        rotary = self._rotary(start, tokens)
        for number, block in enumerate(self.layers):
            x = block(x, rotary, None if memories is None else memories[number])
        return cast(Tensor, self.norm(x))

    def _rotary(self, start: int, tokens: Tensor) -> Rotary:
        positions = torch.arange(start, start + tokens.shape[1], device=tokens.device, dtype=torch.float32)
        # The frequencies come from the CPU, so that every device turns by the same float32 angles.
        angles = positions[:, None] * frequencies(self.spec).to(tokens.device)  # (s, e/2)
        angles = torch.cat([angles, angles], dim=-1)
        return angles.cos(), angles.sin()

    def _logits(self, x: Tensor) -> Tensor:
        """(b, s, d) to (b, s, V)."""
        head = self.embed_tokens if self.spec.tied_embeddings else self.lm_head
        return F.linear(x, head.weight)

    def _check_length(self, length: int) -> None:
        if length > self.spec.max_tokens:
            what = f"{length} are more than the model admits"
            raise InputError(Problem("tokens", what, f"sequences of at most {self.spec.max_tokens}"))
