"""Job queue: requests in, results out, whatever happens to the worker processes in between."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from catransformers.execution.local import Ended, Executor
from catransformers.execution.messages import LOG, RESULT, Request, Result, read_result

TAIL_LINES, TAIL_CHARACTERS = 15, 2000
TRIES = 2  # a worker killed by a signal (out of memory, an impatient colleague) gets one more chance


@dataclass(frozen=True, slots=True)
class Done:
    """A finished job; `result.error` says so if it failed."""

    request: Request
    result: Result


class Jobs:
    """Runs requests on an executor. A result that is already there is handed out without running anything."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._running: dict[Path, Request] = {}
        self._tries: dict[Path, int] = {}
        self._ready: list[Done] = []

    def __len__(self) -> int:
        return len(self._running) + len(self._ready)

    def start(self, request: Request, folder: Path) -> None:
        """Have a request done in its folder."""
        path = request.write(folder)
        result = read_result(folder, request)
        if result is not None and (result.accuracy is not None or request.job == "trial"):
            self._ready.append(Done(request, result))
            return
        (folder / RESULT).unlink(missing_ok=True)  # of another request, or a failure that is worth another try
        self._running[path] = request
        self._tries[path] = 1
        self._executor.start(path)

    def wait(self) -> list[Done]:
        """Wait until at least one request is done; empty if none is under way."""
        while self._running and not self._ready:
            for ended in self._executor.wait():
                self._settle(ended)
        ready, self._ready = self._ready, []
        return ready

    def stop(self) -> None:
        """End everything under way; nothing of it is kept but what was finished."""
        self._executor.stop()
        self._running.clear()

    def _settle(self, ended: Ended) -> None:
        request = self._running.pop(ended.request)
        result = read_result(ended.request.parent, request)
        if result is None and ended.status < 0 and self._tries[ended.request] < TRIES:
            self._tries[ended.request] += 1
            self._running[ended.request] = request
            self._executor.start(ended.request)
            return
        if result is None:
            result = Result(request.sha256, error=_obituary(ended))
        self._ready.append(Done(request, result))


def _obituary(ended: Ended) -> str:
    """How a worker ended and the last lines of its log."""
    how = f"was killed by signal {-ended.status}" if ended.status < 0 else f"ended with status {ended.status}"
    try:
        log = (ended.request.parent / LOG).read_text(encoding="utf-8", errors="replace")
    except OSError:
        log = ""
    tail = "\n".join(log.rstrip().splitlines()[-TAIL_LINES:])[-TAIL_CHARACTERS:]
    return f"the worker process {how}" + (f"; its log ends:\n{tail}" if tail else " and left no log")


def failed(done: Done) -> bool:
    """Whether a job gave no accuracy."""
    return done.result.accuracy is None
