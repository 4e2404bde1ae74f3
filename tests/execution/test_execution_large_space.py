"""A study whose models are too many to go through, from its file to its report; with a worker that trains nothing."""

import json
import shutil

import pytest

from catransformers.carbon.scenario import named_scenario
from catransformers.config.study import parse
from catransformers.errors import InfeasibleError, InputError
from catransformers.execution import events
from catransformers.execution.loop import run_study
from catransformers.execution.results import load_study
from catransformers.execution.studies.assemble import assemble, check
from catransformers.execution.studies.under_scenario import under_scenario
from catransformers.reports.carbon.sensitivity import sensitivity
from catransformers.reports.study.derive import summarise
from catransformers.reports.study.write import write_report
from catransformers.reports.terminal import search as command
from catransformers.search.costs.large_space import LargeSpaceCost
from catransformers.workloads.zoo import named_spec

FINE = """
"vision.layers" = { min = 3, max = 6, step = 1 }
"vision.ffn_dim" = { min = 128, max = 256, step = 1 }
"vision.embed_dim" = { min = 32, max = 64, step = 1 }
"vision.heads" = { values = [4] }
"text.layers" = { min = 3, max = 6, step = 1 }
"text.ffn_dim" = { min = 128, max = 256, step = 1 }
"text.embed_dim" = { min = 32, max = 64, step = 1 }
"text.heads" = { values = [4] }
"""


@pytest.fixture
def large(study):
    """Makes the small study on a space of 290 million models."""

    def made(text=FINE, **changes):
        config, problems = parse(f'name = "x"\n[model.space]\n{text}', "x.toml")
        assert not problems
        return study(**{"model__space": config.model.space, "search__strategy": "exact-hardware", **changes})

    return made


@pytest.mark.parametrize(
    "aims",
    [{"mode": "carbon"}, {"mode": "all"}, {"mode": None, "minimise": ("carbon", "latency", "area")}],
    ids=["1", "2", "3"],
)
def test_a_large_study_from_its_start_to_its_report(large, fake, tmp_path, aims):
    config = large(**{f"objectives__{key}": value for key, value in aims.items()}, search__trials=7)
    seen = []
    assert check(config) == []
    results = run_study(config, tmp_path / "study", executor=fake, listen=seen.append)
    assert isinstance(results.costs, LargeSpaceCost)
    assert results.finished
    assert len(results.trials) == 7
    assert results.trials[-1].proposal.origin == "expected improvement"
    assert results.front
    assert list(results.convergence) == sorted(results.convergence)
    (opened,) = [event for event in seen if isinstance(event, events.StudyOpened)]
    assert opened.models > 2 * 10**8
    assert opened.feasible_models is None
    assert "how many keep the limits is not known" in command._space(opened)
    again = load_study(tmp_path / "study")
    assert [m.design for m in again.front] == [m.design for m in results.front]
    summary = summarise(again)
    assert summary.models == opened.models
    written = write_report(again, checkpoints=False)
    assert written
    front = json.loads((tmp_path / "study" / "report" / "front.json").read_text())
    assert front
    if aims == {"mode": "carbon"}:
        assert sensitivity(again).rows
        other = under_scenario(again.costs, config, named_scenario("always-on"))
        member = results.front[0]
        assert other.best(member.model) == member.design


def test_a_large_study_that_was_cut_off_ends_the_same(large, fake, tmp_path):
    config = large(search__trials=7)
    whole = run_study(config, tmp_path / "whole", executor=fake)
    part = large(search__trials=6)
    run_study(part, tmp_path / "part", executor=fake)
    shutil.rmtree(tmp_path / "part" / "tests", ignore_errors=True)
    resumed = run_study(config, tmp_path / "part", executor=fake)
    assert [t.proposal for t in resumed.trials] == [t.proposal for t in whole.trials]


def test_a_space_whose_models_cannot_be_numbered():
    own = named_spec("ViT-H-14").dimensions()
    every = "\n".join(f'"{name}" = {{ min = 1, max = {size}, step = 1 }}' for name, size in own.items())
    config, problems = parse(f'name = "x"\n[model]\nbase = "ViT-H-14"\n[model.space]\n{every}', "x.toml")
    assert not problems
    with pytest.raises(InputError) as caught:
        assemble(config)
    (problem,) = caught.value.problems
    assert problem.where == "model.space"
    assert "models" in problem.what
    assert "4.6e+18" in problem.allowed


def test_limits_that_nothing_keeps_are_told_before_anything_is_written(large, fake, tmp_path):
    with pytest.raises(InfeasibleError, match="models spread over the space"):
        run_study(large(objectives__max_latency_ms=1e-6), tmp_path / "study", executor=fake)
    assert not (tmp_path / "study").exists()
