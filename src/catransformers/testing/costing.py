"""Of costs: what is counted is what torch runs, and a smaller model costs less."""

from __future__ import annotations

from catransformers.designs import estimate as design
from catransformers.models.families.nets import make_net
from catransformers.testing.kit import FamilyKit, halves, rows
from catransformers.workloads import families

_ACCELERATOR = "cores=1,pe_x=16,pe_y=8,local_kib=4,local_bandwidth=32,global_mib=1"


class CostChecks(FamilyKit):
    """Of costs."""

    def test_multiply_accumulates_are_those_that_run(self) -> None:
        """The closed form's are a trace's, to the last one: full, each dimension at one half, all of them."""
        one = rows(self.batch(), [0])
        for name, values in [("full", {}), *halves(self.spec())]:
            spec = self.spec().with_dimensions(values)
            traced = self.macs(make_net(spec, empty=True).eval(), one)
            closed = families.workload(spec).macs
            assert closed == traced, f"{name}: {closed} by the closed form, {traced} by a trace"

    def test_the_parts_are_the_whole(self) -> None:
        """Σ times × (layers × layer + stem) is the workload; every parameter but lone numbers is a weight of it."""
        spec = self.spec()
        whole, parts = families.workload(spec), families.parts(spec)
        assert sum(part.workload().macs for part in parts) == whole.macs
        lone = sum(parameter.dim() == 0 for parameter in make_net(spec, empty=True).parameters())
        count = families.parameters(spec)
        assert count - lone <= whole.weight_bytes <= count, f"{whole.weight_bytes} weights, {count} parameters"

    def test_a_smaller_model_costs_less(self) -> None:
        """On a small accelerator: finite, above zero, and less energy with every dimension at one half."""
        spec = self.spec()
        full = design.estimate(spec, _ACCELERATOR)
        assert full.parameters == families.parameters(spec)
        assert full.macs > 0
        assert full.latency_s > 0
        assert 0 < full.energy_j < float("inf")
        for name, values in halves(spec):
            small = design.estimate(spec, _ACCELERATOR, dimensions=values)
            assert small.energy_j < full.energy_j, f"{name}: {small.energy_j} J, the full model {full.energy_j} J"
            assert small.latency_s <= full.latency_s, f"{name}: {small.latency_s} s, the full {full.latency_s} s"
            assert small.parameters < full.parameters, f"{name}: as many parameters"
