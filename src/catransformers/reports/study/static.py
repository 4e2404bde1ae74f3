"""The front as a picture that stands alone: `front.svg`, the same bytes for the same study."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from catransformers.errors import present
from catransformers.reports.figures.canvas import BLUE, INK, MUTED, VERMILION, drawn_side_by_side, ruled
from catransformers.reports.study.figures import Price, axis_title, from_zero, panels
from catransformers.reports.study.summary import Design, StudySummary, saving
from catransformers.reports.wording import MINUS, percent, points, unit_for


def front_svg(summary: StudySummary) -> str:
    """Accuracy against all that is minimised: trials, front, base on its own best accelerator, the saving."""
    views = panels(summary)

    def draw(axes: Sequence[Any]) -> None:
        for column, (quantity, price) in enumerate(views):
            _draw(axes[column], summary, quantity, price, stairs=len(views) == 1)
            if column:
                axes[column].set_ylabel("")

    return drawn_side_by_side(draw, len(views), "svg", (max(7.6, 3.8 * len(views)), 4.4)).decode("utf-8")


def _draw(axes: Any, summary: StudySummary, quantity: str, price: Price, *, stairs: bool) -> None:
    unit = unit_for(quantity, [price(t.cost) for t in summary.trials if t.cost] + [price(summary.base.cost)])

    def place(design: Design) -> tuple[float, float]:
        return price(design.cost) * unit.scale, 100 * present(design.validation).value

    others = [t for t in summary.trials if t.accuracy and t.cost and not t.on_front]
    x = [price(t.cost) * unit.scale for t in others if t.cost]
    y = [100 * t.accuracy.value for t in others if t.accuracy]
    axes.plot(x, y, "o", color=MUTED, alpha=0.45, markersize=4, markeredgewidth=0, label="other trials", zorder=2)
    members = [d for d in summary.front if d.validation]
    if members:
        x, y = [list(column) for column in zip(*map(place, members), strict=True)]
        errors = [100 * (d.validation.error or 0) for d in members if d.validation]
        if stairs:
            axes.step(x, y, where="post", color=BLUE, linewidth=1.6, zorder=3)
        axes.errorbar(
            x,
            y,
            yerr=errors,
            fmt="o",
            color=BLUE,
            markersize=6,
            elinewidth=1,
            label="front: pruned, co-designed",
            zorder=4,
        )
    if summary.base.validation:
        x0, y0 = place(summary.base)
        error = 100 * (summary.base.validation.error or 0)
        axes.errorbar(
            [x0], [y0], yerr=[error], fmt="D", color=INK, markersize=7, elinewidth=1,
            label="unpruned base, best accelerator", zorder=4,
        )  # fmt: skip
        if summary.best is not None and summary.best.validation:
            _annotate(axes, place(summary.best), (x0, y0), summary, quantity, price)
    axes.margins(y=0.12)
    if from_zero(summary, price):
        axes.set_xlim(left=0)
    axes.set_xlabel(axis_title(summary, quantity, unit))
    axes.set_ylabel(f"{summary.metric}, validation (%)")
    ruled(axes)
    axes.legend(frameon=False, loc="lower right", fontsize=9)


def _annotate(
    axes: Any,
    best: tuple[float, float],
    base: tuple[float, float],
    summary: StudySummary,
    quantity: str,
    price: Price,
) -> None:
    """A level arrow from the base's cost to the chosen design's, with what is saved and what is lost."""
    design = present(summary.best)
    less = saving(price(design.cost), price(summary.base.cost))
    axes.annotate(
        "", xy=best, xytext=base, zorder=5,
        arrowprops={"arrowstyle": "-|>", "color": VERMILION, "linewidth": 1.6, "shrinkA": 7, "shrinkB": 7},
    )  # fmt: skip
    axes.plot(
        *best, "o", markersize=12, markerfacecolor="none", markeredgecolor=VERMILION, markeredgewidth=1.8, zorder=5
    )
    text = f"{MINUS if less >= 0 else '+'}{percent(abs(less))} {quantity}"
    if design.loss is not None:
        text += f"\naccuracy loss {points(design.loss.value, design.loss.error)} points ({design.loss_pool})"
    axes.annotate(
        text, xy=((best[0] + base[0]) / 2, (best[1] + base[1]) / 2), xytext=(0, -9), textcoords="offset points",
        color=VERMILION, ha="center", va="top", zorder=6, fontsize=9.5, linespacing=1.4,
    )  # fmt: skip
