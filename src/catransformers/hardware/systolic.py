"""Cycles of a matrix product on a systolic array, in closed form.

R rows and C columns of processing elements, no stalls: a fold of the operands that stay in the array costs its
stream plus the skew of filling and draining. The forms are those of section 4.3 of the design; SCALE-Sim
(Samajdar et al., ISPASS 2020) reports each of them minus 1.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from catransformers.errors import InputError, Problem, Problems, unknown_name

Dataflow = Literal["os", "ws", "is"]
DATAFLOWS: tuple[str, ...] = get_args(Dataflow)


def _folds(size: npt.NDArray[np.int64], extent: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    return -(-size // extent)


def systolic_cycles(
    m: npt.ArrayLike,
    k: npt.ArrayLike,
    n: npt.ArrayLike,
    rows: npt.ArrayLike,
    columns: npt.ArrayLike,
    dataflow: Dataflow,
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
    if dataflow not in DATAFLOWS:
        raise InputError(unknown_name("dataflow", "dataflow", str(dataflow), DATAFLOWS))
    given = {"m": m, "k": k, "n": n, "rows": rows, "columns": columns}
    arrays = {name: np.asarray(value, dtype=np.int64) for name, value in given.items()}
    problems = Problems(Problem(name, "is below 1", "integers from 1") for name, a in arrays.items() if np.any(a < 1))
    problems.finish()
    mm, kk, nn, r, c = arrays.values()
    if dataflow == "os":
        cycles = _folds(mm, r) * _folds(nn, c) * (kk + r + c - 2)
    elif dataflow == "ws":
        cycles = _folds(kk, r) * _folds(nn, c) * (mm + 2 * r + c - 2)
    else:
        cycles = _folds(kk, r) * _folds(mm, c) * (nn + 2 * r + c - 2)
    return int(cycles) if np.ndim(cycles) == 0 else np.asarray(cycles)
