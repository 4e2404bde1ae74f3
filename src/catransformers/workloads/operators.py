"""What is computed: matrix products and vector operations with their shapes, and lists of them.

A workload says nothing about a machine. Each operator carries the bits of its weights and activations,
so that another precision is another workload, not another cost model.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

from catransformers.errors import Problem, Problems, unknown_name

VectorKind = Literal["softmax", "norm", "activation", "add", "multiply", "rotary", "embedding"]

#: Bits that a weight or an activation may have.
MIN_BITS, MAX_BITS = 2, 32


@dataclass(frozen=True, slots=True)
class Gemm:
    """`count` independent products of an (m × k) activation with a (k × n) operand.

    Args:
        name: what it is in the model, e.g. `qkv`.
        component: which part of the model, e.g. `vision`.
        m: rows of the result (tokens).
        k: reduction length.
        n: columns of the result.
        count: how often the product runs in one inference (heads × layers, say); a mean where a text meets several
            images, so it need not be whole.
        parallel: how many of them are independent of each other and may run side by side (the heads of a layer, or its
            Q, K and V); the `count / parallel` groups run one after another.
        weights: whether the (k × n) operand is stored weights (else an activation, as in QKᵀ, or a cache of them).
        bias: whether n bias values belong to each product.
        weight_bits: bits of a value of the (k × n) operand when it is weights.
        activation_bits: bits of an activation value.
        stored: parameters that all its runs keep in memory together, biases included; 0 if they are another operator's
            (a later pass over the same weights, a tied table).
        cached: whether the (k × n) operand is a cache that lies where the weights lie, e.g. earlier tokens' keys.
        caches: whether the result goes there.
    """

    name: str
    component: str
    m: int
    k: int
    n: int
    count: float = 1
    weights: bool = True
    bias: bool = False
    weight_bits: int = 8
    activation_bits: int = 8
    parallel: int = 1
    stored: int = 0
    cached: bool = False
    caches: bool = False

    @property
    def macs(self) -> float:
        """Multiply-accumulates of all `count` products."""
        return self.m * self.k * self.n * self.count


@dataclass(frozen=True, slots=True)
class VectorOp:
    """`count` runs of an elementwise or row-wise operation on a (rows × columns) activation.

    An `embedding` reads `rows` rows of a table; `add` (a residual sum or a positional table) and `multiply` (the gate
    of a gated FFN) read two operands; `rotary` turns pairs of columns by an angle that depends on the row.

    Args:
        name: what it is in the model, e.g. `ln_1`.
        component: which part of the model, e.g. `vision`.
        kind: what it does.
        rows: rows of the activation (tokens, or heads × tokens).
        columns: columns of the activation.
        count: how often it runs in one inference.
        activation_bits: bits of an activation value.
        weight_values: stored values that one run reads: the gains and biases of a norm, a positional table. What an
            `embedding` reads of its table is rows × columns, and not counted here.
        weight_bits: bits of a stored value.
        stored: parameters that all its runs keep in memory together (of an `embedding` the whole table).
    """

    name: str
    component: str
    kind: VectorKind
    rows: int
    columns: int
    count: float = 1
    activation_bits: int = 8
    weight_values: int = 0
    weight_bits: int = 8
    stored: int = 0

    @property
    def elements(self) -> float:
        """Values that all `count` runs touch."""
        return self.rows * self.columns * self.count


Operator = Gemm | VectorOp


@dataclass(frozen=True, slots=True)
class Workload:
    """A list of operators: one inference of (a part of) a model.

    Args:
        name: what it is.
        operators: what runs, in order.
        weight_bytes: memory that all stored parameters take at their precision, tables included. Whole at 8 bits; at
            other widths values are packed densely, and a fraction of a byte is kept, so that layers × one layer stays
            exact.
        activation_bytes: the most bytes of activations that are alive at once (working set), caches included.
    """

    name: str
    operators: tuple[Operator, ...]
    weight_bytes: float
    activation_bytes: float

    def __iter__(self) -> Iterator[Operator]:
        return iter(self.operators)

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one inference, to the nearest."""
        return round(sum(op.macs for op in self.operators if isinstance(op, Gemm)))

    def scaled(self, times: float) -> Workload:
        """`times` such parts, each with parameters of its own (layers × one layer); the working set stays."""
        operators = tuple(
            replace(op, count=_whole(op.count * times), stored=round(op.stored * times)) for op in self.operators
        )
        return Workload(self.name, operators, _whole(self.weight_bytes * times), self.activation_bytes)

    def repeated(self, times: float) -> Workload:
        """The same part run `times` over, with one set of parameters (a text encoder that reads several texts)."""
        operators = tuple(replace(op, count=_whole(op.count * times)) for op in self.operators)
        return replace(self, operators=operators)

    def borrowing(self) -> Workload:
        """The same work over parameters that another part already stores: it reads them, but adds none."""
        return replace(self, operators=tuple(replace(op, stored=0) for op in self.operators), weight_bytes=0)

    def with_bits(self, weight_bits: int | None = None, activation_bits: int | None = None) -> Workload:
        """The same work at another precision, all of it; the bytes follow (see `with_operator_bits`).

        Args:
            weight_bits: bits of a stored value, 2 to 32; None leaves them.
            activation_bits: bits of an activation, 2 to 32; None leaves them.

        Raises:
            InputError: for impossible bits, all at once.
        """
        return self.with_operator_bits(self.names, weight_bits, activation_bits)

    @property
    def names(self) -> frozenset[str]:
        """The names of its operators, and their components and names: `ffn_up`, `text.ffn_up`."""
        return frozenset(name for op in self.operators for name in (op.name, f"{op.component}.{op.name}"))

    def with_operator_bits(
        self, operators: Collection[str], weight_bits: int | None = None, activation_bits: int | None = None
    ) -> Workload:
        """The same work with some operators at another precision.

        The bytes follow. Weights: each operator's own parameters at its own bits; parameters that belong to no operator
        are as wide as the widest of the others. Activations: the working set at the widest activation, since any
        operator's operands may be what fills it.

        Args:
            operators: names (`ffn_up`) or components and names (`text.ffn_up`) of what changes.
            weight_bits: bits of a stored value, 2 to 32; None leaves them.
            activation_bits: bits of an activation, 2 to 32; None leaves them.

        Raises:
            InputError: for unknown operators and impossible bits, all at once.
        """
        given = {"weight_bits": weight_bits, "activation_bits": activation_bits}
        problems = Problems(
            unknown_name("operators", "operator", name, self.names) for name in {*operators} - self.names
        )
        problems += [
            Problem(name, f"{bits!r} is no width", f"whole numbers from {MIN_BITS} to {MAX_BITS}")
            for name, bits in given.items()
            if bits is not None and (type(bits) is not int or not MIN_BITS <= bits <= MAX_BITS)
        ]
        problems.finish()
        if all(bits is None or all(getattr(op, name) == bits for op in self.operators) for name, bits in given.items()):
            return self
        changed = tuple(
            _at_bits(op, weight_bits, activation_bits)
            if op.name in operators or f"{op.component}.{op.name}" in operators
            else op
            for op in self.operators
        )
        before, after = (sum(op.stored * op.weight_bits for op in ops) for ops in (self.operators, changed))
        others = self.weight_bytes * 8 - before
        weights = after + others * _widest(changed, "weight_bits") / _widest(self.operators, "weight_bits")
        alive = self.activation_bytes * _widest(changed, "activation_bits") / _widest(self.operators, "activation_bits")
        return Workload(self.name, changed, _whole(weights / 8), _whole(alive))


