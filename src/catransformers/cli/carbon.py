"""`catransformers carbon`: the carbon model by itself, its places and scenarios, designs side by side, what matters."""

from __future__ import annotations

import click

from catransformers.cli.carbon_compare import compare
from catransformers.cli.carbon_parts import die, memory
from catransformers.cli.carbon_places import regions, scenarios
from catransformers.cli.carbon_sensitivity import sensitivity
from catransformers.errors import InputError, unknown_name


class _Group(click.Group):
    """A group that offers the nearest of its commands for an unknown one."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in self.commands and not args[0].startswith("-"):
            raise InputError(unknown_name("catransformers carbon", "command", args[0], self.commands))
        return super().resolve_command(ctx, args)


@click.group(cls=_Group, no_args_is_help=True)
def carbon() -> None:
    """The carbon model by itself: dies, memory, grids, scenarios; designs compared; what a study's front hangs on.

    How it counts, formula by formula: docs/carbon.md.
    """


for command in (die, memory, regions, scenarios, compare, sensitivity):
    carbon.add_command(command)
