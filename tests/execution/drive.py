"""Runs the small study in a process of its own, so that it can be killed: `drive.py STUDY.toml FOLDER`."""

import sys
from pathlib import Path

from catransformers.config.study import read
from catransformers.execution.local import LocalExecutor
from catransformers.execution.loop import run_study

config, _ = read(Path(sys.argv[1]))
worker = (sys.executable, str(Path(__file__).with_name("fake_worker.py")))
run_study(config, Path(sys.argv[2]), executor=LocalExecutor(command=worker))
