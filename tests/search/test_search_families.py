"""The cost side of studies for every family: each model on each accelerator costs what `design.evaluate` says of it."""

from dataclasses import replace

import numpy as np
import pytest

from catransformers.carbon.scenario import named_scenario, scenario_from_mapping
from catransformers.designs.limits import Limits
from catransformers.designs.table import evaluate
from catransformers.errors import InputError
from catransformers.hardware.cost import fits_on_chip
from catransformers.hardware.spaces import space as accelerators
from catransformers.hardware.technology import technology
from catransformers.search.costs.enumerated import space_cost
from catransformers.search.costs.shapes import prefixes_of, variants_of
from catransformers.search.geometry.pareto import hypervolume
from catransformers.search.problem import Observation
from catransformers.search.space import ModelSpace, default_values, model_space
from catransformers.search.strategies import strategy
from catransformers.workloads import families
from catransformers.workloads.spec import BertSpec, ClipSpec, EncoderSpec, LlamaSpec, TextSpec, VisionSpec, VitSpec
from catransformers.workloads.zoo import named_spec

TECHNOLOGY = technology("default-22nm")
#: Texts of an image count for CLIP alone.
SCENARIO = scenario_from_mapping("always-on", {"texts_per_image": 2.5, "inferences_per_second": 3}, "scenario")


def table(name, buffers, **values):
    machines = {"cores": [1, 2], "pe_y": [8], "local_bandwidth": [32], "global_mib": buffers} | values
    return accelerators(name, frequency_hz=TECHNOLOGY.frequency_at, overrides=machines)


def micro(*buffers):
    return table("micro", list(buffers), pe_x=[8], local_kib=[2, 16])


def llama(**changes):
    base = LlamaSpec(
        layers=4, ffn_dim=96, embed_dim=64, heads=8, kv_heads=4, head_dim=16, vocab_size=256,
        tied_embeddings=True, max_tokens=4096, prompt_tokens=40, new_tokens=24,
    )  # fmt: skip
    return replace(base, **changes)


VISION = VisionSpec(4, 192, 64, 4, 16, 37, 48, 8)
BERT = BertSpec(EncoderSpec(4, 192, 64, 4, 16, 48), 400)
#: A base and accelerators, whose buffers hold some of its variants.
CASES = {
    "clip": (ClipSpec(VISION, TextSpec(4, 160, 48, 3, 16, 24, 300), 32), micro(0.125, 0.25, 0.5)),
    "vit": (VitSpec(VISION, 10), micro(0.125, 0.1875, 0.5)),
    "vit, mean pooled, no classifier": (
        VitSpec(replace(VISION, tokens=36), 0, class_token=False, pooling="mean"),
        micro(0.125, 0.1875, 0.5),
    ),
    "bert": (BERT, micro(0.125, 0.1875, 0.5)),
    "bert, without pooler and classes": (replace(BERT, pooler=False, classes=0, token_types=0), micro(0.125, 0.5)),
    "llama": (llama(), micro(0.125, 0.1875, 0.5)),
    "llama, prefill alone": (llama(new_tokens=0), micro(0.125, 0.1875, 0.5)),
    "llama, one token": (llama(prompt_tokens=1, new_tokens=1, tied_embeddings=False), micro(0.125, 0.1875, 0.5)),
    "llama, all heads have keys": (llama(heads=4, tied_embeddings=False), micro(0.125, 0.1875, 0.5)),
    "llama, mostly cache": (llama(prompt_tokens=300, new_tokens=700), micro(0.25, 0.5, 1)),
}


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """Operators are costed once for all tests."""
    return str(tmp_path_factory.mktemp("costs"))


