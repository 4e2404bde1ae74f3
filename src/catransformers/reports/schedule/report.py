"""A schedule as people and programs see it: sentences, a table, a line of blocks, JSON, a picture, a page.

Times are the local time of the grid they are about, with its offset, and UTC beside it.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from html import escape
from typing import Any, Literal

import numpy as np

from catransformers.intensity.hourly import IntensityProfile
from catransformers.intensity.scheduling import Plan, Schedule, means, saving
from catransformers.lazy import lazy
from catransformers.reports.figures.canvas import INK, MUTED, PALETTE, RULE, drawn, ruled
from catransformers.reports.wording import MINUS, less_or_more, percent, plural
from catransformers.units import G_PER_KG, J_PER_KWH

dates = lazy("matplotlib.dates")

SCHEMA = 1
BLOCKS = "▁▂▃▄▅▆▇█"
RUNS, IDLE = "━", " "
_MOST_COLUMNS = 72


def offset(moment: datetime) -> str:
    """The offset of a local time: `UTC−08:00`, or `UTC`."""
    minutes = round((moment.utcoffset() or timedelta(0)).total_seconds() / 60)
    sign = MINUS if minutes < 0 else "+"
    return f"UTC{sign}{abs(minutes) // 60:02d}:{abs(minutes) % 60:02d}" if minutes else "UTC"


def local(moment: datetime, plan: Plan) -> str:
    """A moment in the local time of a plan's grid: `Sat 21 Nov 2026 10:30 UTC−08:00`."""
    return stamp(moment.astimezone(plan.origin.zone_info))


def stamp(moment: datetime) -> str:
    """A moment in the time zone that it has, with its offset."""
    return f"{moment:%a %d %b %Y} {_clock(moment)} {offset(moment)}"


def utc(moment: datetime) -> str:
    """A moment in UTC: `Sat 21 Nov 18:30`."""
    there = moment.astimezone(UTC)
    return f"{there:%a %d %b} {_clock(there)}"


def _clock(moment: datetime) -> str:
    """Hours and minutes, and seconds where there are any."""
    rounded = (moment + timedelta(microseconds=500_000)).replace(microsecond=0)
    return f"{rounded:%H:%M:%S}" if rounded.second else f"{rounded:%H:%M}"


def sentences(schedule: Schedule, now: datetime, *, weighed: bool) -> list[str]:
    """What to do, what it saves, and what kind of number that is.

    Args:
        schedule: the answer.
        now: to say how old a forecast is.
        weighed: whether the job's power was given, so that there are kilograms to speak of.
    """
    best, paragraphs = schedule.best, []
    where = f" in {best.origin.zone}" if len(schedule.places) > 1 else ""
    when = f"{local(best.start, best)} ({utc(best.start)} UTC)"
    if _is_now(schedule):
        paragraphs.append(f"Start now{where}, {when}: nothing in this window is greener.")
    else:
        paragraphs.append(f"Start{where} at {when}; it is done at {local(best.end, best)}.")
    if len(best.pieces) > 1:
        pause = (best.end - best.start).total_seconds() - schedule.job.duration_s
        pieces = ", ".join(
            f"{local(piece.start, best)} to {_clock(piece.end.astimezone(best.origin.zone_info))}"
            for piece in best.pieces
        )
        breaks = plural(len(best.pieces) - 1, "pause")
        less = f"{percent(saving(best, schedule.unbroken))} less carbon than the best run without a break"
        paragraphs.append(f"It runs {pieces}: {breaks}, {pause / 3600:.3g} h in all, for {less}.")
    mean = f"{grams(best)} g/kWh on average"
    if weighed:
        energy = f"{best.energy_j / J_PER_KWH:.4g} kWh"
        text = f"It draws {energy} at {mean} and emits {_carbon(best)}"
    else:
        text = f"Its electricity carries {mean}"
    versus_now = "" if _is_now(schedule) else f"{less_or_more(schedule.saving_against_now)} than starting now and "
    versus_worst = f"{less_or_more(schedule.saving_against_worst)} than the worst start of the window."
    paragraphs.append(f"{text}: {versus_now}{versus_worst}")
    for profile in schedule.profiles:
        origin = profile.origin
        age = f", fetched {_age(now - origin.fetched)} ago" if origin.fetched else ""
        source = f" Source: {origin.source}." if origin.source else ""
        paragraphs.append(f"{origin.zone}: {origin.describe()}{age}.{source}")
    return paragraphs


def _is_now(schedule: Schedule) -> bool:
    best, now = schedule.best, schedule.now
    return best.pieces == now.pieces and best.origin.zone == now.origin.zone


def grams(plan: Plan) -> str:
    """The mean intensity of a plan in g/kWh, to a tenth."""
    return f"{plan.intensity_kg_per_kwh * G_PER_KG:.1f}"


