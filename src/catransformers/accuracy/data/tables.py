"""Tables as text: CSV and tab-separated files with a header, row by row with line numbers."""

from __future__ import annotations

import csv
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from catransformers.accuracy.data.faults import Faults
from catransformers.errors import InputError, Problem, nearest

_WRONG_FIELDS: Final = "a row with another number of fields than the header"


@dataclass(frozen=True, slots=True)
class Table:
    """A table's rows.

    Args:
        path: of the file.
        header: the columns' names.
        rows: line number and fields by column.
        faults: rows that have another number of fields; they are not in `rows`.
    """

    path: Path
    header: tuple[str, ...]
    rows: tuple[tuple[int, dict[str, str]], ...]
    faults: Faults


def read_table(path: Path, header: Sequence[str] | None = None) -> Table:
    """A table in UTF-8. Commas and quotes as in CSV; in a file that is not called `.csv`, tabs and no quoting.

    Args:
        path: of the file.
        header: the columns' names, where the file has none.

    Raises:
        InputError: if the file cannot be read as such a table.
    """
    style: dict[str, Any] = {} if path.suffix.lower() == ".csv" else {"delimiter": "\t", "quoting": csv.QUOTE_NONE}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, header, strict=True, **style)
            names = [name.strip() for name in reader.fieldnames or ()]
            reader.fieldnames = names
            faults, rows = Faults(), []
            for row in reader:
                if None in row or None in row.values():
                    faults.add(_WRONG_FIELDS, f"line {reader.line_num}")
                else:
                    rows.append((reader.line_num, {key: value.strip() for key, value in row.items()}))
    except OSError as error:
        raise InputError(Problem(str(path), f"cannot be read: {error.strerror}", "a CSV file")) from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(Problem(str(path), f"not a CSV file in UTF-8: {error}")) from error
    return Table(path, tuple(names), tuple(rows), faults)


def need_columns(table: Table, needed: Collection[str], allowed: str) -> None:
    """Stop if a column is missing.

    Raises:
        InputError: naming all that are missing, with the nearest that is there.
    """
    missing = [column for column in needed if column not in table.header]
    if missing:
        what = f"no column {' and no column '.join(missing)}"
        raise InputError(Problem(str(table.path), what, allowed, nearest(missing[0], table.header)))
