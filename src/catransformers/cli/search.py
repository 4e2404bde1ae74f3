"""`catransformers search`: run or resume a study, with progress, and end with its front and report."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import click

from catransformers.cli.hardware_study import search_hardware
from catransformers.config.study import StudyConfig, read
from catransformers.errors import InputError, Problem
from catransformers.execution.loop import run_study
from catransformers.execution.studies.assemble import check
from catransformers.reports.study.write import write_report
from catransformers.reports.terminal.search import SearchProgress
from catransformers.reports.terminal.study import show_report


@click.command()
@click.argument("study", metavar="STUDY.toml", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="The study's folder.  [default: runs/<name>]")
@click.option("--trials", type=click.IntRange(1), help="Override [search] trials; more trials go on where it ended.")
@click.option("--workers", type=click.IntRange(1), help="Override [execution] workers.")
def search(study: Path, out: Path | None, trials: int | None, workers: int | None) -> None:
    """Run or resume the study in STUDY.toml.

    The whole file is checked before anything is written, and all mistakes are reported at once. Interrupted or killed
    at any moment, the same command resumes where it stopped: no finished trial is lost, and the result is the same.

    The study's folder then holds the resolved study.toml, the store study.db, a folder per trial with its checkpoint,
    and report/ (see `catransformers report`). In mode hardware the model is fixed: its exact front over all
    accelerators is there in seconds, without training, and report/ holds it.
    """
    run(str(study), *read(study, overrides(search={"trials": trials}, execution={"workers": workers})), out)


def overrides(**sections: Mapping[str, object | None]) -> dict[str, dict[str, object]]:
    """By section, the keys that the command line gives in the place of the file's."""
    given = {name: {key: value for key, value in keys.items() if value is not None} for name, keys in sections.items()}
    return {name: keys for name, keys in given.items() if keys}


def run(where: str, config: StudyConfig, problems: list[Problem], out: Path | None) -> None:
    """Check, run or resume, report: what `search` and `demo` share.

    Raises:
        InputError: with every mistake of the study; nothing is written then.
    """
    if problems:
        raise InputError(list(dict.fromkeys([*problems, *check(config, where)])))
    if config.trains_nothing:
        search_hardware(where, config, out)
        return

    folder = out or Path("runs") / config.name
    with SearchProgress() as watcher:
        results = run_study(config, folder, where=where, listen=watcher)
    show_report(write_report(results, None))
