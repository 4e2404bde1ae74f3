"""What is wrong with a study is found before anything is written, all of it at once."""

import numpy as np
import pytest
from PIL import Image

from catransformers.carbon.scenario import named_scenario
from catransformers.config.study import parse
from catransformers.designs.quantities import Objectives
from catransformers.errors import InputError
from catransformers.execution.studies.assemble import assemble, check, limits_of, objectives_of, scenario_of


def test_a_right_study_has_no_problems(study):
    assert check(study()) == []


def test_every_mistake_is_told_at_once_with_its_place():
    config, structure = parse(
        """
        name = "wrong"
        [model]
        base = "ViT-B-61"
        [hardware]
        space = "edgy"
        technology = "default-22"
        [scenario]
        base = "always-on"
        use_region = "US-CAL"
        lifetime_year = 3
        [accuracy]
        task = "coco"
        [search]
        strategy = "exact"
        trials = 0
        """,
        "wrong.toml",
    )
    problems = list(dict.fromkeys([*structure, *check(config, "wrong.toml")]))
    text = "\n".join(map(str, problems))
    assert len({problem.where for problem in problems}) == len(problems) >= 7
    assert all(problem.where.startswith("wrong.toml") for problem in problems)
    for key in ("search.trials", "model.base", "technology", "use_region", "lifetime_year", "accuracy.task",
                "search.strategy"):  # fmt: skip
        assert key in text
    for nearest in ("ViT-B-16", "default-22nm", "lifetime_years", "exact-hardware"):
        assert f"did you mean '{nearest}'?" in text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[hardware]\nspace = "edgy"', ["hardware.space", "did you mean 'edge'?"]),
        ('[hardware]\nspace = "edge"\nmax_tops = 0.001', ["hardware", "0.001 TOPS"]),
        ("[hardware]\ndimensions = { pe_z = [1] }", ["pe_z", "pe_x"]),
        ('[model.space]\n"vision.layers" = { min = 5, max = 4 }', ['model.space."vision.layers"', "min 5 is above"]),
        ('[model.space]\n"vision.layer" = { min = 5 }', ["unknown dimension", "vision.layers"]),
        ('[accuracy]\ntask = "retrieval"', ["accuracy.data: missing"]),
        ('[accuracy]\ntask = "scene"', ["accuracy.task", "did you mean 'scenes'?"]),
        ('[accuracy]\ndata = "x.csv"', ["accuracy.data", "leave it out"]),
        ('[model]\npretrained = "openai"', ["model.pretrained"]),
        ('[model]\nbase = "ViT-B-16"', ["model.pretrained", "which weights"]),
        ("[scenario]\nlifetime_years = -1", ["scenario.lifetime_years"]),
        ('[scenario]\nbase = "sometimes"', ["scenario", "always-on"]),
    ],
)
def test_single_mistakes(text, words):
    config, structure = parse(f'name = "x"\n{text}', "x.toml")
    problems = check(config, "x.toml")
    assert structure == (problems if "[scenario]" in text else [])  # what a scenario means is told with its structure
    assert len(problems) == 1
    assert all(word in str(problems[0]) for word in ["x.toml", *words])


def test_data_that_are_not_there_and_a_base_that_cannot_read_those_that_are(tmp_path):
    text = 'name = "x"\n[accuracy]\ntask = "retrieval"\ndata = "{}"'
    config, _ = parse(text.format("nowhere.csv"), "x.toml")
    assert "nowhere.csv" in "\n".join(map(str, check(config, "x.toml")))
    rows = ["image,caption,split"]
    for number, split in enumerate(["train", "calibration", "validation", "test"] * 2):
        Image.new("RGB", (40, 36), (number * 30, 90, 90)).save(tmp_path / f"{number}.png")
        rows.append(f"{number}.png,colour number {number},{split}")
    (tmp_path / "pairs.csv").write_text("\n".join(rows))
    config, _ = parse(text.format(tmp_path / "pairs.csv"), "x.toml")
    assert "vocabulary" in "\n".join(map(str, check(config, "x.toml")))


def test_a_precision_that_the_device_has_not_is_told_before_anything_starts(study):
    (problem,) = check(study(accuracy__precision="fp16"))
    assert "accuracy.precision: fp16 needs a GPU" in str(problem)
    assert check(study(accuracy__precision="bf16")) == []


def test_a_base_on_disk_that_is_none(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"no tensors")
    config, _ = parse(f'name = "x"\n[model]\nbase = "{tmp_path}"', "x.toml")
    problems = check(config)
    assert problems
    assert "model" in str(problems[0])
    with pytest.raises(InputError, match="holds no model"):
        assemble(config)


def test_assemble_tells_all_at_once_too(study):
    config, _ = parse('name = "x"\n[model]\nbase = "no"\n[hardware]\nspace = "no"\n[scenario]\nbase = "no"', "x.toml")
    with pytest.raises(InputError) as caught:
        assemble(config)
    assert len(caught.value.problems) == 3


def test_limits_are_in_si(study):
    limits = limits_of(
        study(
            objectives__max_latency_ms=50.0,
            objectives__max_energy_mj=2.0,
            objectives__max_area_mm2=3.0,
            objectives__max_carbon_kg=4.0,
            objectives__max_parameters=5,
        ),
        named_scenario("default"),
    )
    assert (limits.latency, limits.energy, limits.carbon, limits.parameters) == (0.05, 0.002, 4.0, 5)
    assert limits.area == pytest.approx(3e-6)


def test_an_inference_must_be_done_before_the_next_is_due(study):
    thirty = named_scenario("always-on")
    assert limits_of(study(objectives__max_latency_ms=50.0), thirty).latency == pytest.approx(1 / 30)
    assert limits_of(study(objectives__max_latency_ms=20.0), thirty).latency == 0.02
    assert limits_of(study(objectives__mode="latency"), thirty).latency == pytest.approx(1 / 30)


def test_assembled_costs_follow_the_study(study):
    costs = assemble(study())
    assert (costs.space.size, len(costs.table)) == (2**6 * 9, 4)
    assert costs.objective == "carbon"
    assert costs.scenario.name.startswith("always-on")
    assert np.isfinite(costs.cost).all()
    fast = assemble(study(objectives__mode="latency"))
    assert np.all(fast.cost < 0.05)


def test_the_mode_hardware_needs_no_task_and_no_data():
    text = 'name = "x"\n[objectives]\nmode = "{}"\n[accuracy]\ntask = "retrieval"\ndata = "none.csv"\n'
    for mode, wrong in (("hardware", False), ("carbon", True)):
        config, problems = parse(text.format(mode), "x.toml")
        assert not problems
        assert bool(check(config)) == wrong


def test_what_is_minimised_reaches_the_costs():
    lines = ('minimise = ["energy", "area"]', 'carbon_quantile = "p95"', "max_tops = 4.0", "min_accuracy = 0.3")
    config, problems = parse("\n".join(('name = "x"', "[objectives]", *lines)), "x.toml")
    assert not problems
    assert objectives_of(config) == Objectives(("energy", "area"), "p95")
    limits = limits_of(config, scenario_of(config))
    assert (limits.tops, limits.accuracy, limits.floor) == (4.0, 0.3, 0.3)
