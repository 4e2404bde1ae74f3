"""A sweep as people and programs see it: all designs with the front among them, as a picture, a page and files."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from catransformers.designs.quantities import UNUSUAL
from catransformers.designs.sweep import Sweep
from catransformers.files import write_whole
from catransformers.hardware.accelerator import ATTRIBUTES
from catransformers.lazy import lazy
from catransformers.reports.assumptions import sentence
from catransformers.reports.figures.canvas import INK, MUTED, RULE, VERMILION, drawn, log_ticks, logarithmic, ruled
from catransformers.reports.figures.page import AXIS, LAYOUT, FigurePage, PageTable, figure_page, plain_figure
from catransformers.reports.wording import Unit, amount, breakable, listed, number, plural, unit_for
from catransformers.units import MILLI, MM2_PER_M2

go = lazy("plotly.graph_objects")
matplotlib = lazy("matplotlib")

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

#: A picture shows no more designs than this beside the front; more would hide each other and swell the page.
MOST_POINTS = 2500
_CELLS = 120
#: A table of more designs is folded on a page, and cut in a terminal.
SHOWN = 20
#: An axis whose values differ by this factor is logarithmic.
_LOGARITHMIC = 5.0


def caption(sweep: Sweep, shown: int) -> str:
    """What the picture shows, in words.

    Args:
        sweep: what was swept.
        shown: how many designs are drawn beside the front.
    """
    outside = len(sweep.table) - int(sweep.within.sum())
    text = f"Each point is the model on one accelerator, its colour the area of the die: {plural(shown, 'design')}"
    if shown + len(sweep.front) < len(sweep.table):
        text += f" of {len(sweep.table):,}, one where several are in the same place,"
    text += f" and, ringed, the {plural(len(sweep.front), 'design')} of the front in {listed(sweep.objectives)}."
    if outside:
        text += f" Grey ones break a limit ({outside:,} of all)."
    return text + " The line is the front in carbon and latency alone."


def heading(sweep: Sweep, name: str) -> str:
    """One line: what was swept."""
    return f"{name} on {plural(len(sweep.table), 'accelerator')} of the space {sweep.space!r}"


def summary(sweep: Sweep) -> str:
    """What was costed, what the limits leave, and how much of it is on the front."""
    total, kept = len(sweep.table), int(sweep.within.sum())
    limits = ", ".join(f"{key} {value:g}" for key, value in sweep.limits.to_dict().items())
    carbon = ", carbon at the 95th percentile of its range" if sweep.carbon_quantile == "p95" else ""
    text = f"All {plural(total, 'accelerator')} were costed"
    text += f"; {kept:,} keep the limits ({limits})." if limits else "; there are no limits."
    return (
        f"{text} The front in {listed(sweep.objectives)}{carbon} has {plural(len(sweep.front), 'design')}: "
        "no other is at least as good in all of these and better in one."
    )


def thinned(sweep: Sweep, most: int = MOST_POINTS) -> IntArray:
    """Rows to draw beside the front, rising: one for each place in the picture, and no more than `most`.

    Args:
        sweep: what was swept.
        most: upper bound of their number.
    """
    rest = np.setdiff1d(np.arange(len(sweep.table)), sweep.front)
    if rest.size <= most:
        return rest
    cells = [_cell(sweep.quantity(name)[rest]) for name in ("latency", "carbon")]
    places = (cells[0] * _CELLS + cells[1]) * 2 + sweep.within[rest]
    _, first = np.unique(places, return_index=True)
    kept: IntArray = rest[np.sort(first)]
    return kept[:: math.ceil(kept.size / most)]


def _cell(values: FloatArray) -> IntArray:
    """Which of `_CELLS` equal steps of its logarithm each value is in."""
    logs = np.log(np.maximum(values, np.finfo(np.float64).tiny))
    extent = float(np.ptp(logs)) or 1.0
    return np.asarray((logs - logs.min()) / extent * (_CELLS - 1), dtype=np.int64)


def sweep_svg(sweep: Sweep) -> bytes:
    """Carbon against latency of all designs, the front among them: SVG."""
    return drawn(lambda axes: _draw(axes, sweep), "svg", (8.4, 5.2))


def _draw(axes: Any, sweep: Sweep) -> None:
    latency, carbon = _unit(sweep, "latency"), _unit(sweep, "carbon")
    area = sweep.designs.area_m2 * MM2_PER_M2
    norm: Any = matplotlib.colors.LogNorm(float(area.min()), float(area.max()) * 1.001)
    others = thinned(sweep)
    inside = sweep.within[others]

    def place(rows: IntArray) -> tuple[FloatArray, FloatArray]:
        return sweep.designs.latency_s[rows] * latency.scale, sweep.quantity("carbon")[rows] * carbon.scale

    colouring: dict[str, Any] = {"cmap": "cividis_r", "norm": norm}
    crowd: dict[str, Any] = {"linewidths": 0, "rasterized": True}
    axes.scatter(*place(others[~inside]), s=7, color=RULE, zorder=1, **crowd)
    axes.scatter(*place(others[inside]), s=9, c=area[others[inside]], alpha=0.6, zorder=2, **crowd, **colouring)
    members = axes.scatter(
        *place(sweep.front), s=26, c=area[sweep.front], edgecolors=INK, linewidths=0.9, zorder=4,
        label=f"front in {listed(sweep.objectives)}", **colouring,
    )  # fmt: skip
    x, y = place(sweep.front_in(("carbon", "latency"))[::-1])
    axes.plot(
        x, y, color=VERMILION, linewidth=1.3, drawstyle="steps-post", zorder=3, label="front in carbon and latency"
    )
    axes.scatter(*place(np.array([sweep.knee])), s=110, marker="*", color=VERMILION, zorder=5, label="knee")
    bar = axes.figure.colorbar(members, ax=axes, label="die, mm²", pad=0.01)
    logarithmic(bar.ax.yaxis, norm.vmin, norm.vmax)
    axes.set_xlabel(f"latency ({latency.label})")
    axes.set_ylabel(_carbon_title(sweep, carbon))
    for axis, quantity, unit in ((axes.xaxis, "latency", latency), (axes.yaxis, "carbon", carbon)):
        values = sweep.quantity(quantity) * unit.scale
        if _is_wide(values):
            logarithmic(axis, float(values.min()) / 1.1, float(values.max()) * 1.1)
    ruled(axes)
    axes.tick_params(colors=MUTED)
    axes.legend(frameon=False, loc="lower left", bbox_to_anchor=(0, 1), ncols=3, fontsize=9, borderpad=0)


def sweep_figure(sweep: Sweep) -> dict[str, Any]:
    """The same picture as a Plotly figure; hover tells the accelerator and all that it costs."""
    latency, carbon = _unit(sweep, "latency"), _unit(sweep, "carbon")
    shades = np.log10(sweep.designs.area_m2 * MM2_PER_M2)
    low, high = float(shades.min()), float(shades.max())
    ticks = log_ticks(10**low, 10**high)
    colouring = {
        "colorscale": "Cividis",
        "reversescale": True,
        "cmin": low,
        "cmax": high,
        "colorbar": {
            "title": {"text": "die, mm²"},
            "tickvals": [math.log10(v) for v in ticks],
            "ticktext": [f"{v:g}" for v in ticks],
            "thickness": 12,
        },
    }
    figure = go.Figure()

    def points(rows: IntArray, name: str, role: str, marker: dict[str, Any], **more: Any) -> None:
        if rows.size:
            figure.add_scatter(
                x=(sweep.designs.latency_s[rows] * latency.scale).tolist(),
                y=(sweep.quantity("carbon")[rows] * carbon.scale).tolist(),
                name=name, meta={"role": role}, marker=marker,
                **({"mode": "markers", "hoverinfo": "text", "hovertext": [_hover(sweep, r) for r in rows]} | more),
            )  # fmt: skip

    others = thinned(sweep)
    inside = others[sweep.within[others]]
    points(others[~sweep.within[others]], "breaks a limit", "muted", {"size": 4, "opacity": 0.3})
    points(inside, "other designs", "own", {"size": 5, "opacity": 0.6, "color": shades[inside].tolist(), **colouring})
    two = sweep.front_in(("carbon", "latency"))[::-1]
    line: dict[str, Any] = {"mode": "lines", "line": {"shape": "hv", "width": 2, "color": VERMILION}}
    points(two, "front in carbon and latency", "own", {}, hoverinfo="skip", hovertext=None, **line)
    ring = {"size": 9, "line": {"width": 1.4}, "color": shades[sweep.front].tolist(), **colouring}
    points(sweep.front, f"front in {listed(sweep.objectives)}", "ink", ring)
    points(np.array([sweep.knee]), "knee", "own", {"size": 15, "symbol": "star", "color": VERMILION})
    log, linear = {"type": "log", "dtick": "D2"}, {"type": "linear"}
    scales = {name: log if _is_wide(sweep.quantity(name)) else linear for name in ("latency", "carbon")}
    figure.update_layout(
        xaxis={"title": {"text": f"latency ({latency.label})"}, **scales["latency"], **AXIS},
        yaxis={"title": {"text": _carbon_title(sweep, carbon)}, **scales["carbon"], **AXIS},
        **LAYOUT,
        height=540,
    )
    return plain_figure(figure)


def _carbon_title(sweep: Sweep, unit: Unit) -> str:
    at = "" if sweep.carbon_quantile == "p50" else ", 95th percentile"
    return f"carbon over the device's life{at} ({unit.label})"


def _hover(sweep: Sweep, row: int) -> str:
    """An accelerator and what it costs; numbers and the package's own words only."""
    own, dram = sweep.designs, "no DRAM" if sweep.designs.resident[row] else "weights in DRAM"
    return "<br>".join(
        (
            f"<b>{str(sweep.table[row]).replace(',', ', ')}</b>",
            f"{amount('carbon', float(own.total_kg[row]))}, {amount('latency', float(own.latency_s[row]))}",
            f"{amount('energy', float(own.energy_j[row]))}, {amount('area', float(own.area_m2[row]))}",
            f"{number(own.of('tops', row))} TOPS, {dram}",
        )
    )


