"""Carbon-aware (temporal and spatial) scheduling: when and where a job's electricity emits the least.

A job draws a given power over its time (constant, or in phases). Its carbon when begun at t is the integral of power
times the grid's intensity, both step functions, so exact for any fraction of an hour. As a function of t it is
piecewise linear, with kinks only where a phase begins or ends as the intensity steps; so its least and its greatest
value over a window lie at one of these or at the window's ends, and looking there is enough: no grid of starts, no
error.

A job that can be interrupted takes the cheapest slots of the window, the last of them in part. With slots of one step
of the profile that is the optimum over all ways to pause and go on (a continuous knapsack: exchange any dearer moment
that is used for a cheaper one that is not). Pausing is taken to cost nothing; with equal carbon the plan with fewer
pauses and the earlier start is taken.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import combinations

import numpy as np
import numpy.typing as npt

from catransformers.display import Displayed
from catransformers.errors import InfeasibleError, InputError, Problem, Problems
from catransformers.intensity.hourly import IntensityProfile, Profile, Provenance
from catransformers.units import J_PER_KWH

FloatArray = npt.NDArray[np.float64]

_SAME = 1e-9  # relative difference of carbon below which the earlier or the simpler plan is taken
_ROUNDING_S = 1e-6  # the resolution of dates
HOUR_S = 3600.0


@dataclass(frozen=True, slots=True)
class Job:
    """Work to be scheduled: its phases in order, each (seconds, watts).

    Raises:
        InputError: for a phase shorter than a second, or a power that is not positive and finite.
    """

    phases: tuple[tuple[float, float], ...]

    def __post_init__(self) -> None:
        problems = Problems(
            Problem(f"phase {number} of the job", f"{seconds:g} s at {watts:g} W", "≥ 1 s, and > 0 W")
            for number, (seconds, watts) in enumerate(self.phases, start=1)
            if not (1 <= seconds < math.inf and 0 < watts < math.inf)
        )
        if not self.phases:
            problems.append(Problem("the job", "has no phases"))
        problems.finish()

    @classmethod
    def constant(cls, hours: float, power_w: float = 1000.0) -> Job:
        """A job of `hours` at one power; by default 1 kW, when only relative savings matter."""
        return cls(((hours * HOUR_S, power_w),))

    @property
    def duration_s(self) -> float:
        """How long it runs."""
        return math.fsum(seconds for seconds, _ in self.phases)

    @property
    def energy_j(self) -> float:
        """What it draws."""
        return math.fsum(seconds * watts for seconds, watts in self.phases)


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of time in which a job runs without a break (UTC)."""

    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class Plan:
    """A job laid into time on one grid.

    Args:
        origin: of the profile: which grid, and whose numbers.
        pieces: when it runs, in order; one unless it is interrupted.
        energy_j: what it draws.
        carbon_kg: what that emits.
    """

    origin: Provenance
    pieces: tuple[Piece, ...]
    energy_j: float
    carbon_kg: float

    @property
    def start(self) -> datetime:
        """When it begins (UTC)."""
        return self.pieces[0].start

    @property
    def end(self) -> datetime:
        """When it is done (UTC)."""
        return self.pieces[-1].end

    @property
    def intensity_kg_per_kwh(self) -> float:
        """The mean intensity of its electricity."""
        return self.carbon_kg / self.energy_j * J_PER_KWH


@dataclass(frozen=True, slots=True)
class Schedule(Displayed):
    """The best plan, and what it is better than.

    Args:
        job, earliest, deadline: what was asked (UTC).
        best: the plan with the least carbon.
        unbroken: the one with the least carbon of those without a break; `best` itself unless that pauses.
        now: begun at once, without a break, in the first place.
        worst: the start with the most carbon, without a break, in any place.
        places: the best plan of each place, in the order given.
        profiles: of each place, over the window.
    """

    job: Job
    earliest: datetime
    deadline: datetime
    best: Plan
    unbroken: Plan
    now: Plan
    worst: Plan
    places: tuple[Plan, ...]
    profiles: tuple[IntensityProfile, ...]

    @property
    def saving_against_now(self) -> float:
        """The share of carbon that `best` saves against `now`."""
        return saving(self.best, self.now)

    @property
    def saving_against_worst(self) -> float:
        """The share of carbon that `best` saves against `worst`."""
        return saving(self.best, self.worst)


