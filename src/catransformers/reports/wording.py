"""Numbers and short phrases as people read them: sensible digits, one unit a table, no sign left to guess.

Pure text: no HTML, no terminal codes; the tables, figures and pages put these strings in their places. A number and its
unit are joined by a no-break space (`breakable` undoes that for terminals).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from catransformers.designs.quantities import QUANTITIES

_PREFIXES = ((1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""), (1e-3, "m"), (1e-6, "µ"), (1e-9, "n"), (1e-12, "p"))

MINUS, NBSP = "\N{MINUS SIGN}", "\N{NO-BREAK SPACE}"

#: Dimension names of a model as a reader says them.
DIMENSIONS: Mapping[str, str] = {
    "vision.layers": "vision layers",
    "vision.ffn_dim": "vision FFN width",
    "vision.embed_dim": "vision embedding",
    "vision.heads": "vision heads",
    "text.layers": "text layers",
    "text.ffn_dim": "text FFN width",
    "text.embed_dim": "text embedding",
    "text.heads": "text heads",
    "layers": "layers",
    "ffn_dim": "FFN width",
    "embed_dim": "embedding",
    "heads": "heads",
    "kv_heads": "key and value heads",
}


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit for a whole column or axis: `number × scale` is shown before `label`."""

    scale: float
    label: str

    def text(self, value: float, figures: int = 3) -> str:
        """The number alone, in this unit."""
        return number(value * self.scale, figures)


def number(value: float, figures: int = 3) -> str:
    """`value` with that many significant figures, in plain notation from 0.001 to 10 million."""
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else str(value)
    magnitude = math.floor(math.log10(abs(value)))
    rounded = round(value, figures - 1 - magnitude)
    magnitude = math.floor(math.log10(abs(rounded)))
    if not -4 < magnitude < 7:
        return f"{rounded:.{figures - 1}e}".replace("-", MINUS)
    return f"{rounded:,.{max(0, figures - 1 - magnitude)}f}".replace("-", MINUS)


def plain(value: float) -> str:
    """A number that somebody chose, as they would write it: `5`, `0.875`, `94,608,000`."""
    return f"{value:,.10g}".replace("-", MINUS)


def breakable(text: str) -> str:
    """The text with ordinary spaces, for terminals and for searching."""
    return text.replace(NBSP, " ")


def unit_for(quantity: str, values: Iterable[float]) -> Unit:
    """The unit in which the greatest of `values` (SI) is a number of one to three digits before the point.

    Args:
        quantity: one of `QUANTITIES`.
        values: what the column or axis holds.
    """
    row = QUANTITIES[quantity]
    greatest = max((abs(v) * row.scale for v in values), default=0.0)
    scale, prefix = (1.0, "") if row.prefixes == "none" or greatest == 0 else si_prefix(greatest)
    if row.prefixes == "small" and scale > 1:
        scale, prefix = 1.0, ""
    return Unit(row.scale / scale, prefix + row.base)


def si_prefix(value: float) -> tuple[float, str]:
    """The SI prefix with which a positive number has one to three digits before the point, and what it stands for."""
    return next(((scale, prefix) for scale, prefix in _PREFIXES if value >= scale), _PREFIXES[-1])


def amount(quantity: str, value: float, figures: int = 3) -> str:
    """One value with its unit: `amount("carbon", 0.0123)` is `12.3 g CO₂e`."""
    unit = unit_for(quantity, [value])
    return f"{unit.text(value, figures)}{NBSP}{unit.label}"


def share(part: float, whole: float) -> str:
    """`part` of `whole` in per cent, without decimals from 10 % on."""
    return percent(part / whole) if whole else "–"


def percent(fraction: float, *, sign: bool = False) -> str:
    """A fraction in per cent: `31 %`, `4.2 %`, `0.35 %`; with `sign`, also the plus."""
    value = 100 * fraction
    magnitude = abs(value)
    decimals = 0 if magnitude >= 10 or magnitude == 0 else 1 if magnitude >= 1 else 2
    text = f"{value:{'+' if sign else ''}.{decimals}f}"
    return ("0" if float(text) == 0 else text.replace("-", MINUS)) + f"{NBSP}%"


def less_or_more(fraction: float) -> str:
    """What a fraction saves: `31 % less`, or `4.2 % more` where it is negative."""
    return f"{percent(abs(fraction))} {'less' if fraction >= 0 else 'more'}"


def listed(names: Sequence[str]) -> str:
    """`carbon, latency and area`."""
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def score(value: float, error: float | None) -> str:
    """An accuracy and its standard error, fractions, in per cent: `64.3 ± 1.2`."""
    text = f"{100 * value:.1f}"
    return text if error is None else f"{text}{NBSP}±{NBSP}{100 * error:.1f}"


def points(value: float, error: float | None, *, sign: bool = False) -> str:
    """A difference of accuracies, fractions, in percentage points: `2.1 ± 0.8`."""
    text = f"{100 * value:{'+' if sign else ''}.1f}"
    text = "0.0" if text in ("-0.0", "+0.0") else text.replace("-", MINUS)
    return text if error is None else f"{text}{NBSP}±{NBSP}{100 * error:.1f}"


def saving(quantity: str, fraction: float) -> str:
    """`emits 31 % less carbon`, or `more` where the fraction is negative."""
    phrase = QUANTITIES[quantity].saving.format(percent(abs(fraction)))
    return phrase if fraction >= 0 else phrase.replace(" less ", " more ")


def duration(seconds: float) -> str:
    """`42 s`, `3 min 05 s`, `2 h 10 min`, `3 d 4 h`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"


def plural(count: int, noun: str) -> str:
    """`1 trial`, `3 trials`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def pruned(dimensions: Mapping[str, int], base: Mapping[str, int]) -> str:
    """What was taken from the base: `vision layers 6 → 4, text FFN width 256 → 160`, or `unpruned`."""
    changes = [
        f"{DIMENSIONS.get(name, name)} {base[name]} → {value}"
        for name, value in dimensions.items()
        if value != base[name]
    ]
    return ", ".join(changes) or "unpruned"


def compact(dimensions: Mapping[str, int]) -> str:
    """The dimensions in short, layers·FFN·embedding·heads, a group for each of the model's stacks.

    CLIP: `vision 4·192·56·3, text 3·160·64·4`; other families: `4·192·56·3`.
    """
    groups: dict[str, list[str]] = {}
    for name, value in dimensions.items():
        stack, _, _ = name.rpartition(".")
        groups.setdefault(stack, []).append(str(value))
    return ", ".join(f"{stack} {'·'.join(values)}".strip() for stack, values in groups.items())
