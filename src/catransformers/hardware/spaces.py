"""Named spaces of accelerators: every combination of the template's values, filtered by limits.

`micro` is for always-on chips, `edge` for edge accelerators, `edge-full` holds the published study's table and more
(arXiv 2505.01386, Table 1). All values are powers of two (section 4.2 of the design).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from catransformers.errors import InfeasibleError, Problem, Problems, nearest, unknown_name
from catransformers.hardware.accelerator import ATTRIBUTES, LIMITS, OPTIONAL, AcceleratorTable, FloatArray
from catransformers.reading import from_to


def _powers(low: float, high: float) -> tuple[float, ...]:
    """Powers of two from `low` to `high`, both inclusive."""
    return tuple(2.0**e for e in range(round(math.log2(low)), round(math.log2(high)) + 1))


SPACES: Mapping[str, Mapping[str, tuple[float, ...]]] = {
    "micro": {
        "cores": _powers(1, 2),
        "pe_x": _powers(4, 64),
        "pe_y": _powers(2, 32),
        "local_kib": _powers(1, 64),
        "local_bandwidth": _powers(4, 64),
        "global_mib": _powers(1 / 16, 2),
    },
    "edge": {
        "cores": _powers(1, 4),
        "pe_x": _powers(32, 256),
        "pe_y": _powers(2, 64),
        "local_kib": _powers(64, 1024),
        "local_bandwidth": _powers(32, 256),
        "global_mib": _powers(1, 8),
    },
    "edge-full": {
        "cores": _powers(1, 4),
        "pe_x": _powers(1, 256),
        "pe_y": _powers(1, 256),
        "local_kib": _powers(64, 4096),
        "local_bandwidth": _powers(1, 256),
        "global_mib": _powers(1, 8),
    },
}

SPACE_NAMES = tuple(SPACES)


def _checked(name: str, values: object) -> tuple[list[Problem], tuple[float, ...]]:
    """The problems of one override, and its values in rising order without repeats."""
    where = f"hardware.dimensions.{name}"
    if isinstance(values, int | float) and not isinstance(values, bool):
        values = [values]
    if isinstance(values, str) or not isinstance(values, Sequence) or not values:
        return [Problem(where, f"{values!r} is not a list of numbers")], ()
    rule = LIMITS[name]
    bad = [value for value in values if Problems().of(rule, value, where) is None]
    if bad:
        allowed = from_to(rule.low, rule.high, "integers" if rule.step else "numbers")
        return [Problem(where, f"not allowed: {', '.join(map(repr, bad))}", allowed)], ()
    return [], tuple(sorted({float(v) for v in values}))


def space(
    name: str,
    *,
    max_tops: float | None = None,
    frequency_hz: float | Callable[[FloatArray], FloatArray],
    overrides: Mapping[str, Sequence[float]] | None = None,
) -> AcceleratorTable:
    """Every accelerator of a named space, the first attribute varying slowest.

    Args:
        name: one of `SPACE_NAMES`.
        max_tops: keep accelerators of at most this peak (tera-operations a second); None keeps all.
        frequency_hz: the clock that the peak is reckoned at: one number, or what makes it from the voltages
            (`Technology.frequency_at`).
        overrides: other values for some attributes, e.g. `{"cores": [1], "voltage_v": [0.6, 0.7, 0.8]}`.

    Returns:
        The table of all members.

    Raises:
        InputError: for an unknown name, attribute or value, all at once.
        InfeasibleError: if no member is below `max_tops`.
    """
    problems = Problems()
    values: dict[str, tuple[float, ...]] = dict.fromkeys(OPTIONAL, (math.nan,))
    if name in SPACES:
        values.update(SPACES[name])
    else:
        problems.append(unknown_name("hardware.space", "accelerator space", name, SPACE_NAMES))
    for attribute, given in (overrides or {}).items():
        if attribute not in LIMITS:
            problems.append(
                Problem(
                    f"hardware.dimensions.{attribute}",
                    "unknown attribute",
                    ", ".join(ATTRIBUTES),
                    nearest(attribute, ATTRIBUTES),
                )
            )
            continue
        found, checked = _checked(attribute, given)
        problems.extend(found)
        values[attribute] = checked
    if max_tops is not None and not (math.isfinite(max_tops) and max_tops > 0):
        problems.append(Problem("hardware.max_tops", f"{max_tops} is out of range", "a number above 0"))
    if not callable(frequency_hz) and not (math.isfinite(frequency_hz) and frequency_hz > 0):
        problems.append(Problem("frequency_hz", f"{frequency_hz} is out of range", "a number above 0"))
    problems.finish()
    grid = np.meshgrid(*(np.array(values[attribute]) for attribute in ATTRIBUTES), indexing="ij")
    table = AcceleratorTable.from_columns({a: g.ravel() for a, g in zip(ATTRIBUTES, grid, strict=True)})
    tops = table.peak_tops(frequency_hz(table.voltage_v) if callable(frequency_hz) else frequency_hz)
    if max_tops is None:
        return table
    kept = tops <= max_tops * (1 + 1e-9)
    if not kept.any():
        raise InfeasibleError(
            f"no accelerator of the space {name!r} is below the limit of peak performance",
            demand=float(tops.min()),
            bound=max_tops,
            unit="TOPS",
            levers=("raise hardware.max_tops", "smaller cores, pe_x or pe_y in hardware.dimensions"),
        )
    return table.select(kept)