def saving(plan: Plan, other: Plan) -> float:
    """The share of the carbon of `other` that `plan` saves; 0 where neither emits any."""
    return 1 - plan.carbon_kg / other.carbon_kg if other.carbon_kg > 0 else 0.0


def schedule(
    profiles: Sequence[Profile],
    job: Job,
    earliest: datetime,
    deadline: datetime,
    *,
    interruptible: bool = False,
    slot_s: float | None = None,
    allow_mixed_basis: bool = False,
) -> Schedule:
    """The best time, and of several places the best one, for a job between `earliest` and `deadline`.

    Args:
        profiles: of each place; the first is where the job would run if nobody thought about it.
        job: what is to run.
        earliest, deadline: it may begin at the one and must be done by the other; with time zones.
        interruptible: whether it may pause; then its power must be constant.
        slot_s: the least time that it runs or pauses, see `interrupted`.
        allow_mixed_basis: compare places whose intensities count different things.

    Raises:
        InputError: for times without a time zone, a profile that does not cover them, intensities of different bases.
        InfeasibleError: if the job is longer than the window.
    """
    if not profiles:
        raise InputError(Problem("regions", "none given", "at least one"))
    mixed = [
        Problem(f"{a.origin.zone} and {b.origin.zone}", f"count different things: {', '.join(conflict)}")
        for a, b in combinations(profiles, 2)
        if (conflict := a.origin.basis.conflicts(b.origin.basis))
    ]
    if mixed and not allow_mixed_basis:
        raise InputError(mixed)
    places, unbroken, extremes, cut = [], [], [], []
    for profile in profiles:
        window = _Window.of(profile, job, earliest, deadline)
        cut.append(window.profile)
        extremes.append(window.worst(job))
        unbroken.append(window.best(job))
        places.append(window.interrupted(job, slot_s, unbroken[-1]) if interruptible else unbroken[-1])
    return Schedule(
        job,
        earliest.astimezone(UTC),
        deadline.astimezone(UTC),
        min(places, key=lambda plan: plan.carbon_kg),
        min(unbroken, key=lambda plan: plan.carbon_kg),
        begun_at(profiles[0], job, earliest),
        max(extremes, key=lambda plan: plan.carbon_kg),
        tuple(places),
        tuple(cut),
    )


def begun_at(profile: Profile, job: Job, start: datetime) -> Plan:
    """The job begun at `start` and run without a break.

    Raises:
        InputError: if the profile does not cover it.
    """
    end = start + timedelta(seconds=job.duration_s)
    return _Window.of(profile, job, start, end).plan(job, 0.0)


def best_start(profile: Profile, job: Job, earliest: datetime, deadline: datetime) -> Plan:
    """The plan without a break that emits least; of equals the earliest. Raises like `schedule`."""
    return _Window.of(profile, job, earliest, deadline).best(job)


def interrupted(
    profile: Profile, job: Job, earliest: datetime, deadline: datetime, *, slot_s: float | None = None
) -> Plan:
    """The plan that emits least when the job may pause; never worse than `best_start`.

    Args:
        profile: of the place.
        job: of constant power.
        earliest, deadline: the window.
        slot_s: seconds of a slot, a whole number of the profile's steps (by default one). Slots are taken by their
            mean intensity, whole but for one; with slots longer than a step the plan is good, not always the best.

    Raises:
        InputError: for phases of different power, another slot, or as `schedule`.
        InfeasibleError: if the job is longer than the window.
    """
    window = _Window.of(profile, job, earliest, deadline)
    return window.interrupted(job, slot_s, window.best(job))


