"""When the cross-checks run the other tools, and what they say when they do not."""

import crosscheck_environments
import pytest
from crosscheck_environments import ask, demand


@pytest.fixture
def missing(monkeypatch, tmp_path):
    monkeypatch.setattr(crosscheck_environments, "ROOT", tmp_path)
    monkeypatch.delenv("CATRANSFORMERS_CROSSCHECK", raising=False)


@pytest.fixture
def present(missing, tmp_path):
    python = tmp_path / ".venv-zigzag" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text("#!/bin/sh\necho something went wrong >&2\nexit 3\n")
    python.chmod(0o755)


def test_a_missing_environment_is_named_with_what_makes_it(missing):
    with pytest.raises(pytest.skip.Exception, match=r"no \.venv-scalesim: `make crosscheck-scalesim`"):
        demand("scalesim", "crosscheck")


def test_a_missing_environment_fails_where_it_is_required(missing, monkeypatch):
    monkeypatch.setenv("CATRANSFORMERS_CROSSCHECK", "required")
    with pytest.raises(pytest.fail.Exception, match=r"no \.venv-zigzag"):
        demand("zigzag", "crosscheck")


@pytest.mark.parametrize("expression", ["", "not slow", "not crosscheck", "slow"])
def test_a_tool_that_is_there_runs_only_when_asked_for(present, expression):
    with pytest.raises(pytest.skip.Exception, match="make crosscheck-zigzag"):
        demand("zigzag", expression)
    demand("zigzag", "crosscheck")


def test_a_tool_that_fails_is_quoted(present, tmp_path):
    with pytest.raises(RuntimeError, match="something went wrong"):
        ask("zigzag", [{"m": "1"}], tmp_path)
