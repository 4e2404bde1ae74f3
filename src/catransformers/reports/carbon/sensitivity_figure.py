"""The picture of `sensitivity`: for each assumption a panel with the fronts of its values beside the study's own."""

from __future__ import annotations

from typing import Any, Literal

from catransformers.reports.carbon.sensitivity import Member, Sensitivity
from catransformers.reports.figures.canvas import INK, MUTED, PALETTE, drawn, ruled

COLUMNS = 2


def sensitivity_figure(found: Sensitivity, kind: Literal["svg", "png"], metric: str) -> bytes:
    """The picture as bytes.

    Args:
        found: what to draw.
        kind: file format.
        metric: what the accuracy is called.
    """
    every = [found.own, *found.rows]
    largest = max(member.total_kg for row in every for member in row.members)
    scale, unit = (1e3, "g") if largest < 1 else (1.0, "kg")
    factors = list(dict.fromkeys(row.variation.factor for row in found.rows))
    lines = -(-len(factors) // COLUMNS)

    def draw(axes: Any) -> None:
        figure = axes.figure
        figure.clear()
        panels = figure.subplots(lines, COLUMNS, squeeze=False, sharey=True).ravel()
        for panel, factor in zip(panels[: len(factors)], factors, strict=True):
            _panel(panel, factor, found, scale)
        for panel in panels[len(factors) :]:
            panel.set_axis_off()
        figure.supylabel(f"{metric}, validation (%)", color=INK, fontsize=10)
        figure.supxlabel(f"carbon over the device's life ({unit} CO₂e)", color=INK, fontsize=10)

    return drawn(draw, kind, (4.6 * COLUMNS, 2.9 * lines))


def _panel(axes: Any, factor: str, found: Sensitivity, scale: float) -> None:
    rows = [row for row in found.rows if row.variation.factor == factor]
    for place, row in enumerate(rows):
        if row.members:
            colour = PALETTE[place % len(PALETTE)]
            _steps(axes, row.members, row.variation.value, colour, 1.3, scale)
    _steps(axes, found.own.members, "the study's own", INK, 2.0, scale)
    axes.set_title(factor, loc="left", fontsize=10, color=INK)
    axes.set_xlim(left=0)
    axes.margins(y=0.1)
    ruled(axes)
    axes.tick_params(labelsize=8, colors=MUTED)
    axes.legend(frameon=False, fontsize=7.5, loc="best")


def _steps(axes: Any, members: tuple[Member, ...], label: str, colour: str, width: float, scale: float) -> None:
    x = [member.total_kg * scale for member in members]
    y = [100 * member.accuracy for member in members]
    axes.step(x, y, where="post", color=colour, linewidth=width, label=label)
    axes.plot(x, y, "o", color=colour, markersize=3.5)
