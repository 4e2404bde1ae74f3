"""A small study, and a worker for it that trains nothing."""

import sys
from dataclasses import replace
from pathlib import Path

import fake_worker
import pytest

from catransformers.config.study import parse
from catransformers.execution.local import Ended, LocalExecutor
from catransformers.execution.messages import LOG

FAKE_WORKER = Path(__file__).with_name("fake_worker.py")

STUDY = """
name = "tiny"
[model.space]
"vision.ffn_dim" = { values = [128, 256] }
"vision.embed_dim" = { values = [48, 64] }
"text.ffn_dim" = { values = [128, 256] }
"text.embed_dim" = { values = [48, 64] }
"text.layers" = { values = [3, 6] }
"vision.layers" = { values = [3, 6] }
[hardware]
space = "micro"
[hardware.dimensions]
cores = [1]
pe_x = [8]
pe_y = [4]
local_kib = [2, 16]
local_bandwidth = [32]
global_mib = [0.25, 1]
[scenario]
base = "always-on"
[search]
trials = 10
strategy = "sobol"
[execution]
workers = 2
"""


@pytest.fixture(scope="session", autouse=True)
def cost_cache(tmp_path_factory):
    """Costs are worked out once for all tests, here and in the processes that they start."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CATRANSFORMERS_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def study():
    """Makes the small study; keyword arguments change keys, `search__trials=3`."""

    def made(**changes):
        config, problems = parse(STUDY, "tiny.toml")
        assert not problems
        for key, value in changes.items():
            section, _, name = key.partition("__")
            part = replace(getattr(config, section), **{name: value})
            config = replace(config, **{section: part})
        return config

    return made


class CountingExecutor(LocalExecutor):
    """Has the fake worker's work done, and remembers what it was asked to do.

    In this process, which takes a tenth of the time; in processes of its own where the worker is told to misbehave.
    """

    def __init__(self):
        super().__init__(command=(sys.executable, str(FAKE_WORKER)))
        self.started, self.done = [], []

    def start(self, request):
        self.started.append(f"{request.parent.parent.name}/{request.parent.name}")
        if any(name.startswith("FAKE_") for name in self.environment):
            super().start(request)
            return
        (request.parent / LOG).touch()
        fake_worker.do(request)
        self.done.append(Ended(request, 0))

    def wait(self):
        done, self.done = self.done, []
        return done or super().wait()


@pytest.fixture
def fake():
    """A new executor of the fake worker."""
    return CountingExecutor()
