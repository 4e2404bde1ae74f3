"""Dataflows: which operand of a matrix product is stationary in the array (weight-, output-, input-stationary).

Two of the three dimensions of an (m × k)·(k × n) product lie on the array's rows and columns, the third streams. Each
tensor lacks one dimension: the weights m, the results k, the inputs n. What is stationary lacks the one that streams.

On a systolic array of R rows and C columns, a fold of what stays costs its stream plus the skew of filling and
draining. `systolic_cycles` are the closed forms of section 4.3 of the design; SCALE-Sim (Samajdar et al., ISPASS 2020)
reports each of them minus 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np
import numpy.typing as npt

from catransformers.errors import InputError, Problem, Problems, unknown_name

T = TypeVar("T")

#: Dimensions of a product, in the order of its sizes, and the index of each.
DIMENSIONS = ("m", "k", "n")
M, K, N = range(3)


@dataclass(frozen=True, slots=True)
class Dataflow:
    """What stays in the array, how it lies there, and what streams.

    Args:
        name: what stays, and how.
        rows, columns, stream: the dimension on the array's rows, on its columns, and that streams; `M`, `K` or `N`.
        held: whether what stays does so while the stream passes tile by tile; else each tile brings it anew.
    """

    name: str
    rows: int
    columns: int
    stream: int
    held: bool

    @property
    def stationary(self) -> str:
        """The field's abbreviation: `ws`, `os` or `is`."""
        return ("ws", "os", "is")[self.stream]

    @property
    def reduces(self) -> bool:
        """Whether results stay while the reduction streams: partial sums grow in place."""
        return self.stream == K

    @property
    def finishes(self) -> bool:
        """Whether results leave the array finished, and never as partial sums."""
        return self.reduces and self.held

    @property
    def shifts(self) -> int:
        """Times that a fold is shifted through its rows: operands that stay go in before the stream starts."""
        return 1 if self.reduces else 2

    def by_dimension(self, rows: T, columns: T, stream: T) -> tuple[T, T, T]:
        """What belongs to the dimensions on the array, in the order of `DIMENSIONS`."""
        found = {self.rows: rows, self.columns: columns, self.stream: stream}
        return found[M], found[K], found[N]

    def by_tensor(self, weights: T, results: T, inputs: T) -> tuple[T, T, T]:
        """What belongs to the tensors over rows and columns, rows and stream, and columns and stream."""
        lacks = weights, results, inputs
        return lacks[self.stream], lacks[self.columns], lacks[self.rows]


#: All that the mapping search tries; a mapping's `flow` is an index into them.
DATAFLOWS = (
    Dataflow("output", M, N, K, held=True),
    Dataflow("output-spilled", M, N, K, held=False),
    Dataflow("weight", K, N, M, held=False),
    Dataflow("weight-held", K, N, M, held=True),
    Dataflow("input", K, M, N, held=False),
    Dataflow("input-held", K, M, N, held=True),
)


def systolic_cycles(
    m: npt.ArrayLike,
    k: npt.ArrayLike,
    n: npt.ArrayLike,
    rows: npt.ArrayLike,
    columns: npt.ArrayLike,
    dataflow: Literal["os", "ws", "is"],
) -> int | npt.NDArray[np.int64]:
    """Stall-free cycles of an (m × k)·(k × n) product on a rows × columns systolic array.

    Args:
        m, k, n: rows of the result, reduction length, columns of the result; scalars or arrays that broadcast.
        rows, columns: extents of the array; scalars or arrays that broadcast.
        dataflow: what stays in the array: `os` outputs (m on rows, n on columns), `ws` weights (k on rows, n on
            columns), `is` inputs (k on rows, m on columns).

    Returns:
        Cycles, an int for scalars, else an array of the broadcast shape.

    Raises:
        InputError: for an unknown dataflow or a size below 1.

    Reference:
        output-stationary ⌈M/R⌉⌈N/C⌉(K+R+C−2), weight-stationary ⌈K/R⌉⌈N/C⌉(M+2R+C−2), input-stationary
        ⌈K/R⌉⌈M/C⌉(N+2R+C−2).
    """
    known = {flow.stationary: flow for flow in DATAFLOWS}
    if dataflow not in known:
        raise InputError(unknown_name("dataflow", "dataflow", str(dataflow), tuple(known)))
    given = {"m": m, "k": k, "n": n, "rows": rows, "columns": columns}
    arrays = {name: np.asarray(value, dtype=np.int64) for name, value in given.items()}
    problems = Problems(Problem(name, "is below 1", "integers from 1") for name, a in arrays.items() if np.any(a < 1))
    problems.finish()
    *sizes, r, c = arrays.values()
    flow = known[dataflow]
    folds = -(-sizes[flow.rows] // r) * -(-sizes[flow.columns] // c)
    cycles = np.asarray(folds * (sizes[flow.stream] + flow.shifts * r + c - 2))
    return int(cycles) if cycles.ndim == 0 else cycles