def front_csv(sweep: Sweep) -> str:
    """The front as CSV: a row a design, by rising carbon; `best_for` names what it is best in, or the knee."""
    rows = sweep.rows(sweep.front)
    figures = [key for key in rows[0] if key != "accelerator"]
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["best_for", *ATTRIBUTES, *figures, "scenario", "technology"])
    for index, row in zip(sweep.front, rows, strict=True):
        best = [name for name, chosen in sweep.best.items() if chosen == index]
        if index == sweep.knee:
            best.append("knee")
        machine = [row["accelerator"].get(name, "") for name in ATTRIBUTES]
        own = [str(value).lower() if isinstance(value, bool) else value for value in (row[key] for key in figures)]
        writer.writerow([" ".join(best), *machine, *own, sweep.scenario.name, sweep.technology.name])
    return stream.getvalue()


def sweep_html(sweep: Sweep, name: str, *, title: str = "", first: Sequence[str] = ()) -> str:
    """The sweep as a page that works without a network.

    Args:
        sweep: what was swept.
        name: of the model.
        title: of the page, if not what was swept.
        first: paragraphs before all others.
    """
    best = {**sweep.best, "knee": sweep.knee}
    page = FigurePage(
        title=title or heading(sweep, name),
        paragraphs=(*first, summary(sweep), sentence(sweep.scenario)),
        figure=sweep_figure(sweep),
        picture=sweep_svg(sweep),
        caption=caption(sweep, len(thinned(sweep))),
        tables=(
            _table("Best for each objective", sweep, list(best.values()), list(best)),
            _table("The front", sweep, list(sweep.front)),
        ),
    )
    return figure_page(page, sweep.scenario, sweep.technology, sweep.model.family)


