"""Schedules against brute force: every start on a fine grid, every choice of slots; and the laws that must hold."""

import itertools
import math
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catransformers.carbon.grid import Basis
from catransformers.errors import InfeasibleError, InputError
from catransformers.intensity.hourly import UNSTATED, IntensityProfile, Provenance
from catransformers.intensity.hourly_csv import shipped_profiles
from catransformers.intensity.scheduling import (
    Job,
    begun_at,
    best_start,
    interrupted,
    means,
    next_at_most,
    schedule,
)

T0 = datetime(2026, 11, 21, tzinfo=UTC)


def profile(values, step_s=3600, zone="x", basis=UNSTATED):
    return IntensityProfile(Provenance(zone, basis=basis), T0, step_s, tuple(v / 1000 for v in values))


def minutes_of(values, step_s=3600):
    """The step function minute by minute, kg/kWh."""
    return np.repeat(np.asarray(values) / 1000, step_s // 60)


def brute(values, minutes, first, last, step_s=3600):
    """Mean intensity of every start on a whole minute in [first, last − minutes], from minute sums alone."""
    per_minute = minutes_of(values, step_s)
    return np.array([per_minute[m : m + minutes].mean() for m in range(first, last - minutes + 1)])


days = st.lists(st.floats(0, 1000), min_size=12, max_size=30)


@settings(max_examples=60, deadline=None)
@given(days, st.integers(1, 600), st.integers(0, 100), st.sampled_from([3600, 1800, 300]))
def test_the_best_and_the_worst_start_are_those_of_brute_force(values, minutes, first, step_s):
    last = len(values) * step_s // 60
    first = min(first, last // 3)
    minutes = min(minutes, last - first)
    grid, job = profile(values, step_s), Job.constant(minutes / 60, 500)
    window = T0 + timedelta(minutes=first), T0 + timedelta(minutes=last)
    every = brute(values, minutes, first, last, step_s)
    kwh = 0.5 * minutes / 60
    best, worst = best_start(grid, job, *window), schedule([grid], job, *window).worst
    assert best.carbon_kg == pytest.approx(every.min() * kwh, rel=1e-9, abs=1e-12)
    assert worst.carbon_kg == pytest.approx(every.max() * kwh, rel=1e-9, abs=1e-12)
    assert window[0] <= best.start
    assert best.end <= window[1] + timedelta(microseconds=1)
    # What is claimed of the start that is named is true of that start.
    at = round((best.start - window[0]).total_seconds() / 60)
    assert every[at] * kwh == pytest.approx(best.carbon_kg, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("hours", [8, 4])
@pytest.mark.parametrize("month", range(1, 13))
def test_the_best_hours_of_the_shipped_profile_are_those_of_brute_force(hours, month):
    day = shipped_profiles()["US-CA"]
    start = datetime(2026, month, 14, tzinfo=day.origin.zone_info)
    end = start + timedelta(hours=24)
    per_minute = [day.between(start, end).at(start + timedelta(minutes=m)) for m in range(24 * 60)]
    every = [sum(per_minute[m : m + 60 * hours]) / (60 * hours) for m in range(24 * 60 - 60 * hours + 1)]
    found = best_start(day, Job.constant(hours), start, end)
    assert found.intensity_kg_per_kwh == pytest.approx(min(every), rel=1e-9)
    assert (found.start - start).total_seconds() / 60 == min(range(len(every)), key=lambda m: round(every[m], 12))


def test_a_part_of_an_hour_is_exact():
    grid = profile([0] * 10 + [300, 100, 200])
    plan = begun_at(grid, Job.constant(1.5, 2000), T0 + timedelta(hours=10, minutes=20))
    # 40 min at 300, 50 min at 100 g/kWh, at 2 kW
    assert plan.carbon_kg == pytest.approx(2 * (40 / 60 * 0.3 + 50 / 60 * 0.1), rel=1e-12)
    assert plan.energy_j == pytest.approx(3 * 3.6e6)
    assert plan.end == T0 + timedelta(hours=11, minutes=50)


def test_the_best_start_may_lie_within_an_hour():
    grid = profile([200, 100, 50, 100, 200])
    plan = best_start(grid, Job.constant(1.5), T0, T0 + timedelta(hours=5))
    assert plan.start == T0 + timedelta(
        minutes=90
    )  # the half hour before the cleanest, and that one: earliest of equals
    assert plan.carbon_kg == pytest.approx(0.5 * 0.1 + 0.05)


def test_of_equals_the_earliest():
    assert best_start(profile([100] * 24), Job.constant(5), T0, T0 + timedelta(hours=24)).start == T0
    plan = best_start(profile([200, 100, 200, 100, 200]), Job.constant(1), T0, T0 + timedelta(hours=5))
    assert plan.start == T0 + timedelta(hours=1)


@settings(max_examples=60, deadline=None)
@given(days, st.lists(st.tuples(st.integers(5, 120), st.floats(1, 500)), min_size=1, max_size=4))
def test_phases_of_power_against_brute_force(values, phases):
    per_minute = minutes_of(values)
    power = np.concatenate([np.full(minutes, watts) for minutes, watts in phases]) / 1000
    starts = range(len(per_minute) - len(power) + 1)
    every = [float(power @ per_minute[m : m + len(power)]) / 60 for m in starts]
    job = Job(tuple((minutes * 60.0, watts) for minutes, watts in phases))
    end = T0 + timedelta(hours=len(values))
    assert best_start(profile(values), job, T0, end).carbon_kg == pytest.approx(min(every), rel=1e-9, abs=1e-12)
    assert schedule([profile(values)], job, T0, end).worst.carbon_kg == pytest.approx(max(every), rel=1e-9, abs=1e-12)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0, 1000), min_size=3, max_size=10), st.integers(1, 9))
