"""The scenes under another name, and few of them."""

from functools import cache

import numpy as np

from catransformers.accuracy.metrics.retrieval import RetrievalPool
from catransformers.accuracy.tasks import TaskKind, unknown_pool
from catransformers.accuracy.tasks.scenes import ScenesTask, draw_pairs


@cache
def drawn(split, groups):
    _, images, tokens = draw_pairs(groups, 4, split, np.random.default_rng(0))
    return images, tokens


class ToyTask(ScenesTask):
    name = "toy-scenes"

    def pool(self, name):
        if name not in ("validation", "test"):
            raise unknown_pool(name)
        return RetrievalPool(*drawn(name, 10), np.repeat(np.arange(10), 4))

    def calibration_batches(self, batch_size):
        parts = zip(*(tensor.split(batch_size) for tensor in drawn("calibration", 8)), strict=True)
        return [{"images": images, "tokens": tokens} for images, tokens in parts]


def open_task(section, base):
    return ToyTask()


TASK = TaskKind("toys.task:open_task", ("clip",), "recall@1", base="embedded")
