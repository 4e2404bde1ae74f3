"""The interactive figures of a report: the front among all trials, and how the search converged.

Figures leave here as plain JSON for Plotly's JavaScript; the page gives them its own colours (light, dark, print),
so a trace names a *role* (`meta.role`) and the page's style sheet knows the colour of each role.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any

from catransformers.designs.quantities import QUANTITIES
from catransformers.errors import present
from catransformers.lazy import lazy
from catransformers.reports.figures.page import AXIS, LAYOUT, plain_figure
from catransformers.reports.study.summary import Design, StudySummary, Trial, ValueWithError, saving
from catransformers.reports.wording import Unit, amount, compact, less_or_more, listed, plural, points, score, unit_for
from catransformers.search.costs.enumerated import DesignCost

go = lazy("plotly.graph_objects")

#: What a design costs in one of the quantities that are minimised, SI.
Price = Callable[[DesignCost], float]

GAP = 0.06  # between two panels, of the figure's width


def front_figure(summary: StudySummary) -> str:
    """The front as a staircase among all trials, base marked: Plotly JSON.

    Accuracy is the validation set's throughout, with ± one standard error; the cost is the study's objective. Where
    several are minimised, each has a panel, and the front is points alone: seen from one side it is no staircase.
    """
    figure = go.Figure()
    axes: dict[str, Any] = {}
    views = panels(summary)
    width = (1 - GAP * (len(views) - 1)) / len(views)
    for number, (quantity, price) in enumerate(views, start=1):
        unit = unit_for(quantity, _prices(summary, price))
        for trace in _panel(summary, unit, price, stairs=len(views) == 1):
            if number > 1:
                trace.update(xaxis=f"x{number}", showlegend=False)
            figure.add_trace(trace)
        axes["xaxis" if number == 1 else f"xaxis{number}"] = {
            "title": {"text": axis_title(summary, quantity, unit)},
            "rangemode": "tozero" if from_zero(summary, price) else "normal",
            **AXIS,
            **(
                {"domain": [(number - 1) * (width + GAP), min(1.0, number * width + (number - 1) * GAP)]}
                if views[1:]
                else {}
            ),
        }
    figure.update_layout(
        **axes,
        yaxis={"title": {"text": f"{summary.metric} on the validation set (%)"}, **AXIS},
        **LAYOUT,
        height=460,
    )
    return _plain(figure)


def axis_title(summary: StudySummary, quantity: str, unit: Unit) -> str:
    """What an axis shows, with its unit."""
    return f"{QUANTITIES[quantity].axis}{', 95th percentile' if summary.is_high(quantity) else ''} ({unit.label})"


def panels(summary: StudySummary) -> list[tuple[str, Price]]:
    """What is minimised, and how to read it from a design: one panel of a front figure each."""
    names = summary.config.objectives.quantities
    return [(name, partial(_value, place)) for place, name in enumerate(names)]


def _value(place: int, cost: DesignCost) -> float:
    return cost.minimised[place]


def _prices(summary: StudySummary, price: Price) -> list[float]:
    return [price(t.cost) for t in summary.trials if t.cost] + [price(d.cost) for d in (*summary.front, summary.base)]


def _panel(summary: StudySummary, unit: Unit, price: Price, *, stairs: bool) -> list[Any]:
    """The traces of one cost."""
    traces = []
    others = [t for t in summary.trials if t.accuracy and t.cost and not t.on_front]
    if others:
        traces.append(_points("trial", "other trials", unit, [_trial_point(t, summary, price) for t in others]))
    members = [d for d in summary.front if d.validation]
    if members:
        if stairs:
            traces.append(_steps(members, unit))
        places = [_design_point(d, summary, price) for d in members]
        traces.append(_points("front", "front", unit, places, names=members))
    if summary.base.validation:
        base = [_design_point(summary.base, summary, price)]
        traces.append(_points("base", "base on its own best accelerator", unit, base))
    best = summary.best
    if best is not None and best.validation:
        traces.append(_ring(best, unit, price))
    return traces


def from_zero(summary: StudySummary, price: Price) -> bool:
    """Whether the cost axis begins at zero: it does where that leaves at most 40 % of it empty."""
    costs = _prices(summary, price)
    return min(costs) <= 0.4 * max(costs)


def convergence_figure(summary: StudySummary) -> str:
    """The hypervolume after every trial, as a share of the last: Plotly JSON."""
    last = summary.hypervolume[-1] if summary.hypervolume else 0.0
    shares = [100 * value / last if last else 0.0 for value in summary.hypervolume]
    figure = go.Figure(
        go.Scatter(
            x=[trial.number + 1 for trial in summary.trials],
            y=shares,
            mode="lines+markers",
            line={"shape": "hv", "width": 2},
            marker={"size": 5},
            text=[f"{trial.origin}, {trial.status}" for trial in summary.trials],
            hovertemplate="after trial %{x}: %{y:.1f} %<br>%{text}<extra></extra>",
            meta={"role": "front"},
            showlegend=False,
        )
    )
    figure.update_layout(
        xaxis={"title": {"text": "trials"}, "rangemode": "tozero", **AXIS},
        yaxis={"title": {"text": "hypervolume (% of the last)"}, "rangemode": "tozero", **AXIS},
        margin=LAYOUT["margin"],
        height=280,
    )
    return _plain(figure)


def _plain(figure: Any) -> str:
    return json.dumps(plain_figure(figure), allow_nan=False, sort_keys=True)


def _points(
    role: str, name: str, unit: Unit, items: list[tuple[float, ValueWithError, str]], names: list[Design] | None = None
) -> Any:
    """A scatter of (cost, accuracy, hover text) with error bars."""
    size = {"trial": 6, "front": 10, "base": 13}[role]
    return go.Scatter(
        x=[cost * unit.scale for cost, _, _ in items],
        y=[100 * accuracy.value for _, accuracy, _ in items],
        error_y={"type": "data", "array": [100 * (a.error or 0.0) for _, a, _ in items], "thickness": 1, "width": 0},
        mode="markers",
        marker={"size": size, "symbol": "diamond" if role == "base" else "circle"},
        name=name,
        hovertext=[text for _, _, text in items],
        hoverinfo="text",
        customdata=[design.name for design in names] if names else None,
        meta={"role": role},
    )


def _steps(members: list[Design], unit: Unit) -> Any:
    """The staircase: what a given amount of the cost buys."""
    return go.Scatter(
        x=[d.cost.objective * unit.scale for d in members],
        y=[100 * d.validation.value for d in members if d.validation],
        mode="lines",
        line={"shape": "hv", "width": 2},
        hoverinfo="skip",
        showlegend=False,
        meta={"role": "front"},
    )


def _ring(best: Design, unit: Unit, price: Price) -> Any:
    """A ring around the design that the headline speaks of."""
    return go.Scatter(
        x=[price(best.cost) * unit.scale],
        y=[100 * present(best.validation).value],
        mode="markers",
        marker={"size": 18, "symbol": "circle-open", "line": {"width": 2.5}},
        hoverinfo="skip",
        name=f"design {best.name}, the headline's",
        meta={"role": "best"},
    )


def _trial_point(trial: Trial, summary: StudySummary, price: Price) -> tuple[float, ValueWithError, str]:
    cost, accuracy = present(trial.cost), present(trial.accuracy)
    text = _hover(f"Trial {trial.number} ({trial.origin})", trial, accuracy, summary)
    return price(cost), accuracy, text


def _design_point(design: Design, summary: StudySummary, price: Price) -> tuple[float, ValueWithError, str]:
    accuracy = present(design.validation)
    title = "Base, unpruned" if design.is_base else f"Design {design.name} (trial {design.trial})"
    text = _hover(title, design, accuracy, summary)
    if design.loss is not None and not design.is_base:
        text += f"<br>loss against the base {points(design.loss.value, design.loss.error)} points ({design.loss_pool})"
        less = saving(design.cost.objective, summary.base.cost.objective)
        text += f"<br>{less_or_more(less)} {summary.objective} than the base"
    return price(design.cost), accuracy, text


def _hover(title: str, item: Trial | Design, accuracy: ValueWithError, summary: StudySummary) -> str:
    """Lines of a hover box; every text in it is ours or an integer, so nothing needs escaping."""
    cost = present(item.cost)
    low, _, high = present(item.range_kg)
    unit = unit_for("carbon", [high])
    return "<br>".join(
        (
            f"<b>{title}</b>",
            compact(item.dimensions),
            str(cost.accelerator).replace(",", ", "),
            f"{summary.metric} {score(accuracy.value, accuracy.error)} %",
            f"{amount('carbon', cost.total_kg)} ({unit.text(low)} to {unit.text(high)} {unit.label})",
            f"{amount('latency', cost.latency_s)}, {amount('energy', cost.energy_j)}, "
            f"{amount('area', cost.area_m2)}, {'no DRAM' if cost.resident else 'with DRAM'}",
        )
    )


def caption(summary: StudySummary) -> str:
    """What the front figure shows, in words."""
    shown = sum(1 for t in summary.trials if t.accuracy and t.cost)
    if summary.second is not None:
        names = summary.config.objectives.quantities
        panels_in_words = f"on the left by {summary.objective}, on the right by {summary.second}"
        if len(names) > 2:
            panels_in_words = f"from left to right by {listed(names)}"
        costs = "both costs" if len(names) == 2 else "all costs"
        least = listed([f"the least {name}" for name in names])
        return (
            f"Each of the {plural(shown, 'trial')} is a trained model, {panels_in_words}; bars are ± one standard "
            f"error. Of each model on the front the designs with {least} are shown: "
            f"none found is at least as good in accuracy and {costs} and better in one. Other models stand on their "
            f"best accelerator for {summary.objective}."
        )
    return (
        f"Each of the {plural(shown, 'point')} is a trained model on the accelerator that is best for it; bars are ± "
        "one standard error. The line is the front: no design found is at least as good in both and better in one."
    )
