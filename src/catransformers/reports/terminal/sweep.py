"""A sweep in a terminal: the best designs and the front."""

from __future__ import annotations

from typing import TYPE_CHECKING

from catransformers.designs.sweep import Sweep
from catransformers.reports.sweep.page import SHOWN, costs, summary
from catransformers.reports.terminal.screen import console, table
from catransformers.reports.wording import breakable, plural

if TYPE_CHECKING:
    from rich.table import Table


#: Attribute → heading of its column.
_HEADINGS = {
    "cores": "cores",
    "pe_x": "pe_x",
    "pe_y": "pe_y",
    "local_kib": "local KiB",
    "local_bandwidth": "words",
    "global_mib": "global MiB",
    "voltage_v": "V",
}


def show_sweep(result: Sweep, model: str, seconds: float, everything: bool) -> None:
    """What was swept, the best designs and the front."""
    screen = console()
    dimensions = ", ".join(f"{key} {value}" for key, value in result.model.dimensions().items())
    screen.print(f"[bold]{model}[/] ({dimensions})")
    screen.print(
        f"on [bold]{plural(len(result.table), 'accelerator')}[/] of the space {result.space}, "
        f"{result.technology.name}, in {seconds:.1f} s"
    )
    screen.print(f"under {result.scenario.describe()}\n")
    screen.print(f"{summary(result)}\n", highlight=False)
    show_front(result, "" if everything else "--all shows all")


def show_front(result: Sweep, shortened: str = "") -> None:
    """The best designs and the front as tables; a long front is cut if there is something to say where the rest is."""
    screen = console()
    best = {**result.best, "knee": result.knee}
    screen.print(_table("Best for each objective", result, list(best.values()), list(best)))
    cut = bool(shortened) and len(result.front) > SHOWN
    title = "The front, by carbon" + (f" (the first {SHOWN} of {len(result.front):,}; {shortened})" if cut else "")
    screen.print(_table(title, result, list(result.front[:SHOWN] if cut else result.front)))


def _table(title: str, result: Sweep, rows: list[int], names: list[str] | None = None) -> Table:
    """Designs with a column an attribute that anyone of them has, each after its name where there are names."""
    machines = [result.table[row].to_dict() for row in rows]
    attributes = [name for name in _HEADINGS if any(name in machine for machine in machines)]
    headings, texts = costs(result, rows)
    lines = [
        [
            *([names[i]] if names else []),
            *(f"{machine[name]:g}" if name in machine else "nominal" for name in attributes),
            *map(breakable, texts[i]),
        ]
        for i, machine in enumerate(machines)
    ]
    columns = [*([""] if names else []), *(_HEADINGS[name] for name in attributes), *headings]
    columns = [column.replace(" (", "\n(") for column in columns]  # narrow, so that no number is broken
    return table(title, columns, lines, left=1 if names else 0)
