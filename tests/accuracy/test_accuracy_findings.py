"""The paper's findings on pruning, on the embedded CLIP: seen before any fine-tune, and in the recorded runs after one.

`benchmarks/pruning_findings.py` makes the record; `docs/validation.md` tells what holds at which budget, and what not.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from catransformers.accuracy.tasks.scenes import ScenesTask
from catransformers.models.loading.storage import embedded_model
from catransformers.models.pruning.importance import importance
from catransformers.models.pruning.prune import prune

RECORD = Path(__file__).resolve().parents[2] / "benchmarks" / "results" / "pruning_findings.json"
DIMENSIONS = ("embed_dim", "layers", "ffn_dim", "heads")


@pytest.fixture(scope="module")
def lost() -> dict[str, float]:
    """Recall@1 lost by halving one dimension of one encoder, without fine-tuning."""
    base, task = embedded_model(), ScenesTask()
    scores = importance(base, task.calibration_batches(64), task.loss)
    whole = task.evaluate(base, "validation").accuracy
    found = {}
    for stack in ("vision", "text"):
        for name in DIMENSIONS:
            key = f"{stack}.{name}"
            spec = base.spec.with_dimensions({key: base.spec.dimensions()[key] // 2})
            found[key] = whole - task.evaluate(prune(base, spec, scores), "validation").accuracy
    return found


@pytest.mark.parametrize("name", ["embed_dim", "layers", "ffn_dim"])
def test_pruning_vision_hurts_more_than_pruning_text(lost: dict[str, float], name: str) -> None:
    assert lost[f"vision.{name}"] > lost[f"text.{name}"] + 0.01


def test_the_embedding_hurts_most_then_layers_then_ffn(lost: dict[str, float]) -> None:
    assert lost["vision.embed_dim"] > lost["vision.layers"] + 0.3
    assert lost["vision.layers"] > lost["vision.ffn_dim"] + 0.01
    assert lost["vision.layers"] > lost["vision.heads"] + 0.01
    assert lost["text.embed_dim"] > lost["text.layers"] + 0.3


def recorded(key: str, number: str) -> float:
    runs = json.loads(RECORD.read_text(encoding="utf-8"))["runs"]
    return float(np.mean([run[number] for name, run in runs.items() if name.startswith(key)]))


def test_the_order_holds_after_a_hundred_steps_in_the_record() -> None:
    def after(name: str) -> float:
        return -recorded(f"half/{name}/100/", "difference")

    assert after("vision.embed_dim") > 0.3 > after("vision.layers") > after("vision.ffn_dim")
    assert after("vision.layers") > after("vision.heads")
    for name in DIMENSIONS:
        assert after(f"vision.{name}") > after(f"text.{name}")


def test_scores_beat_chance_by_ten_points_after_twenty_steps_in_the_record() -> None:
    chance = recorded("methods/random/20/", "accuracy")
    assert recorded("methods/taylor/20/", "accuracy") > chance + 0.1
    assert recorded("methods/magnitude/20/", "accuracy") > chance + 0.1
