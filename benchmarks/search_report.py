"""The search benchmark's tables, from kept results alone.

A share is printed as its median over the runs' seeds, with the range. *Trials to match* counts the trials until a run's
share, as run, reaches the median that `qnehvi` has as run after 100.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from catransformers.reports.figures.canvas import PALETTE, RULE, drawn_side_by_side
from catransformers.search.space import FloatArray

MARKS = (10, 25, 50, 100)  # trials at which the share is printed
TARGETS = (0.90, 0.95, 0.99)
OURS, RIVAL = "exact-hardware", "qnehvi"

#: Percentiles of an attainment surface, and who attains it.
ATTAINED = {0.0: "the best run", 50.0: "half of the runs", 100.0: "all runs"}

Runs = list[dict[str, Any]]
#: (run, trial) → costs of its designs, SI.
Designs = Callable[[dict[str, Any], dict[str, Any]], list[list[float]]]


def table(runs: Runs) -> str:
    """All tables: ours beside the rival, shares after so many trials, and trials until such a share."""
    groups: dict[tuple[str, str], dict[str, Runs]] = defaultdict(lambda: defaultdict(list))
    for kept in runs:
        groups[kept["landscape"], kept["mode"]][kept["strategy"]].append(kept)
    lines = _beside_the_rival(groups)
    lines += [
        "\nShare of the exact optimum's hypervolume after so many trials: median (range) over seeds.\n",
        _row("landscape", "mode", "strategy", "seeds", "judged", *(f"@{mark}" for mark in MARKS)),
        _row(*["---"] * (5 + len(MARKS))),
    ]
    for (landscape, mode), by_strategy in groups.items():
        for name, found in by_strategy.items():
            for judged, key in (("as run", "as_run"), ("trained", "trained")):
                if key == "trained" and all(_share(run, key) == _share(run, "as_run") for run in found):
                    continue  # the strategy chooses models alone
                cells = [_spread([share[m - 1] for share in _shares(found, key) if len(share) >= m]) for m in MARKS]
                lines.append(_row(landscape, mode, name, str(len(found)), judged, *cells))
    targets = [f"to {target:.0%}" for target in TARGETS]
    lines += [
        f"\nTrials until a share is reached, and until the median of {RIVAL} as run after {MARKS[-1]} trials is:"
        " median (range) over seeds; > n where it was not in n trials.\n",
        _row("landscape", "mode", "strategy", "judged", *targets, f"to match {RIVAL}", "CPU s a proposal"),
        _row(*["---"] * (6 + len(TARGETS))),
    ]
    for (landscape, mode), by_strategy in groups.items():
        rival = [
            share[MARKS[-1] - 1] for share in _shares(by_strategy.get(RIVAL, []), "as_run") if len(share) >= MARKS[-1]
        ]
        for name, found in by_strategy.items():
            for judged, key in (("as run", "as_run"), ("trained", "trained")):
                if key == "trained" and all(_share(run, key) == _share(run, "as_run") for run in found):
                    continue
                reached = [_trials(_shares(found, key), target) for target in TARGETS]
                match = _trials(_shares(found, key), float(np.median(rival))) if rival else "–"
                seconds = [
                    float(np.median([trial["seconds"] for trial in run["trials"][6:] or [{"seconds": 0}]]))
                    for run in found
                ]
                lines.append(_row(landscape, mode, name, judged, *reached, match, f"{np.median(seconds):.2f}"))
    return "\n".join(lines)


def _beside_the_rival(groups: Mapping[tuple[str, str], Mapping[str, Runs]]) -> list[str]:
    """Is our 25th trial worth the rival's 100th?"""
    early, last = MARKS[1], MARKS[-1]
    lines = [
        f"{OURS} after {early} trials beside {RIVAL} after {last}: median (range) over so many seeds of each.\n",
        _row(
            "landscape", "mode", f"{OURS} @{early}", f"{RIVAL} @{last}, as run", "trained", "seeds", "trials to match"
        ),
        _row(*["---"] * 7),
    ]
    for (landscape, mode), by_strategy in groups.items():
        ours, theirs = (
            [run for run in by_strategy.get(name, []) if len(run["trials"]) >= last] for name in (OURS, RIVAL)
        )
        if ours and theirs:
            at = [share[last - 1] for share in _shares(theirs, "as_run")]
            cells = [
                _spread([share[early - 1] for share in _shares(ours, "as_run")]),
                _spread(at),
                _spread([share[last - 1] for share in _shares(theirs, "trained")]),
                f"{len(ours)}, {len(theirs)}",
                _trials(_shares(ours, "as_run"), float(np.median(at))),
            ]
            lines.append(_row(landscape, mode, *cells))
    return lines