def columns(*, weighed: bool) -> tuple[str, ...]:
    """Titles of the table's columns."""
    return (
        "",
        "region",
        "start, local",
        "start, UTC",
        "done, local",
        "g/kWh",
        *(["carbon"] if weighed else []),
        "saves",
    )


def rows(schedule: Schedule, *, weighed: bool) -> list[tuple[str, ...]]:
    """The table: now, the best of each place, the best without a break if that is another one, the worst."""
    plans = [("now", schedule.now)]
    several = len(schedule.places) > 1
    plans += [("best" if plan is schedule.best else "best there", plan) for plan in schedule.places]
    if schedule.unbroken is not schedule.best and not (several and schedule.unbroken in schedule.places):
        plans.append(("unbroken", schedule.unbroken))
    plans.append(("worst", schedule.worst))
    return [
        (
            name,
            plan.origin.zone,
            local(plan.start, plan),
            utc(plan.start),
            local(plan.end, plan),
            grams(plan),
            *([_carbon(plan)] if weighed else []),
            f"{round(100 * saving(plan, schedule.now), 1) + 0.0:.1f} %".replace("-", MINUS),
        )
        for name, plan in plans
    ]


def sparkline(schedule: Schedule) -> tuple[str, str, str]:
    """The best place's intensity over the window as blocks, the columns in which the job runs, and what they mean."""
    best = schedule.best
    profile = _profile_of(schedule, best)
    length = (schedule.deadline - schedule.earliest).total_seconds()
    count = max(1, min(_MOST_COLUMNS, round(length / profile.step_s)))
    values = means(profile, schedule.earliest, schedule.deadline, count) * G_PER_KG
    low, high = float(values.min()), float(values.max())
    heights = np.full(count, 3) if high == low else np.minimum(7, (values - low) / (high - low) * 8).astype(int)
    borders = np.linspace(0.0, length, count + 1)
    marks = [IDLE] * count
    for piece in best.pieces:
        begin, end = ((moment - schedule.earliest).total_seconds() for moment in (piece.start, piece.end))
        overlap = np.minimum(borders[1:], end) - np.maximum(borders[:-1], begin)
        for column in {int(overlap.argmax()), *np.flatnonzero(overlap >= 0.5 * length / count).tolist()}:
            marks[column] = RUNS
    legend = (
        f"{best.origin.zone} from {local(schedule.earliest, best)} to {local(schedule.deadline, best)}, "
        f"{low:.0f} ({BLOCKS[0]}) to {high:.0f} ({BLOCKS[-1]}) g/kWh; {RUNS} the job runs"
    )
    return "".join(BLOCKS[height] for height in heights), "".join(marks).rstrip(), legend


def schedule_object(
    schedule: Schedule, *, weighed: bool, interruptible: bool, notes: Sequence[str]
) -> dict[str, object]:
    """Plain values with stable keys, for JSON; see docs/json.md."""
    job = schedule.job
    return {
        "schema": SCHEMA,
        "job": {
            "hours": job.duration_s / 3600,
            "phases": [{"hours": seconds / 3600, "power_w": watts} for seconds, watts in job.phases]
            if weighed
            else None,
            "energy_kwh": job.energy_j / J_PER_KWH if weighed else None,
            "interruptible": interruptible,
        },
        "window": {
            "start": _iso(schedule.earliest, schedule.now),
            "start_utc": schedule.earliest.isoformat(),
            "deadline": _iso(schedule.deadline, schedule.now),
            "deadline_utc": schedule.deadline.isoformat(),
        },
        "best": _plan(schedule.best, weighed),
        "unbroken": _plan(schedule.unbroken, weighed),
        "now": _plan(schedule.now, weighed),
        "worst": _plan(schedule.worst, weighed),
        "places": [_plan(plan, weighed) for plan in schedule.places],
        "saving_against_now": schedule.saving_against_now,
        "saving_against_worst": schedule.saving_against_worst,
        "profiles": [
            {
                **profile.origin.to_dict(),
                "start_utc": profile.start.isoformat(),
                "step_s": profile.step_s,
                "g_per_kwh": [round(value * G_PER_KG, 9) for value in profile.intensity_kg_per_kwh],
            }
            for profile in schedule.profiles
        ],
        "notes": list(notes),
    }


def picture(schedule: Schedule, kind: Literal["svg", "png"]) -> bytes:
    """Intensity over the window, a line a place, filled where the job runs."""
    return drawn(lambda axes: _draw(axes, schedule), kind, (7.6, 3.8))


