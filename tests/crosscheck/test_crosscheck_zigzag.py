"""Mappings, their traffic and energy against ZigZag 3.9.1: as recorded, and, on request, as it answers now."""

import pytest
from crosscheck_cases import CHOSEN, LAYERS, zigzag_searches
from crosscheck_environments import DATA, ask, read_rows, start, write_rows
from crosscheck_model import (
    AXES,
    cost_of,
    costs,
    energies_pj,
    every_mapping,
    loop_nest,
    machines_of,
    moved_by_zigzag,
    only,
    same_mapping,
    wide_sums_pj,
)

from catransformers.hardware.dataflow import DATAFLOWS
from catransformers.hardware.mapping import CHOICES
from catransformers.hardware.operator_cost import RESOURCES

SEARCHES = read_rows(DATA / "zigzag_reference.csv")
NESTS = read_rows(DATA / "zigzag_nests.csv")


def mac_pj(row):
    return float(row["mac_pj"]) * int(row["m"]) * int(row["k"]) * int(row["n"])


# --- Each tool's own mapping ----------------------------------------------------------------------------------------


def test_the_recorded_searches_are_those_of_the_list():
    cases = zigzag_searches()
    assert [{name: row[name] for name in case} for row, case in zip(SEARCHES, cases, strict=True)] == cases
    assert {row["zigzag"] for row in SEARCHES} == {"3.9.1"}
    clip = {row["layer"] for row in SEARCHES if not row["layer"].startswith("small")}
    assert len(clip) >= 8
    assert {197, 50} <= {LAYERS[layer][0] for layer in clip}
    assert {row["flow"] for row in SEARCHES} == {"output", "weight", "input"}
    assert {row["dram"] for row in SEARCHES} == {"none", "weights", "all"}


@pytest.mark.parametrize("row", SEARCHES, ids=lambda row: f"{row['layer']}-{row['flow']}-{row['dram']}")
def test_the_best_mapping_takes_the_energy_of_zigzags_best(row):
    machines = machines_of(row)
    mappings = every_mapping(row, machines)
    best = cost_of(row, machines, mappings)
    ours = energies_pj(best)
    total, theirs = mac_pj(row) + sum(ours.values()), float(row["energy_pj"])
    assert total == pytest.approx(theirs, rel=0.15)
    at = same_mapping(mappings, dict(zip(CHOICES, map(int, best.choices[:, 0]), strict=True)))
    counted_alike = total + sum(wide_sums_pj(row, costs(mappings, at)).values())
    assert counted_alike == pytest.approx(theirs, rel=0.08)
    assert ours["dram"] == pytest.approx(float(row["dram_energy_pj"]), rel=1e-6)


# --- The same mapping in both ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def same_mappings():
    """Recorded nests with our machine, mappings and the index of the same mapping among them."""
    found, missing = [], []
    for row in NESTS:
        machines = machines_of(row)
        mappings = every_mapping(row, machines)
        chosen = {name: int(row[f"our_{name}"]) for name in CHOSEN if name != "flow"}
        chosen["flow"] = [flow.name for flow in DATAFLOWS].index(row["our_flow"])
        at = same_mapping(mappings, chosen)
        (missing if at is None else found).append((row, machines, mappings, at, chosen))
    # A changed search may leave some out; then they should be recorded again (tools/crosscheck/record.py).
    assert len(missing) <= len(NESTS) // 10
    return found


def divided(row):
    """Whether the array divides what lies on it: else ZigZag rounds the values of an average fold to whole ones."""
    rows, columns, _ = AXES[row["flow"]]
    return int(row[rows.lower()]) % int(row["rows"]) == 0 and int(row[columns.lower()]) % int(row["columns"]) == 0


def test_the_recorded_mappings_are_many_and_of_every_kind(same_mappings):
    assert sum(divided(row) for row, *_ in same_mappings) >= 100
    assert sum(not divided(row) for row, *_ in same_mappings) >= 10
    for flow in DATAFLOWS:
        assert sum(row["our_flow"] == flow.name for row, *_ in same_mappings) >= 3, flow
    assert any(row["accumulators"] == "4" for row, *_ in same_mappings)
    assert any(row["our_innermost"] != "1" for row, *_ in same_mappings)


def test_every_boundary_is_crossed_by_the_same_bytes(same_mappings):
    for row, _, mappings, at, chosen in same_mappings:
        assert loop_nest(row, chosen) == row["nest"]
        moved = dict.fromkeys(moved_by_zigzag(row, costs(mappings, at)), 0)
        for part in row["bytes"].split():
            level, operand, rest = part.split(":")
            direction, count = rest.split("=")
            moved[f"{level}:{'IW' if operand in 'IW' else operand}:{direction}"] += int(count)
        for name, expected in moved_by_zigzag(row, costs(mappings, at)).items():
            whole_words = 2 * int(row[f"{name.split(':')[0]}_bandwidth"])  # ZigZag counts them
            tolerance = 0 if divided(row) else 0.05
            assert moved[name] == pytest.approx(expected, rel=tolerance, abs=whole_words), (name, row)


