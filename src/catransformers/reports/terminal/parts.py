"""Embodied carbon of one part in a terminal: a package of dies, or memory."""

from __future__ import annotations

from typing import Any

from catransformers.carbon.making import DieFootprint, MemoryFootprint
from catransformers.reports.terminal.screen import carbon, console, quantity, table


def show_die(found: DieFootprint) -> None:
    """A package of dies: how it is made, its carbon by part, its range, other impacts."""
    situation = found.scenario
    node = f"{situation.node_nm:g} nm"
    if situation.fab_node.interpolated_from:
        node += f" (interpolated between {' and '.join(f'{n:g}' for n in situation.fab_node.interpolated_from)})"
    dies = "a die" if situation.chiplets == 1 else f"{situation.chiplets} dies"
    screen = console()
    bonding = "" if situation.bonding_yield == 1 else f", bonding yield {situation.bonding_yield:g} a die"
    screen.print(
        f"[bold]{dies} of {found.area_mm2:g} mm²[/], {node}, made in {situation.fab}, "
        f"{situation.abatement} % abatement,\nyield {found.yield_fraction:.4f} ({situation.yield_model})"
        f"{bonding}, package {situation.package}"
    )
    if found.dies_per_wafer is not None:
        screen.print(f"{found.dies_per_wafer:,.1f} dies on a wafer of {situation.wafer_diameter_mm:g} mm")
    rows = [
        (part.replace("_", " "), carbon(kg), f"{kg / found.total_kg:.1%}") for part, kg in found.split_kg.items() if kg
    ]
    low, _, high = found.range_kg
    rows.append(("total", carbon(found.total_kg, 7), f"{carbon(low)} to {carbon(high)} (p5 to p95)"))
    screen.print(table("Carbon of making it", ("", "value", ""), rows))
    screen.print(
        f"{found.g_per_cm2:,.4f} g CO₂e per cm² of die. Of the fab's electricity: {_impact_words(found.impacts)}."
    )


def _impact_words(impacts: dict[str, Any]) -> str:
    known = [
        f"{name.replace('_', ' ')} {quantity(impact['fab'], impact['unit'])}"
        for name, impact in impacts.items()
        if impact["fab"] is not None
    ]
    return ", ".join(known) or "water, primary energy and minerals are not known there"


def show_memory(found: MemoryFootprint) -> None:
    """Some memory: its carbon with the range, how it is counted, the source."""
    total, screen = found.total_kg, console()
    screen.print(
        f"[bold]{found.gb:g} GB of {found.kind}[/] ({found.memory_class}): {carbon(total.typical, 7)}, "
        f"{carbon(total.low)} to {carbon(total.high)}"
    )
    screen.print(f"{found.kg_per_gb.typical * 1e3:g} g per GB ÷ yield {found.share:g}. Source: {found.source}")
