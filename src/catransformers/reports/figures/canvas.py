"""Static pictures: one style for all, and files that are the same bytes each time.

The palette is Okabe and Ito's, which colour-blind people can tell apart (jfly.uni-koeln.de/color).
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Sequence
from itertools import product
from typing import Any, Literal

from catransformers.lazy import lazy

backend = lazy("matplotlib.backends.backend_agg")
matplotlib = lazy("matplotlib")

BLUE, VERMILION, INK, MUTED, RULE = "#0072B2", "#D55E00", "#1b1f24", "#5b6470", "#e3e6ea"

#: For kinds that are told apart by colour, in the order of use.
PALETTE = (BLUE, VERMILION, "#009E73", "#CC79A7", "#E69F00", "#56B4E9", MUTED)


def drawn(draw: Callable[[Any], None], kind: Literal["svg", "png"], size: tuple[float, float] = (7.6, 4.8)) -> bytes:
    """A picture as bytes, in the project's style: no date inside, the same each time.

    Args:
        draw: paints the (matplotlib) axes that it is given.
        kind: file format.
        size: width and height, inches.
    """
    return drawn_side_by_side(lambda axes: draw(axes[0]), 1, kind, size)


def drawn_side_by_side(
    draw: Callable[[Sequence[Any]], None], columns: int, kind: Literal["svg", "png"], size: tuple[float, float]
) -> bytes:
    """As `drawn`, with several axes beside each other."""
    style: Any = {
        "svg.hashsalt": "catransformers",
        "font.family": "DejaVu Sans",
        "font.size": 10,
        "text.color": INK,
        "axes.edgecolor": MUTED,
        "axes.labelcolor": INK,
        "xtick.color": MUTED,
        "ytick.color": MUTED,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "text.parse_math": False,
    }
    with matplotlib.rc_context(style):
        figure = matplotlib.figure.Figure(figsize=size, layout="constrained")
        backend.FigureCanvasAgg(figure)
        draw([figure.add_subplot(1, columns, column + 1) for column in range(columns)])
        stream = io.BytesIO()
        metadata: Any = {"Date": None, "Creator": "catransformers"} if kind == "svg" else {"Software": None}
        figure.savefig(stream, format=kind, dpi=160, metadata=metadata)
    return stream.getvalue()


def ruled(axes: Any, axis: Literal["both", "x", "y"] = "both") -> None:
    """Faint lines at the ticks, below all that is drawn."""
    axes.grid(axis=axis, color=RULE, linewidth=0.8)
    axes.set_axisbelow(True)


def log_ticks(low: float, high: float) -> list[float]:
    """Round numbers from `low` to `high` (both above 0) for a logarithmic axis: 1, 2 and 5 times powers of ten.

    Over more than four decades powers of ten alone; where there are fewer than two such numbers, the ends.
    """
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    digits = (1, 2, 5) if high / low < 1e4 else (1,)
    found = [digit * 10.0**exponent for exponent, digit in product(exponents, digits)]
    inside = [value for value in found if low <= value <= high]
    return inside if len(inside) > 1 else sorted({float(f"{low:.3g}"), float(f"{high:.3g}")})


def logarithmic(axis: Any, low: float, high: float) -> None:
    """Let a (matplotlib) axis be logarithmic from `low` to `high`, its ticks plain round numbers."""
    ticker = matplotlib.ticker
    name = axis.axis_name
    axis.axes.set(**{f"{name}scale": "log", f"{name}lim": (low, high)})
    axis.set_major_locator(ticker.FixedLocator(log_ticks(low, high)))
    axis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:,g}"))
    axis.set_minor_locator(ticker.NullLocator())
