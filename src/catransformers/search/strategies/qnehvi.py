"""The published way: every metric is learnt, model and accelerator are chosen together, by Ax and its qLogNEHVI.

As in the paper (arXiv 2505.01386): all dimensions of model and hardware are parameters, accuracy and costs are
objectives, limits are outcome constraints, and a Gaussian process learns every one of them; Ax chooses the models, the
acquisition (qLogNEHVI with several objectives) and its own initial design (the centre, then Sobol points). The study's
reference point is given to Ax as objective thresholds. Costs are noise-free, the noise of accuracy is inferred.

Nothing is kept between proposals: a fresh client is told all trials, and its generator is seeded by the study's seed
and the trial's number. Ax would take a NaN and be poisoned by it: failed trials are marked abandoned and bring no data.
Where a suggestion is no accelerator of the study (too many TOPS, say) the nearest one takes its place; a parameter
constraint would make Ax round at random, in an order that differs from process to process. Models without any feasible
accelerator and designs that were tried are passed over, for a few times; then a Sobol point steps in.

Reference: Daulton, Balandat and Bakshy, Parallel Bayesian Optimization of Multiple Noisy Objectives with Expected
Hypervolume Improvement, NeurIPS 2021; Ament et al., Unexpected Improvements to Expected Improvement, NeurIPS 2023.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from importlib import import_module
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from catransformers.errors import InputError, Problem
from catransformers.extras import install
from catransformers.lazy import lazy
from catransformers.search.problem import Proposal, Searched
from catransformers.search.strategies.design_space import Design
from catransformers.search.strategies.designs_tried import DesignProposer, Tried, proposal_of
from catransformers.search.strategies.initial_design import start
from catransformers.search.strategies.surrogate import one_thread, to_logit

if TYPE_CHECKING:
    from ax.api.client import Client

    from catransformers.search.costs.space import Costs

ax_errors = lazy("ax.exceptions.core")
errors = lazy("botorch.exceptions.errors")

INITIAL = 5  # trials of Ax's own initial design: its default
FEWEST = 2  # finished trials before its models take over: its default
OFFERED = 64  # points of its initial design to choose from
PATIENCE = 8  # suggestions passed over before a Sobol point steps in
ACCURACY = "accuracy"


class QNehvi(DesignProposer):
    """The strategy `qnehvi`.

    Args:
        problem: the models and the exact least costs.
        seed: of the study.
        costs: what each model costs on each accelerator.
        same_start: begin with the models that `exact-hardware` begins with, each on its cheapest accelerator.
        learn_logit: learn logit(accuracy) as `exact-hardware` does, not accuracy.

    Raises:
        InputError: if Ax is not installed.
    """

    def __init__(
        self,
        problem: Searched,
        seed: int,
        costs: Costs,
        *,
        same_start: bool = False,
        learn_logit: bool = False,
    ) -> None:
        super().__init__(problem, seed, costs)
        self.same_start, self.learn_logit = same_start, learn_logit
        _ax()

    def _own(self, known: Tried, number: int) -> Proposal | None:
        """A point of the initial design, and then what Ax suggests."""
        running = len(known.complete) + len(known.pending)
        first = self._start if self.same_start else self._initial
        if running < (len(first) if self.same_start else INITIAL) or len(known.complete) < FEWEST:
            for origin, design in first:
                if self._costs.may_try(design, known):
                    return proposal_of(design, self._costs, origin, known)
        elif self._space.names:
            with _quiet(), one_thread():
                return self._suggest(known, number)
        return None

    @cached_property
    def _start(self) -> list[tuple[str, Design]]:
        """The models that `exact-hardware` begins with."""
        first = start(self.problem, self.seed)
        return [(one.origin, (one.index, self.costs.accelerator_of(one.index))) for one in first]

    @cached_property
    def _initial(self) -> list[tuple[str, Design]]:
        """Ax's own initial design, longer than needed; none in a space of hardly more designs: Ax would run out."""
        if prod(self._space.sizes) < 2 * OFFERED:
            return []
        with _quiet(), one_thread():
            client = self._client(self.seed, initial=OFFERED)
            offered = client.get_next_trials(max_trials=OFFERED)
        designs = [self._design(offered[trial]) for trial in sorted(offered)]
        return [("Ax: initial design", design) for design in designs]

    def _suggest(self, known: Tried, number: int) -> Proposal | None:
        """What Ax's models suggest; None if nothing that can be tried."""
        client = self._client(_mixed(self.seed, number), initial=0)
        self._replay(client, known)
        for passed in range(PATIENCE):
            try:
                suggested = client.get_next_trials(max_trials=1)
            except (ax_errors.AxError, errors.BotorchError, errors.ModelFittingError):
                return None  # it repeats itself, or its models cannot be fitted
            if not suggested:
                return None
            trial, parameters = next(iter(suggested.items()))
            design = self._design(parameters)
            if self._costs.may_try(design, known):
                return proposal_of(design, self._costs, "Ax: qLogNEHVI", known, passed_over=float(passed))
            client.mark_trial_abandoned(trial)  # counts as pending: the next suggestion is another
        return None

    def _client(self, seed: int, initial: int) -> Client:
        """A fresh client of the problem; `initial` points of its initial design come before its models."""
        client_class, range_parameter = _ax()
        client: Client = client_class(random_seed=seed)
        labels = self._labels
        client.configure_experiment(
            [
                range_parameter(name=labels[name], parameter_type="int", bounds=(0, size - 1))
                for name, size in zip(self._space.names, self._space.sizes, strict=True)
            ]
        )
        minimised = self._costs.minimised
        client.configure_optimization(
            objective=", ".join([ACCURACY, *(f"-{name}" for name in minimised)]),
            outcome_constraints=[
                f"{ACCURACY} >= {self._learnt(self.problem.floor):.6f}",
                *(f"{name} <= 1.0" for name in self._costs.bounds),
            ],
        )
        client.configure_generation_strategy(
            method="fast",  # its default: standard Gaussian processes
            initialization_budget=initial,
            initialization_random_seed=self.seed,
            initialize_with_center=initial > 0,
            allow_exceeding_initialization_budget=True,
        )
        return client

    def _replay(self, client: Client, known: Tried) -> None:
        """Tell a fresh client all trials; none of the numbers is NaN."""
        for design, accuracy in zip(known.complete, known.accuracy, strict=True):
            trial = client.attach_trial(self._parameters(design))
            costs = {name: (share, 0.0) for name, share in self._costs.of(design).items()}
            # A number without a standard error: Ax infers the noise.
            client.complete_trial(trial, raw_data={ACCURACY: self._learnt(accuracy), **costs})
        for design in known.failed:
            client.mark_trial_abandoned(client.attach_trial(self._parameters(design)))
        for design in known.pending:
            client.attach_trial(self._parameters(design))

    def _learnt(self, accuracy: float) -> float:
        return float(to_logit(np.array([accuracy]))[0]) if self.learn_logit else accuracy

    @property
    def _labels(self) -> dict[str, str]:
        """Names of the dimensions without dots, which mean something to Ax."""
        return {name: name.replace(".", "_") for name in self._space.names}

    def _parameters(self, design: Design) -> dict[str, int]:
        places = self._space.encode(design)
        return {self._labels[name]: place for name, place in zip(self._space.names, places, strict=True)}

    def _design(self, parameters: Mapping[str, Any]) -> Design:
        return self._space.nearest([round(float(parameters[self._labels[name]])) for name in self._space.names])


def _mixed(seed: int, number: int) -> int:
    """One seed of two numbers."""
    return int(np.random.SeedSequence([seed, number]).generate_state(1)[0] % 2**31)


def _ax() -> tuple[Any, Any]:
    """Ax's client and its range parameters.

    Raises:
        InputError: if Ax is not installed.
    """
    try:
        with _quiet():
            return import_module("ax.api.client").Client, import_module("ax.api.configs").RangeParameterConfig
    except ImportError as error:
        what = f"'qnehvi' needs Ax, which cannot be imported ({error})"
        raise InputError(Problem("search.strategy", what, hint=install("ax"))) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Within it Ax logs nothing: it would print a line for every trial that is replayed."""
    before = [(handler, handler.level) for handler in logging.getLogger("ax").handlers]
    for handler, _ in before:
        handler.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for handler, level in before:
            handler.setLevel(level)
