"""A search that waits for cleaner electricity, with a clock that runs only while somebody sleeps."""

import json
import signal
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from catransformers.config.study import parse
from catransformers.execution import events
from catransformers.execution.intensity_gate import FILE, IntensityGate, check_gate
from catransformers.execution.loop import run_study
from catransformers.execution.results import load_study
from catransformers.execution.studies.assemble import check
from catransformers.intensity.http import Http
from catransformers.intensity.lookup import Forecasts

T0 = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)


class Clock:
    """Passes while somebody sleeps; can be told to be interrupted."""

    def __init__(self, now=T0):
        self.now, self.slept, self.interrupt_at = now, timedelta(0), None

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        if self.interrupt_at is not None and self.now >= self.interrupt_at:
            raise KeyboardInterrupt
        self.slept += timedelta(seconds=seconds)
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def grid(tmp_path):
    """Writes an intensity file whose first hour is that of `T0`."""

    def written(values, start=T0):
        path = tmp_path / "grid.csv"
        lines = [f"{(start + timedelta(hours=n)).isoformat()},{value},FR" for n, value in enumerate(values)]
        path.write_text("time,g_per_kwh,zone\n" + "\n".join(lines) + "\n")
        return str(path)

    return written


@pytest.fixture
def gate(clock, tmp_path):
    def made(config, folder=None):
        folder = folder or tmp_path / "s"
        forecasts = Forecasts(tmp_path / "cache", http=Http(tries=1, sleep=clock.sleep), environ={}, now=clock)
        return IntensityGate(config.execution, folder / FILE, forecasts, clock, clock.sleep)

    return made


def waits(heard):
    return [e for e in heard if isinstance(e, events.WaitStarted)]


def words(heard):
    return [e.reason for e in heard if isinstance(e, events.WaitEnded)]


def told(results):
    return (
        [(t.number, t.dimensions, t.status, t.accuracy, t.proposal) for t in results.trials],
        [(m.trial.number, m.design) for m in results.front],
        results.evaluations,
    )


def test_a_study_that_waits_for_nothing_never_sleeps(study, fake, gate, clock, tmp_path):
    config = study(search__trials=2)
    heard = []
    run_study(config, tmp_path / "s", executor=fake, gate=gate(config), listen=heard.append)
    assert clock.slept == timedelta(0)
    assert not waits(heard)
    assert not words(heard)
    assert not (tmp_path / "s" / FILE).exists()


def test_the_greenest_start_is_waited_for(study, fake, gate, clock, grid, tmp_path):
    values = [300, 250, 200, 50, 100, 300, 10, 10, 10]
    config = study(
        search__trials=2,
        execution__start="greenest within 4h",
        execution__expected_hours=2.0,
        execution__intensity_profile=grid(values),
    )
    heard = []

    def listen(event):
        heard.append((clock.now, event))

    results = run_study(config, tmp_path / "s", executor=fake, gate=gate(config), listen=listen)
    assert results.finished
    assert clock.now == T0 + timedelta(hours=3)  # 50 and 100: the ten at the end begin too late
    kinds = [type(event) for _, event in heard]
    assert kinds.index(events.StudyOpened) < kinds.index(events.WaitStarted) < kinds.index(events.ModelEvaluated)
    (wait,) = waits([event for _, event in heard])
    assert wait.until == T0 + timedelta(hours=3)
    assert wait.until.utcoffset() == timedelta(hours=1)
    assert (
        "2 h of work then get 75 g/kWh on average, 275 if begun at once (FR: as given (basis: unstated))" in wait.reason
    )
    assert min(moment for moment, event in heard if isinstance(event, events.ModelEvaluated)) == T0 + timedelta(hours=3)


def test_a_study_that_has_begun_does_not_wait_for_its_start_again(study, fake, gate, clock, grid, tmp_path):
    config = study(search__trials=2)
    run_study(config, tmp_path / "s", executor=fake)
    later = study(
        search__trials=3, execution__start="greenest within 4h", execution__intensity_profile=grid([300, 100] * 9)
    )
    assert run_study(later, tmp_path / "s", executor=fake, gate=gate(later)).finished
    assert clock.slept == timedelta(0)


