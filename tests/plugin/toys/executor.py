"""Processes on this machine that leave a mark beside their request."""

from catransformers.execution.local import WORKER, LocalExecutor


class ToyExecutor(LocalExecutor):
    def __init__(self, threads=1, command=WORKER):
        super().__init__(threads, command)

    def start(self, request):
        super().start(request)
        request.with_name("toy").touch()
