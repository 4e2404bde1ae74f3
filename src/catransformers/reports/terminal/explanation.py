"""What binds a design, and what would help, in a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from catransformers.designs.estimate import Estimate
from catransformers.designs.explain import QUANTITIES, Change, Explanation
from catransformers.reports.estimate.explanation import conclusions, effect, findings, what
from catransformers.reports.terminal.screen import table
from catransformers.reports.wording import breakable

if TYPE_CHECKING:
    from rich.console import Console


def show_explanation(screen: Console, explanation: Explanation) -> None:
    """What binds, the neighbours as a table, and the conclusions."""
    screen.print("[bold]What binds now[/]\n")
    for sentence in findings(explanation):
        screen.print(f"  {breakable(sentence)}", markup=False)
    screen.print()
    screen.print(
        table(
            "What a change would do, by carbon",
            ("change", "what", *QUANTITIES, ""),
            [
                (
                    change.name,
                    what(change),
                    *(breakable(effect(change.relative[name])) for name in QUANTITIES),
                    _notes(change, explanation.estimate),
                )
                for change in explanation.changes
            ],
            left=2,
        )
    )
    for sentence in conclusions(explanation).values():
        screen.print(breakable(sentence), markup=False)


def _notes(change: Change, estimate: Estimate) -> str:
    """What else a change brings: the weights on or off the chip, a rate that is not met, an open question."""
    notes = []
    if change.weights_on_chip != estimate.cost.resident:
        notes.append("fits on chip" if change.weights_on_chip else "needs DRAM")
    if change.meets_rate != estimate.meets_rate:
        notes.append("fast enough" if change.meets_rate else "too slow")
    if change.outlook:
        notes.append("accuracy unknown")
    return ", ".join(notes)