def test_now_may_be_the_greenest(study, gate, clock, grid):
    config = study(execution__start="greenest within 3h", execution__intensity_profile=grid([1, 2, 3, 4, 5]))
    heard = []
    gate(config).before_start(False, heard.append)
    assert clock.slept == timedelta(0)
    assert words(heard)[0].startswith(
        "The study starts now: 1 h of work then get 1 g/kWh on average, 1 if begun at once"
    )


def test_interrupted_while_it_waits_it_goes_on_to_the_same_moment(study, fake, gate, clock, grid, tmp_path):
    values = [300, 290, 280, 270, 100, 300, 90, 300]
    config = study(search__trials=1, execution__start="greenest within 4h", execution__intensity_profile=grid(values))
    clock.interrupt_at = T0 + timedelta(hours=2)
    with pytest.raises(KeyboardInterrupt):
        run_study(config, tmp_path / "s", executor=fake, gate=gate(config))
    assert fake.started == []
    clock.interrupt_at = None
    clock.now += timedelta(minutes=15)
    heard = []
    run_study(config, tmp_path / "s", executor=fake, gate=gate(config), listen=heard.append)
    # Asked again it would take 90, at the end of another four hours.
    assert clock.now == T0 + timedelta(hours=4)
    assert "chosen before the interruption" in waits(heard)[0].reason


def test_a_start_chosen_for_other_settings_is_chosen_anew(study, gate, clock, grid):
    values = [300, 290, 100, 300, 50, 300, 300]
    first = study(execution__start="greenest within 2h", execution__intensity_profile=grid(values))
    clock.interrupt_at = T0
    with pytest.raises(KeyboardInterrupt):
        gate(first).before_start(False, lambda _: None)
    clock.interrupt_at = None
    second = study(execution__start="greenest within 5h", execution__intensity_profile=grid(values))
    gate(second).before_start(False, lambda _: None)
    assert clock.now == T0 + timedelta(hours=4)


def test_trials_pause_while_the_grid_is_dirty(study, fake, gate, clock, grid, tmp_path):
    values = [400, 350, 200] + [100] * 30
    config = study(search__trials=3, execution__pause_above_g_per_kwh=300.0, execution__intensity_profile=grid(values))
    heard = []
    results = run_study(config, tmp_path / "s", executor=fake, gate=gate(config), listen=heard.append)
    assert results.finished
    assert clock.now == T0 + timedelta(hours=2)
    (pause,) = waits(heard)
    assert pause.until == T0 + timedelta(hours=2)
    assert (
        "No trial begins while the grid of FR is above 300 g/kWh (pause_above_g_per_kwh); it is at 400 now"
        in pause.reason
    )
    assert words(heard) == ["The grid is clean enough again: the trials go on."]
    kinds = [type(event) for event in heard]
    assert kinds.index(events.ModelEvaluated) < kinds.index(events.WaitStarted) < kinds.index(events.TrialStarted)


@pytest.mark.parametrize(("workers", "strategy"), [(1, "sobol"), (3, "exact-hardware")])
def test_pauses_change_nothing_but_the_time(study, fake, gate, clock, grid, tmp_path, workers, strategy):
    settings = {"search__trials": 6, "search__strategy": strategy, "execution__workers": workers}
    calm = run_study(study(**settings), tmp_path / "calm", executor=fake)
    profile = grid([100, 400] * 60)
    config = study(**settings, execution__pause_above_g_per_kwh=300.0, execution__intensity_profile=profile)
    heard = []

    def listen(event):
        heard.append(event)
        clock.now += timedelta(minutes=25) * isinstance(event, events.TrialStarted)

    paused = run_study(
        config, tmp_path / "paused", executor=fake, gate=gate(config, tmp_path / "paused"), listen=listen
    )
    assert len(waits(heard)) == len(words(heard)) >= 1
    assert clock.slept > timedelta(hours=0.5)
    assert told(paused) == told(calm)
    # What had been started before a pause is committed during it, not after.
    running = 0
    for event in heard:
        running += isinstance(event, events.TrialStarted) - isinstance(event, events.TrialFinished)
        if isinstance(event, events.WaitEnded):
            assert running == 0


