"""What crosses the pins: DRAM traffic of an operator whose model's weights are not resident on chip.

Half of the global buffer holds activations, the other half stages what is streamed. An operator whose operands and
result fit in the first half keeps its activations on chip and streams its weights through the second half, each weight
once; a cache of keys and values lies with the weights. Any other operator moves everything through DRAM, in tiles of
the global buffer that are buffered twice, with the tile and loop order that move the fewest bytes. Finished values
only: partial sums never leave the chip.

This depends on the operator alone, not on the workload around it, so that costs of layers add up to costs of models.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from catransformers.hardware.mapping import GemmShape
from catransformers.hardware.tiling import longest_third, tile_sizes

FloatArray = npt.NDArray[np.float64]


def _tiled_reads(shape: GemmShape, capacity: float, partial_bytes: float) -> float:
    """The fewest bytes that one product reads from DRAM when all of it streams through `capacity` bytes."""
    m, n = tile_sizes(shape.m)[:, None], tile_sizes(shape.n)[None, :]
    whole = (shape.input_bytes, shape.input_bytes, shape.weight_bytes)
    cut = (partial_bytes, shape.input_bytes, shape.weight_bytes)
    k = longest_third((shape.m, shape.n, shape.k), m, n, whole, cut, np.array(capacity))
    nm, nn = -(-shape.m // m), -(-shape.n // n)
    a, b = shape.a_bytes, shape.b_bytes
    reads = np.where(k < shape.k, a * nn + b * nm, np.minimum(a * nn + b, a + b * nm))
    return float(reads[k > 0].min())


def gemm_traffic(shape: GemmShape, global_bytes: FloatArray, partial_bytes: float) -> tuple[FloatArray, FloatArray]:
    """Bytes that a group of products reads from and writes to DRAM.

    Args:
        shape: the products.
        global_bytes: global buffers, (A,).
        partial_bytes: bytes of a partial sum.

    Returns:
        Bytes read and written, (A,) each.
    """
    held = shape.a_bytes + shape.c_bytes + (0.0 if shape.weights else shape.b_bytes)
    sizes, inverse = np.unique(global_bytes, return_inverse=True)
    reads, writes = np.empty_like(sizes), np.empty_like(sizes)
    for i, size in enumerate(sizes):
        if held <= size / 2:
            reads[i], writes[i] = (shape.b_bytes if shape.weights else 0.0), (shape.c_bytes if shape.caches else 0.0)
        else:
            reads[i], writes[i] = _tiled_reads(shape, float(size), partial_bytes), shape.c_bytes
    return shape.parallel * reads[inverse], shape.parallel * writes[inverse]
