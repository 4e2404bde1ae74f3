"""Summary of a study: one frozen `StudySummary`, from which every table, figure and page is only drawn.

All numbers that people see are derived in one place (`reports.derive`, from the study's store) and kept here; the
rest of this package formats. Fractions are fractions (an accuracy of 0.64), everything else is SI.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from catransformers.carbon.footprint import Footprint
from catransformers.config.study import StudyConfig
from catransformers.designs.estimate import Estimate
from catransformers.designs.limits import Limits
from catransformers.designs.quantities import UNUSUAL, columns_of
from catransformers.errors import present
from catransformers.hardware.accelerator import Accelerator
from catransformers.reports.study.search_footprint import SearchFootprint
from catransformers.reports.wording import listed
from catransformers.search.costs.enumerated import Attribution, DesignCost

#: The headline speaks of the cheapest front design that loses at most this much accuracy on the validation set, and of
#: a base whose accuracy is small (a language model's 1/perplexity) at most this share of it.
HEADLINE_LOSS = 0.03
HEADLINE_SHARE = 0.1

Interval = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class ValueWithError:
    """An accuracy, or a difference of two, as a fraction, and its standard error (None where it is not known)."""

    value: float
    error: float | None

    def to_dict(self) -> dict[str, float | None]:
        """Plain data with stable keys."""
        return {"value": self.value, "standard_error": self.error}


@dataclass(frozen=True, slots=True)
class Trial:
    """One accuracy trial, on the accelerator that is best for its model.

    Args:
        number: from 0, in the order of the proposals.
        status: `complete` or `failed`.
        dimensions: the model's, by name.
        origin: what proposed it: `largest model`, `Sobol`, `expected improvement`, …
        reason: the numbers behind the proposal, by name.
        seconds: wall time of the trial.
        error: why it failed, or an empty text.
        accuracy: on the validation set; None if it failed.
        cost: of the model on its best accelerator; None where no accelerator keeps the limits.
        range_kg: 5th, 50th and 95th percentile of the footprint, kgCO2e; None with `cost`.
        on_front: whether its model is on the front.
        untrained: whether it was not run, because no accelerator keeps the limits with its model.
        missed: where `cost` is None, which limit no accelerator keeps, and by how much.
        adopted: whether it is another study's, taken over instead of being run.
        chosen: the accelerator that the strategy chose with the model; None where the exact costs choose it.
        broken: the limits that the model on that accelerator breaks: quantity, value and limit, SI.
    """

    number: int
    status: Literal["complete", "failed"]
    dimensions: Mapping[str, int]
    origin: str
    reason: Mapping[str, float]
    seconds: float
    error: str = ""
    accuracy: ValueWithError | None = None
    cost: DesignCost | None = None
    range_kg: Interval | None = None
    on_front: bool = False
    untrained: bool = False
    missed: str = ""
    chosen: Accelerator | None = None
    broken: tuple[tuple[str, float, float], ...] = ()
    adopted: bool = False


@dataclass(frozen=True, slots=True)
class Design:
    """A model on an accelerator, with all that is known of it: the base, or a member of the front.

    Args:
        name: `base`, or `1`, `2`, … from the cheapest front design on.
        trial: the trial that made the model; None for the unpruned base as it was given.
        dimensions: the model's, by name.
        cost: on its accelerator.
        range_kg: 5th, 50th and 95th percentile of the footprint, kgCO2e.
        estimate: the same design with parts and operators; its totals are those of `cost`.
        validation: accuracy on what the search saw.
        test: accuracy on what nothing but the final evaluation saw; None before that.
        validation_loss: base minus design on the same pairs, with the paired standard error.
        test_loss: likewise on the test set.
    """

    name: str
    trial: int | None
    dimensions: Mapping[str, int]
    cost: DesignCost
    range_kg: Interval
    estimate: Estimate
    validation: ValueWithError | None = None
    test: ValueWithError | None = None
    validation_loss: ValueWithError | None = None
    test_loss: ValueWithError | None = None

    @property
    def loss(self) -> ValueWithError | None:
        """The accuracy loss to quote: on the test set, or on the validation set before there is one."""
        return self.test_loss or self.validation_loss

    @property
    def loss_pool(self) -> str:
        """The set that `loss` is of."""
        return "test" if self.test_loss else "validation"

    @property
    def is_base(self) -> bool:
        """Whether this is the unpruned base as it was given."""
        return self.trial is None


@dataclass(frozen=True, slots=True)
class Member:
    """A design of the front in figures: a model that some shown design has, on an accelerator of its own.

    Args:
        name: `1`, `2`, … from the cheapest on; a design that is shown has the same.
        model: a shown design of the same model, for all that does not depend on the accelerator.
        cost: on its accelerator.
        range_kg: 5th, 50th and 95th percentile of the footprint, kgCO2e.
        footprint: its parts.
    """

    name: str
    model: Design
    cost: DesignCost
    range_kg: Interval
    footprint: Footprint

    @property
    def shown(self) -> bool:
        """Whether it is itself among the designs that tables and figures show."""
        return self.name == self.model.name


@dataclass(frozen=True, slots=True)
class Provenance:
    """How to make the same study again.

    Args:
        command: the command line.
        versions: by package, of those that computed it.
        base_sha256: of the base model's weights, or an empty text where it is not recorded.
        study_toml: the resolved study, every default written out.
    """

    command: str
    versions: Mapping[str, str]
    base_sha256: str
    study_toml: str


@dataclass(frozen=True)
class StudySummary:
    """All that a study's report says.

    Args:
        config: the resolved study.
        metric: the name of the accuracy, for example `recall@1`.
        models: size of the model space.
        accelerators: size of the accelerator space.
        base: the unpruned model on its own best accelerator.
        base_feasible: whether that keeps all of the study's limits.
        front: the non-dominated designs by rising cost, best accuracy last; where several quantities are minimised,
            of each model on the front the designs that cost least in one of them.
        trials: all finished trials, by number.
        attribution: what the headline's design owes to hardware and to pruning; None without such a design.
        headline: position in `front` of the design that the headline speaks of, or None.
        hypervolume: after every finished trial, (accuracy × objective); same order as `trials`.
        reference_cost: the (first) cost of the hypervolume's reference point, SI; its accuracy is the least that
            `limits` allow on a front.
        provenance: how to make it again.
        limits: what no design may exceed, SI.
        tuned_validation: accuracy of the unpruned model after the same fine-tune as the trials; None if not tried.
        tuned_test: likewise on the test set.
        search_footprint: what the search itself cost; None where nothing is recorded.
        warnings: what else the reader should know, such as files that are not there.
        whole_front: all designs of the front by rising cost; empty where `front` has them all.
        further_references: the other costs of the reference point, where several quantities are minimised.
        exhausted: whether no trial is left to do, be it because every feasible model was tried.
    """

    config: StudyConfig
    metric: str
    models: int
    accelerators: int
    base: Design
    base_feasible: bool
    front: tuple[Design, ...]
    trials: tuple[Trial, ...]
    attribution: Attribution | None
    headline: int | None
    hypervolume: tuple[float, ...]
    reference_cost: float
    provenance: Provenance
    limits: Limits
    tuned_validation: ValueWithError | None = None
    tuned_test: ValueWithError | None = None
    search_footprint: SearchFootprint | None = None
    warnings: tuple[str, ...] = ()
    further_references: tuple[float, ...] = ()
    whole_front: tuple[Member, ...] = ()
    exhausted: bool = False

    @property
    def reference(self) -> tuple[float, ...]:
        """The costs of the reference point."""
        return (self.reference_cost, *self.further_references)

    @property
    def name(self) -> str:
        """The study's name."""
        return self.config.name

    @property
    def objective(self) -> str:
        """The quantity that is minimised (first), by which designs are listed and compared."""
        return self.config.objectives.quantities[0]

    @property
    def second(self) -> str | None:
        """The second quantity that is minimised; None where there is one."""
        return dict(enumerate(self.config.objectives.quantities)).get(1)

    @property
    def further(self) -> tuple[str, ...]:
        """All that is minimised beside the first quantity."""
        return self.config.objectives.quantities[1:]

    @property
    def unusual(self) -> dict[str, int]:
        """What is minimised and not in every table of designs anyway, and its place among all that is minimised."""
        return {name: k for k, name in enumerate(self.config.objectives.quantities) if name in UNUSUAL}

    @property
    def minimised(self) -> str:
        """All that is minimised, in words."""
        names = self.config.objectives.quantities
        at = " (carbon at the 95th percentile of its range)" if self.config.objectives.carbon_quantile == "p95" else ""
        return listed(names) + (at if "carbon" in columns_of({*names}) else "")

    def is_high(self, quantity: str) -> bool:
        """Whether a quantity, as objective and limit, is meant at the 95th percentile of carbon's range."""
        return self.config.objectives.carbon_quantile == "p95" and "carbon" in columns_of({quantity})

    @property
    def planned(self) -> int:
        """Number of trials that the study asks for, with those that it adopted."""
        return self.config.search.trials + self.adopted

    @property
    def adopted(self) -> int:
        """Number of trials that other studies made."""
        return sum(trial.adopted for trial in self.trials)

    @property
    def failed(self) -> int:
        """Number of trials that were run and came to nothing."""
        return sum(trial.status == "failed" and not trial.untrained for trial in self.trials)

    @property
    def untrained(self) -> int:
        """Number of trials that were not run, because no accelerator keeps the limits with their models."""
        return sum(trial.untrained for trial in self.trials)

    @property
    def members(self) -> tuple[Member, ...]:
        """All designs of the front, by rising cost."""
        return self.whole_front or tuple(
            Member(design.name, design, design.cost, design.range_kg, design.estimate.footprint)
            for design in self.front
        )

    @property
    def left(self) -> int:
        """Number of trials still to do."""
        return 0 if self.exhausted else max(0, self.planned - len(self.trials))

    @property
    def searched(self) -> bool:
        """Whether all trials are done."""
        return self.left == 0

    @property
    def pool(self) -> str:
        """The set whose accuracies are quoted."""
        return "test" if self.tested else "validation"

    @property
    def tested(self) -> bool:
        """Whether the base and every front design have been evaluated on the test set."""
        return self.base.test is not None and all(design.test is not None for design in self.front)

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do."""
        return self.searched and self.tested

    @property
    def best(self) -> Design | None:
        """The design that the headline speaks of."""
        return None if self.headline is None else self.front[self.headline]

    @property
    def seconds_left(self) -> float | None:
        """Wall time until the last trial at the pace of the finished ones; None before the first."""
        run = [trial.seconds for trial in self.trials if not trial.untrained]
        if not run:
            return None
        mean = sum(run) / len(run)
        rounds = -(-self.left // self.config.execution.workers)
        return mean * rounds

    @property
    def kept(self) -> dict[str, float]:
        """Fraction of each dimension that the front's designs keep, on average; dimensions that shrink most first."""
        if not self.front:
            return {}
        base = self.base.dimensions
        means = {
            name: sum(design.dimensions[name] / whole for design in self.front) / len(self.front)
            for name, whole in base.items()
        }
        return dict(sorted(means.items(), key=lambda item: item[1]))


