"""What the cross-checks compare: products, arrays and accelerators; `tools/crosscheck/record.py` has them run.

A case is a dict of text, as a row of a reference file is.
"""

import itertools

from crosscheck_model import AXES, choice, every_mapping, loop_nest, machines_of

from catransformers.hardware.dataflow import DATAFLOWS

#: What says which of our mappings a nest is.
CHOSEN = ("flow", "held_1", "held_2", "tile_m", "tile_k", "tile_n", "innermost")

#: (m, k, n) for SCALE-Sim: primes, sizes below the arrays, full folds, heads and slices of the layers of CLIP.
SYSTOLIC_PRODUCTS = (
    *((1, 1, 1), (2, 3, 5), (3, 2, 1), (4, 4, 4), (5, 1, 7), (7, 11, 13), (8, 8, 8), (1, 64, 32), (1, 197, 3)),
    *((15, 16, 17), (16, 16, 16), (17, 19, 23), (31, 37, 29), (32, 32, 32), (33, 31, 32), (64, 64, 64), (61, 67, 71)),
    *((9, 200, 9), (200, 9, 9), (9, 9, 200), (13, 127, 11), (127, 13, 11), (11, 13, 127), (97, 32, 101)),
    *((50, 64, 50), (50, 50, 64), (77, 64, 77), (77, 77, 64), (197, 64, 50), (50, 64, 197), (48, 197, 24)),
    *((49, 96, 48), (64, 48, 96), (96, 128, 64), (40, 80, 120), (128, 64, 16)),
)
SYSTOLIC_ARRAYS = ((8, 8), (16, 16), (4, 32), (32, 4), (16, 8), (7, 13), (1, 16), (3, 5), (32, 32))


def scalesim_cases() -> list[dict[str, str]]:
    """Every product with every dataflow, each on two of the arrays (the large ones on one)."""
    cases = []
    for i, product in enumerate(SYSTOLIC_PRODUCTS):
        for j, dataflow in enumerate(("os", "ws", "is")):
            small = product[0] * product[1] * product[2] <= 100_000
            for turn in (0, 1) if small else (0,):
                array = SYSTOLIC_ARRAYS[(i + 2 * j + 4 * turn) % len(SYSTOLIC_ARRAYS)]
                numbers = dict(zip(("m", "k", "n", "rows", "columns"), map(str, (*product, *array)), strict=True))
                cases.append(numbers | {"dataflow": dataflow})
    return cases


#: pJ: an 8-bit multiply-accumulate with its registers, and a byte of buffers of some 64 KiB and 8 MiB and of LPDDR4.
ENERGIES = {
    "mac_pj": "0.2",
    "local_read_pj": "0.3",
    "local_write_pj": "0.36",
    "global_read_pj": "2.3",
    "global_write_pj": "2.1",
    "dram_pj": "64",
}
KIB = 1024

#: Products of CLIP: what they are, and m, k, n.
LAYERS = {
    "B-16 attention projection": (197, 768, 768),
    "B-16 scores": (197, 64, 197),
    "B-16 attention times values": (197, 197, 64),
    "B-16 feed-forward, in": (197, 768, 3072),
    "B-16 feed-forward, out": (197, 3072, 768),
    "B-32 attention projection": (50, 768, 768),
    "B-32 scores": (50, 64, 50),
    "B-32 feed-forward, in": (50, 768, 3072),
    "B-32 feed-forward, out": (50, 3072, 768),
    "text attention projection": (77, 512, 512),
    "text feed-forward, in": (77, 512, 2048),
    "small cube": (64, 64, 64),
    "small": (32, 48, 80),
    "small primes": (61, 67, 71),
}

