"""Background recorder of an energy meter: it says every few seconds what was spent so far."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress

from catransformers.energy.choose import Together, start_meter
from catransformers.energy.reading import MeterUnavailableError, Reading

KEEP_S = 2.0  # work that is killed loses at most this much of its energy record


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


def start_or_estimate(measure: str, device: str) -> tuple[Together | None, str]:
    """A started meter; where the one that is asked for cannot be used, the estimate, and words that say so."""
    try:
        return start_meter(measure, device), ""
    except MeterUnavailableError as error:
        return start_meter("estimate", device), f"{measure} was asked for but cannot be used here ({error.reason}); "