def halves(base):
    """Each dimension halved or whole; the space leaves the base's width out, so that the base is not in it."""
    values = {name: {"values": [-(-full // 2), full]} for name, full in base.dimensions().items()}
    name = next(name for name in values if name.endswith("embed_dim"))
    full = base.dimensions()[name]
    return model_space(base, values | {name: {"values": [full // 2, 3 * full // 4]}})


def some(space, count):
    """The smallest and the largest model and some between them."""
    between = np.random.default_rng(5).choice(np.arange(1, space.size - 1), min(count, space.size - 2), replace=False)
    return [0, space.size - 1, *map(int, between)]


def check_equal(found, spec, costs, cache):
    """One model's designs against the reference."""
    work = families.workload(spec, costs.scenario.texts_per_image)
    expected = evaluate(work, costs.table, costs.technology, costs.scenario, cache_dir=cache)
    assert np.array_equal(found.resident, expected.resident)
    for name in ("latency_s", "energy_j", "idle_w", "life_energy_j", "area_m2", "embodied_kg", "operational_kg"):
        assert getattr(found, name) == pytest.approx(getattr(expected, name), rel=1e-12, abs=0), name
    assert found.parameters == families.parameters(spec)
    return expected


@pytest.mark.parametrize("case", CASES)
def test_costs_are_those_of_single_evaluations(case, cache):
    base, machines = CASES[case]
    space = halves(base)
    costs = space_cost(space, machines, TECHNOLOGY, SCENARIO, cache_dir=cache)
    assert space.size == 2 ** len(base.dimensions())
    seen = set()
    for index in some(space, 14):
        expected = check_equal(costs.designs(index), space.spec(index), costs, cache)
        assert costs.parameters[index] == families.parameters(space.spec(index))
        assert costs.cost[index] == pytest.approx(expected.total_kg.min(), rel=1e-12)
        assert expected.total_kg[costs.accelerator[index]] == pytest.approx(expected.total_kg.min(), rel=1e-12)
        seen |= set(expected.resident.tolist())
    assert seen == {True, False}
    check_equal(costs.base_designs, base, costs, cache)


@pytest.mark.parametrize("case", ["vit", "bert", "llama"])
@pytest.mark.parametrize("objective", ["latency", "energy"])
def test_the_least_under_limits_is_that_of_single_evaluations(case, objective, cache):
    base, machines = CASES[case]
    space = halves(base)
    free = space_cost(space, machines, TECHNOLOGY, SCENARIO, objective, cache_dir=cache)
    limits = Limits(
        energy=float(np.median(free.base_designs.energy_j)),
        area=float(np.quantile(free.base_designs.area_m2, 0.6)),
        parameters=int(np.quantile(free.parameters, 0.8)),
    )
    costs = replace(free, limits=limits)
    infeasible = 0
    for index in range(space.size):
        work = families.workload(space.spec(index), SCENARIO.texts_per_image)
        one = evaluate(work, machines, TECHNOLOGY, SCENARIO, cache_dir=cache)
        within = (one.energy_j <= limits.energy) & (one.area_m2 <= limits.area)
        within &= families.parameters(space.spec(index)) <= limits.parameters
        values = np.where(within, one.latency_s if objective == "latency" else one.energy_j, np.inf)
        assert costs.cost[index] == pytest.approx(values.min(), rel=1e-12)
        infeasible += not within.any()
    assert 0 < infeasible < space.size


@pytest.mark.parametrize("name", ["vit-tiny-patch16-224", "MiniLM-L6-H384"])
def test_real_models_on_large_accelerators(name, cache):
    """Buffers on either side of what the models need."""
    base = named_spec(name)
    machines = table("edge", [1, 32], cores=[1], pe_x=[128], local_kib=[64], local_bandwidth=[128])
    values = {name: {"values": [full]} for name, full in base.dimensions().items()}
    space = model_space(base, values | {"layers": {"values": [3, base.dimensions()["layers"]]}})
    costs = space_cost(space, machines, TECHNOLOGY, named_scenario("default"), cache_dir=cache)
    for index in range(space.size):
        resident = check_equal(costs.designs(index), space.spec(index), costs, cache).resident
        assert set(resident.tolist()) == {True, False}


def test_a_cache_of_keys_and_values_can_make_the_weights_stream(cache):
    """The same weights: with a short text they stay on chip, with a long one the cache of all layers takes the room."""
    machines = micro(0.5)
    resident = {}
    for tokens in (16, 2000):
        space = halves(llama(prompt_tokens=8, new_tokens=tokens))
        costs = space_cost(space, machines, TECHNOLOGY, SCENARIO, cache_dir=cache)
        largest = space.size - 1
        resident[tokens] = [bool(costs.designs(index).resident.all()) for index in (0, largest)]
        work = families.workload(space.spec(largest))
        assert fits_on_chip(work.weight_bytes, 0, machines).all()
        assert int(costs.each[0].weight_bytes[largest]) == work.weight_bytes
        assert int(costs.each[0].activation_bytes[largest]) == work.activation_bytes
    assert resident == {16: [True, True], 2000: [True, False]}


def test_the_texts_of_an_image_count_for_clip_alone(cache):
    many = replace(SCENARIO, texts_per_image=50.0)
    for case in ("clip", "bert", "llama"):
        base, machines = CASES[case]
        one, other = (
            space_cost(halves(base), machines, TECHNOLOGY, scenario, cache_dir=cache) for scenario in (SCENARIO, many)
        )
        if case == "clip":
            assert np.all(other.cost > one.cost)
        else:
            assert np.array_equal(other.cost, one.cost)


@pytest.mark.parametrize(
    ("name", "prefixes", "sizes"),
    [("ViT-B-16", ("vision.", "text."), (1225, 875)), ("bert-base", ("",), (1225,)), ("Llama-3.2-1B", ("",), (1125,))],
)
def test_stacks_and_their_variants(name, prefixes, sizes):
    base = named_spec(name)
    space = model_space(base)
    assert prefixes_of(base) == prefixes
    found = [variants_of(space, prefix) for prefix in prefixes]
    assert tuple(map(len, found)) == sizes
    assert space.size == np.prod(sizes)
    index = space.size // 3
    places = np.unravel_index(index, sizes)
    merged = {}
    for variants, place in zip(found, places, strict=True):
        merged |= variants[place]
    assert merged == space.dimensions(index)


def test_default_values_without_prefixes():
    assert default_values(named_spec("Llama-3.1-8B")) == {
        "layers": tuple(range(16, 33)),
        "ffn_dim": (7168, 8960, 10752, 12544, 14336),
        "embed_dim": (2048, 2560, 3072, 3584, 4096),
        "kv_heads": (4, 5, 6, 7, 8),
    }
    assert default_values(named_spec("bert-base"))["heads"] == (6, 7, 8, 9, 10, 11, 12)


def test_how_a_model_is_used_is_no_dimension_of_a_space():
    base = llama(prompt_tokens=100, new_tokens=7)
    wrong = {"prompt_tokens": {"values": [10]}, "heads": {"values": [2]}, "kv_heads": {"min": 2, "max": 3}}
    with pytest.raises(InputError) as caught:
        model_space(base, wrong)
    assert {problem.where for problem in caught.value.problems} == {
        'model.space."prompt_tokens"',
        'model.space."heads"',
    }
    assert "how the model is used" in str(caught.value)
    assert "did you mean 'kv_heads'?" in str(caught.value)
    space = model_space(base, {"kv_heads": wrong["kv_heads"]})
    assert space.values["kv_heads"] == (2, 3)
    assert {space.spec(index).usage()["prompt_tokens"] for index in (0, space.size - 1)} == {100}
    assert space.spec(0).heads == 4  # two of the four groups of two


def test_a_dram_that_does_not_hold_the_model_is_told(cache):
    base = named_spec("Llama-3.2-1B")
    space = ModelSpace(base, {name: (size,) for name, size in base.dimensions().items()})
    small = replace(named_scenario("default"), dram_gb=1.0)
    with pytest.raises(InputError, match=r"scenario.dram_gb: 1 GB do not hold the base model .*allowed: 2 or more"):
        space_cost(space, micro(1), TECHNOLOGY, small, cache_dir=cache)


@pytest.mark.parametrize("name", ["exact-hardware", "sobol"])  # those that choose models, each once
def test_strategies_search_a_space_of_four_dimensions(name, cache):
    base, machines = CASES["llama"]
    problem = space_cost(halves(base), machines, TECHNOLOGY, SCENARIO, cache_dir=cache).problem()
    accuracy = 0.2 + 0.6 * problem.space.unit().mean(axis=1)
    chooser, observed = strategy(name, problem, 3), []
    for number in range(problem.space.size):
        proposal = chooser.ask(observed, [], number)
        observed.append(Observation(proposal.index, float(accuracy[proposal.index])))
    assert sorted(o.index for o in observed) == list(range(problem.space.size))
    assert chooser.ask(observed, [], len(observed)) is None
    assert hypervolume(accuracy, problem.cost, problem.reference[0]) > 0
