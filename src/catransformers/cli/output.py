"""Machine-readable output: the option `--json` and one JSON object."""

from __future__ import annotations

import json
from typing import Any

import click

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object (stable keys) instead.")


def print_json(data: Any) -> None:
    """One JSON object on standard output; a number that is not finite is a bug and raises ValueError."""
    click.echo(json.dumps(data, indent=2, allow_nan=False, ensure_ascii=False))
