"""The terminal (rich): its width and colours, tables, progress bars, numbers with SI prefixes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Self

from catransformers.lazy import lazy
from catransformers.reports.wording import si_prefix

if TYPE_CHECKING:
    import rich.box
    import rich.progress
    import rich.table
    import rich.text
    from rich.console import Console
    from rich.progress import Progress
    from rich.table import Table
    from rich.text import Text
else:
    rich = lazy("rich")


def quantity(value: float, unit: str, digits: int = 4) -> str:
    """A number with an SI prefix: `quantity(0.0185, "s")` is `18.5 ms`."""
    if value == 0:
        return f"0 {unit}"
    scale, prefix = si_prefix(abs(value))
    return f"{value / scale:.{digits}g} {prefix}{unit}"


def carbon(kilograms: float, digits: int = 4) -> str:
    """A footprint in the unit people read: `12.3 g CO₂e` or `1.20 kg CO₂e`."""
    return f"{quantity(kilograms * 1e3, 'g', digits)} CO₂e"


def console(*, stderr: bool = False) -> Console:
    """A terminal that knows its width and whether it may use colour; 140 columns when it is no terminal."""
    terminal = rich.console.Console(stderr=stderr, highlight=False)
    return terminal if terminal.is_terminal else rich.console.Console(stderr=stderr, highlight=False, width=140)


def progress(screen: Console, *, quiet: bool = False, counted: bool = False) -> Progress:
    """A progress bar that shows on terminals only: what it is about, the bar, `n/m` if `counted`, the time left."""
    return rich.progress.Progress(
        rich.progress.TextColumn("{task.description}"),
        rich.progress.BarColumn(),
        *([rich.progress.MofNCompleteColumn()] if counted else []),
        rich.progress.TimeRemainingColumn(),
        console=screen,
        disable=quiet or not screen.is_terminal,
    )


class WorkShown:
    """A progress bar on a terminal while work is done; elsewhere the lines that are printed above it.

    Args:
        quiet: show nothing.
        counted: with `n/m` beside the bar.
    """

    def __init__(self, *, quiet: bool = False, counted: bool = False) -> None:
        self._screen, self._quiet = console(stderr=True), quiet
        self._bar = progress(self._screen, quiet=quiet, counted=counted)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def _say(self, line: str) -> None:
        """A line above the bar."""
        if not self._quiet:
            self._bar.console.print(line, highlight=False, markup=False)


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str | Text]], *, left: int = 1) -> Table:
    """A table whose first `left` columns are text and the others numbers."""
    result = rich.table.Table(title=title, title_justify="left", box=rich.box.SIMPLE_HEAD, pad_edge=False)
    for index, column in enumerate(columns):
        result.add_column(column, justify="left" if index < left else "right", overflow="fold")
    for row in rows:
        result.add_row(*row)
    return result


def text(value: str, style: str = "") -> Text:
    """Text that is shown as it is: no markup, no emoji codes."""
    return rich.text.Text(value, style=style)