def test_a_pause_has_an_end_and_the_study_says_so(study, fake, gate, clock, grid, tmp_path):
    config = study(
        search__trials=4,
        execution__pause_above_g_per_kwh=300.0,
        execution__max_pause_hours=5.0,
        execution__intensity_profile=grid([400] * 48),
    )
    heard = []
    assert run_study(config, tmp_path / "s", executor=fake, gate=gate(config), listen=heard.append).finished
    assert clock.slept == timedelta(hours=5)
    assert waits(heard)[0].until == T0 + timedelta(hours=5)
    (word,) = words(heard)
    assert "has paused for 5 h (max_pause_hours), so it goes on; it pauses again once the grid has been" in word


def test_after_a_clean_hour_it_pauses_again(study, gate, clock, grid):
    config = study(
        execution__pause_above_g_per_kwh=300.0,
        execution__max_pause_hours=2.0,
        execution__intensity_profile=grid([400] * 5 + [100] + [400] * 5 + [100]),
    )
    heard, door = [], gate(config)
    assert door.closed(heard.append)
    door.wait(heard.append)
    assert clock.now == T0 + timedelta(hours=2)
    clock.now = T0 + timedelta(hours=4)
    assert not door.closed(heard.append)  # dirty still, but it has paused for long enough
    clock.now = T0 + timedelta(hours=5)
    assert not door.closed(heard.append)
    clock.now = T0 + timedelta(hours=6)
    assert door.closed(heard.append)
    assert len(waits(heard)) == 2
    assert not gate(study()).closed(heard.append)


def test_killed_in_a_pause_the_pause_is_not_begun_anew(study, gate, clock, grid):
    config = study(
        execution__pause_above_g_per_kwh=300.0,
        execution__max_pause_hours=6.0,
        execution__intensity_profile=grid([400] * 24),
    )
    clock.interrupt_at = T0 + timedelta(hours=4)
    with pytest.raises(KeyboardInterrupt):
        gate(config).wait(lambda _: None)
    clock.interrupt_at = None
    clock.now = T0 + timedelta(hours=5)
    heard, door = [], gate(config)
    assert door.closed(heard.append)
    assert waits(heard)[0].until == T0 + timedelta(hours=6)
    door.wait(heard.append)
    assert clock.now == T0 + timedelta(hours=6)


@pytest.mark.parametrize(
    "damage", ["", "{", "[]", "null", "3", '{"begin_at": "x"}', '{"paused_since": 3}', '{"else": 1}', "\x00"]
)
def test_a_damaged_memory_is_none(study, gate, clock, grid, tmp_path, damage):
    config = study(execution__start="greenest within 2h", execution__intensity_profile=grid([300, 290, 100, 300]))
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / FILE).write_text(damage)
    gate(config).before_start(False, lambda _: None)
    assert clock.now == T0 + timedelta(hours=2)


def test_a_file_that_ends_lets_the_study_go_on_and_says_so(study, gate, clock, grid):
    config = study(execution__pause_above_g_per_kwh=300.0, execution__intensity_profile=grid([400] * 3))
    heard, door = [], gate(config)
    door.wait(heard.append)
    assert clock.now == T0 + timedelta(hours=3)
    assert "is not known, so trials go on without pauses" in words(heard)[0]
    said = len(heard)
    assert not door.closed(heard.append)
    assert len(heard) == said  # once is enough


def test_a_forecast_shorter_than_the_window_is_used_as_far_as_it_reaches(study, gate, clock, grid):
    config = study(execution__start="greenest within 100h", execution__intensity_profile=grid([300, 200, 100]))
    heard = []
    gate(config).before_start(False, heard.append)
    assert clock.now == T0 + timedelta(hours=2)
    assert "it reaches no further than Sat 21 Nov 14:00" in waits(heard)[0].reason


