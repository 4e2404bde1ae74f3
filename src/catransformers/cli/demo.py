"""`catransformers demo`: the study that ships with the package, offline, from nothing to a report."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import click

from catransformers.cli.search import overrides, run
from catransformers.config.study import parse


@click.command()
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path("runs/demo"), show_default=True, help="Its folder."
)
@click.option("--trials", type=click.IntRange(1), help="Fewer or more models than the study's 40.")
@click.option("--workers", type=click.IntRange(1), help="Trials at a time (2 in the study).")
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), help="Another seed than the study's 0.")
def demo(out: Path, trials: int | None, workers: int | None, seed: int | None) -> None:
    """The whole tool in minutes, offline, on two cores.

    An always-on camera chip matches pictures with captions. From a CLIP model of 0.6 M parameters (shipped) the
    search prunes, fine-tunes and evaluates 40 of 90,000 models, knows what each of them costs on each of 10,500
    accelerators, and ends with the designs that emit the least carbon, in a report. The same command resumes after an
    interruption.
    """
    text = files("catransformers.data").joinpath("studies/demo.toml").read_text(encoding="utf-8")
    changes = overrides(search={"trials": trials, "seed": seed}, execution={"workers": workers})
    run("demo.toml", *parse(text, "demo.toml", changes), out)