def page(schedule: Schedule, paragraphs: Sequence[str], *, weighed: bool) -> str:
    """The answer as one HTML file that works without a network and without scripts."""
    svg = base64.b64encode(picture(schedule, "svg")).decode("ascii")
    head = "".join(f"<th>{escape(title)}</th>" for title in columns(weighed=weighed))
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>"
        for row in rows(schedule, weighed=weighed)
    )
    text = "".join(f"<p>{escape(paragraph)}</p>\n" for paragraph in paragraphs)
    alt = escape(paragraphs[0], quote=True)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n<title>Greenest time to run</title>\n'
        "<style>body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;"
        f"color:{INK};background:#fff}}img{{width:100%;height:auto}}table{{border-collapse:collapse}}"
        f".wide{{overflow-x:auto}}th,td{{text-align:left;padding:.3rem .8rem .3rem 0;border-bottom:1px solid {RULE};"
        "white-space:nowrap}</style>\n</head>\n<body>\n<h1>Greenest time to run</h1>\n"
        f'{text}<img alt="{alt}" src="data:image/svg+xml;base64,{svg}">\n'
        f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>\n'
        "</body>\n</html>\n"
    )


def drawing(result: Schedule, ending: str, paragraphs: Sequence[str], *, weighed: bool) -> str | bytes:
    """The picture or page that a file's ending (`.svg`, `.png`, `.html`) asks for."""
    if ending == ".html":
        return page(result, paragraphs, weighed=weighed)
    return picture(result, "svg" if ending == ".svg" else "png")


def _draw(axes: Any, schedule: Schedule) -> None:
    best = schedule.best
    begin, end = dates.date2num(schedule.earliest), dates.date2num(schedule.deadline)
    for number, (profile, plan) in enumerate(zip(schedule.profiles, schedule.places, strict=True)):
        colour, chosen = PALETTE[number % len(PALETTE)], plan is best
        step = profile.step_s / 86_400
        edges = dates.date2num(profile.start) + step * np.arange(len(profile.intensity_kg_per_kwh) + 1)
        values = np.asarray(profile.intensity_kg_per_kwh) * G_PER_KG
        axes.stairs(
            values, edges, baseline=None, color=colour, linewidth=1.8 if chosen else 1.2, label=profile.origin.zone
        )
        if chosen:
            for piece in plan.pieces:
                start, stop = dates.date2num(piece.start), dates.date2num(piece.end)
                inner = edges[(edges > start) & (edges < stop)]
                borders = np.concatenate([[start], inner, [stop]])
                heights = values[np.searchsorted(edges, (borders[:-1] + borders[1:]) / 2, side="right") - 1]
                axes.stairs(heights, borders, fill=True, color=colour, alpha=0.3, linewidth=0)
    zone = best.origin.zone_info
    locator = dates.AutoDateLocator(tz=zone)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(dates.ConciseDateFormatter(locator, tz=zone))
    axes.set_xlim(begin, end)
    axes.set_ylim(bottom=0)
    ruled(axes, "y")
    axes.set_ylabel("g CO₂e per kWh")
    axes.set_xlabel(f"local time of {best.origin.zone} ({best.origin.time_zone}); filled: the job runs")
    title = (
        f"{best.origin.zone}: {best.origin.describe()}" if len(schedule.places) == 1 else f"best: {best.origin.zone}"
    )
    axes.set_title(title, loc="left", fontsize=10, color=MUTED)
    if len(schedule.profiles) > 1:
        axes.legend(frameon=False, ncols=min(4, len(schedule.profiles)), loc="lower right")


def _profile_of(schedule: Schedule, plan: Plan) -> IntensityProfile:
    return next(p for p, place in zip(schedule.profiles, schedule.places, strict=True) if place is plan)


def _plan(plan: Plan, weighed: bool) -> dict[str, object]:
    return {
        "region": plan.origin.zone,
        "start": _iso(plan.start, plan),
        "start_utc": plan.start.isoformat(),
        "end": _iso(plan.end, plan),
        "end_utc": plan.end.isoformat(),
        "pieces": [{"start": _iso(piece.start, plan), "end": _iso(piece.end, plan)} for piece in plan.pieces],
        "mean_g_per_kwh": round(plan.intensity_kg_per_kwh * G_PER_KG, 9),
        "carbon_kg": plan.carbon_kg if weighed else None,
    }


def _iso(moment: datetime, plan: Plan) -> str:
    return moment.astimezone(plan.origin.zone_info).isoformat()


def _carbon(plan: Plan) -> str:
    value = plan.carbon_kg * G_PER_KG
    return f"{value / G_PER_KG:.4g} kg CO₂e" if value >= G_PER_KG else f"{value:.4g} g CO₂e"


def _age(age: timedelta) -> str:
    minutes = max(0, round(age.total_seconds() / 60))
    if minutes < 120:
        return plural(minutes, "minute")
    return f"{minutes / 60:.0f} hours" if minutes < 48 * 60 else f"{minutes / 1440:.0f} days"
