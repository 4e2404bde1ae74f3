"""NSGA-II over all dimensions of model and accelerator: evolution, no model of anything.

A steady state of the algorithm: of all finished trials the best `POPULATION` by non-dominated rank and crowding are the
parents (limits that are broken come before objectives), and the next trial is the first of their offspring that is new.
That makes a proposal a function of the trials alone. The first `POPULATION` trials are Sobol points. Selection,
crossover and mutation are pymoo's, with whole numbers by rounding.

Reference: Deb, Pratap, Agarwal and Meyarivan, A fast and elitist multiobjective genetic algorithm: NSGA-II, IEEE
Transactions on Evolutionary Computation 6(2), 2002; Blank and Deb, pymoo, IEEE Access 8, 2020.
"""

from __future__ import annotations

import warnings
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from catransformers.errors import InputError, Problem
from catransformers.extras import install
from catransformers.lazy import lazy
from catransformers.search.problem import Proposal, Searched
from catransformers.search.strategies.design_space import Design
from catransformers.search.strategies.designs_tried import DesignProposer, Tried, proposal_of

if TYPE_CHECKING:
    from catransformers.search.costs.space import Costs

nsga2 = lazy("pymoo.algorithms.moo.nsga2")
population = lazy("pymoo.core.population")
boxes = lazy("pymoo.core.problem")
termination = lazy("pymoo.core.termination")
sbx = lazy("pymoo.operators.crossover.sbx")
pm = lazy("pymoo.operators.mutation.pm")
rounding = lazy("pymoo.operators.repair.rounding")

POPULATION = 20
OFFSPRING = 64  # made at a time; the first new one is tried
ROUNDS = 4  # of offspring, before a Sobol point steps in


class Nsga2(DesignProposer):
    """The strategy `nsga2`.

    Raises:
        InputError: if pymoo is not installed.
    """

    def __init__(self, problem: Searched, seed: int, costs: Costs) -> None:
        super().__init__(problem, seed, costs)
        try:
            import_module("pymoo")
        except ImportError as error:
            what = f"'nsga2' needs pymoo, which cannot be imported ({error})"
            raise InputError(Problem("search.strategy", what, hint=install("nsga2"))) from error

    def _own(self, known: Tried, number: int) -> Proposal | None:
        """An offspring of the population, once the trials are one."""
        if len(known.complete) + len(known.pending) >= POPULATION and len(known.complete) >= POPULATION // 2:
            design = self._offspring(known, number) if self._space.names else None
            if design is not None:
                return proposal_of(design, self._costs, "NSGA-II", known)
        return None

    def _offspring(self, known: Tried, number: int) -> Design | None:
        """The first offspring that can be tried."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a hint about its own compiled modules
            algorithm = self._algorithm(known, number)
            for _ in range(ROUNDS):
                children = algorithm.ask()
                for places in [] if children is None else children.get("X"):
                    design = self._space.decode([round(float(place)) for place in places])
                    if design is not None and self._costs.may_try(design, known):
                        return design
        return None

    def _algorithm(self, known: Tried, number: int) -> Any:
        """pymoo's algorithm with the survivors of all trials as its population."""
        shares = [self._costs.of(design) for design in known.complete]
        objectives = np.array(
            [[-a, *(share[q] for q in self._costs.minimised)] for a, share in zip(known.accuracy, shares, strict=True)]
        )
        limited = [name for name in self._costs.limits if name in self._costs.bounds]
        broken = np.array(
            [[share[q] * self._costs.bounds[q] / self._costs.limits[q] - 1 for q in limited] for share in shares]
        ).reshape(len(shares), len(limited))
        upper = np.array(self._space.sizes, dtype=np.float64) - 1
        box = boxes.Problem(
            n_var=len(upper), n_obj=objectives.shape[1], n_ieq_constr=len(limited), xl=np.zeros(len(upper)), xu=upper
        )
        places = np.array([self._space.encode(design) for design in known.complete], dtype=np.float64)
        trials = population.Population.new(X=places, F=objectives, G=broken)
        for one in trials:
            one.evaluated.update({"F", "G"})
        random = np.random.default_rng([self.seed, number])
        survivors = nsga2.RankAndCrowding().do(box, trials, n_survive=min(POPULATION, len(trials)), random_state=random)
        algorithm = nsga2.NSGA2(
            pop_size=len(survivors),
            n_offsprings=OFFSPRING,
            sampling=survivors,
            crossover=sbx.SBX(prob=1.0, eta=3.0, vtype=float, repair=rounding.RoundingRepair()),
            mutation=pm.PM(prob=1.0, eta=3.0, vtype=float, repair=rounding.RoundingRepair()),
        )
        algorithm.setup(box, termination=termination.NoTermination(), seed=int(random.integers(2**31)), verbose=False)
        algorithm.tell(infills=algorithm.ask())
        return algorithm
