"""How fast the Monte Carlo of the carbon model is, and how far the constants of the hardware model move a design.

    .venv/bin/python benchmarks/carbon.py            # the Monte Carlo: 10,000 draws × 1,000 designs, at most 2 s wanted
    .venv/bin/python benchmarks/carbon.py --hardware # what area_relative and energy_relative are judged by

The second table sets each quoted constant of the technology default-22nm to the low and to the high end of its range,
one at a time, and adds the changes of two designs' area and life energy up as the root of their squares.
"""

from __future__ import annotations

import argparse
import copy
import math
import tempfile
import time
import tomllib
from importlib.resources import files
from pathlib import Path

import numpy as np
import tomli_w

from catransformers.carbon.footprint import footprint_range
from catransformers.carbon.scenario import SCENARIO_NAMES, named_scenario
from catransformers.carbon.uncertainty import draw_factors, front_probability, sample_totals, tornado
from catransformers.designs import estimate as design
from catransformers.errors import InputError
from catransformers.facts import facts

DESIGNS, SAMPLES, REPEATS = 1000, 10_000, 3
PLACES = {
    "ViT-B-16, default": (
        "ViT-B-16",
        "cores=1,pe_x=256,pe_y=8,local_kib=64,local_bandwidth=128,global_mib=2",
        "default",
    ),
    "embedded, always-on": (
        "embedded",
        "cores=1,pe_x=16,pe_y=8,local_kib=4,local_bandwidth=32,global_mib=1",
        "always-on",
    ),
}


def timed(work):
    """The least wall time of a few runs, s."""
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def monte_carlo():
    random = np.random.default_rng(0)
    area = random.uniform(1e-6, 5e-5, DESIGNS)
    energy = random.uniform(1e-6, 1e-2, DESIGNS)
    needs = random.random(DESIGNS) < 0.5
    accuracy = random.random(DESIGNS)
    print(f"{SAMPLES:,} draws × {DESIGNS:,} designs, least of {REPEATS} runs, s")
    print(f"{'scenario':<12}{'p5, p50, p95':>14}{'on the front':>14}{'tornado':>10}")
    for name in SCENARIO_NAMES:
        scenario = named_scenario(name)
        quantiles = timed(lambda s=scenario: footprint_range(area, energy, needs, s, samples=SAMPLES))
        draws = draw_factors(scenario, SAMPLES)
        front = timed(lambda s=scenario, d=draws: front_probability(sample_totals(area, energy, needs, s, d), accuracy))
        one = timed(lambda s=scenario: tornado(area[0], energy[0], False, s))
        print(f"{name:<12}{quantiles:>14.2f}{front:>14.2f}{one:>10.4f}")


def figures(technology, place):
    """Area and life energy of a design in a technology given as a dict."""
    model, accelerator, scenario = PLACES[place]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "technology.toml"
        path.write_text(tomli_w.dumps(technology))
        found = design.estimate(model, accelerator, technology=str(path), scenario=scenario)
    return np.array([found.area_mm2, found.life_energy_j])


def quoted(technology):
    """(section or None, key, row) of every constant that is the name of a row of components.csv."""
    known = facts("components")
    for section, values in technology.items():
        items = values.items() if isinstance(values, dict) else [(section, values)]
        for key, value in items:
            if isinstance(value, str) and value in known:
                yield (section if isinstance(values, dict) else None), key, known[value]


def hardware():
    text = files("catransformers.data").joinpath("technologies/default-22nm.toml").read_text(encoding="utf-8")
    base = tomllib.loads(text)
    for place in PLACES:
        typical = figures(base, place)
        below, above = np.zeros(2), np.zeros(2)
        print(f"\n{place}\n{'constant':<34}{'area':>18}{'life energy':>20}")
        for section, key, fact in quoted(base):
            changes = []
            for end in (fact.low, fact.high):
                changed = copy.deepcopy(base)
                (changed if section is None else changed[section])[key] = end
                try:
                    changes.append(figures(changed, place) / typical - 1)
                except InputError:  # a constant that cannot be at that end with the others typical
                    changes.append(np.zeros(2))
            low, high = np.minimum.reduce([*changes, np.zeros(2)]), np.maximum.reduce([*changes, np.zeros(2)])
            below, above = below + low**2, above + high**2
            cells = "".join(f"{a:>+9.1%} {b:>+9.1%}" for a, b in zip(low, high, strict=True))
            print(f"{fact.name:<34}{cells}")
        ends = [f"{1 - math.sqrt(b):.2f} to {1 + math.sqrt(a):.2f}" for b, a in zip(below, above, strict=True)]
        print(f"{'root of the sum of squares':<34}area {ends[0]}, life energy {ends[1]}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hardware", action="store_true")
    (hardware if parser.parse_args().hardware else monte_carlo)()
