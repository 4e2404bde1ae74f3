"""Reports of studies of every family: the right words, columns and parts, and costs that are those of `estimate`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from made_up_studies import TINY

from catransformers.carbon.scenario import named_scenario, scenario_from_mapping
from catransformers.config.study import parse
from catransformers.execution.results import StudyResults
from catransformers.hardware.spaces import space as accelerators
from catransformers.hardware.technology import technology
from catransformers.reports import wording
from catransformers.reports.assumptions import assumptions
from catransformers.reports.carbon.sensitivity import sensitivity
from catransformers.reports.study.derive import summarise
from catransformers.reports.study.html import render_html
from catransformers.reports.study.other_scenario import results_under
from catransformers.reports.study.summary import StudySummary
from catransformers.reports.study.tables import front_csv, terminal_front
from catransformers.search.costs.enumerated import space_cost
from catransformers.search.space import model_space
from catransformers.study.directory import StudyDirectory
from catransformers.study.records import EvaluationRecord, ProposalRecord, TrialRecord
from catransformers.workloads import families
from catransformers.workloads.spec import (
    BertSpec,
    ClipSpec,
    EncoderSpec,
    LlamaSpec,
    ModelSpec,
    TextSpec,
    VisionSpec,
    VitSpec,
)

VISION = VisionSpec(4, 192, 64, 4, 16, 37, 48, 8)
BASES: dict[str, ModelSpec] = {
    "clip": ClipSpec(VISION, TextSpec(4, 160, 48, 3, 16, 24, 300), 32),
    "vit": VitSpec(VISION, 10),
    "bert": BertSpec(EncoderSpec(4, 192, 64, 4, 16, 48), 400),
    "llama": LlamaSpec(
        layers=4, ffn_dim=192, embed_dim=64, heads=8, kv_heads=4, head_dim=16, vocab_size=300,
        tied_embeddings=True, max_tokens=512, prompt_tokens=40, new_tokens=24,
    ),
}  # fmt: skip
COMPONENTS = {"clip": ["vision", "text"], "vit": ["vision"], "bert": ["text"], "llama": ["prefill", "decode"]}


@dataclass(frozen=True)
class Made:
    results: StudyResults
    summary: StudySummary
    page: str


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Made]:
    """Makes a study of a family with three made-up trials; each is made once."""
    known: dict[str, Made] = {}
    cache = str(tmp_path_factory.mktemp("costs"))

    def make(family: str) -> Made:
        if family not in known:
            results = _results(BASES[family], cache)
            summary = summarise(results)
            known[family] = Made(results, summary, render_html(summary).replace(wording.NBSP, " "))
        return known[family]

    return make


def _results(base: ModelSpec, cache: str) -> StudyResults:
    config, problems = parse(TINY, "tiny.toml")
    assert not problems
    tech = technology("default-22nm")
    machines = {"cores": [1], "pe_x": [8, 32], "pe_y": [8], "local_kib": [4], "global_mib": [0.125, 0.5]}
    table = accelerators("micro", frequency_hz=tech.frequency_at, overrides=machines | {"local_bandwidth": [16]})
    space = model_space(base, {name: {"values": [-(-full // 2), full]} for name, full in base.dimensions().items()})
    costs = space_cost(space, table, tech, named_scenario("always-on"), cache_dir=cache)
    trials = []
    for number, (model, accuracy) in enumerate([(space.size - 1, 0.64), (0, 0.4), (space.size // 2, 0.5)]):
        dimensions, spec = space.dimensions(model), space.spec(model)
        metrics = {"difference_to_base": accuracy - 0.65, "difference_to_base_se": 0.009}
        trials.append(
            TrialRecord(
                number, dimensions, "complete", accuracy, 0.015, metrics, families.parameters(spec),
                families.workload(spec).macs, 6.0, "", ProposalRecord(number, dimensions, "Sobol", {"cost": 0.01}),
            )
        )  # fmt: skip
    base_record = EvaluationRecord(None, "validation", 0.65, 0.015)
    return StudyResults(StudyDirectory(Path("nowhere")), config, costs, tuple(trials), (base_record,))


@pytest.mark.parametrize("family", BASES)
def test_what_is_told_of_a_design_is_its_estimate(family: str, made: Callable[[str], Made]) -> None:
    summary = made(family).summary
    assert summary.front
    for design in (*summary.front, summary.base):
        estimate, cost = design.estimate, design.cost
        assert estimate.latency_s == pytest.approx(cost.latency_s, rel=1e-12)
        assert estimate.energy_j == pytest.approx(cost.energy_j, rel=1e-12)
        assert estimate.total_kg == pytest.approx(cost.total_kg, rel=1e-12)
        assert estimate.cost.resident == cost.resident
        assert estimate.parameters == families.parameters(estimate.model)


@pytest.mark.parametrize("family", BASES)
def test_the_page_speaks_of_the_family(family: str, made: Callable[[str], Made]) -> None:
    study = made(family)
    parts = COMPONENTS[family]
    for component in ("vision", "text", "prefill", "decode"):
        legend = f'<i class="c-{component}"></i>{component}'
        assert (legend in study.page) == (component in parts)
    assert ("Texts per image" in study.page) == (family == "clip")
    shown = wording.compact(study.summary.base.dimensions).split(", ")
    assert "<small>".join([f">{shown[0]}", *shown[1:]]) in study.page
    for dimension in study.summary.base.dimensions:
        assert wording.DIMENSIONS[dimension] in study.page


@pytest.mark.parametrize("family", BASES)
def test_tables_have_the_familys_dimensions(family: str, made: Callable[[str], Made]) -> None:
    summary = made(family).summary
    header = front_csv(summary).splitlines()[0].split(",")
    assert header[3 : 3 + len(summary.base.dimensions)] == list(BASES[family].dimensions())
    _, rows = terminal_front(summary)
    assert [row[1] for row in rows][-1] == wording.compact(summary.base.dimensions).replace(", ", "\n")


@pytest.mark.parametrize("family", BASES)
def test_another_scenario_ranks_again(family: str, made: Callable[[str], Made]) -> None:
    """More texts an image, dirtier power: only CLIP takes longer, all emit more."""
    results = made(family).results
    other = scenario_from_mapping("always-on", {"texts_per_image": 3, "use_region": "PL"}, "scenario")
    moved = results_under(results, other)
    slower = moved.costs.base_designs.latency_s > results.costs.base_designs.latency_s
    assert slower.all() == slower.any() == (family == "clip")
    estimate = summarise(moved).base.estimate
    assert estimate.total_kg == pytest.approx(moved.costs.base_best.total_kg, rel=1e-12)


@pytest.mark.parametrize("family", ["bert", "llama"])
def test_how_the_front_moves(family: str, made: Callable[[str], Made]) -> None:
    found = sensitivity(made(family).results)
    assert {member.trial for member in found.own.members} <= {0, 1, 2}


def test_dimensions_in_words() -> None:
    base = BASES["llama"].dimensions()
    assert wording.compact(base) == "4·192·64·4"
    assert wording.pruned(base | {"kv_heads": 3, "layers": 2}, base) == "layers 4 → 2, key and value heads 4 → 3"
    assert wording.compact(BASES["clip"].dimensions()) == "vision 4·192·64·4, text 4·160·48·3"


def test_only_clip_has_texts_for_an_image() -> None:
    scenario = named_scenario("default")
    clip, bert = ([what for what, _, _ in assumptions(scenario, family)] for family in ("clip", "bert"))
    assert [what for what in clip if what != "Texts per image"] == bert
    assert clip.index("Texts per image") == 4