def _at_bits(operator: Operator, weight_bits: int | None, activation_bits: int | None) -> Operator:
    return replace(
        operator,
        weight_bits=operator.weight_bits if weight_bits is None else weight_bits,
        activation_bits=operator.activation_bits if activation_bits is None else activation_bits,
    )


def _widest(operators: Iterable[Operator], field: Literal["weight_bits", "activation_bits"]) -> int:
    return max((getattr(op, field) for op in operators), default=8)


def _whole(count: float) -> float:
    """An int where the count is whole, so that it prints as one."""
    return int(count) if float(count).is_integer() else count


def concatenate(name: str, parts: Iterable[Workload]) -> Workload:
    """One workload after another: operators and stored bytes add, the working set is the largest."""
    parts = list(parts)
    return Workload(
        name,
        tuple(op for part in parts for op in part.operators),
        sum(part.weight_bytes for part in parts),
        max((part.activation_bytes for part in parts), default=0),
    )


@dataclass(frozen=True, slots=True)
class WorkloadPart:
    """One part of an inference: `times` × (`layers` × one layer + a stem), which is why whole spaces are cheap to cost.

    The latency and energy of a model are the sum over its parts of times × (layers × layer + stem). Its parameters are
    the sum of layers × layer.weight_bytes + stem.weight_bytes, and its working set is the largest `activation_bytes`.

    Args:
        component: which part, e.g. `vision` or `decode`.
        layers: how many equal blocks run.
        layer: one of them.
        stem: what does not repeat: embeddings, outer norms, heads.
        times: how often the part runs in one inference.
        cache_values: keys and values of one layer that outlive it, which all layers hold at once.
    """

    component: str
    layers: int
    layer: Workload
    stem: Workload
    times: float = 1
    cache_values: int = 0

    @property
    def cache_bytes(self) -> float:
        """Bytes of all layers' caches, as wide as the layer's widest activation."""
        return _whole(self.layers * self.cache_values * _widest(self.layer.operators, "activation_bits") / 8)

    @property
    def weight_bytes(self) -> float:
        """Memory of the part's own parameters."""
        return self.layers * self.layer.weight_bytes + self.stem.weight_bytes

    @property
    def activation_bytes(self) -> float:
        """The most bytes of activations alive at once, with the caches of all layers."""
        return max(self.layer.activation_bytes, self.stem.activation_bytes) + self.cache_bytes

    def workload(self) -> Workload:
        """The part as one list of operators: the stem, then the layers."""
        once = concatenate(self.component, [self.stem, self.layer.scaled(self.layers)]).repeated(self.times)
        return replace(once, activation_bytes=self.activation_bytes)

    def with_bits(self, weight_bits: int | None = None, activation_bits: int | None = None) -> WorkloadPart:
        """The same part at another precision; equal to the workload's `with_bits`.

        Raises:
            InputError: for impossible bits.
        """
        layer, stem = (work.with_bits(weight_bits, activation_bits) for work in (self.layer, self.stem))
        return replace(self, layer=layer, stem=stem)
