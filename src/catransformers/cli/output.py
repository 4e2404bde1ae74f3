"""What the verbs share when they speak: JSON, numbers with sensible units, tables."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress
    from rich.table import Table

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object (stable keys) instead.")

_PREFIXES = ((1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""), (1e-3, "m"), (1e-6, "µ"), (1e-9, "n"), (1e-12, "p"))


def quantity(value: float, unit: str, digits: int = 4) -> str:
    """A number with an SI prefix: `quantity(0.0185, "s")` is `18.5 ms`."""
    if value == 0:
        return f"0 {unit}"
    scale, prefix = next(((s, p) for s, p in _PREFIXES if abs(value) >= s), _PREFIXES[-1])
    return f"{value / scale:.{digits}g} {prefix}{unit}"


def carbon(kilograms: float, digits: int = 4) -> str:
    """A footprint in the unit people read: `12.3 g CO₂e` or `1.20 kg CO₂e`."""
    return f"{quantity(kilograms * 1e3, 'g', digits)} CO₂e"


def print_json(data: Any) -> None:
    """One JSON object on standard output; a number that is not finite is a bug and raises ValueError."""
    click.echo(json.dumps(data, indent=2, allow_nan=False, ensure_ascii=False))


def console(*, stderr: bool = False) -> Console:
    """A terminal that knows its width and whether it may use colour; 140 columns when it is no terminal."""
    from rich.console import Console  # noqa: PLC0415

    terminal = Console(stderr=stderr, highlight=False)
    return terminal if terminal.is_terminal else Console(stderr=stderr, highlight=False, width=140)


def progress(screen: Console, *, quiet: bool = False, counted: bool = False) -> Progress:
    """A progress bar that shows on terminals only: what it is about, the bar, `n/m` if `counted`, the time left."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        *([MofNCompleteColumn()] if counted else []),
        TimeRemainingColumn(),
        console=screen,
        disable=quiet or not screen.is_terminal,
    )


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]], *, left: int = 1) -> Table:
    """A table whose first `left` columns are text and the others numbers."""
    from rich.box import SIMPLE_HEAD  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    result = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    for index, column in enumerate(columns):
        result.add_column(column, justify="left" if index < left else "right", overflow="fold")
    for row in rows:
        result.add_row(*row)
    return result
