"""What is computed: matrix products and vector operations with their shapes, and lists of them.

A workload says nothing about a machine. Each operator carries the bits of its weights and activations,
so that another precision is another workload, not another cost model.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

VectorKind = Literal["softmax", "norm", "activation", "add", "embedding"]


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
        weights: whether the (k × n) operand is stored weights (else an activation, as in QKᵀ).
        bias: whether n bias values belong to each product.
        weight_bits: bits of a value of the (k × n) operand when it is weights.
        activation_bits: bits of an activation value.
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

    @property
    def macs(self) -> float:
        """Multiply-accumulates of all `count` products."""
        return self.m * self.k * self.n * self.count


@dataclass(frozen=True, slots=True)
class VectorOp:
    """`count` runs of an elementwise or row-wise operation on a (rows × columns) activation.

    An `embedding` reads `rows` rows of a table; `add` reads two operands (a residual sum or a positional table).
    """

    name: str
    component: str
    kind: VectorKind
    rows: int
    columns: int
    count: float = 1
    activation_bits: int = 8

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
        weight_bytes: memory that all stored parameters take at their precision, tables included.
        activation_bytes: the most bytes of activations that are alive at once (working set).
    """

    name: str
    operators: tuple[Operator, ...]
    weight_bytes: int
    activation_bytes: int

    def __iter__(self) -> Iterator[Operator]:
        return iter(self.operators)

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one inference, to the nearest."""
        return round(sum(op.macs for op in self.operators if isinstance(op, Gemm)))

    def scaled(self, times: float) -> Workload:
        """The same work `times` over (layers × one layer); the stored bytes scale along, the working set does not."""
        operators = tuple(replace(op, count=_whole(op.count * times)) for op in self.operators)
        return Workload(self.name, operators, round(self.weight_bytes * times), self.activation_bytes)


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
