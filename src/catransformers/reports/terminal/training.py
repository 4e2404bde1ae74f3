"""Trainings and evaluations in a terminal: progress, and accuracies with their standard errors."""

from __future__ import annotations

import math
from typing import Self

from catransformers.execution.training.result import TrainingResult
from catransformers.reports.terminal.screen import WorkShown, console, table
from catransformers.reports.wording import amount


class TrainingProgress(WorkShown):
    """A progress bar on a terminal, a line every tenth of the way elsewhere."""

    def __init__(self, *, quiet: bool) -> None:
        super().__init__(quiet=quiet, counted=True)
        self._line = self._bar.add_task("training", total=None)
        self._begun = False

    def __enter__(self) -> Self:
        self._say("Opening model and data …")
        return super().__enter__()

    def __call__(self, step: int, steps: int, loss: float) -> None:
        """Show a step, counted from 1, of `steps`, and its loss."""
        if not self._begun and step > 1:
            self._say(f"Going on after step {step - 1}.")
        self._begun = True
        self._bar.update(self._line, completed=step, total=steps, description=f"loss {loss:.3f}")
        tenth = max(1, steps // 10)
        if not self._screen.is_terminal and (step % tenth == 0 or step == steps):
            self._say(f"step {step} of {steps}: loss {loss:.4f}")


def show_training(result: TrainingResult) -> None:
    """A finished training in a terminal."""
    screen = console()
    based = any(pool.base is not None for pool in result.pools.values())
    other = "base" if based else "before"
    columns = ["pool", "before", "after", *(["base"] if based else []), f"after − {other}"]
    rows = []
    for name, pool in result.pools.items():
        cells = [percent(*pair) for pair in (pool.before, pool.after, pool.base) if pair is not None]
        rows.append([name, *cells, percent(*pool.difference, sign=True)])
    screen.print(f"{result.label}: {result.steps} steps, {result.seconds:.0f} s, {result.metric} in %")
    screen.print(table("", columns, rows))
    if result.energy_j is not None:
        measured = sum(record.measured_j for record in result.energy)
        known = "measured" if measured >= result.energy_j > 0 else "partly measured" if measured else "estimated"
        screen.print(f"Energy of the training: {amount('energy', result.energy_j)}, {known}.")
    screen.print(f"Model: {result.folder / 'model.safetensors'}", soft_wrap=True)


def percent(value: float, error: float, *, sign: bool = False) -> str:
    """A fraction and its standard error in per cent; an infinite error, of which nothing is known, as a dash."""
    shown = f"{100 * error:.2f}" if math.isfinite(error) else "–"
    return f"{100 * value:{'+' if sign else ''}.2f} ± {shown}"
