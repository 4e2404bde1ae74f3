"""`catransformers carbon`: the carbon model by itself, its places and scenarios, designs side by side, what matters."""

from __future__ import annotations

import click

from catransformers.cli.carbon_compare import compare
from catransformers.cli.carbon_parts import die, memory
from catransformers.cli.carbon_places import regions, scenarios
from catransformers.cli.carbon_sensitivity import sensitivity
from catransformers.cli.groups import VerbGroup


@click.group(cls=VerbGroup, no_args_is_help=True)
def carbon() -> None:
    """The carbon model on its own: dies, memory, grids, scenarios, designs compared, sensitivity of a study's front.

    How it counts, formula by formula: docs/carbon.md.
    """


for command in (die, memory, regions, scenarios, compare, sensitivity):
    carbon.add_command(command)
