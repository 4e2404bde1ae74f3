"""`catransformers carbon compare`: two designs under one scenario, and how surely one emits less than the other."""

from __future__ import annotations

import click

from catransformers.carbon import comparison
from catransformers.carbon.scenario import Scenario, read_scenario
from catransformers.cli.carbon_inputs import DESIGN_HELP, read_design, whole_number
from catransformers.cli.inputs import scenario_option, technology_option
from catransformers.cli.output import json_option, print_json
from catransformers.errors import Problems, present
from catransformers.hardware.technology import Technology
from catransformers.hardware.technology import technology as read_technology
from catransformers.reports.terminal.comparison import show_comparison

MAX_SAMPLES = 1_000_000


@click.command(epilog=f"DESIGN is {DESIGN_HELP}.")
@click.argument("first", metavar="DESIGN")
@click.argument("second", metavar="DESIGN")
@scenario_option
@technology_option
@click.option("--samples", default="10000", show_default=True, metavar="N", help="Draws of the uncertain factors.")
@click.option("--seed", default="0", show_default=True, metavar="N", help="Of the draws.")
@json_option
def compare(first: str, second: str, scenario: str, technology: str, samples: str, seed: str, as_json: bool) -> None:
    """Two designs side by side: footprints with ranges, metrics, break-evens, and how surely one beats the other.

    A design is MODEL@ACCELERATOR, with dimensions of the model after a colon, or a file that `estimate --json` (or a
    report: designs/01/design.json) wrote. Files keep their figures; nothing of theirs is estimated again.

    \b
    Example:
      catransformers carbon compare --scenario always-on \\
        embedded@cores=1,pe_x=16,pe_y=8,local_kib=4,local_bandwidth=32,global_mib=1 \\
        embedded:text.layers=3,vision.layers=4@cores=1,pe_x=16,pe_y=8,local_kib=4,local_bandwidth=32,global_mib=0.5
    """
    problems = Problems()
    situation = problems.of(read_scenario, scenario)
    tech = problems.of(read_technology, technology)
    if any(not text.endswith(".json") for text in (first, second)):
        tech = problems.of(_of_one_node, tech, situation)
    number = problems.of(whole_number, samples, "--samples", 2, MAX_SAMPLES)
    start = problems.of(whole_number, seed, "--seed", 0, 2**31 - 1)
    a, b = (problems.of(read_design, text, tech, situation) for text in (first, second))
    problems.finish()
    situation = present(situation)
    found = comparison.compare(present(a), present(b), situation, samples=present(number), seed=present(start))
    if as_json:
        print_json({"scenario": situation.to_dict(), "technology": technology, **found.to_dict()})
    else:
        show_comparison(found, situation.describe())


def _of_one_node(tech: Technology | None, scenario: Scenario | None) -> Technology | None:
    """The technology, if the scenario makes dies of its node (or is not known)."""
    if tech is not None and scenario is not None:
        scenario.check_node(tech.node_nm, tech.name)
    return tech
