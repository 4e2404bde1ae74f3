"""A study costed under another scenario is the study that was costed under it from the start, whatever it asks for."""

from dataclasses import replace

import numpy as np
import pytest

from catransformers.carbon.scenario import read_scenario
from catransformers.errors import InputError
from catransformers.execution.results import load_study
from catransformers.execution.studies.assemble import assemble
from catransformers.execution.studies.under_scenario import under_scenario


@pytest.mark.parametrize(
    "objectives", ["max_latency_ms = 33.0", 'minimise = ["water"]', "max_water_l = 9.0", 'carbon_quantile = "p95"']
)
def test_everything_follows_the_scenario(study_of, objectives):
    results = load_study(study_of(objectives=objectives).root)
    other = {"base": "always-on", "use_region": "FRA", "lifetime_years": 2.0}
    moved = under_scenario(results.costs, results.config, read_scenario(other))
    fresh = assemble(replace(results.config, scenario=other))
    for name in results.costs.objectives.minimise:
        before, after, expected = (one.designs(0).quantity(name) for one in (results.costs, moved, fresh))
        assert not np.allclose(before, after)
        np.testing.assert_allclose(after, expected, rtol=1e-12)
    np.testing.assert_array_equal(moved.designs(0).within, fresh.designs(0).within)
    assert moved.reference == pytest.approx(fresh.reference)


def test_a_grid_whose_water_is_not_known(study_of):
    results = load_study(study_of(objectives='minimise = ["water"]').root)
    scenario = replace(results.costs.scenario, use=read_scenario({"base": "always-on", "use_region": "gas"}).use)
    with pytest.raises(InputError, match="water"):
        under_scenario(results.costs, results.config, scenario)
