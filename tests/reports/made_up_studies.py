"""Synthetic studies: made-up accuracies and costs, so that what a report says can be known beforehand."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from catransformers.carbon.footprint import Footprint, footprint, footprint_range
from catransformers.carbon.grid import region_intensity
from catransformers.carbon.scenario import named_scenario
from catransformers.config.study import StudyConfig, parse
from catransformers.designs.estimate import Estimate
from catransformers.designs.limits import Limits
from catransformers.execution.studies.base_model import base_spec
from catransformers.hardware.accelerator import Accelerator
from catransformers.hardware.cost import OperatorCost, WorkloadCost
from catransformers.hardware.technology import technology
from catransformers.reports.study.search_footprint import SearchFootprint
from catransformers.reports.study.summary import (
    Design,
    Provenance,
    StudySummary,
    Trial,
    ValueWithError,
    choose_headline,
)
from catransformers.search.costs.enumerated import Attribution, DesignCost
from catransformers.search.geometry.pareto import front as pareto_front
from catransformers.search.geometry.pareto import hypervolume
from catransformers.study.directory import StudyDirectory
from catransformers.study.records import EvaluationRecord, ProposalRecord, TrialRecord
from catransformers.study.store import Store
from catransformers.workloads.spec import ClipSpec, TextSpec, VisionSpec

SummaryOf = Callable[..., StudySummary]
StudyOf = Callable[..., StudyDirectory]

BASE = ClipSpec(
    vision=VisionSpec(6, 256, 64, 4, 16, 37, 48, 8), text=TextSpec(6, 256, 64, 4, 16, 24, 128), projection_dim=64
)
SCENARIO = named_scenario("always-on")
MACHINES = [
    Accelerator.parse(f"cores={c},pe_x={x},pe_y={y},local_kib={k},local_bandwidth=16,global_mib={g}")
    for c, x, y, k, g in [(1, 16, 8, 4, 0.5), (1, 32, 8, 8, 0.5), (1, 16, 16, 4, 1), (2, 64, 32, 16, 1)]
]
SPLIT = {"mac": 0.3, "register": 0.1, "local": 0.25, "global": 0.2, "dram": 0.0, "vector": 0.05, "leakage": 0.1}


def made_up_cost(scale: float, machine: Accelerator) -> DesignCost:
    """A cost that grows with the model's `scale` (1 is the base) and with the accelerator's size."""
    size = machine.cores * machine.pe_x * machine.pe_y
    area = 0.4e-6 + size * 0.5e-9 + machine.global_mib * 0.8e-6
    energy = 6e-6 * scale * (1 + 0.08 * math.log2(size / 128))
    latency = 8e-3 * scale * (128 / size) ** 0.7
    carbon = footprint(area, energy, False, SCENARIO)
    return DesignCost(
        machine, MACHINES.index(machine), True, True, latency, energy, 0.0, energy, area,
        float(carbon.embodied_kg), float(carbon.operational_kg), float(carbon.total_kg),
    )  # fmt: skip


def made_up_range(cost: DesignCost) -> tuple[float, float, float]:
    low, middle, high = footprint_range(cost.area_m2, cost.energy_j, not cost.resident, SCENARIO, samples=200)
    return float(low), float(middle), float(high)


def made_up_estimate(spec: ClipSpec, cost: DesignCost) -> Estimate:
    """Rows whose totals are those of the cost."""
    shares = [0.22, 0.17, 0.13, 0.11, 0.09, 0.08, 0.07, 0.05, 0.04, 0.03, 0.01]
    names = [
        "ffn_up",
        "ffn_down",
        "qkv",
        "out",
        "scores",
        "values",
        "softmax",
        "layer_norm",
        "activation",
        "stem",
        "add",
    ]
    rows = tuple(
        OperatorCost(
            name, component, "gemm", 37, 64, 256, 6, 1e3, cost.latency_s * part * weight, 0.7, "compute",
            cost.energy_j * part * weight, {key: cost.energy_j * part * weight * of for key, of in SPLIT.items()},
            {"compute": 700.0}, {"local": 1e4, "global": 1e3, "dram": 0.0},
        )
        for component, weight in (("vision", 0.65), ("text", 0.35))
        for name, part in zip(names, shares, strict=True)
    )  # fmt: skip
    area = np.float64(cost.area_m2)
    made: Footprint = footprint(area, cost.energy_j, not cost.resident, SCENARIO)
    work = WorkloadCost(
        resident=cost.resident,
        latency_s=cost.latency_s,
        energy_j=cost.energy_j,
        idle_w=cost.idle_w,
        area_m2=cost.area_m2,
        area_split_m2={"mac": cost.area_m2},
        memories={"local": "itrs-lstp", "global": "itrs-lstp"},
        needed_bytes=4e5,
        buffer_bytes=cost.accelerator.global_mib * 2**20,
        frequency_hz=5e8,
        rows=rows,
    )
    return Estimate(
        spec,
        cost.accelerator,
        technology("default-22nm"),
        SCENARIO,
        600_000,
        12_000_000,
        work,
        made,
        made_up_range(cost),
        cost.life_energy_j,
    )


def made_up_search_footprint(**changes: Any) -> SearchFootprint:
    """40 trials of 50 J and the rest, estimated, on a named grid; design 1 saves 5 g a device."""
    own = SearchFootprint(
        energy_j=2700.0,
        low_j=700.0,
        high_j=5600.0,
        measured_j=0.0,
        by_job={"search": 500.0, "base": 100.0, "trial": 2000.0, "test": 100.0},
        methods=("estimate",),
        details=("6.1 s of processor time at 7.5 W a core",),
        trials=40,
        cut_off=0,
        unknown=0,
        grid=region_intensity("FR"),
        place_known=True,
        saved_kg=0.005,
    )
    return replace(own, **changes)


def study_config(**sections: dict[str, Any]) -> StudyConfig:
    data: dict[str, Any] = {
        "name": "made-up",
        "hardware": {"space": "micro"},
        "scenario": {"base": "always-on"},
        "objectives": {"mode": "carbon", "max_latency_ms": 33.0},
        "search": {"trials": 40, "seed": 0},
        "execution": {"workers": 2},
    }
    for name, section in sections.items():
        data[name] = {**data.get(name, {}), **section}
    return StudyConfig.read(data)


def made_up_summary(trials: int = 40, *, tested: bool = True, failing: tuple[int, ...] = (11,)) -> StudySummary:
    """A study of `trials` random models; accuracy falls with size, costs too."""
    random = np.random.default_rng(7)
    whole = BASE.dimensions()
    base_cost = made_up_cost(1.0, MACHINES[0])
    records, kept = [], []
    for number in range(trials):
        fractions = np.ones(8) if number == 0 else np.clip(random.uniform(0.45, 1.1, 8), 0.5, 1)
        dimensions = {name: max(1, round(size * f)) for (name, size), f in zip(whole.items(), fractions, strict=True)}
        scale = float(np.prod(fractions) ** 0.5)
        common = {
            "number": number,
            "dimensions": dimensions,
            "origin": "largest model" if number == 0 else "expected improvement",
            "reason": {"predicted_accuracy": 0.61, "expected_improvement": 0.0123},
            "seconds": 5.5 + random.uniform(0, 1),
        }
        if number in failing:
            records.append(Trial(status="failed", error="the fine-tune diverged at step 3: loss nan", **common))
            continue
        accuracy = 0.66 - 0.22 * (1 - scale) ** 1.5 + random.normal(0, 0.008)
        cost = made_up_cost(scale, MACHINES[0] if scale > 0.6 else MACHINES[1])
        records.append(
            Trial(
                status="complete",
                accuracy=ValueWithError(accuracy, 0.0148),
                cost=cost,
                range_kg=made_up_range(cost),
                **common,
            )
        )
    good = [t for t in records if t.accuracy and t.cost]
    order = pareto_front([t.accuracy.value for t in good if t.accuracy], [t.cost.objective for t in good if t.cost])
    kept = [good[i] for i in order]
    base = Design(
        "base", None, whole, base_cost, made_up_range(base_cost), made_up_estimate(BASE, base_cost),
        ValueWithError(0.665, 0.0147), ValueWithError(0.658, 0.0149) if tested else None,
    )  # fmt: skip
    front = tuple(
        Design(
            str(place), t.number, t.dimensions, t.cost, t.range_kg, made_up_estimate(BASE, t.cost), t.accuracy,
            ValueWithError(t.accuracy.value - 0.008, 0.015) if tested else None,
            ValueWithError(0.665 - t.accuracy.value, 0.0089),
            ValueWithError(0.666 - t.accuracy.value, 0.0091) if tested else None,
        )
        for place, t in enumerate(kept, start=1)
        if t.cost and t.range_kg and t.accuracy
    )  # fmt: skip
    members = {d.trial for d in front}
    chosen = choose_headline(front, base)
    shares = None
    if chosen is not None:
        best = front[chosen]
        shares = Attribution(
            made_up_cost(1.0, MACHINES[3]), base_cost, made_up_cost(best.cost.energy_j / 6e-6, MACHINES[0]), best.cost
        )
    config = study_config()
    volumes = []
    for stop in range(1, len(records) + 1):
        part = [t for t in records[:stop] if t.accuracy and t.cost]
        volumes.append(
            hypervolume(
                [t.accuracy.value for t in part if t.accuracy],
                [t.cost.objective for t in part if t.cost],
                1.1 * base_cost.objective,
            )
        )
    return StudySummary(
        config=config,
        metric="recall@1",
        models=3240,
        accelerators=10500,
        base=base,
        base_feasible=True,
        front=front,
        trials=tuple(replace(t, on_front=t.number in members) for t in records),
        attribution=shares,
        headline=chosen,
        hypervolume=tuple(volumes),
        reference_cost=1.1 * base_cost.objective,
        provenance=Provenance(
            "catransformers search study.toml --out runs/made-up",
            {"catransformers": "0.1.0", "torch": "2.10.0"},
            "ab" * 32,
            config.to_toml(),
        ),
        limits=Limits(latency=0.033),
        search_footprint=made_up_search_footprint(),
    )


TINY = """
name = "tiny"
[model.space]
"vision.layers" = { values = [3, 6] }
"vision.ffn_dim" = { values = [128, 256] }
"vision.embed_dim" = { values = [64] }
"vision.heads" = { values = [4] }
"text.layers" = { values = [3, 6] }
"text.ffn_dim" = { values = [256] }
"text.embed_dim" = { values = [64] }
"text.heads" = { values = [4] }
[hardware]
space = "micro"
[hardware.dimensions]
cores = [1]
pe_x = [8, 32]
pe_y = [8]
local_kib = [4]
local_bandwidth = [16]
global_mib = [0.25, 0.5, 1]
[scenario]
base = "always-on"
[objectives]
max_latency_ms = 33.0
[search]
trials = 5
"""


def write_checkpoint(folder: Path, content: bytes) -> None:
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(content)
    description = {"spec": {}, "sha256": hashlib.sha256(content).hexdigest()}
    (folder / "model.json").write_text(json.dumps(description))


def make_study(
    root: Path, *, trials: int = 5, tested: bool = True, objectives: str = "max_latency_ms = 33.0"
) -> StudyDirectory:
    """A study of a tiny space, its trials made up, its store and checkpoints as a search leaves them.

    Trial 0 is the full model; 1 and 2 are pruned; 3 failed; 4 is worse than 1 and costs more than 2.
    """
    study = StudyDirectory(root)
    root.mkdir(parents=True)
    config, problems = parse(TINY.replace("max_latency_ms = 33.0", objectives), "tiny.toml")
    assert not problems
    study.config.write_text(config.to_toml())
    whole = base_spec(config.model).dimensions()
    made = [
        ({}, 0.64),
        ({"vision.layers": 3, "text.layers": 3}, 0.60),
        ({"vision.layers": 3, "text.layers": 3, "vision.ffn_dim": 128}, 0.55),
        ({"vision.layers": 3}, None),
        ({"text.layers": 3}, 0.50),
    ]
    with Store(study.database, "create") as store:
        if trials:
            store.add_evaluation(EvaluationRecord(None, "validation", 0.65, 0.015))
        for number, (changes, accuracy) in enumerate(made[:trials]):
            proposal = ProposalRecord(number, {**whole, **changes}, "Sobol", {"cost": 0.01})
            store.add_proposal(proposal)
            difference = (
                {} if accuracy is None else {"difference_to_base": accuracy - 0.65, "difference_to_base_se": 0.009}
            )
            store.add_trial(
                TrialRecord(
                    number, proposal.dimensions, "failed" if accuracy is None else "complete", accuracy,
                    None if accuracy is None else 0.015, difference, 600_000, 1_000_000, 6.0,
                    "the loss diverged <script>" if accuracy is None else "", proposal,
                )
            )  # fmt: skip
            if accuracy is not None:
                write_checkpoint(study.trial(number), bytes([number]) * 100)
        if tested:
            store.add_evaluation(EvaluationRecord(None, "test", 0.64, 0.015))
            for number, (_, accuracy) in enumerate(made[:3]):
                assert accuracy is not None
                store.add_evaluation(EvaluationRecord(number, "test", accuracy, 0.015, accuracy - 0.64, 0.01))
    return study
