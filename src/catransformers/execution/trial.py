"""The worker process: `python -m catransformers.execution.trial trials/0007/request.json`.

Does one request and writes `result.json` beside it, last of all and whole. A failure that the trial understands (a
loss that diverges) is a result; anything else ends the process with a traceback in its log, and the loop records it.
What the work took is written beside it every few seconds (see `metering`), so that failures and kills count too.
"""

from __future__ import annotations

import os
import stat
import sys
import threading
import time
from pathlib import Path

from catransformers.errors import CatransformersError
from catransformers.execution.messages import Request, Result, read_result
from catransformers.execution.metering import metered


def stop_with_parent() -> None:
    """End this process as soon as standard input, a pipe, ends: the loop that held its other end is gone."""
    if not stat.S_ISFIFO(os.fstat(0).st_mode):
        return  # started by hand

    def watch() -> None:
        while os.read(0, 1024):
            pass
        os._exit(1)

    threading.Thread(target=watch, daemon=True, name="stop-with-parent").start()


def main(arguments: list[str]) -> int:
    """Do the request in the file that the one argument names."""
    path = Path(arguments[0]).resolve()
    stop_with_parent()
    request = Request.read(path)
    folder = path.parent
    if read_result(folder, request) is not None:
        return 0
    started = time.monotonic()
    with metered(request, folder):
        from catransformers.execution.work import do  # noqa: PLC0415 - imports torch, seconds

        try:
            result = do(request, folder)
        except CatransformersError as error:
            result = Result(request.sha256, error=str(error), seconds=time.monotonic() - started)
    result.write(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
