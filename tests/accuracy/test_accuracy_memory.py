"""What a trial holds in memory before it trains: the base is mapped, only what is kept of it is copied."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from catransformers.models.families.clip import Clip
from catransformers.models.loading.storage import save_model
from catransformers.models.loading.tensor_cache import save_keyed
from catransformers.models.pruning.importance import Importance, StackImportance
from catransformers.models.pruning.importance_store import to_tensors
from catransformers.models.pruning.magnitude import random_scores
from catransformers.workloads.spec import ClipSpec, TextSpec, VisionSpec

SPEC = ClipSpec(
    VisionSpec(8, 2560, 640, 10, 64, tokens=5, image_size=32, patch_size=16),
    TextSpec(1, 64, 32, 2, 16, tokens=8, vocab_size=100),
    projection_dim=64,
)
TRIAL = """
import json, sys
from pathlib import Path
import torch
import catransformers.models.families.clip  # what is imported is no part of the measurement
from catransformers.models.pruning.importance_store import from_tensors
from catransformers.models.pruning.prune import prune
from catransformers.models.loading.storage import load_model
from catransformers.models.loading.tensor_cache import load_keyed

def memory():
    found = dict(line.split(":") for line in open("/proc/self/status").read().splitlines())
    return {name: int(found[name].split()[0]) * 1024 for name in ("VmHWM", "VmRSS", "RssAnon", "RssFile")}

folder, share = Path(sys.argv[1]), float(sys.argv[2])
before = memory()
base = load_model(folder / "model.safetensors")
scores = from_tensors(load_keyed(folder / "importance.safetensors", "key"))
own = base.spec.dimensions()
dimensions = {name: round(share * n) for name, n in own.items() if name.endswith(("ffn_dim", "embed_dim"))}
net = prune(base, base.spec.with_dimensions(dimensions), scores)
after = memory()
print(json.dumps({
    "peak": after["VmHWM"] - before["VmRSS"],
    "private": after["RssAnon"] - before["RssAnon"],
    "mapped": after["RssFile"] - before["RssFile"],
    "own": sum(4 * p.numel() for p in net.parameters()),
}))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base of some 150 MB and its scores, as a study's trials find them."""
    place = tmp_path_factory.mktemp("large")
    net = Clip(SPEC)
    save_model(net, place / "model.safetensors")
    stacks = {name: StackImportance(**parts) for name, parts in random_scores(net, 0).items()}
    save_keyed(to_tensors(Importance(stacks, 1.0)), place / "importance.safetensors", "key")
    return place


def measured(folder: Path, share: float) -> dict[str, float]:
    """Bytes that a process takes to open the base and prune it, as multiples of the base's parameters."""
    command = [sys.executable, "-c", TRIAL, str(folder), str(share)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    size = (folder / "model.safetensors").stat().st_size
    return {name: value / size for name, value in json.loads(done.stdout).items()}


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_a_trial_takes_its_base_once_and_itself_once(folder: Path) -> None:
    """Seen: at its peak 2.1 times the parameters, 1.0 of it private (the pruned copy) and 1.1 mapped (the file)."""
    assert (folder / "model.safetensors").stat().st_size > 140e6
    whole = measured(folder, 1.0)
    assert whole["own"] == pytest.approx(1, abs=0.01)
    assert whole["peak"] <= 3
    assert 0.9 <= whole["private"] <= 1.3
    assert whole["mapped"] <= 1.5


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_what_is_not_kept_is_not_copied(folder: Path) -> None:
    half = measured(folder, 0.5)
    assert half["own"] < 0.4
    assert half["private"] < half["own"] + 0.2


def test_nothing_of_the_base_is_shared_with_what_is_made_of_it(folder: Path) -> None:
    """A fine-tune writes into its own weights, never into the mapping."""
    from catransformers.models.loading.storage import load_model
    from catransformers.models.loading.tensor_cache import load_keyed
    from catransformers.models.pruning.importance_store import from_tensors
    from catransformers.models.pruning.prune import prune

    base = load_model(folder)
    scores = from_tensors(load_keyed(folder / "importance.safetensors", "key"))
    net = prune(base, base.spec, scores)
    places = {p.data_ptr() for p in base.parameters()}
    assert all(p.data_ptr() not in places for p in net.parameters())
    assert all(torch.equal(a, b) for a, b in zip(base.parameters(), net.parameters(), strict=True))
