"""The analyses of a study in a terminal: fronts under limits, iso-accuracy, shares of carbon, pruned dimensions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from catransformers.designs.limits import Limits, Shortfall, round_figures
from catransformers.designs.quantities import QUANTITIES, USUAL
from catransformers.errors import InfeasibleError, InputError, Problem
from catransformers.execution.results import StudyResults
from catransformers.reports.study.narrative import too_inaccurate
from catransformers.reports.terminal.screen import console, table, text
from catransformers.reports.wording import (
    DIMENSIONS,
    amount,
    breakable,
    compact,
    number,
    percent,
    plain,
    plural,
    points,
    score,
    unit_for,
)
from catransformers.search.analysis import IsoAccuracy, LeftOut, LimitedFronts, Pruning, Share
from catransformers.search.costs.designs import DesignCost
from catransformers.search.fronts import FrontMember, accuracy_of

Rows = tuple[list[str], list[list[str]]]
SHOWN = 20  # designs of a long front


def show_header(results: StudyResults, notes: Sequence[str], what: str) -> None:
    """Which study is asked what, under which scenario, and what the reader should know."""
    screen = console()
    screen.print(f"[bold]{results.config.name}[/]: {what}")
    screen.print(text(f"under {results.costs.scenario.describe()}"))
    for note in notes:
        screen.print(text(note, style="yellow"))
    screen.print()


def show_fronts(found: LimitedFronts, labels: Sequence[str], *, everything: bool) -> None:
    """The front under each limit; with `everything` also its designs."""
    _show_table("The front under each limit", fronts_rows(found, labels))
    show_lines(fronts_words(found, labels))
    for row, label in zip(found.rows, labels, strict=True):
        if everything and row.members:
            _show_table(f"\n{label}", members_rows(row.members, found.minimise), left=3)


def show_iso(found: IsoAccuracy) -> None:
    """The best design for each mode at one accuracy, and each beside the one for carbon."""
    designs, relative = iso_rows(found)
    _show_table("The best design for each mode", designs, left=4)
    if relative is not None:
        _show_table("Each over the design for carbon", relative)
    show_lines(iso_words(found))


def show_shares(found: Sequence[Share], base: DesignCost, base_accuracy: float | None, *, everything: bool) -> None:
    """Embodied and operational carbon along a front: of its first `SHOWN` designs, or of all."""
    shown = found if everything else found[:SHOWN]
    cut = f" (the first {SHOWN} of {len(found)}; --all shows all)" if len(shown) < len(found) else ""
    _show_table(f"Carbon by falling accuracy{cut}", shares_rows(shown, base, base_accuracy), left=3)
    show_lines([shares_words(found)])


def show_pruning(found: Pruning) -> None:
    """What a front keeps of each dimension."""
    _show_table("What the front keeps, in the order of first pruning", pruning_rows(found), left=2)
    words = (
        f"The {found.models} models of the front against all {found.trials} that were trained. Equal ranks are "
        "first pruned by the same model; front less trials is in points."
    )
    show_lines([words])


def show_lines(lines: Iterable[str]) -> None:
    """Sentences below a table."""
    for line in lines:
        console().print(text(line, style="dim"))


def _show_table(title: str, content: Rows, left: int = 1) -> None:
    console().print(table(title, *content, left=left))


def limits_text(limits: Limits) -> str:
    """The limits in one line: `latency ≤ 33.3 ms, area ≤ 2 mm²`."""
    given = [(name, getattr(limits, name)) for name in QUANTITIES]
    return ", ".join(f"{name} ≤ {limit_text(name, value)}" for name, value in given if value is not None) or "none"


def limit_text(quantity: str, value: float) -> str:
    """A limit, SI, with the unit that people give it in."""
    row = QUANTITIES[quantity]
    return f"{round_figures(value * row.factor, 4):,.10g} {row.shown.replace('mm2', 'mm²').replace('CO2', 'CO₂')}"


def fronts_rows(found: LimitedFronts, labels: Sequence[str]) -> Rows:
    """A row a limit: how large the front is, its ends, its hypervolume beside the largest, whom it leaves out."""
    every = [member.design.minimised for row in found.rows for member in row.members]
    units = [unit_for(name, [costs[k] for costs in every]) for k, name in enumerate(found.minimise)]
    largest = max(row.hypervolume for row in found.rows)
    titles = ["limit", "designs", "models"]
    for name, unit in zip(found.minimise, units, strict=True):
        titles += [f"least {name}\n{unit.label}", "its\naccuracy %"]
    titles += ["best\naccuracy %", f"its {found.minimise[0]}\n{units[0].label}", "hypervolume", "left out"]
    rows = []
    for row, label in zip(found.rows, labels, strict=True):
        cells = [label, str(len(row.members)), str(row.models)]
        for k, unit in enumerate(units):
            ordered = sorted(row.members, key=lambda m, k=k: m.design.minimised[k])  # type: ignore[misc]
            least = ordered[0] if ordered else None
            cells += ["–", "–"] if least is None else [unit.text(least.design.minimised[k]), _accuracy(least)]
        best = row.most_accurate
        cells += ["–", "–"] if best is None else [_accuracy(best), units[0].text(best.design.objective)]
        cells.append(f"{100 * row.hypervolume / largest if largest else 0:.1f} %")
        cells.append(str(len(row.left_out)))
        rows.append([breakable(cell) for cell in cells])
    return [breakable(title) for title in titles], rows


def fronts_words(found: LimitedFronts, labels: Sequence[str]) -> list[str]:
    """The limits of all fronts, the reference point, and the models that each limit leaves out, and by how much."""
    at = " and ".join(
        f"{name} {breakable(amount(name, value))}" for name, value in zip(found.minimise, found.reference, strict=True)
    )
    every = [row.limits for row in found.rows]
    shared = Limits(
        **{name: getattr(every[0], name) for name in QUANTITIES if len({getattr(x, name) for x in every}) == 1}
    )
    lines = (
        [] if shared == Limits() else [f"Limits{' of every front' if len(every) > 1 else ''}: {limits_text(shared)}."]
    )
    lines += [
        f"Hypervolume: in per cent of the largest, {number(max(row.hypervolume for row in found.rows))}, up to the "
        f"reference point {at} at {breakable(percent(found.floor))} accuracy."
    ]
    if found.below_floor:
        lines.append(
            f"{plural(found.below_floor, 'trained model')} below the accuracy of {plain(100 * found.floor)} % that the "
            "study asks for."
        )
    lines += [line for row, label in zip(found.rows, labels, strict=True) for line in _left_out(row.left_out, label)]
    return [breakable(line) for line in lines]


def _left_out(left_out: Iterable[LeftOut], label: str) -> list[str]:
    by_quantity: dict[str, list[LeftOut]] = defaultdict(list)
    for one in left_out:
        by_quantity[one.missed.quantity].append(one)
    lines = []
    for quantity, group in by_quantity.items():
        least, most = (pick(group, key=lambda one: one.missed.demand) for pick in (min, max))
        need = limit_text(quantity, least.missed.demand)
        if most.missed.demand > least.missed.demand:
            need = f"{need} (trial {least.trial}) to {limit_text(quantity, most.missed.demand)} (trial {most.trial})"
        lines.append(
            f"{label}: {plural(len(group), 'trained model')} left out by {QUANTITIES[quantity].limit}, "
            f"{limit_text(quantity, least.missed.bound)}: at least {need} needed."
        )
    return lines


def members_rows(members: Sequence[FrontMember], minimise: Sequence[str]) -> Rows:
    """The designs of a front, a row each."""
    columns, cells = _cost_columns([member.design for member in members])
    extra = [name for name in minimise if name not in USUAL]
    units = {name: unit_for(name, [m.design.minimised[minimise.index(name)] for m in members]) for name in extra}
    titles = ["trial", "model", "accelerator", "accuracy %", *columns, *(f"{n}\n{units[n].label}" for n in extra)]
    rows = [
        [
            *_name(member),
            _accuracy(member),
            *own,
            *(units[name].text(member.design.minimised[minimise.index(name)]) for name in extra),
        ]
        for member, own in zip(members, cells, strict=True)
    ]
    return _breakable(titles, rows)


def _cost_columns(costs: Sequence[DesignCost]) -> tuple[list[str], list[list[str]]]:
    carbon = unit_for("carbon", [cost.total_kg for cost in costs])
    latency = unit_for("latency", [cost.latency_s for cost in costs])
    energy = unit_for("energy", [cost.energy_j for cost in costs])
    area = unit_for("area", [cost.area_m2 for cost in costs])
    titles = [f"carbon\n{carbon.label}", f"latency\n{latency.label}", f"energy\n{energy.label}", f"area\n{area.label}"]
    return titles, [
        [carbon.text(c.total_kg), latency.text(c.latency_s), energy.text(c.energy_j), area.text(c.area_m2)]
        for c in costs
    ]


def _accuracy(member: FrontMember) -> str:
    return f"{100 * accuracy_of(member.trial):.1f}"


def _name(member: FrontMember) -> list[str]:
    return [str(member.trial.number), compact(member.trial.dimensions).replace(", ", "\n"), _machine(member.design)]


def _machine(cost: DesignCost) -> str:
    machine = cost.accelerator
    supply = "" if machine.voltage_v is None else f", {machine.voltage_v:g} V"
    return (
        f"{machine.cores}×{machine.pe_x}×{machine.pe_y}, {machine.local_bandwidth} words\n"
        f"{machine.local_kib:g} KiB, {machine.global_mib:g} MiB{supply}"
    )


def _breakable(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> Rows:
    return [breakable(title) for title in titles], [[breakable(cell) for cell in row] for row in rows]


def iso_rows(found: IsoAccuracy) -> tuple[Rows, Rows | None]:
    """The designs, a row a mode; and each value over that of the mode `carbon`, where that has a design."""
    columns, cells = _cost_columns([one.member.design for one in found.choices])
    carbon = unit_for("carbon", [one.member.design.total_kg for one in found.choices])
    titles = [
        "best for", "trial", "model", "accelerator", "accuracy %", columns[0], f"embodied\n{carbon.label}",
        f"operational\n{carbon.label}", *columns[1:],
    ]  # fmt: skip
    rows = []
    for one, own in zip(found.choices, cells, strict=True):
        made, used = (carbon.text(kg) for kg in (one.member.design.embodied_kg, one.member.design.operational_kg))
        rows.append([one.mode, *_name(one.member), _accuracy(one.member), own[0], made, used, *own[1:]])
    reference = found.choice("carbon")
    relative = None
    if reference is not None:
        names = list(reference.values)
        against = [
            [one.mode, *(f"{number(one.relative_to(reference)[name])}×" for name in names)] for one in found.choices
        ]
        relative = _breakable(["best for", *names], against)
    return _breakable(titles, rows), relative


def iso_words(found: IsoAccuracy) -> list[str]:
    """How many models were compared, what each mode had to keep, and which modes have no design."""
    lines = [f"{plural(len(found.trials), 'trained model')} of that accuracy."]
    by_limits: dict[str, list[str]] = defaultdict(list)
    for one in found.choices:
        by_limits[limits_text(one.limits)].append(one.mode)
    lines += [f"Limits of {', '.join(modes)}: {text}." for text, modes in by_limits.items()]
    reference, fastest = found.choice("carbon"), found.choice("latency")
    if reference is not None and fastest is not None:
        ratio = fastest.relative_to(reference)
        lines.append(
            f"Built for latency instead of carbon: {number(ratio['carbon'])}× the carbon, at "
            f"{number(ratio['latency'])}× the latency."
        )
    both = found.choice("all")
    if both is not None:
        lines.append(
            f"all: carbon and latency together, the knee of {plural(both.trade_offs, 'design')} of that accuracy that "
            "no other beats in both. tcdp: carbon × latency."
        )
    for mode, missed in found.missed.items():
        lines.append(
            f"{mode}: none has an accelerator within {missed.key} "
            f"{limit_text(missed.quantity, missed.bound)}; needs {limit_text(missed.quantity, missed.demand)}."
        )
    return [breakable(line) for line in lines]


def shares_rows(found: Sequence[Share], base: DesignCost, base_accuracy: float | None) -> Rows:
    """A row a design, and the base on its own best accelerator."""
    carbon = unit_for("carbon", [base.total_kg, *(one.member.design.total_kg for one in found)])
    titles = [
        "trial", "model", "accelerator", "accuracy %", f"carbon\n{carbon.label}", f"embodied\n{carbon.label}",
        f"operational\n{carbon.label}", "embodied\nshare", "operational\nshare",
    ]  # fmt: skip

    def cells(cost: DesignCost) -> list[str]:
        parts = [carbon.text(kg) for kg in (cost.total_kg, cost.embodied_kg, cost.operational_kg)]
        return [*parts, percent(cost.embodied_kg / cost.total_kg), percent(cost.operational_kg / cost.total_kg)]

    rows = [[*_name(one.member), _accuracy(one.member), *cells(one.member.design)] for one in found]
    accuracy = "–" if base_accuracy is None else score(base_accuracy, None)
    rows.append(["base", "unpruned", _machine(base), accuracy, *cells(base)])
    return _breakable(titles, rows)


def shares_words(found: Sequence[Share]) -> str:
    """How the operational share runs along the front, in a sentence."""
    ends = " and ".join(
        f"{percent(one.operational)} at {_accuracy(one.member)} % accuracy"
        for one in ([found[0], found[-1]] if len(found) > 1 else found)
    )
    low, high = (pick(one.operational for one in found) for pick in (min, max))
    return breakable(
        f"Of a design's carbon, using the device takes {ends}; along the front from {percent(low)} to {percent(high)}."
    )


def pruning_rows(found: Pruning) -> Rows:
    """A row a dimension, in the order of first pruning; equal ranks are first pruned by the same design."""
    titles = ["", "dimension", "base", "first pruned at\naccuracy %", "keeps\nthere"]
    titles += [f"{100 * b.high:.1f} to {100 * b.low:.1f} %\n{plural(b.models, 'model')}" for b in found.bands]
    titles += ["front", "all\ntrials", "front less\ntrials"]
    rows, before, rank = [], None, 0
    for place, row in enumerate(found.dimensions, start=1):
        rank = rank if row.first is not None and row.first == before else place
        before = row.first
        rows.append(
            [
                "" if row.first is None else f"{rank}",
                DIMENSIONS.get(row.name, row.name),
                str(row.base),
                "never" if row.first is None else f"{100 * accuracy_of(row.first):.1f}",
                "–" if row.first is None else percent(row.kept),
                *("–" if kept is None else percent(kept) for kept in row.bands),
                percent(row.front),
                percent(row.trials),
                points(row.front - row.trials, None, sign=True),
            ]
        )
    return _breakable(titles, rows)


def need_designs(found: LimitedFronts, where: str) -> None:
    """That some front has a design.

    Raises:
        InfeasibleError: if limits leave no trained model an accelerator, or none is as accurate as is asked for.
        InputError: if no model was trained.
    """
    if any(row.members for row in found.rows):
        return
    missed = [one.missed for row in found.rows for one in row.left_out]
    if missed:
        raise infeasible(min(missed, key=lambda one: one.ratio))
    if found.best is not None:
        raise too_inaccurate(found.floor, found.best)
    raise InputError(Problem(where, "no model was trained, so there is no front"))


def infeasible(missed: Shortfall) -> InfeasibleError:
    """That no trained model keeps some limits, and what the nearest one would need."""
    return missed.told(
        f"no trained model keeps the limit on {missed.quantity} and the others",
        [
            f"raise {missed.enough}",
            "a study with smaller models (model.space) or other accelerators (hardware.space)",
        ],
        reached="the nearest one's",
    )
