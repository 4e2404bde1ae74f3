"""Ax with less work for the same proposals: the benchmark's runs of the paper's way take a sixth of the time or less.

Four parts, which stand in for parts of Ax and BoTorch while a run of that way goes on, and at no other time. Trials are
replayed without the tables that Ax makes to check and log them (here; the benchmark's own data are whole, and no
database is written); Gaussian processes are fitted in closed form (`quicker_fits.py`), their samples drawn
(`quicker_samples.py`) and the acquisition's boxes and logarithms worked out (`quicker_logei.py`) without what is known
or not needed. The numbers are BoTorch's up to rounding, by how much is tested (`tests/search`). But a fit can take
hundreds of steps, and rounding alone then makes it stop at another point, with and without these parts
(`--rounding` shows it): most choices are the same, some are others as good, as they would be on another machine. To see
that, and how much sooner they come, some proposals of a kept run are asked for again, with it and without:

    .venv/bin/python benchmarks/quicker_ax.py smooth/carbon/qnehvi/0 --trials 20 50 80
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import botorch.optim.fit as fitting
import numpy as np
import quicker_fits
import quicker_logei
import quicker_samples
import torch
from ax.api.client import Client
from ax.core.trial import Trial
from botorch.optim.closures import get_loss_closure_with_grads
from botorch.optim.closures.core import NdarrayOptimizationClosure

PARTS = (quicker_logei, quicker_fits, quicker_samples)
COMPLETE, UPDATE = Client.complete_trial, Trial.update_trial_data


def quicker() -> None:
    """Have Ax use all parts, in this process."""
    Client.complete_trial, Trial.update_trial_data = complete, update
    for part in PARTS:
        part.quicker()


def usual() -> None:
    """Have it work by itself again."""
    Client.complete_trial, Trial.update_trial_data = COMPLETE, UPDATE
    for part in PARTS:
        part.usual()


def complete(self: Any, trial_index: int, raw_data: Any = None, progression: int | None = None) -> Any:
    """In the place of Ax's: without a look at what there is of the trial now, which it logs."""
    if raw_data is not None:
        self.attach_data(trial_index=trial_index, raw_data=raw_data, progression=progression)
    return self._experiment.trials[trial_index].mark_completed().status


def update(self: Any, raw_data: Any) -> str:
    """In the place of Ax's: without a table of the data, in which it looks for unknown metrics and which it logs."""
    self.experiment.attach_data(data=self._raw_evaluations_to_data(raw_data={self.arm.name: raw_data}))
    return ""


class Rounded(NdarrayOptimizationClosure):
    """BoTorch's own loss and gradient, off by about the last bit at random."""

    random = np.random.default_rng(0)

    def __call__(self, state: Any = None, **kwargs: Any) -> tuple[Any, Any]:
        """The loss () and its gradient (parameters,) at a state (parameters,)."""
        value, gradient = super().__call__(state, **kwargs)
        off = 2e-16 * self.random.normal(size=len(gradient) + 1)
        return value * (1.0 + off[0]), gradient * (1.0 + off[1:])


@contextmanager
def rounding() -> Iterator[None]:
    """Within it BoTorch fits with losses and gradients that are off by about the last bit."""

    def rounded(mll: Any, parameters: Any, **kwargs: Any) -> Rounded:
        return Rounded(get_loss_closure_with_grads(mll, parameters, **kwargs), parameters)

    before = fitting.get_loss_closure_with_grads
    fitting.get_loss_closure_with_grads = rounded
    try:
        yield
    finally:
        fitting.get_loss_closure_with_grads = before


def main() -> None:
    """Ask again for proposals of a kept run, both ways."""
    import search
    from catransformers.search.problem import Observation

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="landscape/mode/strategy/seed of a kept run")
    parser.add_argument("--trials", type=int, nargs="+", default=[20, 50, 80], help="which of its proposals")
    parser.add_argument("--rounding", action="store_true", help="also without it, with losses off by the last bit")
    args = parser.parse_args()
    torch.set_num_threads(1)
    runs = [job for job in search.jobs() if job.name == args.run and job.strategy.startswith("qnehvi")]
    if not runs or not runs[0].path.exists():
        kept = [job.name for job in search.jobs() if job.strategy.startswith("qnehvi") and job.path.exists()]
        parser.error(f"no kept run {args.run}; there are {', '.join(kept) or 'none'}")
    job = runs[0]
    trials = json.loads(job.path.read_text())["trials"]
    if not all(0 < number < len(trials) for number in args.trials):
        parser.error(f"--trials: {args.run} has kept proposals 1 to {len(trials) - 1}")
    found = search.setting(job.landscape, job.mode)
    chooser = search.chooser_of(job, found)
    chooser.ask([], [], 0)  # the initial design is made once

    def asked(number: int) -> str:
        observed = [Observation(one["model"], one["observed"]) for one in trials[:number]]
        before = time.process_time()
        proposal = chooser.ask(observed, [], number, ran_on=[one["accelerator"] for one in trials[:number]])
        seconds = time.process_time() - before
        return f"{proposal and (proposal.index, proposal.accelerator)} in {seconds:.1f} CPU s"

    for number in args.trials:
        said = f"trial {number}: kept {trials[number]['model'], trials[number]['accelerator']}"
        for name, choose in (("usual", usual), ("quicker", quicker)):
            choose()
            said += f", {name} {asked(number)}"
        if args.rounding:
            usual()
            with rounding():
                said += f", rounded {asked(number)}"
        print(said, flush=True)


if __name__ == "__main__":
    main()
