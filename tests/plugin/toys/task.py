"""The scenes under another name."""

from catransformers.accuracy.tasks import TaskKind
from catransformers.accuracy.tasks.scenes import ScenesTask


class ToyTask(ScenesTask):
    name = "toy-scenes"


def open_task(section, base):
    return ToyTask()


TASK = TaskKind("toys.task:open_task", ("clip",), "recall@1", base="embedded")
