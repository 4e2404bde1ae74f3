"""Tasks: what a model is trained and judged on, by name.

A task gives batches to train on, a few batches to measure importance on, and two pools to judge on: `validation`, which
a search sees, and `test`, which is looked at once at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal, Protocol

from torch import Tensor

from catransformers.accuracy.retrieval import RetrievalPool
from catransformers.errors import InputError, unknown_name

Batch = tuple[Tensor, Tensor]  # images (b, 3, height, width) and token ids (b, context)
PoolName = Literal["validation", "test"]


class Task(Protocol):
    """Data and splits of one task. All of it is a function of its arguments: the same seed, the same batches."""

    @property
    def name(self) -> str:
        """The name under which the task is registered."""
        ...

    def train_batches(self, batch_size: int, seed: int) -> Iterator[Batch]:
        """An endless stream of training batches; no two pairs of a batch show the same thing."""
        ...

    def calibration_batches(self, batch_size: int) -> list[Batch]:
        """A finite list of batches, always the same, that neither training nor judging uses."""
        ...

    def pool(self, name: PoolName) -> RetrievalPool:
        """The pairs to judge a model on."""
        ...


def _scenes() -> Task:
    from catransformers.accuracy.tasks.scenes import ScenesTask  # noqa: PLC0415 - needs scikit-learn, only here

    return ScenesTask()


#: Tasks that need no data of the user, by name.
TASKS: dict[str, Callable[[], Task]] = {"scenes": _scenes}


def named_task(name: str) -> Task:
    """The task registered as `name`.

    Raises:
        InputError: for an unknown name; the nearest one is offered.
    """
    if name not in TASKS:
        raise InputError(unknown_name("accuracy.task", "task", name, TASKS))
    return TASKS[name]()
