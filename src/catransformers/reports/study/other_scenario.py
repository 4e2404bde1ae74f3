"""A study's report under another scenario than it was searched under: ranked again, nothing trained again."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from catransformers.carbon.scenario import Scenario
from catransformers.execution.results import StudyResults
from catransformers.execution.studies.under_scenario import under_scenario
from catransformers.reports.study.derive import summarise
from catransformers.reports.study.summary import StudySummary
from catransformers.reports.study.write import WrittenReport, write_summary

MAX_NAME = 60


def results_under(results: StudyResults, scenario: Scenario) -> StudyResults:
    """The same study, its models and accelerators costed under another scenario.

    Raises:
        InputError: if the scenario is of another process node than the study's technology.
    """
    return replace(results, costs=under_scenario(results.costs, results.config, scenario))


def write_report_under(
    results: StudyResults, scenario: Scenario, out: Path | None = None, *, checkpoints: bool = True
) -> WrittenReport:
    """Write the report of a study under another scenario, in the place of an older one.

    Args:
        results: the study, finished or not.
        scenario: the other scenario.
        out: the report's folder; by default `report-<scenario>` in the study's own.
        checkpoints: whether to put the front's models in, verified by their SHA-256.

    Raises:
        InputError: as `write_summary`, and for a scenario of another process node.
        InfeasibleError: if no model of the space keeps the limits under it.
    """
    folder = results.directory.root / f"report-{slug(scenario.name)}" if out is None else out
    moved = summarise(results_under(results, scenario))
    summary = replace(moved, warnings=(*moved.warnings, *_warnings(moved, results, scenario)))
    return WrittenReport(folder, write_summary(summary, results.directory, folder, checkpoints=checkpoints), summary)


def slug(name: str) -> str:
    """A scenario's name as a part of a file name: letters, digits, '.' and '-'."""
    return re.sub(r"[^A-Za-z0-9.]+", "-", name).strip("-.")[:MAX_NAME] or "scenario"


def _warnings(moved: StudySummary, results: StudyResults, scenario: Scenario) -> tuple[str, ...]:
    lines = [
        f"The models were searched for under the scenario {results.costs.scenario.name!r}; here they are ranked under "
        f"{scenario.name!r}. A search under it might have tried other models."
    ]
    untested = [design.name for design in moved.front if design.test is None]
    if untested and moved.base.test is not None:
        lines.append(
            f"On the front under this scenario only, and so never evaluated on the test set: "
            f"design{'s' if len(untested) > 1 else ''} {', '.join(untested)}."
        )
    return tuple(lines)
