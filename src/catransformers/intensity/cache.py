"""Cache of forecasts on disk, each with its age: a search asks twice an hour and not before every trial.

An entry of the file cache is named by a hash of source, address and zone: no key ever comes near it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from catransformers.carbon.grid import Basis
from catransformers.file_cache import FileCache
from catransformers.intensity.hourly import IntensityProfile, Provenance

SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Entry:
    """A profile as it was fetched (`profile.origin.fetched` says when), and until when it was asked for."""

    profile: IntensityProfile
    asked_until: datetime


@dataclass(frozen=True, slots=True)
class ForecastCache:
    """The entries in a folder; without a folder there are none."""

    folder: Path | None

    def load(self, source: str, zone: str, address: str) -> Entry | None:
        """The entry of a source's zone, or None."""
        return self._files.load(_key(source, zone, address), lambda content: _entry(json.loads(content)))

    def keep(self, source: str, zone: str, address: str, entry: Entry) -> None:
        """Put an entry in the place of an older one; a folder that cannot be written is no cache, and no error."""
        origin = asdict(entry.profile.origin)
        origin["fetched"] = origin["fetched"].isoformat() if origin["fetched"] else None
        data = {
            "schema": SCHEMA,
            "source": source,
            "asked_until": entry.asked_until.isoformat(),
            "origin": origin,
            "start": entry.profile.start.isoformat(),
            "step_s": entry.profile.step_s,
            "intensity_kg_per_kwh": entry.profile.intensity_kg_per_kwh,
        }
        with suppress(OSError):
            self._files.store(_key(source, zone, address), (json.dumps(data) + "\n").encode())

    @property
    def _files(self) -> FileCache:
        return FileCache(self.folder, ".json")


def _key(source: str, zone: str, address: str) -> str:
    return hashlib.sha256(json.dumps([source, address, zone]).encode()).hexdigest()


def _entry(data: Mapping[str, Any]) -> Entry:
    if data["schema"] != SCHEMA:
        raise ValueError("written by another version")
    origin = dict(data["origin"])
    origin["basis"] = Basis(**origin["basis"])
    origin["fetched"] = datetime.fromisoformat(origin["fetched"])
    values = tuple(float(value) for value in data["intensity_kg_per_kwh"])
    profile = IntensityProfile(Provenance(**origin), datetime.fromisoformat(data["start"]), data["step_s"], values)
    asked_until = datetime.fromisoformat(data["asked_until"])
    if profile.origin.fetched is None or profile.origin.fetched.tzinfo is None or asked_until.tzinfo is None:
        raise ValueError("a time without its zone")
    return Entry(profile, asked_until)
