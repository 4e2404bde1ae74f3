"""The search's own footprint in words and as data; the terminal, the page and the JSON say the same."""

from __future__ import annotations

from typing import Any

from catransformers.reports.study.search_footprint import OwnFootprint
from catransformers.reports.wording import NBSP, amount, number, percent, plural
from catransformers.study.records import EnergyJob
from catransformers.units import G_PER_KG

NOT_RECORDED = (
    "What this search itself took is not known: its energy was not recorded ([execution] measure = “off”, or a study "
    "from before there were records)."
)
Row = tuple[str, str, str]

_JOBS: tuple[tuple[EnergyJob, str], ...] = (
    ("search", "the loop"),
    ("base", "base model"),
    ("trial", "trials"),
    ("test", "final tests"),
)
_KNOWN = {
    "measured": "measured",
    "partly measured": "partly measured, the rest estimated",
    "estimated": "estimated, not measured",
}


def line(own: OwnFootprint | None) -> str:
    """One line for `status`: energy, carbon with its range, how known, payback."""
    if own is None:
        return NOT_RECORDED
    low, high = own.range_kg
    return (
        f"The search itself: {amount('energy', own.energy_j)}, {amount('carbon', own.carbon_kg)} "
        f"({amount('carbon', low)} to {amount('carbon', high)}), {_KNOWN[own.quality]}; {payback(own)}."
    )


def payback(own: OwnFootprint) -> str:
    """After how many devices the search has paid back: `paid back by 0.2 % of one device's saving`, …"""
    devices, spread = own.payback_devices, own.payback_range
    if own.saved_kg is None:
        return "there is no design yet to pay it back"
    if devices is None or spread is None:
        return "never paid back: the found design does not emit less than the base"
    if devices < 1:
        part = "less than a thousandth" if devices < 0.001 else percent(devices)
        text = f"paid back with the first device, by {part} of what it saves"
    else:
        text = f"paid back after {_devices(devices)}"
    return text if spread[1] < 1 or spread[0] == spread[1] else f"{text} ({number(spread[0])} to {number(spread[1])})"


def _devices(devices: float) -> str:
    whole = -int(-devices // 1)
    return plural(whole, "device") if whole < 1000 else f"{number(devices)} devices"


def sentence(own: OwnFootprint | None) -> str:
    """The paragraph of the report."""
    if own is None:
        return NOT_RECORDED
    low, high = own.range_kg
    text = (
        f"Searching took {amount('energy', own.energy_j)} of electricity and emitted {amount('carbon', own.carbon_kg)} "
        f"({amount('carbon', low)} to {amount('carbon', high)}). That is {_KNOWN[own.quality]}."
    )
    if own.saved_kg is not None and own.saved_kg > 0:
        text += (
            f" Each device of the headline's design emits {amount('carbon', own.saved_kg)} less than one with the "
            f"unpruned base on its own best accelerator, so the search is {payback(own)}."
        )
    elif own.saved_kg is not None:
        text += f" It is {payback(own)}."
    return text


def table(own: OwnFootprint | None) -> tuple[Row, ...]:
    """Every figure behind the sentence as (what, value, how it is known)."""
    if own is None:
        return ()
    low, high = own.range_kg
    shares = ", ".join(f"{name} {amount('energy', own.by_job[job])}" for job, name in _JOBS)
    records = [f"{method}: {detail}" for method, detail in zip(own.methods, own.details, strict=True)]
    rows: list[Row] = [
        (
            "Energy",
            amount("energy", own.energy_j),
            f"{amount('energy', own.low_j)} to {amount('energy', own.high_j)}; {shares}",
        ),
        ("How known", own.quality, f"largest records by meter: {'; '.join(records)}"),
        ("Grid", f"{number(own.grid.intensity_kg_per_kwh * G_PER_KG)}{NBSP}g{NBSP}CO₂e/kWh", _place(own)),
        ("Carbon", amount("carbon", own.carbon_kg), f"{amount('carbon', low)} to {amount('carbon', high)}"),
    ]
    if own.trial_j is not None:
        each = own.trial_j / own.energy_j * own.carbon_kg if own.energy_j else 0.0
        rows.append(("A trial, on average", amount("energy", own.trial_j), amount("carbon", each)))
    if own.saved_kg is not None:
        saved = amount("carbon", own.saved_kg)
        rows.append(("A device of the found design saves", saved, "against the unpruned base on its own best one"))
        rows.append(("Paid back", payback(own), "range: that of the search's own carbon"))
    rows.append(("Not counted", "", "; ".join(not_counted(own))))
    return tuple(rows)


def _place(own: OwnFootprint) -> str:
    grid = own.grid
    if own.place_known:
        year = f", {grid.year}" if grid.year else ""
        return f"{grid.name}{year}, as [execution] region says; basis: {grid.basis}; source: {grid.source}"
    low, high = (number(value * G_PER_KG) for value in (grid.low_kg_per_kwh, grid.high_kg_per_kwh))
    return (
        f"the study does not say where it ran ([execution] region): the world's average, with the range of nine in ten "
        f"countries, {low} to {high}{NBSP}g{NBSP}CO₂e/kWh; source: {grid.source}"
    )


def not_counted(own: OwnFootprint) -> tuple[str, ...]:
    """What the figures leave out."""
    lines = [
        "making the machine that searched",
        "its cooling, power supply and disks (PUE 1)",
        "reading a study (status, report)",
        "final trainings (`train`) and evaluations: the result of a training says what it took",
        "waiting for a cleaner grid (`execution.start`, `pause_above_g_per_kwh`)",
    ]
    if own.cut_off:
        lines.append(
            f"{plural(own.cut_off, 'attempt')} still running, or cut off: the seconds from the last record to the end"
        )
    if own.unknown:
        lines.append(f"{plural(own.unknown, 'job')} of which no record is left")
    return tuple(lines)


def own_object(own: OwnFootprint | None) -> dict[str, Any] | None:
    """The same as data: SI units, `null` where nothing is known."""
    if own is None:
        return None
    low, high = own.range_kg
    devices, spread = own.payback_devices, own.payback_range
    return {
        "quality": own.quality,
        "methods": list(own.methods),
        "details": list(own.details),
        "energy_j": own.energy_j,
        "energy_j_low": own.low_j,
        "energy_j_high": own.high_j,
        "measured_j": own.measured_j,
        "energy_j_by_job": dict(own.by_job),
        "energy_j_per_trial": own.trial_j,
        "carbon_kg": own.carbon_kg,
        "carbon_kg_low": low,
        "carbon_kg_high": high,
        "grid": own.grid.to_dict(),
        "place_known": own.place_known,
        "saved_kg_per_device": own.saved_kg,
        "payback_devices": devices,
        "payback_devices_low": None if spread is None else spread[0],
        "payback_devices_high": None if spread is None else spread[1],
        "not_counted": list(not_counted(own)),
    }
