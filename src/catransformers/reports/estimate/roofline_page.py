"""The roofline as pictures: SVG or PNG that stands alone, and an interactive page."""

from __future__ import annotations

import math
from itertools import product
from pathlib import Path
from typing import Any, Literal

from catransformers.designs.estimate import Estimate
from catransformers.files import write_whole
from catransformers.lazy import lazy
from catransformers.reports.estimate.roofline import (
    MEMORIES,
    Roofline,
    RooflinePoint,
    caption,
    grouped,
    roof_lines,
    roofline,
)
from catransformers.reports.figures.canvas import INK, MUTED, PALETTE, drawn, logarithmic, ruled
from catransformers.reports.figures.page import AXIS, LAYOUT, FigurePage, PageTable, figure_page, plain_figure
from catransformers.reports.wording import amount, number, percent

go = lazy("plotly.graph_objects")
matplotlib = lazy("matplotlib")


def components(found: Roofline) -> dict[str, str]:
    """The colour of each part of the model, in the order of the operators."""
    names = sorted({point.component for point in found.points})
    return {name: PALETTE[i % len(PALETTE)] for i, name in enumerate(names)}


def roofline_picture(estimate: Estimate, title: str, kind: Literal["svg", "png"]) -> bytes:
    """The roofline as a picture that stands alone.

    Args:
        estimate: the design.
        title: of the picture.
        kind: file format.
    """
    return drawn(lambda axes: _draw(axes, roofline(estimate), title), kind, (8.4, 5.6))


def _draw(axes: Any, found: Roofline, title: str) -> None:
    colours = components(found)
    low, high = found.intensities
    logarithmic(axes.xaxis, low / 2, high * 2)
    logarithmic(axes.yaxis, found.bottom, found.peak_gops * 2.2)
    for point in found.points:
        colour = colours[point.component]
        for memory, intensity in point.intensity.items():
            face, size = (colour, _diameter(point) ** 2) if memory == "global" else ("none", _SMALL**2)
            axes.scatter(
                [intensity], [point.gops], s=size, marker=MEMORIES[memory][1], facecolors=face, edgecolors=colour,
                alpha=0.75, linewidths=0.9, zorder=4,
            )  # fmt: skip
    for name, colour in colours.items():
        axes.scatter([], [], color=colour, s=36, label=name or "model")
    axes.set_title(title, fontsize=10, loc="left", color=INK)
    axes.set_xlabel("operations per byte")
    axes.set_ylabel("GOPS")
    ruled(axes)
    axes.legend(frameon=False, loc="lower right", fontsize=9)
    axes.figure.draw_without_rendering()  # the layout must stand before text is placed in it
    _draw_roofs(axes, found)
    _label(axes, found)


def _draw_roofs(axes: Any, found: Roofline) -> None:
    """The roofs with their names: flat ones at the right end, slopes along the middle of what is to be seen of them."""
    for name, (x, y) in roof_lines(found).items():
        axes.plot(x, y, color=MUTED if name.startswith("vector") else INK, linewidth=1.4, zorder=2)
        style = {"textcoords": "offset points", "va": "bottom", "fontsize": 8.5, "color": INK}
        if y[0] == y[1]:
            axes.annotate(name, (x[1], y[1]), xytext=(-3, 3), ha="right", **style)
            continue
        slope = y[1] / x[1]
        middle = math.sqrt(x[0] * x[1])
        (x0, y0), (x1, y1) = axes.transData.transform([(middle, slope * middle), (2 * middle, slope * 2 * middle)])
        turned = {"rotation": math.degrees(math.atan2(y1 - y0, x1 - x0)), "rotation_mode": "anchor"}
        axes.annotate(name, (middle, slope * middle), xytext=(-4, 4), ha="center", **style, **turned)


#: Diameter of a mark for local buffers or DRAM, points.
_SMALL = 3.8


def _diameter(point: RooflinePoint) -> float:
    """Of an operator's circle, points; its area grows with the share of the latency."""
    return math.sqrt(14 + 900 * point.share)


#: Where a name may stand: direction from its operator, horizontal and vertical alignment; and points further off.
_DIRECTIONS = (
    (0, 1, "center", "bottom"),
    (0, -1, "center", "top"),
    (1, 0, "left", "center"),
    (-1, 0, "right", "center"),
    (0.7, -0.7, "left", "top"),
    (-0.7, 0.7, "right", "bottom"),
)
_FURTHER = (0, 9, 20, 32)


def _label(axes: Any, found: Roofline) -> None:
    """A name at every operator, the longest-running first; near ones share one, and what finds no room goes without."""
    renderer = axes.figure.canvas.get_renderer()
    taken = [text.get_window_extent(renderer) for text in axes.texts]
    taken += [_place(axes, point, memory) for point in found.points for memory in point.intensity]
    for members in grouped(found):
        names, first = ", ".join(dict.fromkeys(point.name for point in members)), members[0]
        for further, (across, up, ha, va) in product(_FURTHER, _DIRECTIONS):
            away = 3 + _diameter(first) / 2 + further
            text = axes.annotate(
                names, (first.intensity["global"], first.gops), xytext=(across * away, up * away),
                textcoords="offset points", ha=ha, va=va, fontsize=7.5, color=INK, zorder=5,
                path_effects=[matplotlib.patheffects.withStroke(linewidth=2, foreground="white")],
            )  # fmt: skip
            box = text.get_window_extent(renderer)
            inside = axes.bbox.containsx(box.x0) and axes.bbox.containsx(box.x1) and axes.bbox.containsy(box.y0)
            if inside and not any(box.overlaps(other) for other in taken):
                taken.append(box)
                break
            text.remove()


