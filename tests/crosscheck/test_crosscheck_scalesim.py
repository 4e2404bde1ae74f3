"""Closed forms and mappings against SCALE-Sim 3.0.0: as recorded, and, on request, as it answers now."""

import pytest
from crosscheck_cases import ENERGIES, scalesim_cases
from crosscheck_environments import DATA, ask, read_rows, start, write_rows
from crosscheck_model import AXES, choice, costs, every_mapping, machines_of

from catransformers.hardware import systolic_cycles

ROWS = read_rows(DATA / "scalesim_reference.csv")
NUMBERS = ("m", "k", "n", "rows", "columns")


def numbers(row):
    return [int(row[name]) for name in NUMBERS]


def folds(size, extent):
    return -(-size // extent)


def test_the_recorded_cases_are_those_of_the_list_and_cover_the_edges():
    assert [{name: row[name] for name in (*NUMBERS, "dataflow")} for row in ROWS] == scalesim_cases()
    assert {row["scalesim"] for row in ROWS} == {"3.0.0"}
    for dataflow in ("os", "ws", "is"):
        own = [numbers(row) for row in ROWS if row["dataflow"] == dataflow]
        assert len({tuple(row[:3]) for row in own}) >= 30
        arrays = {(rows, columns) for *_, rows, columns in own}
        assert len(arrays) >= 5
        assert sum(rows != columns for rows, columns in arrays) >= 3
        assert any(max(m, k, n) < min(rows, columns) for m, k, n, rows, columns in own)  # smaller than the array
        assert sum({31, 37, 29} == {m, k, n} or {61, 67, 71} == {m, k, n} for m, k, n, *_ in own) >= 2  # primes


@pytest.mark.parametrize("dataflow", ["os", "ws", "is"])
def test_closed_forms_are_the_simulated_cycles(dataflow):
    for row in ROWS:
        if row["dataflow"] == dataflow:
            assert int(row["stall_cycles"]) == 0
            assert systolic_cycles(*numbers(row), dataflow) == int(row["cycles"]) + 1, row


@pytest.mark.parametrize("dataflow", ["os", "ws", "is"])
def test_operands_are_read_as_often_as_the_folds_say(dataflow):
    for row in (row for row in ROWS if row["dataflow"] == dataflow):
        m, k, n, rows, columns = numbers(row)
        inputs = {"os": folds(n, columns), "ws": folds(n, columns), "is": 1}[dataflow]
        weights = {"os": folds(m, rows), "ws": 1, "is": folds(m, columns)}[dataflow]
        assert int(row["input_reads"]) == m * k * inputs
        assert int(row["weight_reads"]) == k * n * weights
        if dataflow != "os":  # there it counts height + width of each fold on top
            assert int(row["output_writes"]) == m * n * folds(k, rows)


@pytest.mark.parametrize("dataflow", ["os", "ws", "is"])
def test_our_mappings_take_and_move_what_is_simulated(dataflow):
    flow = {"os": "output", "ws": "weight", "is": "input"}[dataflow]
    ample = {"local_bytes": 2**24, "global_bytes": 2**26, "local_bandwidth": 1024, "global_bandwidth": 1024}
    ample |= {"dram_bandwidth": 8, "accumulators": 1, "dram": "none", "flow": flow, **ENERGIES}
    full = 0
    for row in (row for row in ROWS if row["dataflow"] == dataflow):
        case = row | {name: str(value) for name, value in ample.items()}
        mappings = every_mapping(case, machines_of(case, "systolic"))
        size = {d: int(row[d.lower()]) for d in "MKN"}
        whole = [
            at
            for at in range(mappings.costs.shape[1])
            if all(choice(mappings, at)[f"tile_{d.lower()}"] == size[d] for d in "MKN")
        ]
        assert whole, row
        first, second, _ = AXES[flow]
        divided = size[first] % int(row["rows"]) == 0 and size[second] % int(row["columns"]) == 0
        full += divided
        for at in whole:
            cost = costs(mappings, at)
            assert cost["operand_bytes"] == int(row["input_reads"]) + int(row["weight_reads"])
            if dataflow != "os":
                assert cost["partial_bytes"] / 4 + size["M"] * size["N"] == int(row["output_writes"])
            # Edge folds of ours have no skew of rows and columns without work.
            assert cost["compute_cycles"] <= int(row["cycles"]) + 1
            if divided:
                assert cost["compute_cycles"] == int(row["cycles"]) + 1
    assert full >= 5


@pytest.mark.crosscheck
def test_scalesim_says_today_what_is_recorded(scalesim, tmp_path):
    assert ask(scalesim, [dict(row) for row in ROWS], tmp_path) == ROWS


# --- The script that runs in the other environment, and what it refuses ---------------------------------------------


def installed(folder, version):
    """A folder that makes `importlib.metadata` believe in a version of SCALE-Sim."""
    record = folder / f"scalesim-{version}.dist-info"
    record.mkdir()
    (record / "METADATA").write_text(f"Metadata-Version: 2.1\nName: scalesim\nVersion: {version}\n")
    return folder


def test_without_the_package_it_says_so(tmp_path):
    finished = start("scalesim", DATA / "scalesim_reference.csv", tmp_path / "out.csv")
    assert finished.returncode == 1
    assert "scalesim is not installed" in finished.stderr
    assert "make crosscheck-scalesim" in finished.stderr
    assert "Traceback" not in finished.stderr
    assert not (tmp_path / "out.csv").exists()


def test_another_version_is_refused(tmp_path):
    path = installed(tmp_path, "2.0.2")
    finished = start("scalesim", DATA / "scalesim_reference.csv", tmp_path / "out.csv", extra_path=path)
    assert finished.returncode == 1
    assert "scalesim 2.0.2 is installed" in finished.stderr
    assert "3.0.0 alone" in finished.stderr
    assert "Traceback" not in finished.stderr


def test_every_mistake_in_the_cases_is_named_at_once(tmp_path):
    path = installed(tmp_path, "3.0.0")
    wrong = {"m": "0", "k": "2", "n": "x", "rows": "4", "columns": "4", "dataflow": "rs"}
    write_rows(tmp_path / "cases.csv", [wrong])
    finished = start("scalesim", tmp_path / "cases.csv", tmp_path / "out.csv", extra_path=path)
    assert finished.returncode == 1
    for words in ("line 2: m = '0'", "line 2: n = 'x'", "line 2: dataflow = 'rs'"):
        assert words in finished.stderr
    write_rows(tmp_path / "cases.csv", [{"m": "1", "k": "1"}])
    finished = start("scalesim", tmp_path / "cases.csv", tmp_path / "out.csv", extra_path=path)
    assert "no column n, rows, columns, dataflow" in finished.stderr
    finished = start("scalesim", tmp_path / "nowhere.csv", tmp_path / "out.csv", extra_path=path)
    assert "cannot be read" in finished.stderr
    assert "Traceback" not in finished.stderr