def test_the_same_mapping_takes_the_same_energy(same_mappings):
    for row, machines, mappings, at, _ in same_mappings:
        ours = energies_pj(cost_of(row, machines, only(mappings, at)))
        wide = wide_sums_pj(row, costs(mappings, at))
        for level in ("local", "global"):
            expected = ours[level] + wide[level]
            tolerance = 0.01 if divided(row) else 0.05
            assert float(row[f"{level}_energy_pj"]) == pytest.approx(expected, rel=tolerance), (level, row)


def test_the_array_takes_the_same_cycles_and_memories_lie_between_zigzags_ports(same_mappings):
    for row, machines, mappings, at, _ in same_mappings:
        cost = cost_of(row, machines, only(mappings, at))
        times = dict(zip(RESOURCES, cost.times[:, 0], strict=True))
        assert times["compute"] == int(row["array_cycles"])
        # With a port for every stream nothing waits but the first tile; with one port, each access takes a cycle of it.
        assert int(row["array_cycles"]) <= cost.cycles[0] <= int(row["one_port_cycles"]) + 6
        if max(times, key=times.get) == "compute":
            assert 0.75 <= cost.cycles[0] / int(row["cycles"]) <= 1.0


# --- Today ----------------------------------------------------------------------------------------------------------


@pytest.mark.crosscheck
def test_zigzag_says_of_our_mappings_what_is_recorded(zigzag, tmp_path):
    fresh = ask(zigzag, NESTS, tmp_path)
    assert [row | now for row, now in zip(NESTS, fresh, strict=True)] == NESTS


@pytest.mark.crosscheck
@pytest.mark.timeout(1500)
def test_zigzag_finds_what_it_found(zigzag, tmp_path):
    fresh = ask(zigzag, SEARCHES, tmp_path)
    for row, now in zip(SEARCHES, fresh, strict=True):
        # Its annealing is seeded; another processor's last digits may still lead it elsewhere.
        assert float(now["energy_pj"]) == pytest.approx(float(row["energy_pj"]), rel=0.05)
        machines = machines_of(row)
        total = mac_pj(row) + sum(energies_pj(cost_of(row, machines, every_mapping(row, machines))).values())
        assert total == pytest.approx(float(now["energy_pj"]), rel=0.15)


# --- The script that runs in the other environment, and what it refuses ---------------------------------------------


def installed(folder, version):
    """A folder that makes `importlib.metadata` believe in a version of ZigZag."""
    record = folder / f"zigzag_dse-{version}.dist-info"
    record.mkdir()
    (record / "METADATA").write_text(f"Metadata-Version: 2.1\nName: zigzag-dse\nVersion: {version}\n")
    return folder


def test_without_the_package_it_says_so(tmp_path):
    finished = start("zigzag", DATA / "zigzag_reference.csv", tmp_path / "out.csv")
    assert finished.returncode == 1
    assert "zigzag-dse is not installed" in finished.stderr
    assert "make crosscheck-zigzag" in finished.stderr
    assert "Traceback" not in finished.stderr
    assert not (tmp_path / "out.csv").exists()


def test_another_version_is_refused(tmp_path):
    path = installed(tmp_path, "3.8.5")
    finished = start("zigzag", DATA / "zigzag_reference.csv", tmp_path / "out.csv", extra_path=path)
    assert finished.returncode == 1
    assert "zigzag-dse 3.8.5 is installed" in finished.stderr
    assert "3.9.1 alone" in finished.stderr
    assert "Traceback" not in finished.stderr


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"m": "-3", "flow": "rs", "local_read_pj": "cheap"}, ["m = '-3'", "flow = 'rs'", "local_read_pj = 'cheap'"]),
        ({"nest": "I:M4|;W:M4|"}, ["nest = "]),  # no outputs
        ({"nest": "I:M4|;W:M4||;O:|N4|"}, ["nest = "]),  # not the same loops
        ({"nest": "I:M4|;W:M4||;O:|Mx|"}, ["nest = "]),
        ({"nest": "I:Q4|;W:Q4||;O:|Q4|"}, ["nest = "]),
    ],
)
def test_every_mistake_in_the_cases_is_named_at_once(tmp_path, change, words):
    path = installed(tmp_path, "3.9.1")
    write_rows(tmp_path / "cases.csv", [SEARCHES[0], SEARCHES[0] | change])
    finished = start("zigzag", tmp_path / "cases.csv", tmp_path / "out.csv", extra_path=path)
    assert finished.returncode == 1
    for word in words:
        assert f"line 3: {word}" in finished.stderr
    assert "line 2" not in finished.stderr
    assert "Traceback" not in finished.stderr


def test_files_that_are_no_cases_are_named(tmp_path):
    path = installed(tmp_path, "3.9.1")
    write_rows(tmp_path / "cases.csv", [{"m": "1"}])
    finished = start("zigzag", tmp_path / "cases.csv", tmp_path / "out.csv", extra_path=path)
    assert "no column k, n, flow" in finished.stderr
    finished = start("zigzag", tmp_path / "nowhere.csv", tmp_path / "out.csv", extra_path=path)
    assert "cannot be read" in finished.stderr
    assert "Traceback" not in finished.stderr
