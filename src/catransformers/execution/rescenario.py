"""A study's costs under another scenario: everything is ranked again, nothing is trained or costed again.

Latency and energy of every layer shape on every accelerator stay; what a kilowatt-hour, a die and a DRAM emit changes,
with it the limits that follow from the rate of inferences.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from catransformers.carbon.footprint import footprint
from catransformers.carbon.scenario import Scenario
from catransformers.config import StudyConfig
from catransformers.design import check_node
from catransformers.execution.assemble import limits_of
from catransformers.search.space_cost import SpaceCost, check_room
from catransformers.search.stack_costs import RESIDENT, STREAMED


def under_scenario(costs: SpaceCost, config: StudyConfig, scenario: Scenario) -> SpaceCost:
    """The same models and accelerators under another scenario.

    Args:
        costs: of the study.
        config: its limits; that on carbon counts under the new scenario.
        scenario: the other scenario.

    Raises:
        InputError: if the scenario's dies are of another process node than the study's technology.
    """
    check_node(costs.technology, scenario)
    check_room(costs.space, costs.table, scenario)
    silicon = costs.silicon
    embodied = np.empty_like(silicon.embodied_kg)
    for mode, needs_dram in ((STREAMED, True), (RESIDENT, False)):
        embodied[mode] = footprint(silicon.area_m2, 0.0, needs_dram, scenario).embodied_kg
    return replace(
        costs,
        scenario=scenario,
        limits=limits_of(config, scenario),
        silicon=replace(
            silicon,
            embodied_kg=embodied,
            period_s=scenario.period_s,
            operational_kg_per_j=float(footprint(0.0, 1.0, False, scenario).operational_kg),
        ),
    )
