"""The intensity of a region, by name: from the user's file, from a source on the network, or from the package.

The network is asked only if a source was named, and not where `--offline` or `CATRANSFORMERS_OFFLINE=1` forbids it;
then what the source said before does, however old, and says its age.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from catransformers.carbon.grid import region_intensity
from catransformers.errors import InputError, Problem, Problems, nearest
from catransformers.intensity.cache import Entry, ForecastCache
from catransformers.intensity.hourly import IntensityProfile, Profile
from catransformers.intensity.hourly_csv import read_profiles, shipped_profiles
from catransformers.intensity.http import OFFLINE, Http, environment, is_offline
from catransformers.intensity.time_zones import zone_info
from catransformers.registry import INTENSITY_SOURCES

#: Older forecasts are asked for again; sources renew theirs every five minutes to an hour.
FRESH = timedelta(minutes=30)


def _utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Forecasts:
    """Asks sources, and remembers.

    Args:
        cache: folder of what they said; None for no memory.
        offline: never speak to the network.
        http: how patiently to ask.
        environ: where keys and addresses come from.
        now: the clock (with a time zone).
    """

    cache: Path | None = None
    offline: bool = False
    http: Http = Http()
    environ: Mapping[str, str] = field(default_factory=environment, repr=False)
    now: Callable[[], datetime] = _utc_now

    @property
    def is_offline(self) -> bool:
        """Whether the network may not be asked."""
        return self.offline or is_offline(self.environ)

    def check(self, source: str) -> None:
        """Find out without the network whether a source could be asked.

        Raises:
            InputError: for an unknown source, or a missing or impossible key or address.
        """
        if self.is_offline:
            INTENSITY_SOURCES.find(source).address(self.environ)
        else:
            INTENSITY_SOURCES.find(source).from_environment(self.environ)

    def fetch(self, source: str, zone: str, start: datetime, end: datetime) -> IntensityProfile:
        """What a source forecasts for a zone between `start` and `end`, or as far as it sees.

        Args:
            source: one of `INTENSITY_SOURCES`.
            zone: as the source calls it.
            start, end: with time zones.

        Raises:
            InputError: for an unknown source or zone, a key that is missing or not accepted; offline, if the
                source never said anything of the zone.
            SourceError: if the source gives no usable answer.
        """
        address = INTENSITY_SOURCES.find(source).address(self.environ)
        cache = ForecastCache(self.cache)
        known = cache.load(source, zone, address)
        if self.is_offline:
            if known is None:
                what = f"{source} never said anything of it, and the network may not be asked"
                hint = f"leave out --offline and {OFFLINE}, or give a CSV file"
                raise InputError(Problem(f"region {zone!r}", what, hint=hint))
            return known.profile
        if known is not None and self._is_fresh(known, start, end):
            return known.profile
        client = INTENSITY_SOURCES.find(source).from_environment(self.environ)
        profile = client.fetch(zone, start, end, self.now(), self.http)
        profile = replace(profile, origin=replace(profile.origin, fetched=self.now()))
        cache.keep(source, zone, address, Entry(profile, end))
        return profile

    def _is_fresh(self, known: Entry, start: datetime, end: datetime) -> bool:
        fetched = known.profile.origin.fetched
        young = fetched is not None and timedelta(0) <= self.now() - fetched < FRESH
        reaches = known.profile.end
        # Where the source saw less far than it was asked, it does so again: not every minute that goes by is a reason.
        enough = end <= reaches or (reaches < known.asked_until and end <= known.asked_until + FRESH)
        return young and known.profile.start <= start and enough


def profiles(
    regions: Sequence[str],
    start: datetime,
    end: datetime,
    *,
    files: Sequence[Path] = (),
    source: str | None = None,
    time_zone: str | None = None,
    forecasts: Forecasts,
    keys: tuple[str, str] = ("--profile", "--source"),
) -> list[Profile]:
    """The hourly intensity of each region, in order.

    Args:
        regions: names; with files they may be left out, for all zones of the files.
        start, end: what a source is asked for.
        files: CSV files, see `catransformers.intensity.hourly_csv`. As many as regions: each is its region's, unless it
            names zones itself.
        source: one of `INTENSITY_SOURCES`; with neither files nor source the package's own profiles are used.
        time_zone: local time of zones that neither a file nor the package knows it of, and of a source's.
        forecasts: asks the source.
        keys: what files and source are called where they are given, for messages.

    Raises:
        InputError: with everything that is wrong: files, regions without a profile, keys, zones.
        SourceError: if a source gives no usable answer.
    """
    if time_zone is not None:
        zone_info(time_zone, where="--time-zone")
    if files and source is not None:
        raise InputError(Problem(" and ".join(keys), "are both given", "one of them"))
    if files:
        return _from_files(regions, files, time_zone)
    if not regions:
        raise InputError(Problem("--region", "none given", _ways(keys)))
    problems = Problems()
    found: list[Profile] = []
    for region in regions:
        with problems.collect():
            if source is None:
                found.append(shipped(region, keys))
            else:
                profile = forecasts.fetch(source, region, start, end)
                zone = time_zone or profile.origin.time_zone
                found.append(replace(profile, origin=replace(profile.origin, time_zone=zone)))
    if problems:
        raise InputError(list(dict.fromkeys(problems)))
    return found


def shipped(region: str, keys: tuple[str, str] = ("--profile", "--source")) -> Profile:
    """The package's own hourly profile of a region.

    Raises:
        InputError: if there is none; says which regions have one, and how to give another.
    """
    own = {zone.casefold(): profile for zone, profile in shipped_profiles().items()}
    key = region.strip().casefold()
    if key not in own:
        with contextlib.suppress(InputError):
            key = region_intensity(region).code.casefold()  # California is US-CA
    if key not in own:
        raise InputError(Problem(f"region {region!r}", "has no hourly profile in the package", _ways(keys)))
    return own[key]


def _ways(keys: tuple[str, str]) -> str:
    names = ", ".join(shipped_profiles())
    return f"{names}; or give a CSV file ({keys[0]}), or a source ({keys[1]}: {', '.join(INTENSITY_SOURCES)})"


def _from_files(regions: Sequence[str], files: Sequence[Path], time_zone: str | None) -> list[Profile]:
    problems = Problems()
    found: dict[str, Profile] = {}
    for number, path in enumerate(files):
        zone = regions[number] if len(files) == len(regions) else path.stem
        with problems.collect():
            for profile in read_profiles(_text(path), str(path), zone=zone, time_zone=time_zone):
                name = profile.origin.zone
                if name.casefold() in found:
                    problems.append(Problem(str(path), f"has the zone {name!r}, which another file has too"))
                found[name.casefold()] = profile
    names = [profile.origin.zone for profile in found.values()]
    if not problems:
        problems += [
            Problem(f"region {region!r}", "is not in the files", ", ".join(names), nearest(region, names))
            for region in regions
            if region.casefold() not in found
        ]
    problems.finish()
    return [found[region.casefold()] for region in regions] if regions else list(found.values())


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise InputError(Problem(str(path), f"cannot be read: {reason}", "a CSV file of hourly intensity")) from error
