"""A study's costs under another scenario: everything is ranked again, nothing is trained or costed again.

Latency and energy of every layer shape on every accelerator stay; what a kilowatt-hour, a die and a DRAM emit changes,
with it the limits that follow from the rate of inferences.
"""

from __future__ import annotations

from catransformers.carbon.scenario import Scenario
from catransformers.config.study import StudyConfig
from catransformers.designs.table import check_known
from catransformers.execution.studies.assemble import limits_of
from catransformers.search.costs.enumerated import check_room, priced
from catransformers.search.costs.space import Costs


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
    scenario.check_node(costs.technology.node_nm, costs.technology.name)
    check_room(costs.space, costs.table, scenario)
    check_known({*costs.objectives.minimise, *costs.limits.of_designs()}, scenario)
    return costs.under(
        scenario,
        limits_of(config, scenario),
        priced(costs.silicon, scenario, costs.objectives.carbon_quantile),
    )
