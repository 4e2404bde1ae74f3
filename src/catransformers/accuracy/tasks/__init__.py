"""Tasks: what a net is trained and judged on, by name; one file each.

A task gives batches to train on, a few batches to measure importance on, a loss, and two pools to judge on:
`validation`, which a search sees, and `test`, which is looked at once at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Literal, Protocol

from catransformers.errors import InputError, Problem, Problems, unknown_name
from catransformers.registry import Registry

if TYPE_CHECKING:
    from torch import Tensor

    from catransformers.accuracy.metrics.score import Score
    from catransformers.config.sections import AccuracySection
    from catransformers.models.families.net import Batch, Net, Outputs
    from catransformers.models.loading.base import Base

PoolName = Literal["validation", "test"]
#: Called with how many of how many are done.
Progress = Callable[[int, int], None]


class Task(Protocol):
    """Data, splits, loss and measure of one task. All is a function of its arguments: the same seed, the same batches.

    `Batch` and `Outputs` are by name, see `catransformers.models.families.net`.
    """

    @property
    def name(self) -> str:
        """The name under which the task is registered."""
        ...

    @property
    def pairwise(self) -> bool:
        """Whether the loss compares the samples of a batch with one another."""
        ...

    def train_batches(
        self, batch_size: int, seed: int, start: int = 0, *, rank: int = 0, world_size: int = 1
    ) -> Iterator[Batch]:
        """An endless stream of training batches, from batch number `start`; batch n depends on the seed and n only.

        Of several processes each gets its part of every batch, `batch_size` samples over all.
        """
        ...

    def calibration_batches(self, batch_size: int) -> list[Batch]:
        """A finite list of batches, always the same, that neither training nor judging uses."""
        ...

    def loss(self, outputs: Outputs, batch: Batch) -> Tensor:
        """The scalar mean of the batch's samples' losses, in nats."""
        ...

    def evaluate(self, net: Net, pool: PoolName) -> Score:
        """How good a net is on a pool; it is left in its mode.

        Raises:
            InputError: for another name than `validation` and `test`.
        """
        ...

    def check(self, progress: Progress | None = None) -> None:
        """Look at all data once, before anything is trained.

        Args:
            progress: called now and then with how many of how many samples were looked at.

        Raises:
            InputError: for everything that is missing or broken, counted, with examples.
        """
        ...


@dataclass(frozen=True, slots=True)
class TaskKind:
    """A registered task.

    Args:
        opener: `"module:function"`; the function takes a study's accuracy section and base model and gives the task,
            or raises an InputError with everything that is wrong with the data.
        families: the model families that can do it.
        metric: what its accuracy is.
        data: what `accuracy.data` has to be; empty for a task that brings its own data.
        base: the base model that it is made for; empty for any of the families.
        keys: which of `OWN_KEYS` it reads.
    """

    opener: str
    families: tuple[str, ...]
    metric: str
    data: str = ""
    base: str = ""
    keys: tuple[str, ...] = ()


#: Keys of the accuracy section that mean something to some tasks only.
OWN_KEYS = ("class_names", "templates", "tokens")

_HERE = "catransformers.accuracy.tasks"
_CAPTIONS = (
    "images and captions: a CSV file with the columns image and caption, or a folder in the layout of COCO, Flickr, "
    "webdataset shards or a Hugging Face data set on disk"
)
_CLASSES = (
    "images and classes: a folder of images a class, CIFAR's binary files, webdataset shards, or a Hugging Face data "
    "set on disk"
)
_TEXTS = "texts and classes: a CSV or tab-separated file, a folder of GLUE's, or a Hugging Face data set on disk"
_PLAIN = "a text file in UTF-8, or a folder of .txt files"

_OWN: dict[str, TaskKind] = {
    "scenes": TaskKind(f"{_HERE}.scenes:open_task", ("clip",), "recall@1", base="embedded"),
    "digits": TaskKind(f"{_HERE}.offline:open_digits", ("vit",), "accuracy"),
    "docstrings": TaskKind(f"{_HERE}.offline:open_docstrings", ("bert",), "accuracy", keys=("tokens",)),
    "docstrings-language": TaskKind(f"{_HERE}.offline:open_language", ("llama",), "1/perplexity", keys=("tokens",)),
    "retrieval": TaskKind(f"{_HERE}.image_text:open_task", ("clip",), "recall@1", data=_CAPTIONS),
    "zero-shot-classification": TaskKind(
        f"{_HERE}.zero_shot:open_task", ("clip",), "accuracy", data=_CLASSES, keys=("class_names", "templates")
    ),
    "image-classification": TaskKind(f"{_HERE}.image_classes:open_task", ("vit",), "accuracy", data=_CLASSES),
    "text-classification": TaskKind(
        f"{_HERE}.text_classes:open_task", ("bert",), "accuracy", data=_TEXTS, keys=("tokens",)
    ),
    "language-modelling": TaskKind(
        f"{_HERE}.language:open_task", ("llama",), "1/perplexity", data=_PLAIN, keys=("tokens",)
    ),
    "teacher-similarity": TaskKind(
        f"{_HERE}.teacher_similarity:open_task",
        ("clip", "vit", "bert", "llama"),
        "similarity",
        data=f"what the model reads, labels unused; images for CLIP and ViT: {_CAPTIONS}; or {_CLASSES}; texts for "
        f"BERT and Llama: {_TEXTS}; or {_PLAIN}",
        keys=("tokens",),
    ),
}

#: The tasks by name; another package's entry point holds a `TaskKind`.
TASKS: Registry[TaskKind] = Registry(
    "task", "accuracy.task", "catransformers.tasks", _OWN, "catransformers.accuracy.tasks:TaskKind"
)


def task_kind(name: str, where: str = "accuracy.task") -> TaskKind:
    """The task registered as `name`.

    Raises:
        InputError: for an unknown name; the nearest one is offered.
    """
    return TASKS.find(name, where)


def open_task(section: AccuracySection, base: Base) -> Task:
    """A study's task, for this base model's images and vocabulary.

    Raises:
        InputError: for an unknown task, missing or broken data, or a base model that cannot do the task.
    """
    kind = task_kind(section.task)
    problems = Problems()
    if base.net.spec.family not in kind.families or (kind.base and base.name != kind.base):
        what = f"{section.task!r} is made for {kind.base or ', '.join(kind.families)}; {base.name!r} cannot do it"
        able = [
            name
            for name, other in TASKS.items()
            if base.net.spec.family in other.families and other.base in ("", base.name)
        ]
        problems.append(Problem("accuracy.task", what, ", ".join(able)))
    problems += data_problems(section)
    problems.finish()
    opener: Callable[[AccuracySection, Base], Task] = resolve_name(kind.opener)
    return opener(section, base)


def data_problems(section: AccuracySection) -> list[Problem]:
    """What is wrong with `accuracy.data`, and the keys that some tasks have of their own, being there or not."""
    kind = task_kind(section.task)
    problems = [
        Problem(f"accuracy.{key}", f"the task {section.task!r} has no use for it", hint="leave it out")
        for key in OWN_KEYS
        if key not in kind.keys and getattr(section, key) is not None
    ]
    if kind.data and section.data is None:
        problems.append(Problem("accuracy.data", "missing", kind.data))
    if not kind.data and section.data is not None:
        problems.append(Problem("accuracy.data", f"the task {section.task!r} brings its own data", hint="leave it out"))
    return problems


def unknown_pool(name: str) -> InputError:
    """The error for a pool that is neither `validation` nor `test`."""
    return InputError(unknown_name("pool", "pool", name, ("validation", "test")))
