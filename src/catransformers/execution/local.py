"""Local executor: one worker process a job on this machine, started, watched and, if need be, stopped.

A worker's standard input is a pipe that only the loop holds open: when the loop ends, however it ends, the worker
reads the end of the pipe and stops. So a killed loop leaves no orphans (see `trial.stop_with_parent`).
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from catransformers.execution.messages import LOG

WORKER = (sys.executable, "-m", "catransformers.execution.trial")
POLL_S = 0.02
GRACE_S = 5.0
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")


@dataclass(frozen=True, slots=True)
class Ended:
    """A worker process that is no more: its request file and its exit status (negative: killed by that signal)."""

    request: Path
    status: int


class Executor(Protocol):
    """Whoever does the work: starts jobs and says which have ended.

    A job is `WORKER` run with the path of its request file. It must end when the loop ends, however that ends; what it
    prints goes to `LOG` beside the request. To add one: a class that is made from the number of threads of each job,
    and its row in `catransformers.registry`, or in another package's entry points, group `catransformers.executors`.
    """

    def start(self, request: Path) -> None:
        """Start the job of a request file."""
        ...

    def wait(self) -> list[Ended]:
        """Wait until at least one job has ended; those that have."""
        ...

    def stop(self) -> None:
        """End all running jobs now."""
        ...


class LocalExecutor:
    """One process a job on this machine.

    Args:
        threads: for each process.
        command: what to run; the request file's path is added.
    """

    def __init__(self, threads: int = 1, command: Sequence[str] = WORKER) -> None:
        self.command = tuple(command)
        self.environment = {**os.environ, **dict.fromkeys(THREAD_VARIABLES, str(threads))}
        self._running: dict[Path, subprocess.Popen[bytes]] = {}

    def start(self, request: Path) -> None:
        """Start the job of a request file; what the process prints goes to `log.txt` beside it."""
        with (request.parent / LOG).open("wb") as log:
            self._running[request] = subprocess.Popen(
                [*self.command, str(request)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self.environment,
                start_new_session=True,  # Ctrl-C reaches the loop alone, which then stops its workers
            )

    def wait(self) -> list[Ended]:
        """Wait until at least one job has ended; those that have."""
        while self._running:
            ended = []
            for request, process in self._running.items():
                status = process.poll()
                if status is not None:
                    ended.append(Ended(request, status))
            for job in ended:
                _close(self._running.pop(job.request))
            if ended:
                return ended
            time.sleep(POLL_S)
        return []

    def stop(self) -> None:
        """End all running jobs now."""
        for process in self._running.values():
            process.terminate()
        deadline = time.monotonic() + GRACE_S
        for process in self._running.values():
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            _close(process)
        self._running.clear()


def _close(process: subprocess.Popen[bytes]) -> None:
    if process.stdin is not None:
        process.stdin.close()
