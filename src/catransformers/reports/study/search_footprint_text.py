"""The footprint of a search in words: a line for the terminal, a paragraph and a table for the page."""

from __future__ import annotations

from catransformers.reports.assumptions import intensity_text
from catransformers.reports.study.search_footprint import SearchFootprint
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


def line(found: SearchFootprint | None) -> str:
    """One line for `status`: energy, carbon with its range, how known, payback."""
    if found is None:
        return NOT_RECORDED
    return (
        f"The search itself: {amount('energy', found.energy_j)}, {_carbon(found)}, {_KNOWN[found.quality]}; "
        f"{payback(found)}."
    )


def _carbon(found: SearchFootprint) -> str:
    """The carbon with its range."""
    low, high = (amount("carbon", value) for value in found.range_kg)
    return f"{amount('carbon', found.carbon_kg)} ({low} to {high})"


def payback(found: SearchFootprint) -> str:
    """After how many devices the search has paid back: `paid back by 0.2 % of one device's saving`, …"""
    devices, spread = found.payback_devices, found.payback_range
    if found.saved_kg is None:
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


def sentence(found: SearchFootprint | None) -> str:
    """The paragraph of the report."""
    if found is None:
        return NOT_RECORDED
    text = (
        f"Searching took {amount('energy', found.energy_j)} of electricity and emitted {_carbon(found)}. "
        f"That is {_KNOWN[found.quality]}."
    )
    if found.saved_kg is not None and found.saved_kg > 0:
        text += (
            f" Each device of the headline's design emits {amount('carbon', found.saved_kg)} less than one with the "
            f"unpruned base on its own best accelerator, so the search is {payback(found)}."
        )
    elif found.saved_kg is not None:
        text += f" It is {payback(found)}."
    return text


def table(found: SearchFootprint | None) -> tuple[Row, ...]:
    """Every figure behind the sentence as (what, value, how it is known)."""
    if found is None:
        return ()
    low, high = found.range_kg
    shares = ", ".join(f"{name} {amount('energy', found.by_job[job])}" for job, name in _JOBS)
    records = [f"{method}: {detail}" for method, detail in zip(found.methods, found.details, strict=True)]
    rows: list[Row] = [
        (
            "Energy",
            amount("energy", found.energy_j),
            f"{amount('energy', found.low_j)} to {amount('energy', found.high_j)}; {shares}",
        ),
        ("How known", found.quality, f"largest records by meter: {'; '.join(records)}"),
        ("Grid", intensity_text(found.grid.intensity_kg_per_kwh), _place(found)),
        ("Carbon", amount("carbon", found.carbon_kg), f"{amount('carbon', low)} to {amount('carbon', high)}"),
    ]
    if found.trial_j is not None:
        each = found.trial_j / found.energy_j * found.carbon_kg if found.energy_j else 0.0
        rows.append(("A trial, on average", amount("energy", found.trial_j), amount("carbon", each)))
    if found.saved_kg is not None:
        saved = amount("carbon", found.saved_kg)
        rows.append(("A device of the found design saves", saved, "against the unpruned base on its own best one"))
        rows.append(("Paid back", payback(found), "range: that of the search's own carbon"))
    rows.append(("Not counted", "", "; ".join(found.not_counted)))
    return tuple(rows)


def _place(found: SearchFootprint) -> str:
    grid = found.grid
    if found.place_known:
        year = f", {grid.year}" if grid.year else ""
        return f"{grid.name}{year}, as [execution] region says; basis: {grid.basis}; source: {grid.source}"
    low, high = (number(value * G_PER_KG) for value in (grid.low_kg_per_kwh, grid.high_kg_per_kwh))
    return (
        f"the study does not say where it ran ([execution] region): the world's average, with the range of nine in ten "
        f"countries, {low} to {high}{NBSP}g{NBSP}CO₂e/kWh; source: {grid.source}"
    )
