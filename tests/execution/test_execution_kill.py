"""Real kills of real processes: no committed trial is lost, no worker is left behind, the end is the same."""

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from catransformers.execution.loop import run_study
from catransformers.execution.results import load_study

DRIVE = Path(__file__).with_name("drive.py")
PATIENCE_S = 120


def wait_until(condition):
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def committed(folder):
    try:
        with sqlite3.connect(f"file:{folder / 'study.db'}?mode=ro", uri=True) as connection:
            return connection.execute("SELECT COUNT(*) FROM trials").fetchone()[0]
    except sqlite3.OperationalError:  # not there yet
        return 0


def told(results):
    return (
        [(t.number, t.dimensions, t.status, t.accuracy, t.metrics, t.proposal) for t in results.trials],
        [(m.trial.number, m.design) for m in results.front],
        results.evaluations,
    )


def begin(config, tmp_path, folder, **environment):
    path = tmp_path / "study.toml"
    path.write_text(config.to_toml())
    return subprocess.Popen(
        [sys.executable, str(DRIVE), str(path), str(folder)], env={**os.environ, **environment}, start_new_session=True
    )


def alive(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_killed_three_times_the_study_ends_the_same(study, fake, tmp_path):
    config = study(search__strategy="exact-hardware", search__trials=11)
    whole = run_study(config, tmp_path / "whole", executor=fake)
    folder, pause = tmp_path / "killed", random.Random()
    for least in (2, 5, 8):
        before = load_study(folder).trials if committed(folder) else ()
        process = begin(config, tmp_path, folder, FAKE_DELAY="0.5")
        wait_until(lambda least=least: committed(folder) >= least)
        time.sleep(pause.random() * 0.5)
        os.kill(process.pid, signal.SIGKILL)
        assert process.wait(PATIENCE_S) == -signal.SIGKILL
        after = load_study(folder).trials
        assert [t for t in after if t in before] == list(before)
    assert begin(config, tmp_path, folder).wait(PATIENCE_S) == 0
    assert told(load_study(folder)) == told(whole)


@pytest.mark.skipif(not Path("/proc").exists(), reason="looks at processes in /proc")
@pytest.mark.usefixtures("ctrl_c")
@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGINT])
def test_no_worker_outlives_the_loop_and_none_of_its_work_counts(study, fake, tmp_path, sent):
    config, folder = study(search__trials=3), tmp_path / "s"
    process = begin(config, tmp_path, folder, FAKE_HANG="1")
    worker = folder / "trials" / "0001" / "pid"
    wait_until(lambda: worker.exists() and worker.read_text())
    pid = int(worker.read_text())
    assert alive(pid)
    process.send_signal(sent)
    assert process.wait(PATIENCE_S) != 0
    wait_until(lambda: not alive(pid))
    assert not any(t.number == 1 or t.status == "failed" for t in load_study(folder).trials)
    assert told(run_study(config, folder, executor=fake)) == told(run_study(config, tmp_path / "whole", executor=fake))