def _place(axes: Any, point: RooflinePoint, memory: str) -> Any:
    """The box, in pixels, that one of an operator's marks takes."""
    x, y = axes.transData.transform((point.intensity[memory], point.gops))
    diameter = _diameter(point) if memory == "global" else _SMALL
    radius = diameter / 2 * axes.figure.dpi / 72
    return matplotlib.transforms.Bbox([[x - radius, y - radius], [x + radius, y + radius]])


def write_roofline(estimate: Estimate, title: str, path: Path) -> None:
    """Draw it into a file: `.html` is a page, `.svg` and `.png` are pictures."""
    kind = path.suffix.lower()[1:]
    if kind == "html":
        write_whole(path, roofline_page(estimate, title))
    else:
        write_whole(path, roofline_picture(estimate, title, "svg" if kind == "svg" else "png"))


def roofline_figure(estimate: Estimate) -> dict[str, Any]:
    """The roofline as a Plotly figure: data and layout, plain; hover tells each operator's numbers."""
    found = roofline(estimate)
    figure = go.Figure()
    for name, (x, y) in roof_lines(found).items():
        figure.add_scatter(
            x=x, y=y, mode="lines", line={"width": 2}, name=name, hoverinfo="name", showlegend=False,
            meta={"role": "muted" if name.startswith("vector") else "ink"},
        )  # fmt: skip
        end = 1 if y[0] == y[1] else 0
        figure.add_scatter(
            x=[x[end]], y=[y[end]], mode="text", text=[name], hoverinfo="skip", showlegend=False, meta={"role": "ink"},
            textposition="top left" if end else "top right",
        )  # fmt: skip
    names = {id(group[0]): ", ".join(dict.fromkeys(point.name for point in group)) for group in grouped(found)}
    for component, colour in components(found).items():
        own = [point for point in found.points if point.component == component]
        for memory, (named, _, symbol) in MEMORIES.items():
            some = [point for point in own if memory in point.intensity]
            if not some:
                continue
            circle = memory == "global"
            figure.add_scatter(
                x=[point.intensity[memory] for point in some],
                y=[point.gops for point in some],
                mode="markers+text" if circle else "markers",
                text=[names.get(id(point), "") for point in some] if circle else None,
                textposition="top center",
                marker={
                    "symbol": symbol,
                    "size": [8 + 60 * math.sqrt(point.share) for point in some] if circle else 7,
                    "color": colour,
                    "opacity": 0.75,
                },
                name=f"{component or 'model'}, {named}",
                hovertext=[_hover(point, memory) for point in some],
                hoverinfo="text",
                meta={"role": "own"},
            )
    axis = {"type": "log", "dtick": 1, **AXIS}
    figure.update_layout(
        xaxis={"title": {"text": "operations per byte"}, **axis},
        yaxis={"title": {"text": "GOPS"}, **axis},
        **LAYOUT,
        height=560,
    )
    return plain_figure(figure)


def _hover(point: RooflinePoint, memory: str) -> str:
    lines = [
        f"<b>{point.label}</b> ({point.kind})",
        f"{point.gops:,.4g} GOPS, {percent(point.share)} of the latency, bound by {point.bound}",
        f"{point.intensity[memory]:,.4g} operations a byte through {MEMORIES[memory][0]}",
    ]
    return "<br>".join(lines)


def roofline_page(estimate: Estimate, title: str) -> str:
    """The roofline as an interactive page, with a row an operator.

    Args:
        estimate: the design.
        title: of the page.
    """
    found = roofline(estimate)
    rows = [
        (
            point.component,
            point.name,
            point.kind,
            point.bound,
            percent(point.share),
            f"{point.gops:,.4g}",
            *(f"{point.intensity[name]:,.4g}" if name in point.intensity else "–" for name in MEMORIES),
        )
        for point in found.points
    ]
    columns = ("part", "operator", "kind", "bound by", "share of latency", "GOPS")
    per_byte = (f"ops/byte, {name}" for name, _, _ in MEMORIES.values())
    page = FigurePage(
        title=title,
        paragraphs=(
            f"{amount('latency', estimate.latency_s)} and {amount('energy', estimate.energy_j)} an inference, "
            f"{number(estimate.tops)} TOPS peak.",
        ),
        figure=roofline_figure(estimate),
        picture=roofline_picture(estimate, "", "svg"),
        caption=caption(found),
        tables=(PageTable("Operators", (*columns, *per_byte), rows, left=4),),
    )
    return figure_page(page, estimate.scenario, estimate.technology, estimate.model.family)
