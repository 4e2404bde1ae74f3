"""Fixtures of `made_up_studies`."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_up_studies import StudyOf, SummaryOf, made_up_summary, make_study

from catransformers.reports.study.summary import StudySummary
from catransformers.study.directory import StudyDirectory


@pytest.fixture
def summary_of() -> SummaryOf:
    """Makes a made-up study: `summary_of(9, tested=False)`."""
    return made_up_summary


@pytest.fixture
def study(tmp_path: Path) -> StudyDirectory:
    """A finished study on disk."""
    return make_study(tmp_path / "tiny")


@pytest.fixture
def study_of(tmp_path: Path) -> StudyOf:
    """Makes a study on disk: `study_of(trials=3, tested=False)`."""
    return lambda **changes: make_study(tmp_path / "tiny", **changes)


@pytest.fixture(scope="session")
def summary() -> StudySummary:
    return made_up_summary()
