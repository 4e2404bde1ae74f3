"""Two designs side by side in a terminal: carbon with ranges, metrics, break-even, who emits less."""

from __future__ import annotations

import math

from catransformers.carbon.comparison import Assessment, Comparison
from catransformers.reports.terminal.screen import carbon, console, quantity, table


def show_comparison(found: Comparison, described: str) -> None:
    """Both designs, row by row, then who emits less, and when or where they are equal."""
    screen = console()
    pair = (found.a, found.b)
    for letter, assessed in zip("AB", pair, strict=True):
        screen.print(f"[bold]{letter}[/]", end=" ")
        screen.print(assessed.candidate.name, markup=False, soft_wrap=True)
    screen.print(f"under {described}\n", markup=False)

    def row(title: str, shown: list[str]) -> tuple[str, ...]:
        return (title, *shown)

    def grams(title: str, part: str) -> tuple[str, ...]:
        return row(title, [carbon(float(getattr(x.footprint, part))) for x in pair])

    rows = [
        row("die", [f"{x.candidate.area_m2 * 1e6:.4g} mm²" for x in pair]),
        row("latency", [quantity(x.candidate.latency_s, "s") for x in pair]),
        row("energy of an inference", [quantity(x.candidate.energy_j, "J") for x in pair]),
        row("and of the wait for the next", [quantity(x.life_energy_j, "J") for x in pair]),
        row("DRAM", ["none" if _without_dram(x) else f"{x.scenario.dram_gb:g} GB" for x in pair]),
        grams("made: die", "die_kg"),
        grams("made: DRAM", "dram_kg"),
        grams("made: package", "package_kg"),
        grams("made", "embodied_kg"),
        grams("used", "operational_kg"),
        grams("total", "total_kg"),
        row("p5 to p95", [f"{carbon(x.range_kg[0])} to {carbon(x.range_kg[2])}" for x in pair]),
    ]
    screen.print(table("Carbon over its life", ("", "A", "B"), rows))
    screen.print(table("Beside carbon", ("", "A", "B"), _beside(pair)))
    screen.print(table("Metrics", ("", "A", "B"), _metrics(pair)))
    screen.print(_verdict(found))
    screen.print(_crossing(found))
    for letter, assessed in zip("AB", pair, strict=True):
        if not assessed.meets_rate:
            rate = assessed.scenario.inferences_per_second
            screen.print(
                f"[bold]{letter} cannot do that[/]: the scenario counts {rate:g} inferences a second, it manages "
                f"{1 / assessed.candidate.latency_s:,.4g}."
            )


def _without_dram(assessed: Assessment) -> bool:
    return float(assessed.footprint.dram_kg) == 0


def _beside(pair: tuple[Assessment, Assessment]) -> list[tuple[str, ...]]:
    rows = []
    for name in pair[0].impacts:
        cells = []
        for assessed in pair:
            impact = assessed.impacts[name]
            if impact.total is None or impact.low is None or impact.high is None:
                cells.append("not known there")
            else:
                unit = impact.impact.unit
                low, high = quantity(float(impact.low), unit, 3), quantity(float(impact.high), unit, 3)
                cells.append(f"{quantity(float(impact.total), unit, 3)} ({low} to {high})")
        rows.append((name.replace("_", " "), *cells))
    return rows


def _metrics(pair: tuple[Assessment, Assessment]) -> list[tuple[str, ...]]:
    a, b = (assessed.metrics for assessed in pair)
    return [
        ("carbon of a prediction (SCI)", *(carbon(m.carbon_per_prediction_kg) for m in (a, b))),
        ("  of it use", *(carbon(m.sci_operational_kg) for m in (a, b))),
        ("  of it manufacture", *(carbon(m.sci_embodied_kg) for m in (a, b))),
        ("energy of a prediction", *(quantity(m.energy_per_prediction_j, "J") for m in (a, b))),
        ("tCDP (kg·s)", *(f"{m.tcdp:.4g}" for m in (a, b))),
        ("CDP (kg·s)", *(f"{m.cdp:.4g}" for m in (a, b))),
        ("CEP (kg·J)", *(f"{m.cep:.4g}" for m in (a, b))),
        ("C²EP (kg²·J)", *(f"{m.c2ep:.4g}" for m in (a, b))),
        ("use overtakes manufacture after", *(_years(m.break_even_years) for m in (a, b))),
        ("or on a grid of", *(_grid(m.break_even_intensity_kg_per_kwh) for m in (a, b))),
    ]


def _years(years: float) -> str:
    return f"{years:,.4g} years" if math.isfinite(years) else "never"


def _grid(kg_per_kwh: float) -> str:
    return f"{kg_per_kwh * 1e3:,.4g} g/kWh" if math.isfinite(kg_per_kwh) else "none"


def _verdict(found: Comparison) -> str:
    """Who emits less, in how many draws, and by how much."""
    low, middle, high = found.difference_kg
    winner, loser, share = "A", "B", found.probability_a_less
    if share < 0.5:
        winner, loser, share = "B", "A", 1 - share
    else:
        low, middle, high = -high, -middle, -low
    return (
        f"[bold]{winner} emits less than {loser} in {share:.1%} of {found.samples:,} draws[/], by {carbon(middle)} "
        f"({carbon(low)} to {carbon(high)}, p5 to p95)."
    )


def _crossing(found: Comparison) -> str:
    """When, or on which grid, the two are equal."""
    a, b = (float(x.footprint.embodied_kg) for x in (found.a, found.b))
    if not math.isfinite(found.equal_at_kg_per_kwh):
        totals = [float(x.footprint.total_kg) for x in (found.a, found.b)]
        if totals[0] == totals[1]:
            return "Both emit the same."
        return f"{'A' if totals[0] < totals[1] else 'B'} is ahead from the first day, however long and on any grid."
    years = found.equal_after_years
    when = f"after {_years(years)} of use" if math.isfinite(years) else "never on this grid"
    return (
        f"{'A' if a < b else 'B'} is ahead at first, for less was emitted in making it; both are equal {when}, or at "
        f"the end of the life on a grid of {_grid(found.equal_at_kg_per_kwh)}."
    )
