"""`catransformers report`: one HTML file, the front as CSV, JSON and SVG, and the front's models."""

from __future__ import annotations

from pathlib import Path

import click

from catransformers.carbon.scenario import read_scenario
from catransformers.cli.hardware_study import report_hardware
from catransformers.cli.output import json_option, print_json
from catransformers.errors import Problems, present
from catransformers.reports.study.derive import read_results
from catransformers.reports.study.other_scenario import write_report_under
from catransformers.reports.study.tables import study_object
from catransformers.reports.study.write import write_report
from catransformers.reports.terminal.study import show_report


@click.command()
@click.argument("study", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="The report's folder.  [default: DIR/report, or DIR/report-SCENARIO under another scenario]",
)
@click.option("--scenario", metavar="NAME|FILE", help="Rank everything again under this scenario; nothing is trained.")
@click.option("--no-checkpoints", is_flag=True, help="Leave the front's models out (and do not verify them).")
@json_option
def report(study: Path, out: Path | None, scenario: str | None, no_checkpoints: bool, as_json: bool) -> None:
    """Write the report of the study in DIR: report.html, front.csv, front.json, front.svg and the front's models.

    An older report in the same place is replaced. A study that is not finished gets a report that says so. With another
    scenario, the trained models choose their accelerators anew and the front is drawn again.

    \b
    Examples:
      catransformers report runs/demo
      catransformers report runs/demo --scenario paper
    """
    problems = Problems()
    situation = None if scenario is None else problems.of(read_scenario, scenario)
    if not problems and report_hardware(study, situation, out, as_json=as_json):
        return
    results = problems.of(read_results, study)
    problems.finish()
    results = present(results)
    if situation is None:
        written = write_report(results, out, checkpoints=not no_checkpoints)
    else:
        written = write_report_under(results, situation, out, checkpoints=not no_checkpoints)
    if as_json:
        files = [path.as_posix() for path in written.files]
        print_json({"report": str(written.page), "files": files, **study_object(written.summary)})
    else:
        show_report(written)