def next_at_most(profile: IntensityProfile, intensity_kg_per_kwh: float, after: datetime) -> datetime | None:
    """The first moment from `after` on (within the profile) at which the intensity is no more than a given one."""
    step = timedelta(seconds=profile.step_s)
    for number, value in enumerate(profile.intensity_kg_per_kwh):
        begin = profile.start + number * step
        if begin + step > after and value <= intensity_kg_per_kwh:
            return max(begin, after.astimezone(UTC))
    return None


def means(profile: IntensityProfile, start: datetime, end: datetime, parts: int) -> FloatArray:
    """The mean intensity of equal parts of `start` to `end`, kg/kWh, (parts,).

    Raises:
        InputError: if the profile does not cover them.
    """
    length = (end - start).total_seconds()
    window = _Window.of(profile, Job.constant(length / HOUR_S), start, end)
    borders = np.linspace(0.0, length, parts + 1)
    return window.between(borders[:-1], borders[1:]) / (length / parts)


@dataclass(frozen=True, slots=True)
class _Window:
    """A profile over a window; times are seconds after `earliest`.

    Args:
        profile: cut to the window.
        earliest: the window's beginning (UTC).
        length_s: of the window.
        edges_s: where the intensity steps, (n + 1,).
        integral: of the intensity from the first edge to each, kg/kWh·s, (n + 1,).
    """

    profile: IntensityProfile
    earliest: datetime
    length_s: float
    edges_s: FloatArray
    integral: FloatArray

    @classmethod
    def of(cls, profile: Profile, job: Job, earliest: datetime, deadline: datetime) -> _Window:
        zoneless = Problems(
            Problem(name, f"{moment.isoformat()} has no time zone", "a time with its offset")
            for name, moment in (("earliest", earliest), ("deadline", deadline))
            if moment.tzinfo is None
        )
        zoneless.finish()
        begin, end = earliest.astimezone(UTC), deadline.astimezone(UTC)
        length = (end - begin).total_seconds()
        if job.duration_s > length + _ROUNDING_S:
            raise InfeasibleError(
                "the job cannot be done by the deadline",
                demand=job.duration_s / HOUR_S,
                bound=length / HOUR_S,
                unit="h",
                levers=("a later deadline", "an earlier start", "a shorter job"),
            )
        cut = profile.between(begin, end)
        values = np.asarray(cut.intensity_kg_per_kwh)
        first = (cut.start - begin).total_seconds()
        edges = first + cut.step_s * np.arange(len(values) + 1, dtype=np.float64)
        return cls(cut, begin, length, edges, np.concatenate([[0.0], np.cumsum(values * cut.step_s)]))

    def between(self, start: FloatArray, end: FloatArray) -> FloatArray:
        """The integral of the intensity from `start` to `end` (any one shape), kg/kWh·s."""
        upper, lower = (np.interp(times, self.edges_s, self.integral) for times in (end, start))
        return np.asarray(upper - lower)

    def carbon(self, job: Job, starts: FloatArray) -> FloatArray:
        """What the job emits when begun at `starts`, kg, same shape."""
        total, begin = np.zeros_like(starts), starts
        for seconds, watts in job.phases:
            total = total + watts * self.between(begin, begin + seconds)
            begin = begin + seconds
        return total / J_PER_KWH

    def starts(self, job: Job) -> FloatArray:
        """Where the least and the greatest carbon may lie: the kinks and the ends, rising, (m,)."""
        latest = max(0.0, self.length_s - job.duration_s)
        borders = np.concatenate([[0.0], np.cumsum([seconds for seconds, _ in job.phases])])
        kinks = (self.edges_s[:, None] - borders[None, :]).ravel()
        return np.unique(np.concatenate([[0.0, latest], kinks[(kinks > 0) & (kinks < latest)]]))

    def plan(self, job: Job, start_s: float) -> Plan:
        carbon = float(self.carbon(job, np.array([start_s]))[0])
        return Plan(self.profile.origin, (self.piece(start_s, start_s + job.duration_s),), job.energy_j, carbon)

    def piece(self, start_s: float, end_s: float) -> Piece:
        return Piece(self.earliest + timedelta(seconds=start_s), self.earliest + timedelta(seconds=end_s))

    def best(self, job: Job) -> Plan:
        return self._extreme(job, lambda carbon: carbon <= carbon.min() * (1 + _SAME))

    def worst(self, job: Job) -> Plan:
        return self._extreme(job, lambda carbon: carbon >= carbon.max() * (1 - _SAME))

    def _extreme(self, job: Job, among: Callable[[FloatArray], npt.NDArray[np.bool_]]) -> Plan:
        starts = self.starts(job)
        return self.plan(job, float(starts[among(self.carbon(job, starts))][0]))

    def interrupted(self, job: Job, slot_s: float | None, whole: Plan) -> Plan:
        """The cheapest slots, or `whole`, the best plan without a break, where pausing saves nothing."""
        if len({watts for _, watts in job.phases}) > 1:
            hint = "give one power, or run it without a break"
            raise InputError(Problem("the job", "has phases of different power and may be interrupted", hint=hint))
        pieces = self._cheapest(job.duration_s, self._slots(slot_s))
        starts, ends = np.array(pieces).T
        carbon = float(job.phases[0][1] * self.between(starts, ends).sum() / J_PER_KWH)
        if whole.carbon_kg <= carbon * (1 + _SAME):
            return whole
        return Plan(self.profile.origin, tuple(self.piece(*piece) for piece in pieces), job.energy_j, carbon)

    def _slots(self, slot_s: float | None) -> FloatArray:
        """Borders of the slots in the window, rising, (m + 1,)."""
        step = self.profile.step_s
        factor = 1.0 if slot_s is None else slot_s / step
        if not (1 <= factor < math.inf and factor == int(factor)):
            what = f"{slot_s:g} s are not a whole number of the profile's steps"
            raise InputError(Problem("slot", what, f"multiples of {step} s"))
        borders = self.edges_s[:: int(factor)]
        inside = borders[(borders > 0) & (borders < self.length_s)]
        return np.concatenate([[0.0], inside, [self.length_s]])

    def _cheapest(self, duration_s: float, borders: FloatArray) -> list[tuple[float, float]]:
        """Stretches of the cheapest slots that make up the duration, in order, touching ones joined."""
        lengths = np.diff(borders)
        means = self.between(borders[:-1], borders[1:]) / lengths
        taken: dict[int, tuple[float, float]] = {}
        left = duration_s
        for slot in np.argsort(means, kind="stable").tolist():
            if left <= _ROUNDING_S:
                break
            low, high = float(borders[slot]), float(borders[slot + 1])
            used = min(left, high - low)
            taken[slot] = (low, high) if used == high - low else self._part(low, high, used, slot, taken)
            left -= used
        pieces: list[tuple[float, float]] = []
        for start, end in (taken[slot] for slot in sorted(taken)):
            if pieces and pieces[-1][1] == start:
                pieces[-1] = (pieces[-1][0], end)
            else:
                pieces.append((start, end))
        return pieces

    def _part(
        self, low: float, high: float, used: float, slot: int, taken: dict[int, tuple[float, float]]
    ) -> tuple[float, float]:
        """The beginning or the end of a slot, the cheaper; of equals the one that saves a pause."""
        first, last = self.between(np.array([low, high - used]), np.array([low + used, high]))
        joins_next = slot + 1 in taken and slot - 1 not in taken
        if last < first * (1 - _SAME) or (joins_next and last <= first * (1 + _SAME)):
            return high - used, high
        return low, low + used
