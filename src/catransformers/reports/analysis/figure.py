"""Fronts under several limits in one picture: a staircase each, or a panel for each of two quantities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from catransformers.designs.quantities import QUANTITIES
from catransformers.reports.figures.canvas import PALETTE, drawn_side_by_side, ruled
from catransformers.reports.wording import Unit, unit_for
from catransformers.search.analysis import LimitedFront, LimitedFronts
from catransformers.search.fronts import accuracy_of


def fronts_figure(found: LimitedFronts, labels: Sequence[str], kind: Literal["svg", "png"], metric: str) -> bytes:
    """The picture as bytes, the same each time.

    Args:
        found: what to draw; with two quantities a front is points alone, since seen from one side it is no staircase.
        labels: what each front is called.
        kind: file format.
        metric: what the accuracy is called.
    """

    def price(row: LimitedFront, column: int) -> list[float]:
        return [member.design.minimised[column] for member in row.members]

    def draw(axes: Sequence[Any]) -> None:
        for column, quantity in enumerate(found.minimise):
            unit = unit_for(quantity, [value for row in found.rows for value in price(row, column)])
            for place, (row, label) in enumerate(zip(found.rows, labels, strict=True)):
                y = [100 * accuracy_of(member.trial) for member in row.members]
                x = [value * unit.scale for value in price(row, column)]
                _one(axes[column], (x, y), label, place, stairs=len(found.minimise) == 1)
            _frame(axes[column], quantity, unit)
        axes[0].set_ylabel(f"{metric}, validation (%)")
        axes[0].legend(frameon=False, loc="lower right", fontsize=9)

    columns = len(found.minimise)
    return drawn_side_by_side(draw, columns, kind, (7.6 if columns == 1 else 10.4, 4.4))


def _one(axes: Any, points: tuple[list[float], list[float]], label: str, place: int, *, stairs: bool) -> None:
    """One front; later ones are drawn thinner, so that those below show where fronts coincide."""
    colour, width = PALETTE[place % len(PALETTE)], max(1.0, 2.8 - 0.6 * place)
    name = label if points[0] else f"{label}: none"
    if stairs:
        axes.step(*points, where="post", color=colour, linewidth=width, zorder=3)
    axes.plot(*points, "o", color=colour, markersize=(2.5 if stairs else 1.0) + width, label=name, zorder=4)


def _frame(axes: Any, quantity: str, unit: Unit) -> None:
    axes.margins(y=0.08)
    axes.set_xlim(left=0)
    axes.set_xlabel(f"{QUANTITIES[quantity].axis} ({unit.label})")
    ruled(axes)
