"""A worker that needs no training: the accuracy follows from the dimensions. It can be told to misbehave.

FAKE_DELAY: seconds to take at most. FAKE_HANG, FAKE_CRASH, FAKE_REPORT, FAKE_DIE, FAKE_DIE_ONCE: numbers of trials that
never end, end with a traceback, report a failure, or are killed by a signal (each time, or the first time).
"""

import os
import random
import signal
import sys
import time
from pathlib import Path

from catransformers.execution.messages import Request, Result
from catransformers.execution.metering import metered
from catransformers.execution.trial import stop_with_parent


def told(name, number):
    return str(number) in os.environ.get(name, "").split(",")


def do(path):
    request, folder = Request.read(path), path.parent
    with metered(request, folder):
        work(request, folder)


def work(request, folder):
    (folder / "pid").write_text(str(os.getpid()))
    time.sleep(random.random() * float(os.environ.get("FAKE_DELAY", "0")))
    number = request.subject
    if told("FAKE_HANG", number):
        time.sleep(1000)
    if told("FAKE_CRASH", number):
        print("working on it")
        raise RuntimeError("the moon is in the wrong house")
    if told("FAKE_DIE", number):
        os.kill(os.getpid(), signal.SIGKILL)
    if told("FAKE_DIE_ONCE", number) and not (folder / "died").exists():
        (folder / "died").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    if told("FAKE_REPORT", number):
        Result(request.sha256, error="the loss is not finite at step 3").write(folder)
        return
    size = sum(value / 256 for value in request.dimensions.values())
    accuracy = (0.8 if number is None else 0.9 * size / (size + 1)) - (0.05 if request.job == "test" else 0)
    difference = (None, None) if number is None else (accuracy - 0.8, 0.01)
    if request.job == "trial":
        (folder / "model.safetensors").write_text(str(request.dimensions))
    Result(request.sha256, "", accuracy, 0.01, *difference, {"seed": float(request.seed)}, 0.1).write(folder)


if __name__ == "__main__":
    stop_with_parent()
    do(Path(sys.argv[1]))
