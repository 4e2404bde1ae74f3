"""Llama, a decoder with grouped-query attention and a gated FFN: its spec and its closed form.

Mistral and Qwen2 are the same architecture: the first as it is, the second with biases on queries, keys and values.

An inference is a *prefill*, which reads p prompt tokens at once and gives the first new token, and a *decode* of g
steps, each of which reads one token beside a cache of p + 1, …, p + g keys and values. Both read the same weights, the
decode once a step. What is counted:

- The query heads of a group share their keys and values, so their rows are stacked: per key and value head, one product
  of (group × tokens) rows. The cache is its (k × n) operand, an activation (`weights=False`).
- Under the causal mask the prefill's full p × p product, as dense arrays and libraries execute it.
- A step's cost is linear in the length of its cache but for rounding, so the g steps are put into at most `BUCKETS`
  buckets of neighbouring steps with the bucket's mean length, which is a whole number (`even_buckets`):
  multiply-accumulates and values are exactly those of all steps, one by one.
- The output's product is run for the last prompt token and for every decoded one: no other logits are needed (Hugging
  Face's `logits_to_keep=1`).

Sources: Touvron et al., *Llama 2*, 2023 (arXiv 2307.09288); Grattafiori et al., *The Llama 3 Herd of Models*, 2024
(arXiv 2407.21783); Ainslie et al., *GQA*, EMNLP 2023 (arXiv 2305.13245); Jiang et al., *Mistral 7B*, 2023 (arXiv
2310.06825); Yang et al., *Qwen2 Technical Report*, 2024 (arXiv 2407.10671).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields, replace
from typing import Any

from catransformers.errors import Problem, Problems
from catransformers.reading import Rule, Table, read_table
from catransformers.workloads.blocks import embedding, linear, stored_values
from catransformers.workloads.dimensions import ABOVE_0, COUNT, FLAG, SIZE, check_dimensions, plain, read_spec
from catransformers.workloads.family import Family
from catransformers.workloads.operators import Gemm, Operator, VectorOp, Workload, WorkloadPart

#: Into how many lengths of the cache the steps of a decode are put at most.
BUCKETS = 8


@dataclass(frozen=True, slots=True)
class RopeScaling:
    """How Llama 3.1 stretches its rotary embeddings to longer texts than it was first trained on.

    Args:
        factor: by how much the slow frequencies are divided; from 1.
        low_freq_factor: waves longer than `original_max` ÷ this are stretched whole; above 0.
        high_freq_factor: waves shorter than `original_max` ÷ this are left alone, and there is a ramp between the two;
            above `low_freq_factor`.
        original_max: tokens of the first training.

    Reference:
        Grattafiori et al., 2024 (arXiv 2407.21783), section 3.4.2, and Meta's reference implementation of Llama 3.1.
    """

    factor: float
    low_freq_factor: float
    high_freq_factor: float
    original_max: int


@dataclass(frozen=True, slots=True)
class LlamaSpec:
    """A Llama model and how much it reads and writes.

    Heads are pruned by whole groups, so that every query head keeps its keys and values: `kv_heads` is the prunable
    dimension, and `heads` follows as kv_heads × `group_size`.

    Args:
        layers: number of blocks.
        ffn_dim: width of the gated feed-forward layer.
        embed_dim: width d of the residual stream.
        heads: query heads of `head_dim` each; a multiple of `kv_heads`.
        kv_heads: key and value heads.
        head_dim: size of a head; pruning never changes it.
        vocab_size: rows of the token table, and columns of the output.
        tied_embeddings: whether the output uses the token table as its weights.
        max_tokens: the longest sequence, prompt and new tokens together.
        prompt_tokens: tokens p that the prefill reads (usage, not architecture).
        new_tokens: steps g of the decode; each feeds one token and gives the next one (usage; 0 for a prefill alone).
        qkv_bias: whether queries, keys and values have biases (Qwen2).
        norm_eps: what RMSNorm adds to the mean square.
        rope_theta: base of the rotary embeddings' frequencies.
        rope_scaling: how they are stretched, or None.
    """

    layers: int
    ffn_dim: int
    embed_dim: int
    heads: int
    kv_heads: int
    head_dim: int
    vocab_size: int
    tied_embeddings: bool
    max_tokens: int
    prompt_tokens: int
    new_tokens: int
    qkv_bias: bool = False
    norm_eps: float = 1e-5
    rope_theta: float = 10_000.0
    rope_scaling: RopeScaling | None = None

    family = "llama"

    @property
    def group_size(self) -> int:
        """Query heads that share a key and value head; pruning never changes it."""
        return self.heads // self.kv_heads

    @property
    def attention_dim(self) -> int:
        """a = heads·head_dim, the width of the queries."""
        return self.heads * self.head_dim

    @property
    def kv_dim(self) -> int:
        """kv_heads·head_dim, the width of the keys and of the values."""
        return self.kv_heads * self.head_dim

    def dimensions(self) -> dict[str, int]:
        """The prunable dimensions by name, in a fixed order: `layers, ffn_dim, embed_dim, kv_heads`."""
        return {name: getattr(self, name) for name in ("layers", "ffn_dim", "embed_dim", "kv_heads")}

    def usage(self) -> dict[str, int]:
        """What else `with_dimensions` may set: `prompt_tokens` from 1, `new_tokens` from 0, together ≤ `max_tokens`."""
        return {"prompt_tokens": self.prompt_tokens, "new_tokens": self.new_tokens}

    def with_dimensions(self, values: Mapping[str, int]) -> LlamaSpec:
        """This spec with some prunable dimensions or token counts replaced; `heads` follows `kv_heads`.

        Raises:
            InputError: for unknown names, for dimensions outside 1 … this spec's own (pruning never grows) and for more
                tokens than the model admits; all at once.
        """
        usage = {"prompt_tokens": (1, self.max_tokens), "new_tokens": (0, self.max_tokens - 1)}
        hints = {"heads": f"set kv_heads: each has a group of {self.group_size} query heads"}
        problems = check_dimensions(self.dimensions(), values, usage, hints)
        tokens = self.usage() | {name: values[name] for name in usage if type(values.get(name)) is int}
        if not any(p.where in usage for p in problems):
            problems += self._too_long(tokens["prompt_tokens"], tokens["new_tokens"], "")
        problems.finish()
        heads = values.get("kv_heads", self.kv_heads) * self.group_size
        return replace(self, **{**values, "heads": heads})  # type: ignore[arg-type] # sizes all

    def problems(self, where: str = "") -> Problems:
        """What in its sizes disagrees, told by names with `where` before them."""
        problems = Problems()
        if self.heads % self.kv_heads:
            allowed = f"multiples of {self.kv_heads}"
            problems.append(Problem(f"{where}heads", f"{self.heads} are not whole groups", allowed))
        return problems

    def _too_long(self, prompt: int, new: int, where: str) -> list[Problem]:
        if prompt + new <= self.max_tokens:
            return []
        what = f"{prompt} and {new} new_tokens are more than the model admits"
        return [Problem(f"{where}prompt_tokens", what, f"together at most {self.max_tokens}")]

    def to_dict(self) -> dict[str, object]:
        """Plain data that `from_dict` reads back; the `model` object of `--json`."""
        scaling = None if self.rope_scaling is None else asdict(self.rope_scaling)
        return {"family": self.family} | plain(self) | {"rope_scaling": scaling}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> LlamaSpec:
        """The inverse of `to_dict`; a field that has a default may be left out.

        Raises:
            InputError: for every missing, unknown or impossible key, for heads that are no multiple of `kv_heads`, and
                for more tokens than the model admits.
        """
        rules: dict[str, Rule | Table] = dict.fromkeys(cls.__slots__, SIZE)
        rules |= {"tied_embeddings": FLAG, "new_tokens": COUNT, "qkv_bias": FLAG}
        rules |= {"norm_eps": ABOVE_0, "rope_theta": ABOVE_0, "rope_scaling": _read_scaling}
        defaults = {f.name: f.default for f in fields(cls) if f.default is not MISSING}
        spec = cls(**read_spec(data, cls.family, rules, **defaults))
        where = "model spec: "
        problems = spec.problems(where)
        problems += spec._too_long(spec.prompt_tokens, spec.new_tokens, where)
        problems.finish()
        return spec


def _read_scaling(data: Any, where: str) -> RopeScaling | None:
    """A stretching of the rotary embeddings, or None for none."""
    if data is None:
        return None
    Problems(check_rope_scaling(data, f"{where}.")).finish()
    return rope_scaling(data)


def check_rope_scaling(data: object, where: str, original_max: str = "original_max") -> list[Problem]:
    """The mistakes in a table that describes a `RopeScaling`.

    Args:
        data: the table.
        where: what to call it in a message, ending in what goes before a key.
        original_max: the key of the field of that name.
    """
    rules = {original_max: SIZE, "factor": ABOVE_0, "low_freq_factor": ABOVE_0, "high_freq_factor": ABOVE_0}
    if not isinstance(data, Mapping):
        return [Problem(where.rstrip(".: "), f"{data!r} is not a table", ", ".join(rules))]
    problems = Problems()
    read_table(data, rules, where, problems)
    if not problems and data["factor"] < 1:
        problems.append(Problem(f"{where}factor", f"{data['factor']} would shrink", "numbers from 1"))
    if not problems and data["high_freq_factor"] <= data["low_freq_factor"]:
        what = f"{data['high_freq_factor']} leaves no ramp"
        allowed = f"numbers above low_freq_factor, {data['low_freq_factor']}"
        problems.append(Problem(f"{where}high_freq_factor", what, allowed))
    return problems


def rope_scaling(data: Mapping[str, Any], original_max: str = "original_max") -> RopeScaling:
    """The `RopeScaling` of a table without mistakes (`check_rope_scaling`)."""
    factor, low, high = (float(data[name]) for name in ("factor", "low_freq_factor", "high_freq_factor"))
    return RopeScaling(factor, low, high, data[original_max])


def layer_parameters(spec: LlamaSpec) -> int:
    """Parameters of one block: Q, K, V and output projections, gate, up and down, two RMSNorms; biases on Q, K, V."""
    d, a, kv, f = spec.embed_dim, spec.attention_dim, spec.kv_dim, spec.ffn_dim
    return 2 * d * a + 2 * d * kv + spec.qkv_bias * (a + 2 * kv) + 3 * d * f + 2 * d


def parameters(spec: LlamaSpec) -> int:
    """Parameters of the whole model (Llama-2-7B: 6,738,415,616)."""
    tables = 1 if spec.tied_embeddings else 2
    return spec.layers * layer_parameters(spec) + tables * spec.vocab_size * spec.embed_dim + spec.embed_dim


def even_buckets(first: int, steps: int) -> list[tuple[int, int]]:
    """The lengths first, first + 1, … of `steps` steps as at most `BUCKETS` pairs (length, steps) of the same sum.

    Each bucket holds an odd number of steps and so has a whole number in its middle, which is also its mean: whatever
    is linear in the length, like multiply-accumulates, is exactly as large as step by step.
    """
    if not steps:
        return []
    count = min(steps, BUCKETS)
    count -= (steps - count) % 2  # odd sizes add up to an even number of steps only if they are even in number
    pairs, extra = divmod((steps - count) // 2, count)
    buckets = []
    for at in range(count):
        size = 1 + 2 * (pairs + (at < extra))
        buckets.append((first + size // 2, size))
        first += size
    return buckets


def _norm(name: str, component: str, rows: int, columns: int, count: float) -> VectorOp:
    """An RMSNorm with a gain a column."""
    return VectorOp(name, component, "norm", rows, columns, count, weight_values=columns, stored=columns)


def _layer(spec: LlamaSpec, component: str, tokens: int, lengths: list[tuple[int, int]]) -> Workload:
    """One block on `tokens` tokens at once, run for each (length of the cache, steps) pair of `lengths`."""
    t, d, a, kv, f = tokens, spec.embed_dim, spec.attention_dim, spec.kv_dim, spec.ffn_dim
    decoding = tokens == 1 and lengths[-1][0] > 1
    heads, rows, e, biased = spec.kv_heads, spec.group_size * tokens, spec.head_dim, spec.qkv_bias
    runs = sum(steps for _, steps in lengths)
    attention: list[Operator] = []
    for length, steps in lengths:
        attention += [
            Gemm("scores", component, rows, e, length, heads * steps, weights=False, parallel=heads, cached=decoding),
            VectorOp("softmax", component, "softmax", heads * rows, length, steps),
            Gemm("context", component, rows, length, e, heads * steps, weights=False, parallel=heads, cached=decoding),
        ]
    operators: tuple[Operator, ...] = (
        _norm("attention_norm", component, t, d, runs),
        linear("query", component, t, d, a, runs, bias=biased),
        replace(linear("key_value", component, t, d, kv, 2 * runs, copies=2, bias=biased, parallel=2), caches=True),
        VectorOp("rotary", component, "rotary", t, a + kv, runs),
        *attention,
        linear("out_proj", component, t, a, d, runs),
        VectorOp("residual_1", component, "add", t, d, runs),
        _norm("ffn_norm", component, t, d, runs),
        linear("ffn_gate", component, t, d, f, runs),
        VectorOp("activation", component, "activation", t, f, runs),
        linear("ffn_up", component, t, d, f, runs),
        VectorOp("gate", component, "multiply", t, f, runs),
        linear("ffn_down", component, t, f, d, runs),
        VectorOp("residual_2", component, "add", t, d, runs),
    )
    # Alive at once beside the cache, which holds all keys and values: the residual stream and either its norm and the
    # queries, or these, one group's scores and the context, or its norm and the FFN's gate and up.
    longest = max(length + steps // 2 for length, steps in lengths)
    alive = max(2 * t * d + t * a, t * d + 2 * t * a + rows * longest, 2 * t * d + 2 * t * f)
    return Workload(f"{component} layer", operators, layer_parameters(spec), alive)


def _stem(spec: LlamaSpec, component: str, tokens: int, runs: int) -> Workload:
    """What runs once a pass: embed `tokens` tokens, the last norm and the output of one token."""
    d, v = spec.embed_dim, spec.vocab_size
    output = linear("lm_head", component, 1, d, v, runs, copies=0 if spec.tied_embeddings else 1)
    operators: tuple[Operator, ...] = (
        embedding("token_embed", component, tokens, d, v, runs),
        _norm("norm_out", component, 1, d, runs),
        output,
    )
    return Workload(f"{component} stem", operators, stored_values(operators), max(tokens * d, d + v))


def prefill_part(spec: LlamaSpec) -> WorkloadPart:
    """The prompt's p tokens, all at once; its cache holds p keys and values a layer."""
    p = spec.prompt_tokens
    layer, stem = _layer(spec, "prefill", p, [(p, 1)]), _stem(spec, "prefill", p, 1)
    return WorkloadPart("prefill", spec.layers, layer, stem, cache_values=2 * spec.kv_dim * p)


