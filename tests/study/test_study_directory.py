"""A study's folder: one writer at a time."""

import os
import signal
import subprocess
import sys

import pytest

from catransformers.errors import InputError
from catransformers.study.directory import StudyBusyError, StudyDirectory

HOLD = "import sys, time; from pathlib import Path; from catransformers.study.directory import StudyDirectory\n"
HOLD += "with StudyDirectory(Path(sys.argv[1])).lock(): print('held', flush=True); time.sleep(60)"


def test_a_second_writer_is_told_so_and_a_killed_one_leaves_no_lock(tmp_path):
    directory = StudyDirectory(tmp_path)
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(StudyBusyError, match="another process is working on this study"), directory.lock():
        pass
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait(60)
    holder.stdout.close()
    with directory.lock():
        assert (tmp_path / "study.lock").exists()
    with directory.lock():  # given back
        pass


def test_names(tmp_path):
    directory = StudyDirectory(tmp_path)
    assert directory.trial(7) == tmp_path / "trials" / "0007"
    assert directory.checkpoint(7) == tmp_path / "trials" / "0007" / "model.safetensors"
    assert directory.test(None) == tmp_path / "tests" / "base"


def test_a_lock_that_cannot_be_made_is_an_input_error(tmp_path):
    (tmp_path / "study.lock").mkdir()
    with pytest.raises(InputError, match=r"study\.lock: cannot be written"), StudyDirectory(tmp_path).lock():
        pass
