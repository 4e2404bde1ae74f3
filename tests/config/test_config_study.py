"""Study files: what is right reads back equal, what is wrong is told all at once with key, range and nearest name."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catransformers.config.study import StudyConfig, parse, read
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


@given(
    name=st.text(min_size=1, max_size=40).filter(str.strip),
    lifetime_years=st.floats(0.1, 100),
    chiplets=st.integers(1, 64),
    use_intensity_g_per_kwh_by_year=st.lists(st.floats(0, 1000), min_size=1, max_size=5),
    allow_mixed_basis=st.booleans(),
)
def test_any_scenario_survives_the_resolved_copy(**scenario):
    config = StudyConfig(name="s", scenario=scenario)
    again, problems = parse(config.to_toml(), "resolved")
    assert not problems
    assert again == config


def test_the_scenario_is_checked_with_the_rest():
    """File and key are named, and the nearest name; what must agree is checked, too."""
    _, problems = parse(
        """
        name = "x"
        [scenario]
        lifetme_years = 3
        use_region = "Franc"
        duty = 2
        inferences = 5
        inferences_per_second = 1
        use_intensity_g_per_kwh_by_year = [100, "x"]
        [search]
        trials = 0
        """,
        "s.toml",
    )
    told = "\n".join(map(str, problems))
    for expected in (
        "s.toml: scenario: unknown key 'lifetme_years'",
        "did you mean 'lifetime_years'?",
        "s.toml: scenario.use_region: unknown region 'Franc'",
        "s.toml: scenario.duty: 2 is out of range; allowed: a number ≥ 1e-06 and ≤ 1",
        "s.toml: scenario.use_intensity_g_per_kwh_by_year, year 2: 'x' is not a number",
        "s.toml: scenario.inferences: contradicts inferences_per_second",
        "s.toml: search.trials: 0 is out of range",
    ):
        assert expected in told, told
    assert [str(problem) for problem in parse('name = "x"\nscenario = 3', "s.toml")[1]] == [
        "s.toml: scenario: 3 should be a table"
    ]


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


def test_a_key_in_the_wrong_table_is_told_the_right_one():
    _, problems = parse('name = "x"\nmin_accuracy = 0.5\n[accuracy]\nmin_accuracy = 0.5\ntrials = 3\nstep = 1', "s")
    hints = {problem.where: problem.hint for problem in problems}
    assert hints == {
        "s: min_accuracy": "it belongs to [objectives]",
        "s: accuracy.min_accuracy": "it belongs to [objectives]",
        "s: accuracy.trials": "it belongs to [search]",
        "s: accuracy.step": "did you mean 'steps'?",
    }


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


NEW = """
name = "s"
[model]
family = "bert"
base = "./bert"
classes = 3
usage = { tokens = 64 }
[model.importance]
heads = "leave-one-out"
ffn = "magnitude"
embed = "activation"
layers = "random"
ffn_block = 16
[accuracy]
task = "text-classification"
data = "./texts"
class_names = "names.txt"
templates = "templates.txt"
tokens = 64
workers = 4
pool_samples = 500
flop_scaled = true
micro_batch = 8
precision = "bf16"
distillation = 0.5
"""


def test_how_parts_are_judged_and_data_are_read_can_be_said(tmp_path):
    study = tmp_path / "s.toml"
    study.write_text(NEW)
    config, problems = read(study)
    assert not problems
    assert (config.model.family, config.model.classes, config.model.usage) == ("bert", 3, {"tokens": 64})
    assert config.model.importance.to_dict() == {
        "heads": "leave-one-out",
        "ffn": "magnitude",
        "embed": "activation",
        "layers": "random",
        "ffn_block": 16,
    }
    assert (config.accuracy.micro_batch, config.accuracy.precision, config.accuracy.flop_scaled) == (8, "bf16", True)
    for name in ("data", "class_names", "templates"):
        assert getattr(config.accuracy, name).startswith(str(tmp_path)), name
    study.write_text(config.to_toml())
    assert read(study) == (config, [])


def test_what_is_not_said_follows_from_the_kind_of_model():
    config, problems = parse('name = "s"', "s")
    assert not problems
    assert config.model.family is config.model.classes is config.accuracy.distillation is config.accuracy.tokens is None
    assert config.model.importance.heads == config.model.importance.ffn == config.model.importance.embed == "taylor"
    assert config.model.importance.layers == "leave-one-out"
    assert config.accuracy.precision == "auto"


def test_every_mistake_in_the_new_keys_is_told_at_once():
    _, problems = parse(
        """
        name = "x"
        [model]
        family = "bort"
        classes = 1
        usage = { tokens = 1.5 }
        [model.importance]
        heads = "tailor"
        layers = "taylor"
        ffn_block = 0
        neurons = "random"
        [accuracy]
        class_names = 4
        tokens = 1
        workers = -1
        pool_samples = 1
        flop_scaled = 3
        micro_batch = 0
        precision = "bf61"
        distillation = -1.0
        template = "t.txt"
        """,
        "s.toml",
    )
    told = "\n".join(map(str, problems))
    methods = "taylor, leave-one-out, metric, magnitude, activation, random"
    for expected in (
        "s.toml: model.family: 'bort' is not an option; allowed: clip, vit, bert, llama (did you mean 'bert'?)",
        "model.classes: 1 is out of range; allowed: ≥ 2",
        "model.usage.tokens: 1.5",
        f"model.importance.heads: 'tailor' is not an option; allowed: {methods} (did you mean 'taylor'?)",
        "model.importance.layers: 'taylor' is not an option; allowed: leave-one-out, metric, magnitude, activation",
        "model.importance.ffn_block: 0 is out of range; allowed: ≥ 1",
        "model.importance.neurons: unknown key; allowed: heads, ffn, embed, layers, ffn_block",
        "accuracy.class_names: 4",
        "accuracy.tokens: 1 is out of range; allowed: ≥ 2",
        "accuracy.workers: -1 is out of range; allowed: ≥ 0",
        "accuracy.pool_samples: 1 is out of range; allowed: ≥ 2",
        "accuracy.flop_scaled: 3",
        "accuracy.micro_batch: 0 is out of range; allowed: ≥ 1",
        "accuracy.precision: 'bf61' is not an option; allowed: auto, fp32, bf16, fp16 (did you mean 'bf16'?)",
        "accuracy.distillation: -1.0 is out of range",
        "did you mean 'templates'?",
    ):
        assert expected in told, expected
    assert len(problems) == 16


def test_a_mode_or_quantities_say_what_is_minimised():
    def objectives(text):
        config, problems = parse(f'name = "x"\n[objectives]\n{text}', "x.toml")
        again, none = parse(config.to_toml(), "again.toml")
        assert problems or (again == config and not none)
        return config.objectives, problems

    assert objectives("")[0].quantities == ("carbon",)
    assert objectives('mode = "all"')[0].quantities == ("carbon", "latency")
    assert objectives('mode = "all"')[0].max_latency_ms is None
    found, problems = objectives('minimise = ["tcdp", "water"]\ncarbon_quantile = "p95"\nmax_tops = 4.0')
    assert (found.mode, found.quantities, problems) == (None, ("tcdp", "water"), [])
    assert objectives('minimise = ["area", "energy", "water"]')[0].quantities == ("area", "energy", "water")
    for wrong in ('minimise = []', 'minimise = ["area", "area"]', 'minimise = ["area", "energy", "area"]',
                  'mode = "all"\nminimise = ["area"]', 'minimise = ["time"]', "min_accuracy = 1.5"):  # fmt: skip
        assert len(objectives(wrong)[1]) == 1, wrong
