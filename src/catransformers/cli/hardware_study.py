"""What `search`, `status` and `report` do with a study in mode `hardware`, of which there is nothing to train."""

from __future__ import annotations

from pathlib import Path

from catransformers.carbon.scenario import Scenario
from catransformers.cli.output import print_json
from catransformers.config.study import TRAINING, StudyConfig
from catransformers.execution.studies.hardware_study import read_hardware_study, run_hardware_study
from catransformers.reports.study.hardware import hardware_object, write_hardware_report
from catransformers.reports.study.other_scenario import slug
from catransformers.reports.terminal.hardware_study import show_hardware_study
from catransformers.reports.terminal.screen import console


def search_hardware(where: str, config: StudyConfig, out: Path | None) -> None:
    """Cost, keep, report: `search` of such a study.

    Raises:
        InputError: with every mistake of the study; nothing is written then.
        InfeasibleError: if no accelerator keeps all limits; nothing is written.
    """
    screen = console(stderr=True)
    unused = [f"[{name}]" for name in TRAINING if name in config.given]
    unused += [f"[model.{name}]" for name in ("space", "importance") if f"model.{name}" in config.given]
    if unused:
        text = f"Mode hardware trains nothing: {', '.join(unused)} {'have' if len(unused) > 1 else 'has'} no say."
        screen.print(text, markup=False, soft_wrap=True)
    with screen.status("Costing the model on every accelerator …"):
        study = run_hardware_study(config, out or Path("runs") / config.name, where=where)
    folder, _ = write_hardware_report(study)
    show_hardware_study(study, folder)


def show_hardware(root: Path, *, as_json: bool) -> bool:
    """`status` of such a study; False if the folder holds none."""
    study = read_hardware_study(root)
    if study is None:
        return False
    if as_json:
        print_json(hardware_object(study))
    else:
        show_hardware_study(study)
    return True


def report_hardware(root: Path, scenario: Scenario | None, out: Path | None, *, as_json: bool) -> bool:
    """`report` of such a study; False if the folder holds none."""
    study = read_hardware_study(root, scenario)
    if study is None:
        return False
    if out is None and scenario is not None:
        out = root / f"report-{slug(scenario.name)}"
    folder, files = write_hardware_report(study, out)
    if as_json:
        page = str(folder / "report.html")
        print_json({"report": page, "files": [file.as_posix() for file in files], **hardware_object(study)})
    else:
        show_hardware_study(study, folder)
    return True
