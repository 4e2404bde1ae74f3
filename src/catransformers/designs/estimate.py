"""A design = model spec × accelerator, and all that can be said of it without training: the `estimate`.

Puts workloads, hardware and carbon together for one design. No I/O beyond the fact tables and the files one names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from catransformers.carbon.footprint import Footprint, footprint, footprint_range
from catransformers.carbon.scenario import Scenario, read_scenario
from catransformers.display import Displayed
from catransformers.hardware.accelerator import Accelerator
from catransformers.hardware.cost import WorkloadCost, estimate_workload
from catransformers.hardware.power import energy_with_idle_j
from catransformers.hardware.technology import Technology, technology
from catransformers.units import MM2_PER_M2
from catransformers.workloads import families
from catransformers.workloads.operators import Workload
from catransformers.workloads.spec import ModelSpec
from catransformers.workloads.zoo import read_model


@dataclass(frozen=True, slots=True, repr=False)
class Estimate(Displayed):
    """Time, energy, silicon and carbon of one design under one scenario.

    Args:
        model: the model spec.
        accelerator: the accelerator.
        technology: what the accelerator is made of.
        scenario: where and how long it is made and used.
        parameters: of the model.
        macs: multiply-accumulates of one inference.
        cost: latency, energy and area, with a row per operator.
        footprint: kgCO2e, embodied and operational.
        range_kg: the 5th, 50th and 95th percentile of the total footprint, kgCO2e.
        life_energy_j: of one inference and of the wait for the next one, which the footprint counts.
        weight_bits, activation_bits: precision of every operator.
        asked: the scenario as it was asked for; `scenario` has a DRAM that holds the model.
    """

    model: ModelSpec
    accelerator: Accelerator
    technology: Technology
    scenario: Scenario
    parameters: int
    macs: int
    cost: WorkloadCost
    footprint: Footprint
    range_kg: tuple[float, float, float]
    life_energy_j: float
    weight_bits: int = 8
    activation_bits: int = 8
    asked: Scenario | None = None

    @property
    def workload(self) -> Workload:
        """What one inference runs, at this precision."""
        work = families.workload(self.model, self.scenario.texts_per_image)
        return work.with_bits(self.weight_bits, self.activation_bits)

    @property
    def tops(self) -> float:
        """Peak throughput, tera-operations a second (a multiply-accumulate is two)."""
        return self.accelerator.peak_tops(self.cost.frequency_hz)

    @property
    def power_w(self) -> float:
        """Mean power while an inference runs, W."""
        return self.cost.energy_j / self.cost.latency_s if self.cost.latency_s else 0.0

    @property
    def latency_s(self) -> float:
        """Time of one inference, s."""
        return self.cost.latency_s

    @property
    def energy_j(self) -> float:
        """Energy of one inference, J, leakage, clock and DRAM included."""
        return self.cost.energy_j

    @property
    def area_mm2(self) -> float:
        """Area of the die, mm²."""
        return self.cost.area_m2 * MM2_PER_M2

    @property
    def total_kg(self) -> float:
        """Embodied and operational carbon of one device over its life, kgCO2e."""
        return float(self.footprint.total_kg)

    @property
    def meets_rate(self) -> bool:
        """Whether one device can run as many inferences a second as the scenario counts."""
        return self.cost.latency_s * self.scenario.inferences_per_second <= 1

    def __repr__(self) -> str:
        return (
            f"<Estimate on {self.accelerator} ({self.technology.name}): {self.latency_s:.4g} s, {self.energy_j:.4g} J, "
            f"{self.area_mm2:.4g} mm2, {self.total_kg:.4g} kgCO2e under scenario {self.scenario.name!r}>"
        )

    def to_dict(self) -> dict[str, Any]:
        """The object that `estimate --json` prints (stable keys, SI units but for `area_mm2`)."""
        print_ = self.footprint
        return {
            "model": self.model.to_dict(),
            "accelerator": self.accelerator.to_dict(),
            "technology": self.technology.name,
            "scenario": self.scenario.to_dict(),
            "params": self.parameters,
            "macs": self.macs,
            "weight_bits": self.weight_bits,
            "activation_bits": self.activation_bits,
            "tops": self.tops,
            "weights_on_chip": self.cost.resident,
            "latency_s": self.cost.latency_s,
            "energy_j": self.cost.energy_j,
            "idle_w": self.cost.idle_w,
            "life_energy_j": self.life_energy_j,
            "power_w": self.power_w,
            "area_mm2": self.area_mm2,
            "area_split_mm2": {name: area * MM2_PER_M2 for name, area in self.cost.area_split_m2.items()},
            "memories": dict(self.cost.memories),
            "needed_bytes": self.cost.needed_bytes,
            "buffer_bytes": self.cost.buffer_bytes,
            "frequency_hz": self.cost.frequency_hz,
            "meets_rate": self.meets_rate,
            "footprint": {
                "embodied_kg": {
                    "die": float(print_.die_kg),
                    "dram": float(print_.dram_kg),
                    "package": float(print_.package_kg),
                    "total": float(print_.embodied_kg),
                },
                "operational_kg": float(print_.operational_kg),
                "total_kg": float(print_.total_kg),
                "total_kg_p5": self.range_kg[0],
                "total_kg_p50": self.range_kg[1],
                "total_kg_p95": self.range_kg[2],
            },
            "breakdown": [
                {
                    "name": row.name,
                    "component": row.component,
                    "kind": row.kind,
                    "m": row.m,
                    "k": row.k,
                    "n": row.n,
                    "count": row.count,
                    "cycles": row.cycles,
                    "latency_s": row.latency_s,
                    "utilization": row.utilization,
                    "bound": row.bound,
                    "energy_j": row.energy_j,
                    "energy_split_j": dict(row.energy_split_j),
                    "busy_cycles": dict(row.busy_cycles),
                    "bytes_moved": dict(row.bytes_moved),
                }
                for row in self.cost.rows
            ],
        }


def estimate(
    model: str | ModelSpec | Workload | Mapping[str, Any],
    accelerator: str | Accelerator | Mapping[str, Any],
    *,
    dimensions: Mapping[str, int] | None = None,
    weight_bits: int = 8,
    activation_bits: int = 8,
    technology: str | Technology = "default-22nm",
    scenario: str | Scenario | Mapping[str, object] = "default",
) -> Estimate:
    """What one design costs: latency, energy, area and carbon of one inference.

    One inference is an image and its texts (CLIP), an image (ViT), a text (BERT), or a prompt and the tokens generated
    after it (Llama).

    Args:
        model: a spec, its plain form, a name (`embedded`, `ViT-B-16`, `bert-base`, `Llama-3.1-8B`, …), or a workload
            that `trace` found.
        accelerator: an accelerator, its plain form, or text as in `cores=1,pe_x=256,pe_y=8,…`.
        dimensions: pruned dimensions of the model, e.g. `{"vision.layers": 9}`, and lengths of its input.
        weight_bits, activation_bits: precision of every operator, 2 to 32.
        technology: a technology, its name, or the path of a TOML file.
        scenario: a scenario, its name, the path of a TOML file, or keys that change a named one (`base`, by default
            `default`): `{"base": "always-on", "use_region": "FR"}`.

    Raises:
        InputError: for unknown names and values out of range, all at once per argument, and if scenario and
            technology are of different process nodes.
    """
    spec = read_model(model).with_dimensions(dimensions or {})
    if isinstance(accelerator, str):
        machine = Accelerator.parse(accelerator)
    elif isinstance(accelerator, Accelerator):
        machine = accelerator
    else:
        machine = Accelerator.parse(",".join(f"{key}={value}" for key, value in accelerator.items()))
    tech = _technology(technology)
    situation = scenario if isinstance(scenario, Scenario) else read_scenario(scenario)
    situation.check_node(tech.node_nm, tech.name)
    work = families.workload(spec, situation.texts_per_image).with_bits(weight_bits, activation_bits)
    cost = estimate_workload(work, machine, tech)
    needs_dram = not cost.resident
    asked, situation = situation, situation.with_room(cost.needed_bytes if needs_dram else 0)
    life_energy = float(energy_with_idle_j(cost.energy_j, cost.latency_s, cost.idle_w, situation.period_s))
    return Estimate(
        spec,
        machine,
        tech,
        situation,
        families.parameters(spec),
        work.macs,
        cost,
        footprint(cost.area_m2, life_energy, needs_dram, situation),
        _triple(footprint_range(cost.area_m2, life_energy, needs_dram, situation)),
        life_energy,
        weight_bits,
        activation_bits,
        asked,
    )


def _technology(given: str | Technology) -> Technology:
    return given if isinstance(given, Technology) else technology(given)


def _triple(values: Any) -> tuple[float, float, float]:
    low, middle, high = (float(value) for value in values)
    return low, middle, high