def test_the_shipped_mean_day_will_do(study, gate, clock):
    config = study(execution__pause_above_g_per_kwh=300.0, execution__intensity_region="US-CA")
    clock.now = datetime(2026, 11, 22, 3, 30, tzinfo=UTC)  # 19:30 in California: 318 g/kWh
    heard, door = [], gate(config)
    assert door.closed(heard.append)
    assert waits(heard)[0].until.isoformat() == "2026-11-21T23:00:00-08:00"
    assert "2017 mean profile, not a forecast" in waits(heard)[0].reason
    door.wait(heard.append)
    assert clock.now == datetime(2026, 11, 22, 7, tzinfo=UTC)


def test_a_source_that_fails_does_not_stop_a_study_that_runs(study, gate, clock):
    config = study(
        execution__pause_above_g_per_kwh=300.0,
        execution__intensity_source="carbon-aware-sdk",
        execution__intensity_region="westus",
    )
    door, heard = gate(config), []
    door.forecasts = Forecasts(
        None, http=Http(tries=1), environ={"CARBON_AWARE_SDK_URL": "http://127.0.0.1:9"}, now=clock
    )
    assert not door.closed(heard.append)
    assert "so trials go on without pauses: the Carbon Aware SDK server: cannot be reached" in words(heard)[0]


# --- the keys of a study ---


def test_every_mistake_of_the_keys_at_once():
    _, problems = parse(
        """
        name = "s"
        [execution]
        start = "greenest in 12h"
        expected_hours = 0
        pause_above_g_per_kwh = -1
        max_pause_hours = inf
        intensity_region = ""
        intensity_profil = "x.csv"
        """,
        "s.toml",
    )
    text = "\n".join(map(str, problems))
    for part in (
        '''execution.start: 'greenest in 12h' is not a start: "now", or "greenest within 12h"''',
        "execution.expected_hours: 0 is out of range; allowed: > 0",
        "execution.pause_above_g_per_kwh: -1 is out of range",
        "execution.max_pause_hours: inf should be a finite number",
        "execution.intensity_region: ''",
        "did you mean 'intensity_profile'?",
    ):
        assert part in text, text
    assert len(problems) == 6


@pytest.mark.parametrize(
    ("start", "hours"),
    [("now", None), ("greenest within 12h", 12), ("greenest within 1.5 hours", 1.5), ("greenest within 720h", 720)],
)
def test_starts(start, hours):
    config, problems = parse(f'name = "s"\n[execution]\nstart = "{start}"\n', "s")
    assert not problems
    assert config.execution.start_within_hours == hours


@pytest.mark.parametrize("start", ["greenest within 0h", "greenest within 721h", "greenest within -1h", "", "later"])
def test_starts_that_are_none(start):
    assert len(parse(f'name = "s"\n[execution]\nstart = "{start}"\n', "s")[1]) == 1


def test_what_the_names_mean_is_checked_before_anything_is_written(study, monkeypatch):
    monkeypatch.delenv("ELECTRICITY_MAPS_TOKEN", raising=False)
    cases = {
        "missing: which grid is to be waited for?": {"pause_above_g_per_kwh": 300.0},
        "execution: region 'FR': has no hourly profile": {"start": "greenest within 2h", "intensity_region": "FR"},
        "give a CSV file (intensity_profile)": {"start": "greenest within 2h", "intensity_region": "FR"},
        "execution: no.csv: cannot be read": {"pause_above_g_per_kwh": 1.0, "intensity_profile": "no.csv"},
        "execution.intensity_source: is given beside": {"intensity_source": "uk", "intensity_profile": "no.csv"},
        "did you mean 'watttime'": {"intensity_source": "wattime", "intensity_region": "x"},
        "ELECTRICITY_MAPS_TOKEN: is not set": {"intensity_source": "electricity-maps", "intensity_region": "FR"},
    }
    for message, keys in cases.items():
        config = study(**{f"execution__{key}": value for key, value in keys.items()})
        problems = check(config, "s.toml")
        assert any(message in str(problem) for problem in problems), (message, problems)
        assert all(str(problem).startswith("s.toml: ") for problem in problems)
    assert check_gate(study(execution__start="greenest within 2h", execution__intensity_region="US-CA").execution) == []
    assert check_gate(study(execution__start="greenest within 2h", execution__region="US-CA").execution) == []