def test_interrupted_is_the_best_choice_of_hours(values, hours):
    hours = min(hours, len(values))
    end = T0 + timedelta(hours=len(values))
    every = [sum(choice) / 1000 for choice in itertools.combinations(values, hours)]
    plan = interrupted(profile(values), Job.constant(hours), T0, end)
    assert plan.carbon_kg == pytest.approx(min(every), rel=1e-9, abs=1e-12)


@settings(max_examples=80, deadline=None)
@given(days, st.integers(1, 700), st.integers(0, 100), st.sampled_from([None, 3600, 7200, 3 * 3600]))
def test_interrupted_is_never_worse_and_adds_up(values, minutes, first, slot_s):
    minutes = min(minutes, len(values) * 60 - first)
    grid, job = profile(values), Job.constant(minutes / 60)
    start, end = T0 + timedelta(minutes=first), T0 + timedelta(hours=len(values))
    whole, parts = best_start(grid, job, start, end), interrupted(grid, job, start, end, slot_s=slot_s)
    assert parts.carbon_kg <= whole.carbon_kg
    assert sum((p.end - p.start).total_seconds() for p in parts.pieces) == pytest.approx(minutes * 60, abs=1e-3)
    assert all(a.end < b.start for a, b in itertools.pairwise(parts.pieces))
    assert start <= parts.start
    assert parts.end <= end
    per_minute = minutes_of(values)
    seconds = [(((p.start - T0).total_seconds()), (p.end - T0).total_seconds()) for p in parts.pieces]
    cumulative = np.concatenate([[0], np.cumsum(per_minute * 60)])
    by_hand = sum(np.interp(b, np.arange(len(cumulative)) * 60, cumulative) for _, b in seconds) - sum(
        np.interp(a, np.arange(len(cumulative)) * 60, cumulative) for a, _ in seconds
    )
    assert parts.carbon_kg == pytest.approx(by_hand / 3600, rel=1e-6, abs=1e-9)
    if slot_s is None:  # the continuous optimum: the cheapest minutes
        assert parts.carbon_kg <= np.sort(per_minute[first:])[:minutes].sum() / 60 * (1 + 1e-9) + 1e-12


