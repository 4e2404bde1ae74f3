"""Has SCALE-Sim and ZigZag run every case again and writes their answers down as the tests' reference files.

    .venv/bin/python tools/crosscheck/record.py scalesim       # tests/data/scalesim_reference.csv, half a minute
    .venv/bin/python tools/crosscheck/record.py zigzag         # tests/data/zigzag_*.csv, minutes

For a new version of a tool, or for new cases: those are in `tests/crosscheck/crosscheck_cases.py`.
"""

import argparse
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "tests" / "crosscheck"))

from crosscheck_cases import scalesim_cases, zigzag_nests, zigzag_searches
from crosscheck_environments import DATA, ask, python_of, write_rows

FILES = {
    "scalesim": {"scalesim_reference.csv": scalesim_cases},
    "zigzag": {"zigzag_nests.csv": zigzag_nests, "zigzag_reference.csv": zigzag_searches},
}


def main() -> None:
    """Record the files of one tool."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("tool", choices=sorted(FILES))
    tool = parser.parse_args().tool
    if not python_of(tool).exists():
        sys.exit(f"no .venv-{tool}: run `make crosscheck-{tool}`")
    for name, cases in FILES[tool].items():
        with tempfile.TemporaryDirectory() as folder:
            asked = cases()
            answers = ask(tool, asked, Path(folder))
            write_rows(DATA / name, [case | answer for case, answer in zip(asked, answers, strict=True)])


if __name__ == "__main__":
    main()
