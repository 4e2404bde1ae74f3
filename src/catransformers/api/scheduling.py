"""`ct.schedule()`: when, and in which region, a job's electricity emits the least."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from os import PathLike
from pathlib import Path

from catransformers.errors import Problems
from catransformers.file_cache import cache_folder
from catransformers.intensity.lookup import Forecasts
from catransformers.intensity.planning import Request, plan
from catransformers.intensity.scheduling import Schedule


def schedule(
    hours: float,
    deadline: str = "24h",
    region: str | Sequence[str] = (),
    *,
    start: str | datetime | None = None,
    power_w: float | str | None = None,
    profile: str | PathLike[str] | Sequence[str | PathLike[str]] = (),
    source: str | None = None,
    time_zone: str | None = None,
    interruptible: bool = False,
    slot_min: float | None = None,
    allow_mixed_basis: bool = False,
    offline: bool = False,
) -> Schedule:
    """The best time for a job, and of several regions the best one. Nothing is asked on the network without a source.

    Args:
        hours: how long the job runs.
        deadline: when it must be done: a span (`90min`, `24h`, `3d`) or a moment in ISO 8601.
        region: where it may run; the first is where it would run anyway.
        start: the earliest start, in ISO 8601 or as a datetime; by default now.
        power_w: what it draws: watts, or phases as `watts:hours,…`. Without it only the savings mean something.
        profile: CSV files of hourly intensity.
        source: a service that forecasts.
        time_zone: local time where none is known.
        interruptible: whether the job may pause.
        slot_min: the least time to run or pause, minutes.
        allow_mixed_basis: compare regions whose intensities count different things.
        offline: never ask the network; what a source said before will do.

    Returns:
        The best plan, and what it is compared with.

    Raises:
        InputError: for everything that is wrong, in the words of the command's options.
        InfeasibleError: if the job is longer than the window.
        SourceError: if a source gives no usable answer.
    """
    folder = cache_folder("intensity") if source is not None else None
    request = Request(
        hours,
        deadline,
        (region,) if isinstance(region, str) else tuple(region),
        start=start.isoformat() if isinstance(start, datetime) else start,
        power=None if power_w is None else str(power_w),
        files=(Path(profile),) if isinstance(profile, str | PathLike) else tuple(Path(file) for file in profile),
        source=source,
        time_zone=time_zone,
        interruptible=interruptible,
        slot_min=slot_min,
        allow_mixed_basis=allow_mixed_basis,
    )
    found, _ = plan(request, datetime.now(UTC), Forecasts(Path(folder) if folder else None, offline), Problems())
    return found
