"""qLogNEHVI without what only its gradients need, and compiled.

BoTorch guards `logsumexp` and its like so that their *gradients* stay finite at infinities, its compiled kernel takes
one logarithm at a time, and it cuts space into boxes in Python. On a space of integers Ax searches without gradients,
one candidate at a time. `quicker()` has the module of qLogNEHVI use, where no gradient is asked for, torch's own
functions and a kernel that works out the same formulas for many cells at once (the same up to rounding), and boxes
found in C++ (the same bit by bit).

References: Ament et al., Unexpected Improvements to Expected Improvement, NeurIPS 2023 (the smoothed functions).
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from botorch.acquisition.multi_objective import logei
from botorch.utils import safe_math
from botorch.utils.multi_objective.box_decompositions import box_decomposition, non_dominated
from torch import Tensor

from catransformers.search.strategies.fused_kernel import compiled

FUSED = logei._FusedLogAreas
UPDATE, BOXES = non_dominated.update_local_upper_bounds_incremental, non_dominated.get_partition_bounds

KERNEL, CELLS = (Path(__file__).parent / f"quicker_{name}.cpp" for name in ("log_areas", "cells"))
FLAGS = ("-O3", "-march=native", "-fopenmp-simd")
FAST = (*FLAGS, "-ffast-math")


class QuickerAreas:
    """In the place of BoTorch's `_FusedLogAreas`: its own for gradients and for sets of candidates, else the kernel."""

    @staticmethod
    def apply(points: Tensor, lower: Tensor, upper: Tensor, relu: float, most: float) -> Tensor:
        """(samples, n, 1, 1, m), cells (samples, n, cells, m) alike for all n candidates → (samples, n, cells, 1)."""
        alike = lower.ndim == 4 and lower.stride(1) == 0 and upper.stride(1) == 0  # the same cells for all candidates
        if points.requires_grad or points.shape[2:4] != (1, 1) or not alike or points.dtype != torch.float64:
            return FUSED.apply(points, lower, upper, relu, most)
        return sys.modules[KERNEL.stem].log_areas(points[:, :, 0, 0], lower[:, 0], upper[:, 0], relu, most)[..., None]


def quicker() -> None:
    """Have qLogNEHVI use the quicker functions, in this process."""
    if compiled(KERNEL.stem, KERNEL, FAST):
        logei._FusedLogAreas = QuickerAreas
    if compiled(CELLS.stem, CELLS, FLAGS):
        _cut_with(update, boxes)
    logei.logsumexp, logei.logmeanexp = logsumexp, logmeanexp
    logei.logplusexp, logei.logdiffexp = logplusexp, logdiffexp


def usual() -> None:
    """Have it use BoTorch's own again."""
    logei._FusedLogAreas = FUSED
    _cut_with(UPDATE, BOXES)
    logei.logsumexp, logei.logmeanexp = safe_math.logsumexp, safe_math.logmeanexp
    logei.logplusexp, logei.logdiffexp = safe_math.logplusexp, safe_math.logdiffexp


def _cut_with(updating: Callable[..., Any], cutting: Callable[..., Tensor]) -> None:
    box_decomposition.update_local_upper_bounds_incremental = updating
    non_dominated.update_local_upper_bounds_incremental = updating
    non_dominated.get_partition_bounds = cutting


def update(new_pareto_Y: Tensor, U: Tensor, Z: Tensor) -> tuple[Tensor, Tensor]:
    """(k, m) upper bounds and (k, m, m) their defining points after new points (n, m)."""
    if U.dtype != torch.float64:
        return UPDATE(new_pareto_Y, U, Z)
    return sys.modules[CELLS.stem].update(new_pareto_Y, U, Z)


def boxes(Z: Tensor, U: Tensor, ref_point: Tensor) -> Tensor:
    """(2, cells, m) lower and upper ends of the boxes."""
    if U.dtype != torch.float64:
        return BOXES(Z, U, ref_point)
    return sys.modules[CELLS.stem].boxes(Z, U, ref_point)


def logsumexp(x: Tensor, dim: int, keepdim: bool = False) -> Tensor:
    """log(sum(exp(x))) over one dimension."""
    if x.requires_grad:
        return safe_math.logsumexp(x, dim, keepdim)
    if x.shape[dim] == 1:
        return x if keepdim else x.squeeze(dim)
    return torch.logsumexp(x, dim, keepdim)


def logplusexp(a: Tensor, b: Tensor) -> Tensor:
    """log(exp(a) + exp(b))."""
    if a.requires_grad or b.requires_grad:
        return safe_math.logplusexp(a, b)
    return b if _nothing(a) else torch.logaddexp(a, b)


def logdiffexp(log_a: Tensor, log_b: Tensor) -> Tensor:
    """log(b − a)."""
    if log_a.requires_grad or log_b.requires_grad or not _nothing(log_a):
        return safe_math.logdiffexp(log_a, log_b)
    return log_b


def _nothing(log: Tensor) -> bool:
    """Whether all are logarithms of 0, as one candidate's sum over pairs of candidates is."""
    return bool((log == -torch.inf).all())


def logmeanexp(x: Tensor, dim: int) -> Tensor:
    """log(mean(exp(x))) over one dimension."""
    return logsumexp(x, dim) - math.log(x.shape[dim])