def test_a_file_with_several_zones_needs_a_region(study, tmp_path):
    path = tmp_path / "two.csv"
    path.write_text("time,g_per_kwh,zone\n2026-01-01T00:00Z,1,A\n2026-01-01T00:00Z,1,B\n")
    config = study(execution__pause_above_g_per_kwh=3.0, execution__intensity_profile=str(path))
    (problem,) = check_gate(config.execution)
    assert "the file has several zones; allowed: A, B" in str(problem)


def test_the_keys_may_change_when_a_study_is_resumed(study, fake, gate, grid, tmp_path):
    run_study(study(search__trials=2), tmp_path / "s", executor=fake)
    config = study(
        search__trials=3,
        execution__pause_above_g_per_kwh=300.0,
        execution__max_pause_hours=3.0,
        execution__intensity_profile=grid([400] * 9),
    )
    assert len(run_study(config, tmp_path / "s", executor=fake, gate=gate(config)).trials) == 3


def test_a_profile_counts_from_the_study_file(tmp_path):
    from catransformers.config.study import read

    (tmp_path / "s.toml").write_text('name = "s"\n[execution]\nintensity_profile = "grid.csv"\n')
    config, _ = read(tmp_path / "s.toml")
    assert config.execution.intensity_profile == str(tmp_path / "grid.csv")


# --- a real process ---


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.usefixtures("ctrl_c")
@pytest.mark.parametrize("ignored", [False, True])
def test_ctrl_c_while_it_waits_exits_130_and_the_same_command_goes_on(study, fake, tmp_path, ignored):
    """By the clock of this machine: the first two hours are dirty, so nothing begins. `nohup` goes on being heard."""
    hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    lines = [f"{(hour + timedelta(hours=n)).isoformat()},{400 if n < 3 else 100}" for n in range(48)]
    grid = tmp_path / "grid.csv"
    grid.write_text("time,g_per_kwh\n" + "\n".join(lines) + "\n")
    config = study(
        search__trials=2,
        execution__start="greenest within 12h",
        execution__intensity_profile=str(grid),
        execution__workers=1,
    )
    path, folder = tmp_path / "study.toml", tmp_path / "s"
    path.write_text(config.to_toml())
    command = [
        sys.executable,
        "-c",
        "from catransformers.cli import main; main()",
        "search",
        str(path),
        "--out",
        str(folder),
    ]
    if ignored:
        command = ["sh", "-c", 'trap "" INT; exec "$@"', "sh", *command]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    watchdog = threading.Timer(120, process.kill)
    watchdog.start()
    said = ""
    for line in process.stderr:
        said += line
        if "Ctrl-C is safe" in " ".join(said.split()):
            break
    process.send_signal(signal.SIGINT)
    if ignored:
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(1)
        process.terminate()
    rest = process.stderr.read()
    assert process.wait(60) == (-signal.SIGTERM if ignored else 130), said + rest
    watchdog.cancel()
    assert ignored or "interrupted: run the same command to go on" in rest
    begin = datetime.fromisoformat(json.loads((folder / FILE).read_text())["begin_at"])
    assert begin == hour + timedelta(hours=3)
    clock = Clock(datetime.now(UTC))
    gate = IntensityGate(config.execution, folder / FILE, Forecasts(environ={}), clock, clock.sleep)
    assert run_study(config, folder, executor=fake, gate=gate).finished
    assert begin <= clock.now < begin + timedelta(seconds=1)
    assert len(load_study(Path(folder)).trials) == 2
