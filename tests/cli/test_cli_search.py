"""`search`: what is wrong with a study is told at once, before anything is written."""

import pytest

from catransformers.cli import main

WRONG = """
name = "wrong"
colour = "green"

[model]
base = "ViT-B-61"

[model.space]
"vision.layer" = {{ min = 6 }}

[hardware]
space = "mirco"
technology = "default-22"

[scenario]
base = "always-on"
use_region = "Atlantis"
lifetime_years = -5

[objectives]
mode = "carbn"

[accuracy]
task = "retrieval"
data = "{folder}/none.csv"

[search]
strategy = "exact"
trials = 0
"""


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as ended:
        main([str(a) for a in arguments])
    out, err = capsys.readouterr()
    return ended.value.code, out, err


def test_every_mistake_of_a_study_at_once_and_nothing_written(capsys, tmp_path):
    study, out = tmp_path / "wrong.toml", tmp_path / "out"
    study.write_text(WRONG.format(folder=tmp_path))
    code, _, err = run(capsys, "search", study, "--out", out)
    assert code == 2
    assert not out.exists()
    for expected in (
        "wrong.toml: colour: unknown key",
        "'ViT-B-16'",
        "'micro'",
        "'default-22nm'",
        "Atlantis",
        "lifetime_years",
        "did you mean 'carbon'?",
        "none.csv",
        "'exact-hardware'",
        "trials: 0 is out of range; allowed: ≥ 1",
    ):
        assert expected in err, err
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == [study]


def test_an_unknown_dimension_of_the_model_space(capsys, tmp_path):
    study = tmp_path / "s.toml"
    study.write_text('name = "s"\n[model.space]\n"vision.layer" = { min = 3 }\n"text.heads" = { values = [9] }\n')
    code, _, err = run(capsys, "search", study, "--out", tmp_path / "out")
    assert code == 2
    assert "did you mean 'vision.layers'?" in err
    assert "text.heads" in err
    assert not (tmp_path / "out").exists()


def test_an_impossible_limit_says_which_and_by_how_much(capsys, tmp_path):
    study = tmp_path / "s.toml"
    study.write_text(
        'name = "s"\n[hardware]\nspace = "micro"\ndimensions = { cores = [1], pe_x = [4, 8], pe_y = [2], '
        "local_kib = [1, 2], local_bandwidth = [4], global_mib = [1] }\n"
        "[objectives]\nmax_latency_ms = 0.001\n"
    )
    code, _, err = run(capsys, "search", study, "--out", tmp_path / "out")
    assert code == 3
    assert "latency" in err
    assert "the limit is" in err
    assert not (tmp_path / "out").exists()


def test_no_such_study(capsys, tmp_path):
    code, _, err = run(capsys, "search", tmp_path / "no.toml")
    assert code == 2
    assert "cannot be read" in err


@pytest.mark.parametrize("verb", ["status", "report"])
def test_a_folder_without_a_study(capsys, tmp_path, verb):
    code, _, err = run(capsys, verb, tmp_path)
    assert code == 2
    assert "Traceback" not in err
    assert str(tmp_path) in err
