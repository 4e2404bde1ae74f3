"""A verb that has verbs of its own."""

from __future__ import annotations

import click

from catransformers.errors import InputError, unknown_name


class VerbGroup(click.Group):
    """A group that offers the nearest of its commands for an unknown one."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Name, command and its arguments.

        Raises:
            InputError: if there is no such command.
        """
        if args and args[0] not in self.commands and not args[0].startswith("-"):
            raise InputError(unknown_name(f"catransformers {self.name}", "command", args[0], self.commands))
        return super().resolve_command(ctx, args)
