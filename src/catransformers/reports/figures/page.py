"""One interactive figure as a page that works without a network, with its tables and the scenario in full.

Plotly's script is inside, compressed, as in a study's report; without JavaScript the figure is there as a picture. The
template engine escapes every text; the figure's JSON holds nothing that could end a script.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from catransformers import __version__
from catransformers.carbon.scenario import Scenario
from catransformers.hardware.technology import Technology
from catransformers.reports.assumptions import assumptions
from catransformers.reports.figures.template import plotly_script, render

#: Of every axis, and of every figure's layout.
AXIS = {"automargin": True, "zeroline": False, "ticks": "outside", "ticklen": 4}
LAYOUT = {
    "legend": {"orientation": "h", "x": 0, "xanchor": "left", "y": 1.02, "yanchor": "bottom"},
    "hovermode": "closest",
    "margin": {"l": 8, "r": 12, "t": 8, "b": 8},
}


@dataclass(frozen=True, slots=True)
class PageTable:
    """A table of a page: its first `left` columns are text; `wraps` lets their last one; `folded` hides it at first."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    left: int = 1
    wraps: bool = False
    folded: bool = False


@dataclass(frozen=True, slots=True)
class FigurePage:
    """What a page shows.

    Args:
        title: heading.
        paragraphs: what the reader should know before the figure.
        figure: Plotly's data and layout, plain; each trace has a `meta.role`: `own` keeps its colours, `ink` and
            `muted` get the page's.
        picture: the same as SVG.
        caption: what the figure shows, in words.
        tables: below the figure.
    """

    title: str
    paragraphs: Sequence[str]
    figure: dict[str, Any]
    picture: bytes
    caption: str
    tables: Sequence[PageTable] = ()

    @property
    def height(self) -> int:
        """Of the figure, pixels."""
        return int(self.figure["layout"]["height"])


def figure_page(page: FigurePage, scenario: Scenario, technology: Technology, family: str) -> str:
    """The page as HTML.

    Args:
        page: what it shows.
        scenario, technology: under which every number in it holds.
        family: of the model.
    """
    values = {
        "page": page,
        "svg": base64.b64encode(page.picture).decode("ascii"),
        "assumptions": assumptions(scenario, family),
        "technology": (
            f"Technology {technology.name}: {technology.node_nm:g} nm, {technology.voltage_v:g} V, "
            f"{technology.frequency_hz / 1e6:g} MHz nominal, {technology.dram.name} where there is DRAM."
        ),
        "version": __version__,
        "plotly": plotly_script(),
    }
    return render("figure.html.j2", values)


def plain_figure(figure: Any) -> dict[str, Any]:
    """A Plotly figure as plain data, without Plotly's default template: the page styles it."""
    data: dict[str, Any] = json.loads(figure.to_json())
    data["layout"].pop("template", None)
    return data