def _table(title: str, sweep: Sweep, rows: list[int], names: list[str] | None = None) -> PageTable:
    """Designs with their accelerators, each after its name where there are names."""
    headings, texts = costs(sweep, rows)
    lines = [
        [*([names[i]] if names else []), str(sweep.table[row]).replace(",", ", "), *texts[i]]
        for i, row in enumerate(rows)
    ]
    columns = [*([""] if names else []), "accelerator", *headings]
    return PageTable(title, columns, lines, left=2 if names else 1, wraps=True, folded=len(rows) > SHOWN)


def costs(sweep: Sweep, rows: Sequence[int]) -> tuple[list[str], list[list[str]]]:
    """What designs cost as a table: headings with their units, and a row of texts for each design."""
    own, chosen = sweep.designs, np.asarray(rows, dtype=np.int64)
    low, _, high = sweep.ranges_kg(chosen)
    carbon = unit_for("carbon", [float(np.median(own.total_kg[chosen]))])
    headings = [f"carbon ({breakable(carbon.label)})", "p5–p95"]
    columns = [
        [carbon.text(float(value)) for value in own.total_kg[chosen]],
        [f"{carbon.text(float(a))}–{carbon.text(float(b))}" for a, b in zip(low, high, strict=True)],
    ]
    for name in (
        "latency",
        "energy",
        "area",
        *(name for name in UNUSUAL if name in sweep.looked_at and name != "power"),
    ):
        values, unit = sweep.quantity(name)[chosen], _unit(sweep, name, chosen)
        headings.append(f"{name} ({unit.label})")
        columns.append([unit.text(float(value)) for value in values])
    headings += ["TOPS", "power (mW)", "DRAM"]
    columns.append([number(float(value)) for value in sweep.quantity("tops")[chosen]])
    columns.append([number(float(value) / MILLI) for value in sweep.quantity("power")[chosen]])
    columns.append(["no" if resident else "yes" for resident in own.resident[chosen]])
    return headings, [list(row) for row in zip(*columns, strict=True)]


def write_sweep(sweep: Sweep, name: str, out: Path) -> list[Path]:
    """Write front.csv, front.json, front.svg and sweep.html into a folder, each whole or not at all.

    Args:
        sweep: what was swept.
        name: of the model.
        out: the folder, made if need be.

    Returns:
        The files.

    Raises:
        OSError: if the folder cannot be written.
    """
    files: dict[str, str | bytes] = {
        "front.csv": front_csv(sweep),
        "front.json": json.dumps(sweep.to_dict(), indent=2, allow_nan=False, ensure_ascii=False) + "\n",
        "front.svg": sweep_svg(sweep),
        "sweep.html": sweep_html(sweep, name),
    }
    for file, content in files.items():
        write_whole(out / file, content)
    return [out / file for file in files]


def _unit(sweep: Sweep, quantity: str, rows: IntArray | slice = slice(None)) -> Unit:
    """The unit of an axis or a column: that of the middle of some designs, since a few may be far off."""
    return unit_for(quantity, [float(np.median(sweep.quantity(quantity)[rows]))])


def _is_wide(values: FloatArray) -> bool:
    return bool(values.min() > 0 and values.max() >= _LOGARITHMIC * values.min())
