"""Write a report's folder: all of it or nothing.

The report is built beside its place and then put there, so that a reader, or a crash, never meets a mixture of an
old report and a new one.

```
report.html              everything, in one file
front.svg                the front as a picture
front.csv, front.json    the front as data
designs/01/ …            per design: model.safetensors, model.json, design.json
```
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from catransformers import __version__
from catransformers.errors import InputError, Problem, Problems, writing
from catransformers.execution.results import StudyResults
from catransformers.reports.study.derive import summarise
from catransformers.reports.study.html import render_html
from catransformers.reports.study.narrative import best_within_limits, too_inaccurate
from catransformers.reports.study.static import front_svg
from catransformers.reports.study.summary import Design, StudySummary
from catransformers.reports.study.tables import dumps, estimate_object, front_csv, study_object
from catransformers.reports.wording import plural
from catransformers.study.directory import StudyDirectory

PAGE, DATA = "report.html", "front.json"
MODEL, DESCRIPTION = "model.safetensors", "model.json"
CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class WrittenReport:
    """A report on disk: its folder, the files in it (relative), and what they say."""

    folder: Path
    files: tuple[Path, ...]
    summary: StudySummary

    @property
    def page(self) -> Path:
        """The HTML file."""
        return self.folder / PAGE


def write_report(results: StudyResults, out: Path | None = None, *, checkpoints: bool = True) -> WrittenReport:
    """Write the report of a study, in the place of an older one.

    Args:
        results: the study, finished or not.
        out: the report's folder; by default `report` in the study's own.
        checkpoints: whether to put the front's models in, verified by their SHA-256.

    Raises:
        InfeasibleError, InputError: as `write_summary`.
    """
    folder = results.directory.root / "report" if out is None else out
    summary = summarise(results)
    return WrittenReport(folder, write_summary(summary, results.directory, folder, checkpoints=checkpoints), summary)


def write_summary(
    summary: StudySummary, study: StudyDirectory, out: Path, *, checkpoints: bool = True
) -> tuple[Path, ...]:
    """Write what is known of a study to the folder `out`; returns the files, relative to it.

    Raises:
        InfeasibleError: if no trained model reaches the accuracy that the study asks for.
        InputError: if no trial has been completed, a checkpoint is missing or damaged (all of them named), or `out`
            holds other files or cannot be written.
    """
    if not summary.front:
        best, floor = best_within_limits(summary), summary.limits.floor
        if floor and best is not None and best < floor:
            raise too_inaccurate(floor, best)
        raise InputError(Problem(str(study.root), _nothing(summary)))
    if checkpoints:
        _verify_all(summary, study)
    with writing(out), in_place_of(out) as folder:
        _write(summary, study, folder, checkpoints=checkpoints)
        return tuple(sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file()))


def _nothing(summary: StudySummary) -> str:
    if not summary.trials:
        return "no trial has been completed yet, so there is nothing to report"
    first = f"trial {summary.trials[0].number} says: {summary.trials[0].error}"
    what = "failed" if summary.failed else "of models that no accelerator keeps the limits with"
    return f"{plural(len(summary.trials), 'trial')}, all {what}, so there is nothing to report; {first}"


def _write(summary: StudySummary, study: StudyDirectory, folder: Path, *, checkpoints: bool) -> None:
    places = {design.name: f"designs/{_padded(design)}/{MODEL}" for design in summary.front} if checkpoints else {}
    files = {
        PAGE: render_html(summary, checkpoints=places, version=__version__),
        "front.svg": front_svg(summary),
        "front.csv": front_csv(summary),
        DATA: dumps(study_object(summary)),
    }
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    for design in summary.front:
        own = folder / "designs" / _padded(design)
        own.mkdir(parents=True)
        (own / "design.json").write_text(dumps(estimate_object(design, summary)), encoding="utf-8")
        if checkpoints and design.trial is not None:
            source = study.checkpoint(design.trial)
            _link_or_copy(source, own / MODEL)
            shutil.copyfile(source.with_suffix(".json"), own / DESCRIPTION)


def _padded(design: Design) -> str:
    return f"{int(design.name):02d}"


def _verify_all(summary: StudySummary, study: StudyDirectory) -> None:
    problems = Problems(
        Problem(str(study.checkpoint(design.trial)), fault, hint="--no-checkpoints writes the report without models")
        for design in summary.front
        if design.trial is not None and (fault := checkpoint_fault(study.checkpoint(design.trial)))
    )
    problems.finish()


def checkpoint_fault(path: Path) -> str:
    """What is wrong with a stored model (missing, not the bytes that its JSON describes), or an empty text."""
    try:
        described = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        digest = hashlib.sha256()
        with path.open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                digest.update(chunk)
    except OSError as error:
        return f"{Path(error.filename or path).name} cannot be read: {error.strerror}"
    except ValueError:
        return f"damaged: {path.with_suffix('.json').name} is not JSON"
    expected = described.get("sha256") if isinstance(described, dict) else None
    if digest.hexdigest() != expected:
        return f"damaged: SHA-256 is {digest.hexdigest()}, not {expected} as its .json says"
    return ""


def _link_or_copy(source: Path, target: Path) -> None:
    """The same file at another place without another copy of its bytes, where the file system can."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


@contextmanager
def in_place_of(out: Path) -> Iterator[Path]:
    """An empty folder that takes the place of `out` if all goes well.

    Raises:
        InputError: if `out` holds something else than a report.
    """
    if out.exists() and not out.is_dir():
        raise InputError(Problem(str(out), "is a file", "a folder", "--out"))
    if out.is_dir() and any(out.iterdir()) and not (out / DATA).is_file():
        raise InputError(
            Problem(str(out), "holds other files than a report's", "a new folder or an older report", "--out")
        )
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as temporary:
        fresh, old = Path(temporary, "new"), Path(temporary, "old")
        fresh.mkdir()
        yield fresh
        if out.exists():
            out.replace(old)
        fresh.replace(out)
