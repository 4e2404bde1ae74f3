"""What tests everywhere may need of the process that they run in."""

import signal

import pytest


@pytest.fixture
def ctrl_c():
    """Ctrl-C interrupts this process and those it starts, even where whoever started the tests ignores it.

    `nohup`, cron, a shell's background jobs and some CI hand an ignored SIGINT on, and Python leaves it ignored.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