def test_slots_longer_than_a_step_are_kept_whole():
    values = [500, 10, 500, 10, 500, 10, 300, 300, 20, 20, 20, 20]
    plan = interrupted(profile(values), Job.constant(4), T0, T0 + timedelta(hours=12), slot_s=7200)
    assert [(p.start - T0).total_seconds() / 3600 for p in plan.pieces] == [8]
    fine = interrupted(profile(values), Job.constant(4), T0, T0 + timedelta(hours=12))
    assert len(fine.pieces) == 4
    assert fine.carbon_kg < plan.carbon_kg


def test_no_pause_without_a_gain():
    assert len(interrupted(profile([100] * 24), Job.constant(7.5), T0, T0 + timedelta(hours=24)).pieces) == 1


def test_a_part_of_a_slot_joins_its_neighbour():
    values = [900, 100, 50, 900, 900]
    plan = interrupted(profile(values), Job.constant(1.5), T0, T0 + timedelta(hours=5))
    assert [((p.start - T0).total_seconds() / 3600, (p.end - T0).total_seconds() / 3600) for p in plan.pieces] == [
        (1.5, 3)
    ]


@settings(max_examples=60, deadline=None)
@given(days, st.floats(0.1, 10), st.floats(0, 2), st.booleans())
def test_a_longer_deadline_is_never_worse(values, hours, more, pausing):
    whole = len(values)
    hours = min(hours, whole - more)
    grid, job = profile(values), Job.constant(hours)
    plan = interrupted if pausing else best_start
    short = plan(grid, job, T0, T0 + timedelta(hours=max(hours, whole - more)))
    long = plan(grid, job, T0, T0 + timedelta(hours=whole))
    assert long.carbon_kg <= short.carbon_kg * (1 + 3e-9) + 1e-12


@settings(max_examples=40, deadline=None)
@given(days, st.floats(0.1, 10), st.floats(1, 1e4), st.floats(0.01, 100))
def test_carbon_is_linear_in_power(values, hours, watts, factor):
    end = T0 + timedelta(hours=len(values))
    one, many = (best_start(profile(values), Job.constant(hours, w), T0, end) for w in (watts, watts * factor))
    assert many.pieces == one.pieces
    assert many.carbon_kg == pytest.approx(factor * one.carbon_kg, rel=1e-9)


@settings(max_examples=40, deadline=None)
@given(days, st.floats(0.5, 10), st.booleans())
def test_a_schedule_adds_up(values, hours, pausing):
    end = T0 + timedelta(hours=len(values))
    found = schedule([profile(values)], Job.constant(hours), T0, end, interruptible=pausing)
    assert found.best.carbon_kg <= found.unbroken.carbon_kg <= found.now.carbon_kg * (1 + 1e-9)
    assert found.now.carbon_kg <= found.worst.carbon_kg * (1 + 1e-9) + 1e-12
    assert found.now.start == T0
    if found.now.carbon_kg > 0:
        assert found.saving_against_now == pytest.approx(1 - found.best.carbon_kg / found.now.carbon_kg)
    assert 0 <= found.saving_against_worst <= 1 or math.isclose(found.saving_against_worst, 0, abs_tol=1e-9)


def test_the_cleanest_of_several_places_and_times():
    home, away = profile([300, 250, 300, 280], zone="home"), profile([400, 390, 100, 120], zone="away")
    found = schedule([home, away], Job.constant(2, 1000), T0, T0 + timedelta(hours=4))
    assert found.best.origin.zone == "away"
    assert found.best.start == T0 + timedelta(hours=2)
    assert found.best.carbon_kg == pytest.approx(0.22)
    assert found.now.origin.zone == "home"
    assert found.now.carbon_kg == pytest.approx(0.55)
    assert found.worst.carbon_kg == pytest.approx(0.79)
    assert [plan.origin.zone for plan in found.places] == ["home", "away"]
    assert found.places[0].carbon_kg == pytest.approx(0.55)
    assert found.saving_against_now == pytest.approx(0.6)


