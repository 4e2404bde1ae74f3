"""A study's costs under another scenario: everything is ranked again, nothing is trained or costed again.

Latency and energy of every layer shape on every accelerator stay; what a kilowatt-hour, a die and a DRAM emit changes,
with it the limits that follow from the rate of inferences.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from catransformers.carbon.footprint import footprint
from catransformers.carbon.scenario import Scenario
from catransformers.config.study import StudyConfig
from catransformers.designs.estimate import check_node
from catransformers.execution.studies.assemble import limits_of
from catransformers.search.costs.carbon_quantile import QuantileCarbon
from catransformers.search.costs.enumerated import check_room, water_terms
from catransformers.search.costs.space import Costs
from catransformers.search.costs.stacks import RESIDENT, STREAMED


def under_scenario(costs: Costs, config: StudyConfig, scenario: Scenario) -> Costs:
    """The same models and accelerators under another scenario.

    Args:
        costs: of the study.
        config: its limits; that on carbon counts under the new scenario.
        scenario: the other scenario.

    Raises:
        InputError: if the scenario's dies are of another process node than the study's technology, or the study asks
            for water and its factor is not known on the scenario's grids.
    """
    check_node(costs.technology, scenario)
    check_room(costs.space, costs.table, scenario)
    silicon = costs.silicon
    embodied = np.empty_like(silicon.embodied_kg)
    for mode, needs_dram in ((STREAMED, True), (RESIDENT, False)):
        embodied[mode] = footprint(silicon.area_m2, 0.0, needs_dram, scenario).embodied_kg
    water = (None, 0.0) if silicon.water_l is None else water_terms(scenario, silicon.area_m2)
    return costs.under(
        scenario,
        limits_of(config, scenario),
        replace(
            silicon,
            embodied_kg=embodied,
            period_s=scenario.period_s,
            operational_kg_per_j=float(footprint(0.0, 1.0, False, scenario).operational_kg),
            water_l=water[0],
            water_l_per_j=water[1],
            carbon_at=None if silicon.carbon_at is None else QuantileCarbon(silicon.area_m2, scenario, 0.95),
        ),
    )
