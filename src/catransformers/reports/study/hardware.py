"""The report of a study in mode `hardware`: the exact front of a fixed model, as a page, a picture and data.

It says that nothing was trained and no accuracy measured; the rest is what `sweep` shows of the same model.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from catransformers.designs.quantities import QUANTITIES
from catransformers.errors import writing
from catransformers.execution.studies.hardware_study import HardwareStudy
from catransformers.reports.study.tables import SCHEMA, dumps
from catransformers.reports.study.write import DATA, PAGE, in_place_of
from catransformers.reports.sweep.page import front_csv, heading, sweep_html, sweep_svg
from catransformers.reports.wording import amount, number, percent, plural

WHAT_IT_IS = (
    "The model is what it is (mode hardware): nothing was pruned or trained, and no accuracy was measured, since none "
    "depends on the accelerator. Every accelerator was costed, so that the front is exact."
)


def title(study: HardwareStudy) -> str:
    """One line: the study, its model and its accelerators."""
    return f"{study.config.name}: {heading(study.sweep, model_name(study))}"


def model_name(study: HardwareStudy) -> str:
    """What the study calls its model; of a path its last part."""
    base = study.config.model.base
    return Path(base).name if "/" in base else base


def headline(study: HardwareStudy) -> str:
    """The ends of the front in one sentence: what the first quantity costs in the second."""
    sweep = study.sweep
    first, second = sweep.objectives
    low, fast = (sweep.best[name] for name in sweep.objectives)
    if low == fast:
        return f"One accelerator is best in both {first} and {second}: {sweep.table[low]}."
    value, other = sweep.quantity(first), sweep.quantity(second)
    saved = percent(1 - value[low] / value[fast])
    best, fastest = QUANTITIES[first].least, QUANTITIES[second].least
    return (
        f"Of the {plural(len(sweep.front), 'design')} on the front the {best} has {saved} less {first} than "
        f"the {fastest} ({amount(first, float(value[low]))} against {amount(first, float(value[fast]))}), at "
        f"{number(other[low] / other[fast], 2)} times its {second} ({amount(second, float(other[low]))} against "
        f"{amount(second, float(other[fast]))})."
    )


def hardware_object(study: HardwareStudy) -> dict[str, Any]:
    """What `status --json` prints and `front.json` holds: the study, then the keys of a sweep."""
    return {
        "schema": SCHEMA,
        "study": study.config.name,
        "mode": "hardware",
        "finished": True,
        "headline": headline(study).replace("\N{NO-BREAK SPACE}", " "),
        **study.sweep.to_dict(),
    }


def write_hardware_report(study: HardwareStudy, out: Path | None = None) -> tuple[Path, tuple[Path, ...]]:
    """Write report.html, front.svg, front.csv and front.json, in the place of an older report.

    Args:
        study: the study.
        out: the report's folder; by default `report` in the study's own.

    Returns:
        The folder, and the files in it (relative).

    Raises:
        InputError: if `out` holds other files or cannot be written.
    """
    folder = study.directory.root / "report" if out is None else out
    page = sweep_html(study.sweep, model_name(study), title=title(study), first=(WHAT_IT_IS, headline(study)))
    files = {
        PAGE: page.encode(),
        "front.svg": sweep_svg(study.sweep),
        "front.csv": front_csv(study.sweep).encode(),
        DATA: dumps(hardware_object(study)).encode(),
    }
    with writing(folder), in_place_of(folder) as fresh:
        for name, content in files.items():
            (fresh / name).write_bytes(content)
    return folder, tuple(sorted(Path(name) for name in files))
