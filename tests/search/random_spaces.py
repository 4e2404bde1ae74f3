"""Made-up stacks and accelerators with no structure at all, small enough for brute force."""

from itertools import product

import numpy as np

from catransformers.designs.table import Silicon
from catransformers.search.costs.stacks import StackCosts, Stacks


def random_stack(rng, accelerators, coarse):
    """`coarse` numbers make ties and dominance frequent."""
    shapes, stems = int(rng.integers(1, 4)), int(rng.integers(1, 3))

    def costs(rows):
        values = rng.integers(1, 4, (2, rows, accelerators)) if coarse else rng.random((2, rows, accelerators)) + 0.01
        values = values.astype(float)
        for a in range(1, accelerators):  # some are worse copies of others: there is something to prune
            if rng.random() < 0.5:
                values[:, :, a] = values[:, :, a - 1] * rng.choice([1.0, 1.25])
        return values

    variants = list(product(range(1, 4), range(shapes), range(stems)))
    layers, shape, stem = (np.array(column) for column in zip(*variants, strict=True))
    return StackCosts(
        layer_latency_s=costs(shapes),
        layer_energy_j=costs(shapes),
        stem_latency_s=costs(stems),
        stem_energy_j=costs(stems),
        layers=layers,
        shape=shape,
        stem=stem,
        weight_bytes=layers * (10 + 5 * shape) + stem,
        activation_bytes=rng.integers(1, 30, len(variants)),
    )


def random_case(seed, quantile=None, count=2):
    """A generator, stacks that run once each, and accelerators, from whose areas `quantile` makes a carbon function."""
    rng = np.random.default_rng(seed)
    accelerators, coarse = int(rng.integers(1, 14)), bool(rng.random() < 0.5)
    each = tuple(random_stack(rng, accelerators, coarse) for _ in range(count))
    area = rng.integers(1, 4, accelerators).astype(float)
    silicon = Silicon(
        area_m2=area,
        capacity_bytes=rng.choice([10.0, 60.0, 90.0, 1000.0], accelerators),
        embodied_kg=np.stack([area + rng.random(), area]),
        idle_w=rng.choice([0.0, 0.25, 0.5], (2, accelerators)),
        period_s=float(rng.choice([0.0, 8.0, 64.0])),
        operational_kg_per_j=float(rng.random() * 2),
        tops=rng.choice([1.0, 4.0, 20.0], accelerators),
        water_l=area * rng.random(),
        water_l_per_j=float(rng.random()),
        carbon_at=None if quantile is None else quantile(area),
    )
    return rng, Stacks(each, (1.0,) * count), silicon


def repeated(stacks, times):
    """The same, the last stack running `times` in one inference."""
    return Stacks(stacks.each, (*stacks.times[:-1], times))