def figure(runs: Runs, kind: Literal["svg", "png"]) -> bytes:
    """A panel for each landscape and mode: shares as run against trials, median and range over seeds.

    Args:
        runs: of several strategies.
        kind: file format.
    """
    panels: dict[tuple[str, str], dict[str, Runs]] = defaultdict(lambda: defaultdict(list))
    for kept in runs:
        panels[kept["landscape"], kept["mode"]][kept["strategy"]].append(kept)
    names = list(dict.fromkeys(name for by_strategy in panels.values() for name in by_strategy))

    def draw(axes: Sequence[Any]) -> None:
        for panel, ((landscape, mode), by_strategy) in zip(axes, panels.items(), strict=True):
            for name, found in by_strategy.items():
                length = min(len(run["trials"]) for run in found)
                shares = 100 * np.array([share[:length] for share in _shares(found, "as_run")])
                trials, colour = np.arange(1, length + 1), PALETTE[names.index(name) % len(PALETTE)]
                many = f" ({len(found)})" if len(found) > 1 else ""
                panel.plot(trials, np.median(shares, axis=0), color=colour, linewidth=1.8, label=f"{name}{many}")
                panel.fill_between(
                    trials, shares.min(axis=0), shares.max(axis=0), color=colour, alpha=0.15, linewidth=0
                )
            panel.set_title(f"{landscape}, {mode}", fontsize=10)
            panel.set_xlabel("trials")
            panel.set_xlim(0, 100)
            panel.set_ylim(0, 100)
            panel.grid(color=RULE, linewidth=0.8)
            panel.set_axisbelow(True)
            panel.legend(frameon=False, loc="lower right", fontsize=8)
        axes[0].set_ylabel("share of the exact optimum, as run (%)")

    return drawn_side_by_side(draw, len(panels), kind, (3.6 * len(panels), 3.6))


def attainment(runs: Runs, designs: Designs) -> str:
    """Empirical attainment surfaces: what the best run, half of the runs and all of them attain.

    With one cost every point of the surfaces is printed; with two, the least first cost attained at some accuracies
    within some second costs.

    Args:
        runs: of one landscape, mode and strategy.
        designs: the costs of what a trial brought.

    Reference: Grunert da Fonseca, Fonseca and Hall, Inferential performance assessment of stochastic optimisers, 2001.
    """
    try:
        import moocore
    except ImportError:
        return "attainment surfaces need moocore: pip install moocore"
    if not runs:
        return "no results of that name"
    points, sets = [], []
    for number, kept in enumerate(runs, start=1):
        own = np.array([[-trial["accuracy"], *costs] for trial in kept["trials"] for costs in designs(kept, trial)])
        if own.size:
            points.append(moocore.filter_dominated(own))
            sets += [number] * len(points[-1])
    if len(points) < len(runs):
        return (
            f"{len(runs) - len(points)} of {len(runs)} runs brought no design within the limits: none attained by all"
        )
    surfaces = moocore.eaf(np.concatenate(points), np.array(sets), percentiles=list(ATTAINED))
    if surfaces.shape[1] == 3:
        lines = [_row("attained by", "accuracy", "cost"), _row("---", "---", "---")]
        for negative, cost, percentile in sorted(surfaces.tolist(), key=lambda row: (row[2], row[1])):
            lines.append(_row(ATTAINED[percentile], f"{-negative:.4f}", f"{cost:.6g}"))
        return "\n".join(lines)
    return _surfaces_in_two_costs(surfaces, runs[0]["mode"])


def _surfaces_in_two_costs(surfaces: FloatArray, mode: str) -> str:
    """The least first cost attained at some accuracies within some second costs."""
    lines = [
        f"Mode {mode}: the least first cost that is attained at an accuracy and a second cost, SI.\n",
        _row("accuracy ≥", "second cost ≤", *ATTAINED.values()),
        _row(*["---"] * (2 + len(ATTAINED))),
    ]
    by_all = surfaces[surfaces[:, -1] == max(ATTAINED)]
    shares = (0.1, 0.5, 0.9)
    for accuracy in np.unique(np.quantile(-by_all[:, 0], shares)):
        for second in np.unique(np.quantile(by_all[:, 2], shares)):
            cells = []
            for percentile in ATTAINED:
                own = surfaces[surfaces[:, -1] == percentile]
                kept = own[(-own[:, 0] >= accuracy) & (own[:, 2] <= second)]
                cells.append(f"{kept[:, 1].min():.4g}" if len(kept) else "–")
            lines.append(_row(f"{accuracy:.4f}", f"{second:.4g}", *cells))
    return "\n".join(lines)


def _row(*cells: str) -> str:
    return "| " + " | ".join(cells) + " |"


def _share(run: dict[str, Any], key: str) -> list[float]:
    return [float(trial[key]) for trial in run["trials"]]


def _shares(runs: Runs, key: str) -> list[list[float]]:
    return [_share(run, key) for run in runs]


def _spread(values: Sequence[float], show: Callable[[float], str] = "{:.1%}".format) -> str:
    """Median (range)."""
    if not values:
        return "–"
    middle, low, high = float(np.median(values)), min(values), max(values)
    return show(middle) if low == high else f"{show(middle)} ({show(low)} to {show(high)})"


def _trials(shares: list[list[float]], target: float) -> str:
    """How many trials the runs need to reach a share."""
    needed = [next((k for k, share in enumerate(run, start=1) if share >= target), np.inf) for run in shares]
    shortest = min((len(run) for run, k in zip(shares, needed, strict=True) if np.isinf(k)), default=0)
    return _spread(needed, lambda value: f"{value:g}" if np.isfinite(value) else f"> {shortest}")