def decode_part(spec: LlamaSpec) -> WorkloadPart:
    """The g steps after the prompt, one token each; the cache grows to p + g keys and values a layer.

    Raises:
        ValueError: if there is no step to decode.
    """
    p, g = spec.prompt_tokens, spec.new_tokens
    if not g:
        raise ValueError("new_tokens is 0: there is nothing to decode")
    layer, stem = _layer(spec, "decode", 1, even_buckets(p + 1, g)), _stem(spec, "decode", 1, g)
    return WorkloadPart("decode", spec.layers, layer, stem, cache_values=2 * spec.kv_dim * (p + g))


def prefill(spec: LlamaSpec) -> Workload:
    """The prefill by itself, with all weights."""
    return prefill_part(spec).workload()


def decode(spec: LlamaSpec) -> Workload:
    """The decode by itself, with all weights.

    Raises:
        ValueError: if there is no step to decode.
    """
    return decode_part(spec).workload()


def parts(spec: LlamaSpec) -> list[WorkloadPart]:
    """Prefill and, if there are new tokens, decode; the decode reads the weights that the prefill stores."""
    found = [prefill_part(spec)]
    if spec.new_tokens:
        part = decode_part(spec)
        found.append(replace(part, layer=part.layer.borrowing(), stem=part.stem.borrowing()))
    return found


FAMILY = Family(
    LlamaSpec.from_dict,
    parts,
    parameters,
    net="catransformers.models.families.llama:Llama",
    formats="catransformers.models.formats.llama",
    model_types=("llama", "mistral", "qwen2"),
    exports=("huggingface", "onnx"),
    vocabulary=lambda spec: spec.vocab_size,
    generates=True,
)
