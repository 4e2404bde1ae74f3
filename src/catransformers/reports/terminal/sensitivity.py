"""Sensitivity analysis of a front in a terminal."""

from __future__ import annotations

from pathlib import Path

from catransformers.reports.carbon.sensitivity import MovedFront, Sensitivity
from catransformers.reports.terminal.screen import carbon, console, table


def show_sensitivity(found: Sensitivity, place: Path) -> None:
    """The front, how it moves with each assumption, and which uncertain factor matters."""
    screen = console()
    screen.print(f"[bold]{found.study}[/]", end=" ")
    screen.print(f"under {found.scenario.describe()}\n", markup=False)
    front = [
        (
            f"trial {member.trial}",
            f"{100 * member.accuracy:.1f}",
            carbon(member.total_kg),
            f"{found.probability[member.trial]:.0%}",
            str(found.costs.table[member.accelerator]),
        )
        for member in found.own.members
    ]
    titles = ("model", "accuracy %", "carbon", "on the front in", "accelerator")
    screen.print(table("The front, and in how many draws of the carbon factors each design is on it", titles, front))
    screen.print(
        table(
            "How it moves",
            (
                "assumption",
                "value",
                "designs",
                "stay",
                "come",
                "leave",
                "moved",
                "least carbon",
                "most accurate",
                "regret",
            ),
            [_row(row, repeated) for row, repeated in zip(found.rows, _repeats(found), strict=True)],
            left=2,
        )
    )
    screen.print(
        "moved: stays, on another accelerator; least carbon, most accurate: carbon of the front's two ends; regret: "
        "what the study's own designs would emit too much, at most.",
        style="dim",
    )
    total = found.middle.total_kg
    swings = [
        (name, carbon(low), carbon(high), f"{(high - low) / total:+.1%}")
        for name, (low, high) in found.swings.items()
        if high != low
    ]
    title = f"Which factor matters: trial {found.middle.trial}, {carbon(total)}, with one factor at low or high"
    screen.print(table(title, ("factor", "low", "high", "swing"), swings))
    screen.print(f"Picture: {place}", markup=False, soft_wrap=True)


def _repeats(found: Sensitivity) -> list[bool]:
    """Whether a row's assumption is that of the row above, and need not be named again."""
    names = [row.variation.factor for row in found.rows]
    return [i > 0 and names[i] == names[i - 1] for i in range(len(names))]


def _row(row: MovedFront, repeated: bool) -> tuple[str, ...]:
    name = "" if repeated else row.variation.factor
    if not row.members:
        return (name, row.variation.value, "none keeps the limits", "", "", "", "", "", "", "")
    return (
        name,
        row.variation.value,
        str(len(row.members)),
        str(len(row.stay)),
        str(len(row.come)),
        str(len(row.leave)),
        str(row.moved),
        carbon(row.members[0].total_kg),
        carbon(row.members[-1].total_kg),
        "limit broken" if row.regret is None else f"{row.regret:.1%}",
    )
