"""Evaluations in a terminal: accuracies with their standard errors, clip-benchmark's table, progress."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from catransformers.execution.training.result import PoolResult
from catransformers.reports.terminal.screen import WorkShown, console, table
from catransformers.reports.terminal.training import percent

if TYPE_CHECKING:
    from catransformers.accuracy.benchmark import BenchmarkResult, Event


class EvaluationProgress(WorkShown):
    """A progress bar on a terminal, a line a data set elsewhere."""

    def __init__(self, *, quiet: bool) -> None:
        super().__init__(quiet=quiet)
        self._line = self._bar.add_task("data sets", total=None)

    def __call__(self, event: Event) -> None:
        """Show what happens to a data set."""
        what = f"{event.number} of {event.count}: {event.name}"
        self._bar.update(self._line, description=what, completed=event.done, total=event.of or None)
        if event.kind in ("done", "kept", "failed"):
            word = {"done": "done", "kept": "was measured before", "failed": "cannot be evaluated"}[event.kind]
            self._say(f"{what}: {word}")


def show_pools(title: str, pools: Mapping[str, PoolResult]) -> None:
    """A model on a task: its accuracy on each pool, beside its base's where there is one, and other metrics."""
    screen = console()
    screen.print(title, highlight=False, markup=False)
    others = sorted({name for pool in pools.values() for name in pool.metrics})
    beside = any(pool.base is not None for pool in pools.values())
    rows = [
        [
            name,
            percent(*pool.after),
            *([] if pool.base is None else [percent(*pool.base), percent(*pool.difference, sign=True)]),
            *(f"{pool.metrics[other]:.4g}" if other in pool.metrics else "–" for other in others),
        ]
        for name, pool in pools.items()
    ]
    screen.print(table("", ["pool", "model", *(["base", "difference"] if beside else []), *others], rows))


def show_benchmark(label: str, result: BenchmarkResult, out: Path) -> None:
    """Every data set that was evaluated, what could not be, what is not there."""
    screen = console()
    screen.print(f"{label}, zero-shot, in %")
    screen.print(table("", result.columns, result.rows(), left=3))
    for failure in result.failures:
        for problem in failure.problems:
            screen.print(f"Not evaluated: {failure.name}: {problem}", highlight=False, markup=False)
    if result.missing:
        names = ", ".join(result.missing)
        screen.print(f"Not there: {names}", highlight=False, markup=False, style="dim")
    screen.print(f"Kept in {out}", highlight=False, markup=False, soft_wrap=True)
