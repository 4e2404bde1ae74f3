"""A design's explanation in plain sentences: what binds it, where its energy goes, what would help it most."""

from __future__ import annotations

from collections.abc import Mapping

from catransformers.designs.explain import QUANTITIES, WORTH_IT, Change, Explanation
from catransformers.reports.study.parts import ENERGY_NAMES, carbon_parts
from catransformers.reports.wording import NBSP, amount, number, percent, share
from catransformers.units import KIB, MIB

#: What each resource is called, and whether more than one of it is meant.
RESOURCE_NAMES: Mapping[str, tuple[str, bool]] = {
    "compute": ("the multipliers", True),
    "local": ("the local buffers", True),
    "global": ("the global buffer", False),
    "dram": ("DRAM", False),
    "vector": ("the vector unit", False),
}

#: A model that lacks no more than this share of what it needs nearly fits.
NEARLY = 0.25
_WATTS = ((1.0, "W"), (1e-3, "mW"), (1e-6, "µW"), (1e-9, "nW"))
#: Shares below this are not worth a clause.
_SMALL = 0.01


def findings(explanation: Explanation) -> list[str]:
    """What binds the design now: time, array, memory, energy, waiting and carbon, a sentence or two each."""
    return [
        _time(explanation),
        _array(explanation),
        _memory(explanation),
        _energy(explanation),
        _waiting(explanation),
        _carbon(explanation),
    ]


def conclusions(explanation: Explanation) -> dict[str, str]:
    """For latency, energy and carbon, a sentence: which change helps most, and what it does to everything else."""
    return {name: _conclusion(explanation, name) for name in ("latency", "energy", "carbon")}


def what(change: Change) -> str:
    """What a change changes: `pe_x 256 → 512`."""
    return ", ".join(f"{key} {_plain(change.before[key])} → {_plain(value)}" for key, value in change.after.items())


def effect(fraction: float) -> str:
    """A relative change: `−31 %`, `+4.2 %`, `0 %`; rises beyond tenfold as a factor."""
    if fraction >= 9.995:
        return f"× {number(1 + fraction, 3)}"
    return percent(fraction, sign=True)


def _time(explanation: Explanation) -> str:
    shares = sorted(explanation.bound_share.items(), key=lambda item: -item[1])
    (first, most), rest = shares[0], [(name, s) for name, s in shares[1:] if s >= _SMALL]
    words, many = RESOURCE_NAMES[first]
    text = f"Time: {words} set{'' if many else 's'} the pace for {percent(most)} of the cycles"
    clauses = [f"{RESOURCE_NAMES[name][0]} for {percent(s)}" for name, s in rest]
    return f"{', '.join([text, *clauses])}."


def _array(explanation: Explanation) -> str:
    machine = explanation.estimate.accelerator
    busy, useful = explanation.busy_share["compute"], explanation.utilization
    return (
        f"Array: its {machine.pe_x} × {machine.pe_y} multipliers are occupied for {percent(busy)} of the cycles and do "
        f"useful work worth {percent(useful)} of their peak; the difference is padding and skew of shapes that do not "
        "fill the array."
    )


def _memory(explanation: Explanation) -> str:
    cost, missing = explanation.estimate.cost, explanation.missing_bytes
    needs = (
        f"weights and working set need {_bytes(cost.needed_bytes)}, the global buffer holds {_bytes(cost.buffer_bytes)}"
    )
    if cost.resident:
        return f"Memory: {needs}: everything stays on chip."
    text = f"Memory: {needs}, so that weights come from DRAM in each inference."
    if missing <= NEARLY * cost.needed_bytes:
        text += (
            f" It nearly fits: {missing:,} bytes ({share(missing, cost.needed_bytes)} of what is needed) are missing "
            "to do without DRAM."
        )
    return text


def _energy(explanation: Explanation) -> str:
    shares = sorted(explanation.energy_share.items(), key=lambda item: -item[1])
    clauses = [f"{ENERGY_NAMES.get(name, name)} {percent(part)}" for name, part in shares if part >= _SMALL]
    return f"Energy of an inference, {amount('energy', explanation.estimate.energy_j)}: {', '.join(clauses)}."


def _waiting(explanation: Explanation) -> str:
    estimate = explanation.estimate
    per_second = estimate.scenario.inferences_per_second
    rate = "one inference a second" if per_second == 1 else f"{per_second:g} inferences a second"
    if not estimate.meets_rate:
        return (
            f"Waiting: none. The scenario counts {rate}, this design manages "
            f"{number(1 / estimate.latency_s, 4)}: one device cannot do it."
        )
    return (
        f"Waiting: at {rate} the device waits {percent(explanation.waiting_share)} of its life, at "
        f"{power(estimate.cost.idle_w)}; that is {percent(explanation.idle_energy_share)} of all its energy."
    )


def _carbon(explanation: Explanation) -> str:
    estimate = explanation.estimate
    parts = [part for part in carbon_parts(estimate) if part.value > 0]
    clauses = [f"{part.name} {share(part.value, estimate.total_kg)}" for part in sorted(parts, key=lambda p: -p.value)]
    return f"Carbon over its life, {amount('carbon', estimate.total_kg)}: {', '.join(clauses)}."


def _conclusion(explanation: Explanation, quantity: str) -> str:
    found, outlook = explanation.best(quantity), explanation.best(quantity, outlook=True)
    if found is None:
        text = f"What helps {quantity} most: nothing tried helps by {percent(WORTH_IT)} or more."
    else:
        text = f"What helps {quantity} most: {_told(found, quantity)}."
    if outlook is not None and (found is None or outlook.relative[quantity] < found.relative[quantity]):
        text += f" Outlook, if the accuracy bears it: {_told(outlook, quantity)}."
    return text


def _told(change: Change, quantity: str) -> str:
    """A change and its effects, the one asked for first."""
    order = [quantity, *(name for name in QUANTITIES if name != quantity)]
    effects = ", ".join(f"{name} {effect(change.relative[name])}" for name in order)
    named = change.name if change.outlook or "dram" in change.after else f"{change.name} ({what(change)})"
    return f"{named}: {effects}"


def _plain(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:g}"


def _bytes(value: float) -> str:
    """An amount of memory: `2 MiB`, `845.3 KiB`."""
    scale, unit = (MIB, "MiB") if value >= MIB else (KIB, "KiB")
    return f"{value / scale:,.4g}{NBSP}{unit}"


def power(watts: float) -> str:
    """A power with a prefix: `12.3 mW`."""
    scale, unit = next(((s, u) for s, u in _WATTS if watts >= s), _WATTS[-1])
    return f"{number(watts / scale)}{NBSP}{unit}"
