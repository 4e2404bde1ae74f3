"""A small finished study for the verbs that go on from one; made once, in this process, and copied for each test."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

from catransformers.cli import main

STUDY = """
name = "tiny"
[model]
base = "small-vit"
[model.space]
layers = { values = [3, 6] }
ffn_dim = { values = [96, 192] }
[hardware]
space = "micro"
[hardware.dimensions]
cores = [1]
pe_x = [4, 16]
pe_y = [4]
local_kib = [2]
local_bandwidth = [32]
global_mib = [0.25, 1.0]
[scenario]
base = "always-on"
[objectives]
mode = "carbon"
[accuracy]
task = "digits"
steps = 2
batch_size = 32
pool_samples = 60
[search]
trials = 3
[execution]
measure = "estimate"
"""
FAILED = 2  # the trial that comes to nothing


class Here:
    """An executor that works in this very process when it is asked to wait; one trial fails."""

    def __init__(self) -> None:
        self.requests: list[Path] = []

    def start(self, request: Path) -> None:
        self.requests.append(request)

    def wait(self) -> list[object]:
        from catransformers.execution.local import Ended
        from catransformers.execution.messages import Request, Result
        from catransformers.execution.metering import metered
        from catransformers.execution.work import do

        ended = []
        for path in self.requests:
            request = Request.read(path)
            if (request.job, request.subject) == ("trial", FAILED):
                result = Result(request.sha256, error="the fine-tune diverged at step 1 of 2")
            else:
                with metered(request, path.parent):
                    result = do(request, path.parent)
            result.write(path.parent)
            ended.append(Ended(path, 0))
        self.requests = []
        return ended

    def stop(self) -> None:
        self.requests = []


@pytest.fixture(scope="session")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from catransformers.config.study import parse
    from catransformers.execution.loop import run_study

    folder = tmp_path_factory.mktemp("pristine") / "study"
    config, problems = parse(STUDY, "study.toml")
    assert problems == []
    results = run_study(config, folder, executor=Here())
    assert [trial.accuracy is None for trial in results.trials] == [False, False, True]
    return folder


@pytest.fixture
def study(pristine: Path, tmp_path: Path) -> Path:
    """A copy of the study: trials 0 and 1 are finished, trial 2 failed."""
    return Path(shutil.copytree(pristine, tmp_path / "study"))


class Said(tuple):
    """Exit code, standard output and standard error of a command."""

    __slots__ = ()
    code = property(lambda self: self[0])
    out = property(lambda self: self[1])
    err = property(lambda self: self[2])

    @property
    def data(self) -> dict:
        return json.loads(self[1])


@pytest.fixture
def run() -> Callable[..., Said]:
    def runner(*arguments: object) -> Said:
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as ended:
            main([str(a) for a in arguments])
        assert "Traceback" not in err.getvalue()
        return Said((ended.value.code, out.getvalue(), err.getvalue()))

    return runner
