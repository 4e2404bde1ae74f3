"""A running search in a terminal: a progress bar, a line for each event."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Self

from catransformers.execution import events
from catransformers.execution.events import Event
from catransformers.reports.schedule.report import stamp, utc
from catransformers.reports.terminal.screen import WorkShown
from catransformers.reports.wording import compact, plural, score

if TYPE_CHECKING:
    from rich.progress import TaskID


TELL_EVERY_S = 15.0


def _space(event: events.StudyOpened) -> str:
    """What is searched, and what is known of it before any training."""
    accelerators = f"{event.accelerators:,} accelerators"
    if event.feasible_models is None:
        return (
            f"{event.models:,} models, too many to look at each (how many keep the limits is not known) × "
            f"{accelerators}; every model that is tried is costed exactly"
        )
    return f"{event.models:,} models ({event.feasible_models:,} within the limits) × {accelerators}, costed exactly"


def _adopted(event: events.TrialsAdopted) -> str:
    """What was taken over from other studies, and what was not."""
    left_out = ", ".join(f"{count} {why}" for why, count in event.left_out.items())
    text = f"{plural(event.trials, 'trial')} adopted by search.warm_start"
    return f"{text}; left out: {left_out}." if left_out else f"{text}."


def _metering(event: events.MeterChosen) -> str:
    """How the search's own energy is known, in one line."""
    if event.method == "off":
        return "The search's own energy is not recorded."
    known = "measured" if event.quality == "measured" else "estimated, not measured"
    why = f"; {event.missing}; `catransformers doctor` says more" if event.missing else ""
    return f"The search's own energy is {known} (meter: {event.method}{why})."


def _waiting(event: events.WaitStarted) -> str:
    """Why nothing begins, until when, and that one may stop meanwhile."""
    until = f"Waiting until {stamp(event.until)} ({utc(event.until)} UTC)"
    return f"{event.reason} {until}; Ctrl-C is safe, the same command goes on."


class SearchProgress(WorkShown):
    """Draws what a study tells: a progress bar on a terminal, plain lines elsewhere."""

    def __init__(self) -> None:
        super().__init__(counted=True)
        self._task: TaskID | None = None
        self._total = 0
        self._began = self._told = time.monotonic()

    def __enter__(self) -> Self:
        self._say("Checking the study …")
        return super().__enter__()

    def _advance(self, done: int) -> None:
        if self._task is not None:
            self._bar.update(self._task, completed=done)

    def __call__(self, event: Event) -> None:
        """Show an event."""
        match event:
            case events.DataChecked():
                self._checked(event.done, event.samples)
            case events.StudyChecked():
                self._say("Costing its models on every accelerator (up to a minute the first time) …")
            case events.TrialsAdopted():
                self._say(_adopted(event))
            case events.StudyOpened():
                self._total = event.trials
                left = f", {event.finished} of them done before" if event.finished else ""
                self._say(f"{_space(event)}; {event.trials} trials{left}.")
                if self._task is not None:
                    self._bar.remove_task(self._task)
                self._task = self._bar.add_task("trials", total=event.trials, completed=event.finished)
            case events.MeterChosen():
                self._say(_metering(event))
            case events.WaitStarted():
                self._say(_waiting(event))
            case events.WaitEnded():
                self._say(event.reason)
            case events.ModelEvaluated(base) if base.pool == "validation":
                self._say(f"Base model: {score(base.accuracy, base.standard_error)} % on validation data.")
            case events.TrialFinished():
                self._trial(event)
            case events.FinalEvaluationStarted():
                verb = "meets" if event.models == 1 else "meet"
                self._say(f"Search done. {plural(event.models, 'model')} {verb} the test data, once.")
                self._task = self._bar.add_task("test", total=event.models)
                self._total = 0
            case events.ModelEvaluated():
                self._total += 1
                self._advance(self._total)

    def _checked(self, done: int, samples: int) -> None:
        """Data are read in chunks: a line when it takes a while, and a bar on a terminal."""
        if self._task is None:
            self._task = self._bar.add_task("reading data", total=samples)
        self._advance(done)
        if time.monotonic() - self._told > TELL_EVERY_S and not self._screen.is_terminal:
            self._say(f"Reading all data once: {done:,} of {samples:,} samples …")
            self._told = time.monotonic()

    def _trial(self, event: events.TrialFinished) -> None:
        trial = event.trial
        if trial.untrained:
            outcome = trial.error
        elif trial.accuracy is None:
            outcome = f"failed: {trial.error}"
        else:
            outcome = f"{score(trial.accuracy, trial.accuracy_se)} %"
        self._say(
            f"[{event.finished:>3}/{self._total}] {time.monotonic() - self._began:4.0f} s"
            f"  trial {trial.number:<3}  {outcome:>12}  {trial.parameters:>11,} parameters  {compact(trial.dimensions)}"
            f"  ({trial.proposal.origin})"
        )
        self._advance(event.finished)