def test_different_bases_are_not_compared_unnoticed():
    a = profile([1] * 4, zone="A", basis=Basis("lifecycle", "unstated", "average"))
    b = profile([1] * 4, zone="B", basis=Basis("direct", "unstated", "marginal"))
    with pytest.raises(InputError, match="A and B: count different things: lifecycle and direct, average and marginal"):
        schedule([a, b], Job.constant(1), T0, T0 + timedelta(hours=4))
    assert schedule([a, b], Job.constant(1), T0, T0 + timedelta(hours=4), allow_mixed_basis=True)
    unstated = profile([1] * 4, zone="C")
    assert schedule([a, unstated], Job.constant(1), T0, T0 + timedelta(hours=4))


def test_a_window_in_local_times():
    day = shipped_profiles()["US-CA"]
    start = datetime(2026, 10, 31, 20, tzinfo=day.origin.zone_info)  # clocks go back at night: 25 hours
    found = schedule([day], Job.constant(24), start, start.astimezone(UTC) + timedelta(hours=25))
    assert (found.deadline - found.earliest) == timedelta(hours=25)
    assert found.best.end <= found.deadline


def test_a_job_longer_than_the_window():
    with pytest.raises(InfeasibleError, match=r"the best possible is 5 h, the limit is 4 h.*a later deadline"):
        best_start(profile([1] * 9), Job.constant(5), T0, T0 + timedelta(hours=4))
    exactly = best_start(profile([1] * 9), Job.constant(4), T0, T0 + timedelta(hours=4))
    assert exactly.start == T0


def test_what_cannot_be_scheduled():
    with pytest.raises(InputError, match="has no time zone"):
        best_start(profile([1] * 9), Job.constant(1), datetime(2026, 1, 1), T0)
    with pytest.raises(InputError, match="does not cover"):
        best_start(profile([1] * 9), Job.constant(1), T0, T0 + timedelta(hours=10))
    with pytest.raises(InputError, match="none given"):
        schedule([], Job.constant(1), T0, T0 + timedelta(hours=2))
    two = Job(((3600.0, 100.0), (3600.0, 200.0)))
    with pytest.raises(InputError, match="different power"):
        interrupted(profile([1] * 9), two, T0, T0 + timedelta(hours=9))
    for slot in (1800, 5400, 0, math.inf, math.nan):
        with pytest.raises(InputError, match="multiples of 3600 s"):
            interrupted(profile([1] * 9), Job.constant(1), T0, T0 + timedelta(hours=9), slot_s=slot)
    for hours, watts in ((0, 1), (-1, 1), (math.nan, 1), (math.inf, 1), (1, 0), (1, -5), (1, math.inf)):
        with pytest.raises(InputError, match="phase 1"):
            Job.constant(hours, watts)
    with pytest.raises(InputError, match="no phases"):
        Job(())


def test_when_the_grid_is_clean_again():
    grid = profile([400, 350, 300, 100, 500, 90])
    assert next_at_most(grid, 0.3, T0 + timedelta(minutes=30)) == T0 + timedelta(hours=2)
    assert next_at_most(grid, 0.3, T0 + timedelta(hours=3, minutes=10)) == T0 + timedelta(hours=3, minutes=10)
    assert next_at_most(grid, 0.095, T0) == T0 + timedelta(hours=5)
    assert next_at_most(grid, 0.05, T0) is None
    assert next_at_most(grid, 0.3, T0 + timedelta(hours=7)) is None


def test_means_of_parts():
    assert means(profile([100, 200, 300, 400]), T0, T0 + timedelta(hours=4), 2) == pytest.approx([0.15, 0.35])
    assert means(profile([100, 200]), T0 + timedelta(minutes=30), T0 + timedelta(minutes=90), 1) == pytest.approx(
        [0.15]
    )
