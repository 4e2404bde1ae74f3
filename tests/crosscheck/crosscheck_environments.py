"""The two tools in environments of their own: which rows they are given, and which they give back."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DATA = ROOT / "tests" / "data"
SCRIPTS = {tool: ROOT / "tools" / "crosscheck" / f"run_{tool}.py" for tool in ("scalesim", "zigzag")}


def python_of(tool: str) -> Path:
    """The interpreter that has a tool, whether or not it is there."""
    return ROOT / f".venv-{tool}" / "bin" / "python"


def demand(tool: str, expression: str) -> None:
    """Go on only if a tool is to be run, and is there.

    Args:
        tool: its name.
        expression: of the markers that pytest was asked for: the tools run for minutes, so `crosscheck` has to be asked
            for. With CATRANSFORMERS_CROSSCHECK=required a tool that is not there is a failure.
    """
    if not python_of(tool).exists():
        message = f"no .venv-{tool}: `make crosscheck-{tool}` makes it and runs this"
        if os.environ.get("CATRANSFORMERS_CROSSCHECK") == "required":
            pytest.fail(message)
        pytest.skip(message)
    if "crosscheck" not in expression or "not crosscheck" in expression:
        pytest.skip(f"{tool} takes its time: `make crosscheck-{tool}` runs this")


def read_rows(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file."""
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def write_rows(path: Path, rows: list[dict[str, str]]) -> None:
    """A CSV file of rows with the same keys."""
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def start(
    tool: str, cases: Path, out: Path, python: Path | str = sys.executable, extra_path: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """One run of a tool's script, on one core."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MPLBACKEND": "agg"}
    if extra_path is not None:
        environment["PYTHONPATH"] = str(extra_path)
    command = [str(python), str(SCRIPTS[tool]), str(cases), "--out", str(out)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=1500)


def ask(tool: str, rows: list[dict[str, str]], folder: Path) -> list[dict[str, str]]:
    """What a tool says of some cases now.

    Raises:
        RuntimeError: with the tool's last words, if it fails.
    """
    cases, out = folder / "cases.csv", folder / "out.csv"
    write_rows(cases, rows)
    finished = start(tool, cases, out, python_of(tool))
    if finished.returncode:
        raise RuntimeError(f"{tool} failed:\n{finished.stderr[-2000:]}")
    return read_rows(out)
