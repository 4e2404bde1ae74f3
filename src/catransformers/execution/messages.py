"""Messages between the loop and its worker processes: a request file in, a result file out.

Both are JSON, written whole or not at all. A result names the request it answers by its SHA-256, so that a result
that was finished but not yet committed when the loop died is recognised afterwards, and one of another study is not.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from catransformers.config.sections import AccuracySection, ModelSection
from catransformers.errors import IntegrityError
from catransformers.files import write_whole
from catransformers.study.records import finite

if TYPE_CHECKING:
    from catransformers.config.study import StudyConfig

Job = Literal["base", "trial", "test"]

REQUEST, RESULT, LOG = "request.json", "result.json", "log.txt"


@dataclass(frozen=True, slots=True)
class Request:
    """One piece of work; its files go beside the request.

    Args:
        job: `base` measures the base model and the importance of its parts, `trial` prunes, fine-tunes and evaluates,
            `test` evaluates a finished model on the test pool.
        subject: number of the trial; None for the base model.
        dimensions: of the model; empty for the base model.
        model: the study's section, as plain data.
        accuracy: the study's section, as plain data.
        seed: of everything random.
        device: `cpu` or `cuda`.
        threads: of the worker process.
        measure: how to meter the energy of the work; the result does not depend on it.
    """

    job: Job
    subject: int | None
    dimensions: Mapping[str, int]
    model: Mapping[str, Any]
    accuracy: Mapping[str, Any]
    seed: int
    device: str = "cpu"
    threads: int = 1
    measure: str = "auto"

    @property
    def content(self) -> dict[str, Any]:
        """All that the result depends on, as plain data."""
        content = {name: value for name, value in asdict(self).items() if name != "measure"}
        content["accuracy"].pop("workers", None)  # batches are the same for any number
        return content

    @property
    def sha256(self) -> str:
        """What identifies the request: a hash of all that the result depends on."""
        return hashlib.sha256(json.dumps(self.content, sort_keys=True).encode()).hexdigest()

    @property
    def model_section(self) -> ModelSection:
        """The study's section on the model."""
        return ModelSection.read(self.model, "model.")

    @property
    def accuracy_section(self) -> AccuracySection:
        """The study's section on accuracy."""
        return AccuracySection.read(self.accuracy, "accuracy.")

    def write(self, folder: Path) -> Path:
        """Put the request into its folder."""
        path = folder / REQUEST
        write_whole(path, json.dumps(asdict(self), indent=1) + "\n")
        return path

    @classmethod
    def read(cls, path: Path) -> Request:
        """The request in a file.

        Raises:
            IntegrityError: if it is not one.
        """
        try:
            return cls(**json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise IntegrityError(f"{path}: not a request: {error}") from error


def request_of(config: StudyConfig, job: Job, subject: int | None, dimensions: Mapping[str, int]) -> Request:
    """The request for one piece of a study's work; holds what the result depends on, and how to meter the work."""
    return Request(
        job=job,
        subject=subject,
        dimensions=dict(dimensions),
        model=config.model.to_dict("space"),
        accuracy=config.accuracy.to_dict(),
        seed=config.search.seed,
        device=config.execution.device,
        threads=config.execution.threads_per_worker,
        measure=config.execution.measure,
    )


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a request; all numbers finite.

    Args:
        request_sha256: the request that it answers.
        error: why there is no accuracy; empty where there is one.
        accuracy: 0 … 1, None after an error.
        standard_error: of the accuracy.
        difference: to the base model on the same pool, pair by pair.
        difference_se: its standard error.
        metrics: further numbers by name.
        seconds: that the work took.
    """

    request_sha256: str
    error: str = ""
    accuracy: float | None = None
    standard_error: float | None = None
    difference: float | None = None
    difference_se: float | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    seconds: float = 0.0

    def write(self, folder: Path) -> None:
        """Put the result beside its request; this says that the work is done.

        Raises:
            IntegrityError: if a number is not finite.
        """
        numbers = {name: getattr(self, name) for name in ("accuracy", "standard_error", "difference", "difference_se")}
        finite(f"the result in {folder}", {**numbers, **self.metrics, "seconds": self.seconds})
        write_whole(folder / RESULT, json.dumps(asdict(self), indent=1, allow_nan=False) + "\n")


def read_result(folder: Path, request: Request) -> Result | None:
    """The finished result of this very request; None if there is none (or one of another request, or a broken one)."""
    try:
        result = Result(**json.loads((folder / RESULT).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    return result if result.request_sha256 == request.sha256 else None
