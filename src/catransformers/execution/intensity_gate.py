"""Carbon-aware waiting: a search begins, and goes on between trials, when electricity is cleaner.

`start = "greenest within 12h"` puts off the beginning to the start, within 12 hours, at which `expected_hours` of work
emit least. `pause_above_g_per_kwh` begins no trial while the grid is dirtier; a trial that runs is finished first. A
pause ends when the grid is clean again, or after `max_pause_hours`; then the study goes on, says so, and pauses
again only after the grid has been clean once.

Nothing of a study depends on when it ran, so all this may change when it is resumed. What was decided stands in
`gate.json` in the study's folder: killed while it waits, the study goes on waiting until the same moment.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from catransformers.config.sections import ExecutionSection
from catransformers.errors import InputError, Problem
from catransformers.execution.events import Listener, WaitEnded, WaitStarted
from catransformers.file_cache import cache_folder
from catransformers.files import write_whole
from catransformers.intensity.hourly import IntensityProfile, Profile
from catransformers.intensity.hourly_csv import shipped_profiles
from catransformers.intensity.http import SourceError
from catransformers.intensity.lookup import Forecasts, profiles
from catransformers.intensity.scheduling import HOUR_S, Job, best_start, next_at_most
from catransformers.registry import INTENSITY_SOURCES
from catransformers.units import G_PER_KG

FILE = "gate.json"
#: Keys of `[execution]` that say what to wait for.
KEYS = (
    "start",
    "expected_hours",
    "pause_above_g_per_kwh",
    "max_pause_hours",
    "intensity_region",
    "intensity_profile",
    "intensity_source",
)
NAP_S = 60.0  # sleep in short stretches: a machine that was suspended, or a better forecast, is noticed soon


def _utc_now() -> datetime:
    return datetime.now(UTC)


def _forecasts() -> Forecasts:
    folder = cache_folder("intensity")
    return Forecasts(Path(folder) if folder else None)


@dataclass(slots=True)
class _State:
    """What was decided and must outlive the process; times in ISO 8601."""

    settings: str = ""
    begin_at: str | None = None
    paused_since: str | None = None
    overrun: bool = False


@dataclass(slots=True)
class IntensityGate:
    """Says whether work may begin, and waits until it may.

    Args:
        section: of the study; holds what to wait for.
        path: where its decisions are kept.
        forecasts: asks a source, if the study names one.
        now: the clock (with a time zone).
        sleep: waits for so many seconds.
    """

    section: ExecutionSection
    path: Path
    forecasts: Forecasts = field(default_factory=_forecasts)
    now: Callable[[], datetime] = _utc_now
    sleep: Callable[[float], None] = time.sleep
    _announced: bool = field(default=False, init=False)
    _trouble: str = field(default="", init=False)

    def before_start(self, begun: bool, listen: Listener) -> None:
        """Wait for the greenest start, if the study asks for it and has not begun.

        Args:
            begun: whether any work was done before.
            listen: told why and until when.

        Raises:
            InputError: if the grid's intensity in the coming hours is not to be had from the study's file or source.
            SourceError: if the source gives no usable answer.
        """
        within = self.section.start_within_hours
        if within is None or begun:
            return
        state = self._state()
        if state.begin_at is None:
            moment, reason = self._greenest(within)
            self._keep(replace(state, begin_at=moment.isoformat()))
        else:
            moment, reason = datetime.fromisoformat(state.begin_at), "this start was chosen before the interruption"
        if moment <= self.now():
            listen(WaitEnded(f"The study starts now: {reason}."))
            return
        listen(WaitStarted(f"The study starts later: {reason}.", moment))
        while (left := (moment - self.now()).total_seconds()) > 0:
            self.sleep(min(NAP_S, left))
        listen(WaitEnded("The study starts."))

    def closed(self, listen: Listener) -> bool:
        """Whether no trial may begin now; says why and until when, once for each pause."""
        pause = self._pause(listen)
        if pause is not None and not self._announced:
            listen(pause)
        self._announced = pause is not None
        return pause is not None

    def wait(self, listen: Listener) -> None:
        """Wait until a trial may begin."""
        waited = False
        while (pause := self._pause(listen)) is not None:
            waited = True
            self.sleep(min(NAP_S, max(1.0, (pause.until - self.now()).total_seconds())))
        if waited and not self._state().overrun:
            listen(WaitEnded("The grid is clean enough again: the trials go on."))
        self._announced = False

    def _greenest(self, within_hours: float) -> tuple[datetime, str]:
        """The best start from now on (in the grid's local time), and why it is that one."""
        now, hours = self.now(), self.section.expected_hours
        job = Job.constant(hours)
        length, end = timedelta(hours=hours), now + timedelta(hours=within_hours + hours)
        profile, limit = profile_of(self.section, now, end, self.forecasts), ""
        if isinstance(profile, IntensityProfile):
            now = _soonest(profile, now)
            if now + length <= profile.end < end:
                end = profile.end
                limit = f"; it reaches no further than {end.astimezone(profile.origin.zone_info):%a %d %b %H:%M}"
        plan, at_once = best_start(profile, job, now, end), best_start(profile, job, now, now + length)
        mean, first = (p.intensity_kg_per_kwh * G_PER_KG for p in (plan, at_once))
        origin = plan.origin
        return plan.start.astimezone(origin.zone_info), (
            f"{hours:g} h of work then get {mean:.0f} g/kWh on average, {first:.0f} if begun at once ({origin.zone}: "
            f"{origin.describe()}{limit})"
        )

    def _pause(self, listen: Listener) -> WaitStarted | None:
        """Why no trial may begin now, and until when; None if one may."""
        threshold = self.section.pause_above_g_per_kwh
        if threshold is None:
            return None
        now, state = self.now(), self._state()
        longest = timedelta(hours=self.section.max_pause_hours)
        profile = self._known(now, now + longest, listen)
        if profile is None:
            return None
        level = profile.at(_soonest(profile, now)) * G_PER_KG
        if level <= threshold:
            if state.paused_since is not None or state.overrun:
                self._keep(replace(state, paused_since=None, overrun=False))
            return None
        if state.overrun:
            return None
        since = now if state.paused_since is None else datetime.fromisoformat(state.paused_since)
        if now >= since + longest:
            self._keep(replace(state, paused_since=None, overrun=True))
            listen(
                WaitEnded(
                    f"The grid of {profile.origin.zone} is at {level:.0f} g/kWh, above {threshold:g}, but the study "
                    f"has paused for {self.section.max_pause_hours:g} h (max_pause_hours), so it goes on; it pauses "
                    f"again once the grid has been at {threshold:g} g/kWh or less."
                )
            )
            return None
        if state.paused_since is None:
            self._keep(replace(state, paused_since=since.isoformat()))
        clean = next_at_most(profile, threshold / G_PER_KG, now)
        until = min(moment for moment in (clean, since + longest) if moment is not None)
        origin = profile.origin
        reason = (
            f"No trial begins while the grid of {origin.zone} is above {threshold:g} g/kWh (pause_above_g_per_kwh); it "
            f"is at {level:.0f} now ({origin.describe()})."
        )
        return WaitStarted(reason, until.astimezone(origin.zone_info))

    def _known(self, now: datetime, end: datetime, listen: Listener) -> IntensityProfile | None:
        """The grid's intensity from now on; None, and a word about it, if it is not to be had: a study goes on then."""
        trouble = ""
        for forecasts in (self.forecasts, replace(self.forecasts, offline=True)):  # an older forecast may still do
            try:
                profile = profile_of(self.section, now, end, forecasts)
                series = profile if isinstance(profile, IntensityProfile) else profile.between(now, end)
                series.at(_soonest(series, now))
            except (InputError, SourceError) as error:
                trouble = trouble or str(error)
            else:
                self._trouble = ""
                return series
        if trouble != self._trouble:
            listen(WaitEnded(f"How clean the grid is now is not known, so trials go on without pauses: {trouble}"))
        self._trouble = trouble
        return None

    def _state(self) -> _State:
        """What was decided under the same settings."""
        settings = json.dumps({key: getattr(self.section, key) for key in KEYS}, sort_keys=True)
        try:
            state = _State(**json.loads(self.path.read_text(encoding="utf-8")))
            for moment in (state.begin_at, state.paused_since):
                if moment is not None and datetime.fromisoformat(moment).tzinfo is None:
                    raise ValueError("no time zone")
        except (OSError, ValueError, TypeError):
            return _State(settings)
        return state if state.settings == settings else _State(settings)

    def _keep(self, state: _State) -> None:
        write_whole(self.path, json.dumps(asdict(state), indent=1) + "\n")


def profile_of(section: ExecutionSection, start: datetime, end: datetime, forecasts: Forecasts) -> Profile:
    """The hourly intensity that a study's `[execution]` names, for `start` to `end` as far as it is known.

    Raises:
        InputError: if there is none, or more than one zone in the file.
        SourceError: if a source gives no usable answer.
    """
    region = section.intensity_region
    if region is None and isinstance(section.region, str):
        region = section.region
    files = [Path(section.intensity_profile).expanduser()] if section.intensity_profile is not None else []
    if region is None and not files:
        hint = f"or a file (intensity_profile) or a source (intensity_source: {', '.join(INTENSITY_SOURCES)})"
        what = "missing: which grid is to be waited for?"
        raise InputError(Problem("execution.intensity_region", what, ", ".join(shipped_profiles()), hint))
    found = profiles(
        [region] if region is not None else [],
        start,
        end,
        files=files,
        source=section.intensity_source,
        forecasts=forecasts,
        keys=("intensity_profile", "intensity_source"),
    )
    if len(found) > 1:
        zones = ", ".join(profile.origin.zone for profile in found)
        raise InputError(Problem("execution.intensity_region", "missing: the file has several zones", zones))
    return found[0]


def check_gate(section: ExecutionSection) -> list[Problem]:
    """What is wrong with the keys that say what to wait for, found without the network."""
    problems: list[Problem] = []
    source = section.intensity_source
    if source is not None and section.intensity_profile is not None:
        what = "is given beside intensity_profile"
        problems.append(Problem("execution.intensity_source", what, "one of them"))
    waits = section.start_within_hours is not None or section.pause_above_g_per_kwh is not None
    if problems or not (waits or source is not None):
        return problems
    now = _utc_now()
    try:
        if source is not None:
            _forecasts().check(source)
        if source is None or (section.intensity_region is None and not isinstance(section.region, str)):
            profile_of(section, now, now, _forecasts())
    except InputError as error:
        problems += [replace(problem, where=_key(problem.where)) for problem in error.problems]
    return problems


def _key(where: str) -> str:
    """Where a problem is, as a reader of the study file finds it."""
    if where == "source":
        return "execution.intensity_source"
    return where if where.startswith("execution") else f"execution: {where}"


def _soonest(profile: IntensityProfile, now: datetime) -> datetime:
    """Now, or the beginning of a forecast that begins within the hour."""
    return max(now, profile.start) if profile.start <= now + timedelta(seconds=HOUR_S) else now
