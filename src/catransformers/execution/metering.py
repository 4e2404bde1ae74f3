"""Energy records of pieces of work: a meter runs beside each attempt and says every few seconds what was spent so far.

Each attempt at a piece of work has a file of its own beside the request, `energy-<attempt>.json`, so that an attempt
that fails, is killed or is cut off by the end of the loop still counts, up to its last words. The loop commits them
all with the result of the work.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path
from types import MappingProxyType

from catransformers.energy.reading import Reading
from catransformers.energy.recorder import Recorder, start_or_estimate
from catransformers.errors import IntegrityError
from catransformers.execution.messages import REQUEST, Request
from catransformers.files import write_whole
from catransformers.study.records import EnergyJob, EnergyRecord


def energy_file(attempt: str) -> str:
    """The name of an attempt's file; of all attempts' files for `*`."""
    return f"energy-{attempt[:12]}.json"


def record_of(attempt: str, job: EnergyJob, subject: int | None, reading: Reading, *, ended: bool) -> EnergyRecord:
    """A reading as a study keeps it."""
    return EnergyRecord(
        attempt=attempt,
        job=job,
        subject=subject,
        energy_j=reading.energy_j,
        low_j=reading.low_j,
        high_j=reading.high_j,
        measured_j=reading.measured_j,
        quality=reading.quality,
        method=reading.method,
        detail=reading.detail,
        seconds=reading.seconds,
        ended=ended,
    )


def metered(request: Request, folder: Path) -> AbstractContextManager[None]:
    """Keep the energy record of an attempt at a request in its folder, whatever becomes of it."""
    of = {"request_sha256": request.sha256}
    return recorded(folder, request.job, request.subject, measure=request.measure, device=request.device, of=of)


@contextmanager
def recorded(
    folder: Path,
    job: EnergyJob,
    subject: int | None,
    *,
    measure: str,
    device: str,
    of: Mapping[str, str] = MappingProxyType({}),
    note: str = "",
) -> Iterator[None]:
    """Keep the energy record of an attempt at some work in a folder, whatever becomes of it.

    Args:
        folder: where the record lies.
        job, subject: what the work is.
        measure: how it is metered.
        device: where it is done.
        of: kept beside the record, to know it again.
        note: before the record's own detail.
    """
    meter, missing = start_or_estimate(measure, device)
    if meter is None:
        yield
        return
    attempt = uuid.uuid4().hex

    def keep(reading: Reading, ended: bool) -> None:
        noted = replace(reading, detail=missing + note + reading.detail)
        content = {**of, **asdict(record_of(attempt, job, subject, noted, ended=ended))}
        write_whole(folder / energy_file(attempt), json.dumps(content, indent=1, allow_nan=False) + "\n")

    recorder = Recorder(meter, keep)
    try:
        yield
    finally:
        recorder.stop()


def attempts(folder: Path) -> tuple[EnergyRecord, ...]:
    """The energy records of all attempts at the request in a folder; others' and broken ones are left out."""
    try:
        request = Request.read(folder / REQUEST)
    except IntegrityError:
        return ()
    return records(folder, {"request_sha256": request.sha256})


def records(folder: Path, of: Mapping[str, str] = MappingProxyType({})) -> tuple[EnergyRecord, ...]:
    """The energy records in a folder that were kept with `of`; broken ones are left out."""
    found = []
    for path in sorted(folder.glob(energy_file("*"))):
        with suppress(OSError, ValueError, TypeError, KeyError, AttributeError, IntegrityError):  # cut off, say
            content = json.loads(path.read_text(encoding="utf-8"))
            if all(content.pop(key) == value for key, value in of.items()):
                found.append(EnergyRecord(**content))
    return tuple(found)
