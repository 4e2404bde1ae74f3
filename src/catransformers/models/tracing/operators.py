"""What a model's tensor operations are: from single calls of torch's operators to products and vector operations.

Operations on tables (see `tracing_values`) are not counted: they can be done ahead. An operation on two values of one
root belongs to the function that they make: x·σ(1.702x), or GELU written out, is one activation, and neither a sum nor
a product. Norms that are written out are known by the (reciprocal) root of a row's mean square or variance, rotary
embeddings by the sum of two products with tables.

Not counted: views and copies, pooling, arithmetic with single numbers, masks, and comparisons.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from math import prod
from typing import Final, TypeVar

from torch import Tensor

from catransformers.models.tracing.values import (
    ACTIVATIONS,
    ELEMENTWISE,
    LOOK_UPS,
    Call,
    Key,
    Values,
    key,
    stored_numel,
)
from catransformers.workloads.operators import Gemm, Operator, VectorKind, VectorOp

#: Operators of which each call is a product of matrices (or vectors).
_PRODUCTS: Final = frozenset(
    [
        "mm",
        "addmm",
        "bmm",
        "baddbmm",
        "addbmm",
        "mv",
        "addmv",
        "dot",
        "vdot",
        "_int_mm",
        "_scaled_mm",
        "_addmm_activation",
    ]
)
_SOFTMAXES: Final = frozenset({"softmax", "_softmax", "_safe_softmax", "_log_softmax"})
_NORMS: Final = frozenset(
    [
        "native_layer_norm",
        "layer_norm",
        "_fused_rms_norm",
        "rms_norm",
        "native_group_norm",
        "native_batch_norm",
        "batch_norm",
        "_native_batch_norm_legit",
        "_native_batch_norm_legit_no_training",
        "_batch_norm_no_update",
        "cudnn_batch_norm",
    ]
)
_ATTENTION: Final = frozenset(
    [
        "scaled_dot_product_attention",
        "_scaled_dot_product_attention_math",
        "_scaled_dot_product_flash_attention",
        "_scaled_dot_product_flash_attention_for_cpu",
        "_scaled_dot_product_efficient_attention",
        "_scaled_dot_product_cudnn_attention",
        "_scaled_dot_product_fused_attention_overrideable",
    ]
)
_ROOTS: Final = frozenset({"rsqrt", "sqrt", "std", "linalg_vector_norm"})
#: What attention scores pass through on their way to the softmax.
_MASKING: Final = frozenset(["add", "sub", "mul", "div", "where", "masked_fill", "_to_copy", "clone"])
_REDUCTIONS: Final = frozenset({"mean", "var", "var_mean", "sum"})

T = TypeVar("T", bound=Operator)


@dataclass(slots=True)
class Recogniser:
    """Turns calls, in their order, into operators.

    Args:
        model: component of what runs outside all parts of the model.
        values: what is known of the values; the recogniser keeps it up.
    """

    model: str
    values: Values
    _scales: dict[Key, int] = field(default_factory=dict)
    _normed: dict[Key, int] = field(default_factory=dict)
    _records: dict[int, list[Operator]] = field(default_factory=dict)
    _calls: int = 0

    def operators(self) -> tuple[Operator, ...]:
        """What has been recognised so far, in order."""
        return tuple(operator for at in sorted(self._records) for operator in self._records[at])

    def see(self, call: Call) -> None:
        """Take note of one call."""
        self._calls += 1
        if call.op in RULES and any(self.values.is_data(t) for t in call.operands):
            RULES[call.op](self, call)
        self.values.follow(call, self._calls)

    def _named(self, call: Call, role: str, weights: Tensor | None = None) -> tuple[str, str]:
        """Name and component of an operator: by its weights' owner, else by its module and what it does there."""
        own = [] if weights is None else sorted(self.values.sources(weights) or ())
        path = call.path if call.leaf else f"{call.path}.{role}".lstrip(".")
        if len(own) == 1:
            owner = self.values.parameters[own[0]][0].removesuffix(".weight")
            if owner.startswith(call.path):
                path = owner
        if not call.path:
            return path or role, self.model
        component, _, rest = path.partition(".")
        return rest or component, component

    def _record(self, *operators: Operator) -> None:
        self._records.setdefault(self._calls, []).extend(operators)

    def _update(self, call: int, kind: type[T], change: Callable[[T], T]) -> None:
        """Change the operators of a kind that a call has left."""
        self._records[call] = [change(op) if isinstance(op, kind) else op for op in self._records.get(call, [])]

    def _vector(self, call: Call, kind: VectorKind, like: Tensor, *weights: Tensor | None) -> None:
        """A vector operation on the rows of a tensor, with the parameters that it reads."""
        if not like.numel():
            return
        columns = like.shape[-1] if like.dim() else 1
        own = [w for w in weights if w is not None and self.values.is_parametric(w)]
        name, component = self._named(call, kind, own[0] if own else None)
        values = sum(w.numel() for w in own)
        stored = self.values.claim(*own)
        self._record(
            VectorOp(name, component, kind, like.numel() // columns, columns, weight_values=values, stored=stored)
        )

    # Products.

    def _gemm(self, call: Call, left: Tensor, right: Tensor, sizes: tuple[int, int, int], count: int = 1) -> None:
        """`count` products of (m × k) by (k × n); the operand that is weights goes to the right."""
        if not prod(sizes) * count:
            return
        m, k, n = sizes
        extra = call.arguments.get("bias", call.arguments.get("self"))
        if not isinstance(extra, Tensor) or extra is left or extra is right:
            extra = None
        if self.values.is_parametric(left) and not self.values.is_parametric(right):
            left, right, m, n = right, left, n, m
        weights = self.values.is_parametric(right)
        bias = extra if extra is not None and self.values.is_parametric(extra) else None
        before = self.values.origin(self.values.root(left))
        role = "context" if before is not None and before.op in _SOFTMAXES else "product"
        name, component = self._named(call, role, right if weights else None)
        stored = self.values.claim(right, bias)
        self._record(Gemm(name, component, m, k, n, count, weights, bias is not None, parallel=count, stored=stored))
        if extra is not None and bias is None and self.values.is_data(extra):
            self._vector(call, "add", call.results[0])

    def _product(self, call: Call) -> None:
        arguments = call.arguments
        if "mat1" in arguments:  # addmm
            left, right = arguments["mat1"], arguments["mat2"]
        elif "batch1" in arguments:  # baddbmm
            left, right = arguments["batch1"], arguments["batch2"]
        elif "mat" in arguments:  # addmv
            left, right = arguments["mat"], arguments["vec"]
        else:
            left = arguments["self"]
            right = next(arguments[name] for name in ("mat2", "vec", "tensor", "other") if name in arguments)
        count = left.shape[0] if left.dim() == 3 else 1
        m = left.shape[-2] if left.dim() > 1 else 1
        n = right.shape[-1] if right.dim() > 1 else 1
        self._gemm(call, left, right, (m, left.shape[-1], n), count)
        if call.op == "_addmm_activation":
            self._vector(call, "activation", call.results[0])

    def _linear(self, call: Call) -> None:
        left, right = call.arguments["input"], call.arguments["weight"]
        rows = left.numel() // max(left.shape[-1], 1)
        self._gemm(call, left, right, (rows, left.shape[-1], right.shape[0]))

    def _convolution(self, call: Call) -> None:
        """A convolution as one product a group: each position of the result (transposed: of the input) is a row."""
        given, weights = call.arguments["input"], call.arguments["weight"]
        groups, channels = call.arguments["groups"], -(weights.dim() - 1)  # axis of the channels, batch or not
        if call.arguments["transposed"]:
            m = given.numel() // given.shape[channels]
            k, n = weights.shape[0] // groups, weights[0].numel()
        else:
            m = call.results[0].numel() // call.results[0].shape[channels]
            k, n = weights[0].numel(), weights.shape[0] // groups
        self._gemm(call, given, weights, (m, k, n), groups)

    def _attention(self, call: Call) -> None:
        """Fused attention as its parts; query heads that share keys and values are stacked."""
        query, keys, values = (call.arguments[name] for name in ("query", "key", "value"))
        pairs, rows = prod(keys.shape[:-2]), query.numel() // query.shape[-1]
        m, k, n = rows // pairs, query.shape[-1], keys.shape[-2]
        (scores, component), (softmax, _), (context, _) = (
            self._named(replace(call, leaf=False), role) for role in ("scores", "softmax", "context")
        )
        self._record(
            Gemm(scores, component, m, k, n, pairs, weights=False, parallel=pairs),
            VectorOp(softmax, component, "softmax", rows, n),
            Gemm(context, component, m, n, values.shape[-1], pairs, weights=False, parallel=pairs),
        )

    # Vector operations.

    def _softmax(self, call: Call) -> None:
        given = next(call.arguments[name] for name in ("self", "input") if name in call.arguments)
        columns = given.shape[call.arguments["dim"]] if given.dim() else 1
        name, component = self._named(call, "softmax")
        self._record(VectorOp(name, component, "softmax", given.numel() // columns, columns))
        found = self.values.back(given, _MASKING, _PRODUCTS)
        if found is not None:
            self._update(found.call, Gemm, lambda op: op if op.weights else replace(op, name=_scores(op.name)))

    def _norm(self, call: Call) -> None:
        given = next(call.arguments[name] for name in ("input", "self") if name in call.arguments)
        self._vector(call, "norm", given, call.arguments.get("weight"), call.arguments.get("bias"))

    def _root(self, call: Call) -> None:
        """The (reciprocal) root of a row's mean square, variance or sum of squares: a norm that is written out."""
        given, result = call.operands[0], call.results[0]
        values = given.numel()
        if call.op in ("rsqrt", "sqrt"):
            found = self.values.back(given, ELEMENTWISE, _REDUCTIONS)
            if found is None:
                return
            values = found.operands[0][2]
        columns = values // max(result.numel(), 1)
        if columns > 1 and self.values.is_activation(given):
            name, component = self._named(call, "norm")
            self._record(VectorOp(name, component, "norm", result.numel(), columns))
            self._scales[key(result)] = self._calls

    def _activation(self, call: Call) -> None:
        given, *others = call.operands
        if given.dim() and self.values.is_activation(given) and not self.values.is_active(given):
            self._vector(call, "activation", given, *others)

    def _glu(self, call: Call) -> None:
        self._vector(call, "activation", call.results[0])
        self._vector(call, "multiply", call.results[0])

    def _embedding(self, call: Call) -> None:
        table = call.arguments.get("weight", call.arguments.get("self"))
        result = call.results[0]
        if isinstance(table, Tensor) and self.values.is_parametric(table) and result.dim() and result.numel():
            name, component = self._named(call, "embedding", table)
            columns = result.shape[-1]
            stored = self.values.claim(table)
            self._record(VectorOp(name, component, "embedding", result.numel() // columns, columns, stored=stored))

    def _pair(self, call: Call) -> tuple[Tensor, Tensor] | None:
        """The two tensors of an elementwise operation, activations first; None if there are no two with rows."""
        operands = sorted(call.operands[:2], key=lambda t: not self.values.is_activation(t))
        if len(operands) != 2 or not all(t.dim() and t.is_floating_point() for t in operands):
            return None
        if not self.values.is_activation(operands[0]) or self.values.root(operands[0]) == self.values.root(operands[1]):
            return None
        return operands[0], operands[1]

    def _scaling(self, call: Call, pair: tuple[Tensor, Tensor]) -> bool:
        """Whether a product, quotient or sum belongs to a norm that is written out; notes what it reads."""
        result = call.results[0]
        if call.op in ("mul", "div"):
            for tensor in pair:
                found = self.values.origin(tensor)
                if found is not None and found.op not in _ROOTS:
                    found = self.values.back(tensor, ELEMENTWISE, _ROOTS)
                if found is not None and found.call in self._scales.values() and stored_numel(tensor) < result.numel():
                    self._normed[key(result)] = found.call
                    return True
        value, other = pair
        at = self._normed.get(key(value), self._normed.get(self.values.root(value)))
        if at is None or not self.values.is_parametric(other) or other.numel() != result.shape[-1]:
            return False
        stored = self.values.claim(other)
        self._update(
            at,
            VectorOp,
            lambda op: replace(op, weight_values=op.weight_values + other.numel(), stored=op.stored + stored),
        )
        self._normed[key(result)] = at
        return True

    def _sum(self, call: Call) -> None:
        """A residual sum, a positional table, a bias, or the end of a rotary embedding."""
        pair = self._pair(call)
        if pair is None or self._scaling(call, pair):
            return
        value, other = pair
        result = call.results[0]
        if self._is_mask(value, other):
            return
        if all(self._is_turned(t) for t in pair):
            self._vector(call, "rotary", result)
        elif value.shape[-1] == other.shape[-1] == result.shape[-1] and not self._as_bias(value, other):
            self._vector(call, "add", result, other)

    def _is_mask(self, value: Tensor, other: Tensor) -> bool:
        """Whether a table is added to attention scores: a product of two activations."""
        origin = None if self.values.is_data(other) else self.values.origin(self.values.root(value))
        made = [] if origin is None else self._records.get(origin.call, [])
        return any(isinstance(op, Gemm) and not op.weights for op in made)

    def _is_turned(self, tensor: Tensor) -> bool:
        """Whether a value is a product with a table, as in x·cos + x'·sin."""
        origin = self.values.origin(tensor)
        return (
            origin is not None
            and origin.op == "mul"
            and any(at[2] > 1 and self.values.sources(at) == frozenset() for at in origin.operands)
        )

    def _as_bias(self, value: Tensor, bias: Tensor) -> bool:
        """Whether a parameter is the bias of the product that it is added to; the product then has it."""
        origin = self.values.origin(self.values.root(value))
        if origin is None or not self.values.is_parametric(bias) or bias.dim() > 1:
            return False
        made = [op for op in self._records.get(origin.call, []) if isinstance(op, Gemm) and op.weights and not op.bias]
        if not made or bias.numel() != made[0].n or value.numel() != made[0].m * made[0].n or made[0].count != 1:
            return False
        stored = self.values.claim(bias)
        self._update(origin.call, Gemm, lambda op: replace(op, bias=True, stored=op.stored + stored))
        return True

    def _multiply(self, call: Call) -> None:
        """The gate of a gated FFN, a scale a channel, a rotation of complex pairs, or a softmax that is written out."""
        result = call.results[0]
        if result.is_complex():
            name, component = self._named(call, "rotary")
            columns = 2 * result.shape[-1] if result.dim() else 2
            self._record(VectorOp(name, component, "rotary", 2 * result.numel() // columns, columns))
            return
        if call.op == "div" and self._softmax_by_hand(call):
            return
        pair = self._pair(call)
        if pair is None or self._scaling(call, pair) or call.op == "div":
            return
        value, other = pair
        if self.values.is_parametric(other):
            if other.numel() > 1:
                self._vector(call, "multiply", result, other)
        elif self.values.is_activation(other) and value.shape == other.shape == result.shape:
            self._vector(call, "multiply", result)

    def _softmax_by_hand(self, call: Call) -> bool:
        """exp(x) ÷ Σ exp(x)."""
        if len(call.operands) != 2:
            return False
        above, below = call.operands
        up, down = self.values.origin(above), self.values.origin(below)
        if up is None or down is None or up.op != "exp" or down.op != "sum" or key(above) not in down.operands:
            return False
        name, component = self._named(call, "softmax")
        rows = max(stored_numel(below), 1)
        self._record(VectorOp(name, component, "softmax", rows, above.numel() // rows))
        return True


def _scores(name: str) -> str:
    """`attn.product` → `attn.scores`."""
    return f"{name.removesuffix('product')}scores" if name.endswith("product") else name


#: What is done about each operator, by its name.
RULES: Final[Mapping[str, Callable[[Recogniser, Call], None]]] = {
    **dict.fromkeys(ACTIVATIONS, Recogniser._activation),
    **dict.fromkeys(_NORMS, Recogniser._norm),
    **dict.fromkeys(_ATTENTION, Recogniser._attention),
    **dict.fromkeys(_PRODUCTS, Recogniser._product),
    **dict.fromkeys(_SOFTMAXES, Recogniser._softmax),
    **dict.fromkeys(LOOK_UPS, Recogniser._embedding),
    **dict.fromkeys(_ROOTS, Recogniser._root),
    "linear": Recogniser._linear,
    "convolution": Recogniser._convolution,
    "glu": Recogniser._glu,
    "add": Recogniser._sum,
    "sub": Recogniser._sum,
    "mul": Recogniser._multiply,
    "div": Recogniser._multiply,
}
