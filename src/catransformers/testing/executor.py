"""The conformance kit of an executor.

    class TestMine(ExecutorConformance):
        def place(self): return "my_package.cluster:ClusterExecutor"

The class takes the threads of each job, and `command`: what to run instead of the worker, with the request's path
added. An executor that passes loses no job and leaves none behind.
"""

from __future__ import annotations

import subprocess
import sys
import time
from abc import ABC, abstractmethod
from pathlib import Path
from pkgutil import resolve_name
from tempfile import TemporaryDirectory

from catransformers.execution.local import Executor
from catransformers.execution.messages import LOG

_PATIENCE_S, _QUIET_S = 60.0, 1.5
_SAYS = "import sys; print('said'); sys.exit(int(open(sys.argv[1]).read()))"
_KILLED = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
#: A worker that writes the time into `alive` beside its request until it is ended.
_LIVES = """
import sys, time
from pathlib import Path
from catransformers.execution.trial import stop_with_parent
stop_with_parent()
for n in range(6000):
    Path(sys.argv[1]).with_name("alive").write_text(str(n))
    time.sleep(0.05)
"""
_LOOP = """
import sys, time
from pathlib import Path
from pkgutil import resolve_name
executor = resolve_name(sys.argv[1])(1, command=(sys.executable, "-c", sys.argv[3]))
executor.start(Path(sys.argv[2]))
time.sleep(600)
"""


class ExecutorConformance(ABC):
    """All that an executor must do. Inherit it, and say what `place` is."""

    @abstractmethod
    def place(self) -> str:
        """The executor's class, `"module:attribute"`."""

    def test_jobs_end_with_their_status(self) -> None:
        """Every job started is told as ended once, with its exit status and its log."""
        with TemporaryDirectory() as folder:
            executor = self._made(_SAYS)
            requests = {_request(Path(folder), str(status)): status for status in (0, 3)}
            for request in requests:
                executor.start(request)
            ended: dict[Path, int] = {}
            while len(ended) < len(requests):
                found = executor.wait()
                assert found, f"{len(requests) - len(ended)} jobs are lost"
                ended |= {job.request: job.status for job in found}
            assert ended == requests, f"{ended}, not {requests}"
            assert executor.wait() == [], "with nothing running it still waits, or tells of jobs"
            for request in requests:
                assert "said" in request.with_name(LOG).read_text(), "what a job prints is not in its log"

    def test_a_killed_job_is_told(self) -> None:
        """A job that the system kills has ended, and not well; the next one runs."""
        with TemporaryDirectory() as folder:
            executor = self._made(_KILLED)
            for name in ("first", "second"):
                request = _request(Path(folder), name)
                executor.start(request)
                (ended,) = executor.wait()
                assert ended.request == request, "another job is told"
                assert ended.status != 0, "a killed job is told as a good one"

    def test_stop_ends_what_runs(self) -> None:
        """After `stop` nothing runs; to stop twice, or with nothing running, is no error."""
        with TemporaryDirectory() as folder:
            executor = self._made(_LIVES)
            executor.stop()
            request = _request(Path(folder), "job")
            executor.start(request)
            _await(request)
            executor.stop()
            executor.stop()
            assert _still(request), "a job goes on after `stop`"
            assert executor.wait() == [], "a stopped job is still waited for"

    def test_a_killed_loop_leaves_no_orphans(self) -> None:
        """When the process that started a job is killed, the job ends."""
        with TemporaryDirectory() as folder:
            request = _request(Path(folder), "job")
            command = [sys.executable, "-c", _LOOP, self.place(), str(request), _LIVES]
            loop = subprocess.Popen(command)
            try:
                _await(request)
            finally:
                loop.kill()
                loop.wait()
            assert _still(request), "the job goes on after its loop was killed"

    def _made(self, code: str) -> Executor:
        made: Executor = resolve_name(self.place())(1, command=(sys.executable, "-c", code))
        return made


def _request(folder: Path, text: str) -> Path:
    place = folder / text
    place.mkdir()
    request = place / "request.json"
    request.write_text(text)
    return request


def _await(request: Path) -> None:
    """Wait until the job lives."""
    deadline = time.monotonic() + _PATIENCE_S
    while not request.with_name("alive").exists():
        assert time.monotonic() < deadline, "the job did not start"
        time.sleep(0.02)


def _still(request: Path) -> bool:
    """Whether the job has ended, or does so in time: nothing is written for a while."""
    alive, deadline = request.with_name("alive"), time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline:
        before = alive.read_text()
        time.sleep(_QUIET_S)
        if alive.read_text() == before:
            return True
    return False
