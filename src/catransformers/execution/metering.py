"""Energy records of pieces of work: a meter runs beside the work and says every few seconds what was spent so far.

Each attempt at a piece of work has a file of its own beside the request, `energy-<attempt>.json`, so that an attempt
that fails, is killed or is cut off by the end of the loop still counts, up to its last words. The loop commits them
all with the result of the work.
"""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path

from catransformers.energy.choose import Together, start_meter
from catransformers.energy.reading import MeterUnavailableError, Reading
from catransformers.errors import IntegrityError
from catransformers.execution.messages import REQUEST, Request
from catransformers.files import write_whole
from catransformers.study.records import EnergyJob, EnergyRecord

KEEP_S = 2.0  # a killed attempt loses at most this much of its energy record


def energy_file(attempt: str) -> str:
    """The name of an attempt's file; of all attempts' files for `*`."""
    return f"energy-{attempt[:12]}.json"


class Recorder:
    """A started meter, sampled in the background.

    Args:
        meter: started.
        keep: told the reading so far, every `KEEP_S` and at the end.
    """

    def __init__(self, meter: Together, keep: Callable[[Reading, bool], None] | None = None) -> None:
        self._meter, self._keep = meter, keep
        self._lock, self._end = threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="energy-meter")
        self._say(ended=False)
        self._thread.start()

    def _run(self) -> None:
        period = min(self._meter.interval_s, KEEP_S)
        unsaid = 0.0
        while not self._end.wait(period):
            with self._lock:
                self._meter.sample()
            unsaid += period
            if unsaid >= KEEP_S:
                self._say(ended=False)
                unsaid = 0.0

    def _say(self, *, ended: bool, last: Reading | None = None) -> None:
        if self._keep is not None:
            with suppress(OSError):  # a full disk is the work's to complain of
                self._keep(last or self.reading(), ended)

    def reading(self) -> Reading:
        """What was spent so far."""
        with self._lock:
            return self._meter.reading()

    def sampled(self) -> Reading:
        """What was spent up to this moment."""
        with self._lock:
            self._meter.sample()
            return self._meter.reading()

    def stop(self) -> Reading:
        """End, and say what was spent."""
        self._end.set()
        self._thread.join()
        with self._lock:
            last = self._meter.stop()
        self._say(ended=True, last=last)
        return last


def begin(measure: str, device: str) -> tuple[Together | None, str]:
    """A started meter; where the one that is asked for cannot be used, the estimate, and words that say so."""
    try:
        return start_meter(measure, device), ""
    except MeterUnavailableError as error:
        return start_meter("estimate", device), f"{measure} was asked for but cannot be used here ({error.reason}); "


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


@contextmanager
def metered(request: Request, folder: Path) -> Iterator[None]:
    """Keep the energy record of an attempt at a request in its folder, whatever becomes of it."""
    meter, note = begin(request.measure, request.device)
    if meter is None:
        yield
        return
    attempt = uuid.uuid4().hex

    def keep(reading: Reading, ended: bool) -> None:
        noted = replace(reading, detail=note + reading.detail)
        record = record_of(attempt, request.job, request.subject, noted, ended=ended)
        content = {"request_sha256": request.sha256, **asdict(record)}
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
    found = []
    for path in sorted(folder.glob(energy_file("*"))):
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if content.pop("request_sha256") == request.sha256:
                found.append(EnergyRecord(**content))
        except (OSError, ValueError, TypeError, KeyError, AttributeError, IntegrityError):
            continue
    return tuple(found)
