"""Any number of stacks: a made-up family of three encoders, every model of which costs what its workload costs."""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest
from small_study import BASE, TABLE, TECHNOLOGY

from catransformers.carbon.scenario import scenario_from_mapping
from catransformers.designs.limits import Limits
from catransformers.designs.quantities import Objectives
from catransformers.hardware.cost import cost_tables
from catransformers.search.costs.enumerated import space_cost
from catransformers.search.costs.large_space import large_space_cost
from catransformers.search.space import ModelSpace
from catransformers.workloads import clip, families
from catransformers.workloads.spec import ClipSpec

SCENARIO = scenario_from_mapping("always-on", {"texts_per_image": 2.5}, "scenario")
HEARD = 3  # times that the third encoder runs in one inference


@dataclass(frozen=True)
class ThreeEncoders:
    """CLIP, and a third encoder that hears: the text encoder of another CLIP."""

    seen: ClipSpec
    heard: ClipSpec
    family: ClassVar[str] = "three"

    def dimensions(self):
        audio = {f"audio.{n[5:]}": v for n, v in self.heard.dimensions().items() if n.startswith("text.")}
        return self.seen.dimensions() | audio

    def with_dimensions(self, values):
        own = {f"text.{n[6:]}": v for n, v in values.items() if n.startswith("audio.")}
        rest = {n: v for n, v in values.items() if not n.startswith("audio.")}
        return ThreeEncoders(self.seen.with_dimensions(rest), self.heard.with_dimensions(own))


def parts(spec, texts_per_image=1.0):
    heard = next(part for part in clip.parts(spec.heard) if part.component == "text")
    return [*clip.parts(spec.seen, texts_per_image), replace(heard, component="audio", times=HEARD)]


def parameters(spec):
    return clip.parameters(spec.seen) + clip.parameters(spec.heard)


@pytest.fixture
def space(monkeypatch):
    monkeypatch.setattr(families, "parts", parts)
    monkeypatch.setattr(families, "parameters", parameters)
    base = ThreeEncoders(BASE, BASE)
    few = {"vision.layers": 2, "text.ffn_dim": 2, "audio.layers": 3, "audio.ffn_dim": 2, "audio.embed_dim": 2}
    values = {}
    for name, full in base.dimensions().items():
        count = min(few.get(name, 1), full)
        values[name] = tuple(sorted({int(v) for v in np.linspace(full // 2, full, count)})) if count > 1 else (full,)
    return ModelSpace(base, values)


@pytest.mark.parametrize("way", [space_cost, large_space_cost])
def test_every_model_of_three_stacks_costs_what_its_workload_costs(space, way):
    costs = way(space, TABLE, TECHNOLOGY, SCENARIO, Objectives(("latency",)), Limits())
    for model in range(space.size):
        spec = space.spec(model)
        work = [part.workload() for part in parts(spec, SCENARIO.texts_per_image)]
        resident, streamed = cost_tables(work, TABLE, TECHNOLOGY)
        found = costs.designs(model)
        latency, energy = (
            np.where(found.resident, getattr(resident, name).sum(axis=0), getattr(streamed, name).sum(axis=0))
            for name in ("latency_s", "energy_j")
        )
        held = parts(spec)
        demand = sum(part.weight_bytes for part in held) + max(part.activation_bytes for part in held)
        assert found.latency_s == pytest.approx(latency, rel=1e-12)
        assert found.energy_j == pytest.approx(energy, rel=1e-12)
        assert found.resident.tolist() == (demand <= TABLE.global_bytes).tolist()
        assert found.parameters == parameters(spec)
        assert costs.cost_of(model) == found.latency_s.min() == found.latency_s[costs.accelerator_of(model)]


@pytest.mark.parametrize("minimise", [("carbon",), ("carbon", "latency"), ("carbon", "latency", "energy")])
def test_a_study_of_three_stacks_has_the_fronts_of_its_models(space, minimise):
    costs = space_cost(space, TABLE, TECHNOLOGY, SCENARIO, Objectives(minimise), Limits())
    problem = costs.problem()
    for model in range(space.size):
        found = costs.designs(model)
        front = found.points(found.front(minimise), minimise)
        assert problem.fronts.points_of(model) == pytest.approx(front, rel=1e-6)