def saving(cost: float, reference: float) -> float:
    """The fraction of `reference` that `cost` saves; negative if it costs more."""
    return 1 - cost / reference


def tolerated_loss(base: Design) -> float:
    """How much accuracy the headline's design may lose on the validation set."""
    if base.validation is None:
        return HEADLINE_LOSS
    return min(HEADLINE_LOSS, HEADLINE_SHARE * base.validation.value)


def choose_headline(front: tuple[Design, ...], base: Design) -> int | None:
    """Which front design the headline speaks of.

    Of the designs that cost less than the base on its own best accelerator: the cheapest that loses at most
    `tolerated_loss` on the validation set, and if none does, the one that loses least. The test set has no say, so
    that the test accuracies that are quoted for it are not selected for.

    Returns:
        Its position, or None if no design costs less than the base.
    """
    cheaper = [
        (position, design)
        for position, design in enumerate(front)
        if design.cost.objective < base.cost.objective and design.validation_loss is not None
    ]
    if not cheaper:
        return None

    def lost(item: tuple[int, Design]) -> float:
        return present(item[1].validation_loss).value

    good = [item for item in cheaper if lost(item) <= tolerated_loss(base)]
    if good:
        return min(good, key=lambda item: item[1].cost.objective)[0]
    return min(cheaper, key=lost)[0]
