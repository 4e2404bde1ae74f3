"""A traced workload in the place of a model spec: any torch module on any accelerator, nothing of it to prune."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from catransformers.workloads.dimensions import check_dimensions
from catransformers.workloads.operators import Workload


@dataclass(frozen=True, slots=True)
class TracedSpec:
    """What `models.tracing.trace` found, with the interface of a model spec.

    Args:
        work: one forward pass, in 8-bit values.
    """

    work: Workload

    family = "traced"

    @property
    def parameters(self) -> int:
        """All parameters of the module: a byte each in an 8-bit workload."""
        return round(self.work.with_bits(8).weight_bytes)

    def dimensions(self) -> dict[str, int]:
        """None: what a trace saw cannot be pruned."""
        return {}

    def usage(self) -> dict[str, int]:
        """None: the inputs of the trace are its own."""
        return {}

    def with_dimensions(self, values: Mapping[str, int]) -> TracedSpec:
        """This spec.

        Raises:
            InputError: for any dimension.
        """
        check_dimensions({}, values).finish()
        return self

    def to_dict(self) -> dict[str, object]:
        """Plain data that says what was traced."""
        return {"family": self.family, "name": self.work.name, "operators": len(self.work.operators)}