#: Which layer with what staying in an array of which extents, with how many accumulators, KiB of local and global
#: buffer, and what comes through DRAM.
SEARCHES = (
    ("B-16 attention projection", "weight", 16, 16, 1, 64, 8192, "none"),
    ("B-16 attention projection", "output", 16, 16, 1, 64, 8192, "none"),
    ("B-16 attention projection", "weight", 32, 8, 4, 64, 8192, "none"),
    ("B-16 attention projection", "output", 32, 8, 4, 256, 8192, "none"),
    ("B-16 scores", "weight", 16, 16, 1, 64, 8192, "none"),
    ("B-16 scores", "output", 32, 8, 1, 64, 8192, "none"),
    ("B-16 attention times values", "weight", 32, 8, 1, 64, 8192, "none"),
    ("B-16 attention times values", "output", 16, 16, 1, 64, 8192, "none"),
    ("B-16 feed-forward, in", "output", 32, 8, 1, 64, 8192, "none"),
    ("B-16 feed-forward, out", "weight", 32, 8, 1, 256, 8192, "none"),
    ("B-16 feed-forward, out", "output", 16, 16, 1, 64, 8192, "none"),
    ("B-32 attention projection", "weight", 16, 16, 1, 64, 8192, "none"),
    ("B-32 attention projection", "input", 16, 16, 1, 64, 8192, "none"),
    ("B-32 scores", "output", 16, 16, 1, 64, 8192, "none"),
    ("B-32 feed-forward, in", "output", 16, 16, 1, 64, 8192, "none"),
    ("B-32 feed-forward, out", "weight", 16, 16, 1, 64, 8192, "none"),
    ("B-32 feed-forward, out", "output", 32, 8, 1, 64, 8192, "none"),
    ("text attention projection", "weight", 16, 16, 4, 64, 8192, "none"),
    ("text feed-forward, in", "output", 16, 16, 4, 64, 8192, "none"),
    ("small cube", "weight", 16, 16, 1, 64, 8192, "none"),
    ("small cube", "output", 32, 8, 4, 16, 8192, "none"),
    ("small", "input", 16, 16, 1, 16, 8192, "none"),
    ("small primes", "weight", 16, 16, 1, 16, 8192, "none"),
    ("text attention projection", "output", 16, 16, 1, 64, 1024, "weights"),
    ("B-32 feed-forward, in", "weight", 16, 16, 1, 64, 1024, "weights"),
    ("B-32 feed-forward, in", "output", 16, 16, 1, 64, 256, "all"),
)


def _case(
    product: tuple[int, int, int],
    flow: str,
    rows: int,
    columns: int,
    accumulators: int,
    local_kib: int,
    global_kib: int,
    dram: str,
) -> dict[str, str]:
    """A product on an accelerator. Buffers are 128 and 256 bytes wide, DRAM 8."""
    numbers = dict(zip("mkn", product, strict=True)) | {
        "rows": rows,
        "columns": columns,
        "accumulators": accumulators,
        "local_bytes": local_kib * KIB,
        "local_bandwidth": 128,
        "global_bytes": global_kib * KIB,
        "global_bandwidth": 256,
        "dram_bandwidth": 8,
    }
    texts = {name: str(value) for name, value in numbers.items()}
    return {**texts, "flow": flow, "dram": dram, **ENERGIES, "nest": ""}


def zigzag_searches() -> list[dict[str, str]]:
    """Products for which each tool searches its own mapping."""
    return [{"layer": layer} | _case(LAYERS[layer], *machine) for layer, *machine in SEARCHES]


#: (m, k, n) whose mappings are compared one by one: the first ones are divided by the arrays, the others are not.
NEST_PRODUCTS = (
    *((64, 64, 64), (128, 256, 192), (256, 64, 1024), (192, 768, 768), (224, 1024, 256)),
    *((197, 768, 768), (50, 3072, 768), (77, 512, 512), (197, 64, 197)),
)
NEST_ARRAYS = ((16, 16), (32, 8))
NEST_KIB = (16, 64, 256)

#: Mappings of each product, flow, number of accumulators and array.
NESTS_EACH = 3


def zigzag_nests() -> list[dict[str, str]]:
    """Mappings that our search looks at, spread over all that loops of whole factors can say."""
    rows: list[dict[str, str]] = []
    places = itertools.product(NEST_PRODUCTS, AXES, (1, 4), NEST_ARRAYS)
    for number, (product, flow, accumulators, (array_rows, array_columns)) in enumerate(places):
        kib = NEST_KIB[number % len(NEST_KIB)]
        case = _case(product, flow, array_rows, array_columns, accumulators, kib, 8192, "none")
        mappings = every_mapping(case, machines_of(case))
        chosen = [choice(mappings, at) for at in range(mappings.costs.shape[1])]
        nests = {loop_nest(case, one): one for one in chosen}
        nests.pop(None, None)
        for nest in sorted(nests)[:: max(1, -(-len(nests) // NESTS_EACH))]:
            one = nests[nest] | {"flow": DATAFLOWS[nests[nest]["flow"]].name}
            rows.append(case | {"nest": nest} | {f"our_{name}": str(one[name]) for name in CHOSEN})
    return rows
