"""Fact tables: every constant of the package with its unit, range, source and licence.

A fact table is a CSV file in `catransformers/data` with the columns `name, value, unit, low, high, source, licence`
(and, where it helps, more). Wide tables (CACTI, grids) are read by column instead. Nothing else in the package
may hold a physical constant.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType

from catransformers.errors import IntegrityError

REQUIRED = ("name", "value", "unit", "low", "high", "source", "licence")


@dataclass(frozen=True, slots=True)
class Fact:
    """One sourced number: `low` ≤ `value` ≤ `high`, all in `unit`."""

    name: str
    value: float
    unit: str
    low: float
    high: float
    source: str
    licence: str


@cache
def rows(table: str) -> tuple[Mapping[str, str], ...]:
    """The rows of `data/<table>.csv` as text, keys from the header.

    Raises:
        IntegrityError: if the table is missing or a row has another number of fields than the header.
    """
    path = files("catransformers.data").joinpath(f"{table}.csv")
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise IntegrityError(f"fact table {table!r} cannot be read: {error}") from error
    reader = csv.DictReader(text.splitlines())
    result = []
    for number, row in enumerate(reader, start=2):
        if None in row or None in row.values():
            raise IntegrityError(f"fact table {table!r}, line {number}: wrong number of fields")
        result.append(MappingProxyType(dict(row)))
    return tuple(result)


@cache
def facts(table: str) -> Mapping[str, Fact]:
    """The facts of `data/<table>.csv` by name.

    Raises:
        IntegrityError: for a missing column, a number that is not finite, low > value or value > high,
            a duplicate name, or a row without a source.
    """
    result: dict[str, Fact] = {}
    for row in rows(table):
        missing = [column for column in REQUIRED if not row.get(column)]
        if missing:
            raise IntegrityError(f"fact table {table!r}, {row.get('name', '?')!r}: no {', '.join(missing)}")
        value, low, high = (float(row[key]) for key in ("value", "low", "high"))
        if not all(map(math.isfinite, (value, low, high))) or not low <= value <= high:
            raise IntegrityError(f"fact table {table!r}, {row['name']!r}: not {low} ≤ {value} ≤ {high}")
        if row["name"] in result:
            raise IntegrityError(f"fact table {table!r}: {row['name']!r} stands twice")
        result[row["name"]] = Fact(row["name"], value, row["unit"], low, high, row["source"], row["licence"])
    return MappingProxyType(result)
