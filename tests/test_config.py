"""Study files: what is right reads back equal, what is wrong is told all at once with key, range and nearest name."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catransformers.config import StudyConfig, parse, read
from catransformers.errors import InputError

GOOD = """
name = "edge-clip"
[model]
base = "ViT-B-16"
pretrained = "datacomp_xl_s13b_b90k"
[model.space]
"vision.layers" = { min = 6, max = 12 }
"text.heads" = { values = [4, 8] }
[hardware]
space = "edge"
max_tops = 20
[hardware.dimensions]
cores = [1, 2]
[scenario]
use_region = "US-CA"
lifetime_years = 3
[objectives]
mode = "carbon"
max_latency_ms = 50
[search]
trials = 100
"""


def test_a_good_study_reads_and_writes_back_equal():
    config, problems = parse(GOOD, "study.toml")
    assert not problems
    assert config.model.space["vision.layers"].max == 12
    assert config.scenario["use_region"] == "US-CA"
    again, problems = parse(config.to_toml(), "resolved")
    assert not problems
    assert again == config


@given(st.text(max_size=40), st.floats(allow_nan=False, allow_infinity=False), st.integers(-(2**40), 2**40))
def test_any_scenario_value_survives_the_resolved_copy(text, real, integer):
    config = StudyConfig(name="s", scenario={"a": text, "b": real, "c": integer, "d": True})
    again, problems = parse(config.to_toml(), "resolved")
    assert not problems
    assert again == config


def test_every_mistake_is_told_at_once():
    _, problems = parse(
        """
        colour = 1
        name = "a b"
        [model]
        bas = "embedded"
        [model.space]
        "vision.layers" = { min = 6, mx = 12 }
        [hardware]
        max_tops = -1
        [objectives]
        mode = "carbn"
        max_latency_ms = nan
        [search]
        trials = 0
        [execution]
        workers = 1.5
        """,
        "study.toml",
    )
    told = "\n".join(map(str, problems))
    for expected in (
        "study.toml: colour: unknown key",
        "study.toml: name: 'a b'",
        "did you mean 'base'?",
        "did you mean 'max'?",
        "hardware.max_tops: -1 is out of range; allowed: > 0",
        "did you mean 'carbon'?",
        "max_latency_ms: nan should be a finite number",
        "search.trials: 0 is out of range; allowed: ≥ 1",
        "execution.workers: 1.5",
    ):
        assert expected in told
    assert len(problems) == 9


def test_what_is_right_beside_a_mistake_is_kept_for_further_checks():
    config, problems = parse('name = "x"\n[hardware]\nspace = "mirco"\nmax_tops = 0', "s")
    assert len(problems) == 1
    assert config.hardware.space == "mirco"


@pytest.mark.parametrize("text", ["name = ", "[model\n", "= 3"])
def test_not_toml(text):
    with pytest.raises(InputError, match="not TOML"):
        parse(text, "study.toml")


def test_a_missing_name_and_a_section_of_another_type():
    _, problems = parse("model = 3", "s")
    assert {str(p).split(":")[1].strip() for p in problems} == {"name", "model"}


def test_missing_file_and_binary_file(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        read(tmp_path / "no.toml")
    (tmp_path / "b.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="UTF-8"):
        read(tmp_path / "b.toml")


def test_paths_count_from_the_study_file(tmp_path):
    (tmp_path / "weights").mkdir()
    (tmp_path / "embedded").mkdir()
    study = tmp_path / "s.toml"
    study.write_text(
        'name = "s"\n[model]\nbase = "./weights"\npretrained = "a-tag"\n'
        '[hardware]\ntechnology = "mine.toml"\n[accuracy]\ndata = "pairs.csv"\n'
    )
    config, problems = read(study)
    assert not problems
    assert config.model.base == str(tmp_path / "weights")
    assert config.model.pretrained == "a-tag"
    assert config.hardware.technology == str(tmp_path / "mine.toml")
    assert config.accuracy.data == str(tmp_path / "pairs.csv")
    study.write_text(config.to_toml())
    assert read(study)[0] == config
    study.write_text('name = "s"\n')
    assert read(study)[0].model.base == "embedded"


@pytest.mark.parametrize(
    "text",
    [
        f"[hardware]\ndimensions = {{ cores = [1{'0' * 400}] }}",
        '[hardware]\ntechnology = "a\\u0000.toml"',
        '[model]\npretrained = "a\\u0000b"',
        '[accuracy]\ndata = "a\\u0000.csv"',
    ],
)
def test_values_that_no_machine_can_take_are_problems(tmp_path, text):
    study = tmp_path / "s.toml"
    study.write_text(f'name = "s"\n{text}\n')
    _, problems = read(study)
    assert len(problems) == 1
