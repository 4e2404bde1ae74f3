"""The cache of operators' costs: same answers, keyed by content, robust to damage and to other processes."""

import multiprocessing
from pathlib import Path

import numpy as np
import pytest

from catransformers.errors import InputError
from catransformers.hardware import cost, cost_tables, space, technology
from catransformers.workloads.operators import Gemm, VectorOp, Workload

DEFAULT = technology("default-22nm")
TABLE = space("micro", frequency_hz=5e8, overrides={"cores": [1], "pe_x": [8], "pe_y": [4], "local_kib": [2]})
WORK = Workload(
    "w",
    (Gemm("a", "c", 17, 24, 32), VectorOp("n", "c", "norm", 17, 32), Gemm("b", "c", 17, 32, 24, 2, parallel=2)),
    2000,
    1000,
)


def run(folder, table=TABLE, tech=DEFAULT, objective="edp"):
    return cost_tables([WORK], table, tech, cache_dir=str(folder) if folder else None, objective=objective)


def same(first, second):
    return all(
        np.array_equal(a.latency_s, b.latency_s) and np.array_equal(a.energy_j, b.energy_j)
        for a, b in zip(first, second, strict=True)
    )


def test_a_second_run_reads_what_the_first_wrote(tmp_path, monkeypatch):
    fresh = run(None)
    assert same(run(tmp_path / "new" / "folder"), fresh)
    monkeypatch.setattr(cost, "item_cost", None)  # whatever is costed anew now fails
    assert same(run(tmp_path / "new" / "folder"), fresh)
    with pytest.raises(TypeError):
        run(tmp_path / "other")


def test_every_ingredient_is_in_the_key(tmp_path):
    run(tmp_path)
    entries = len(list(tmp_path.iterdir()))
    assert entries == 3
    for change in (
        {"tech": DEFAULT.with_dram("hbm2")},
        {"table": TABLE.select(np.arange(len(TABLE))[::-1])},
        {"objective": "latency"},
    ):
        assert same(run(tmp_path, **change), run(None, **change))
        assert len(list(tmp_path.iterdir())) == entries + 3
        entries += 3


@pytest.mark.parametrize("damage", [b"", b"garbage", None])
def test_damaged_entries_are_recomputed_and_replaced(tmp_path, damage):
    fresh = run(tmp_path)
    for path in tmp_path.iterdir():
        if damage is None:
            np.savez(path, costs=np.full((4, len(TABLE)), np.nan))
        else:
            path.write_bytes(damage)
    assert same(run(tmp_path), fresh)
    assert all(np.isfinite(np.load(path, allow_pickle=False)["costs"]).all() for path in tmp_path.iterdir())
    assert not list(tmp_path.glob("*.tmp"))


def test_processes_may_share_a_folder(tmp_path):
    context = multiprocessing.get_context("spawn")
    with context.Pool(3) as pool:
        results = pool.map(run, [tmp_path] * 3)
    fresh = run(None)
    assert all(same(result, fresh) for result in results)
    assert len(list(tmp_path.iterdir())) == 3


def test_a_folder_that_cannot_be_made_is_an_input_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cache_dir"):
        run(Path(tmp_path / "file"))
