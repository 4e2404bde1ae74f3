"""The shipped base model: its files agree, its recorded accuracy is what it has, and its script still trains it."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections import Counter
from importlib.resources import files
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from catransformers.accuracy.metrics.retrieval import recall_at_1
from catransformers.accuracy.tasks.scenes import ScenesTask
from catransformers.accuracy.tasks.scenes_text import Ints, random_groups
from catransformers.models.loading.storage import embedded_model, load_model, read_description
from catransformers.workloads.clip import parameters
from catransformers.workloads.zoo import embedded_spec

TOOL = Path(__file__).resolve().parents[2] / "tools" / "train_base_model.py"


def description() -> dict[str, object]:
    text = files("catransformers.data").joinpath("embedded/model.json").read_text(encoding="utf-8")
    loaded: dict[str, object] = json.loads(text)
    return loaded


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    """The training script as a module."""
    specification = importlib.util.spec_from_file_location("train_base_model", TOOL)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules["train_base_model"] = module
    specification.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["validation", "test"])
def test_the_shipped_model_has_its_recorded_accuracy(name: str) -> None:
    recorded = description()[name]
    assert isinstance(recorded, dict)
    score = recall_at_1(embedded_model(), ScenesTask().pool(name))  # type: ignore[arg-type]
    # Another processor may round a near-tie the other way; that is a few of 2,000 hits.
    assert abs(round(2 * score.values.sum()) - recorded["hits"]) <= 3
    assert score.accuracy == pytest.approx(recorded["recall_at_1"], abs=0.0015)
    assert score.standard_error == pytest.approx(recorded["standard_error"], rel=0.1)
    assert recorded["pairs"] == 1000
    assert score.accuracy >= 0.65


def test_the_shipped_model_is_small_and_fully_described() -> None:
    model = embedded_model()
    assert model.spec == embedded_spec()
    assert sum(p.numel() for p in model.parameters()) == parameters(model.spec) == description()["parameters"]
    assert len(files("catransformers.data").joinpath("embedded/model.safetensors").read_bytes()) <= 3_000_000
    assert set(description()) >= {"recipe", "seed", "curve", "seconds", "command", "versions", "validation", "test"}


def bag_of_attributes(scenes: Ints) -> list[tuple[object, ...]]:
    """All that a model without binding can know of scenes: which sizes, colours, digits and which axis."""
    pairs = [np.sort(scenes[:, [column, column + 3]], axis=1) for column in range(3)]
    return [(*map(tuple, (pair[i] for pair in pairs)), int(scenes[i, 6])) for i in range(len(scenes))]


@pytest.mark.parametrize("split", ["validation", "test"])
def test_recall_needs_binding(split: str) -> None:
    """A perfect model that binds nothing finds less than 60 % in such pools: it must guess among equal bags."""
    scenes = random_groups(125, 8, split, np.random.default_rng(0)).reshape(-1, 7)  # type: ignore[arg-type]
    bags = bag_of_attributes(scenes)
    counts = Counter(bags)
    assert np.mean([1 / counts[bag] for bag in bags]) < 0.6
    recorded = description()[split]
    assert isinstance(recorded, dict)
    assert recorded["recall_at_1"] > 0.6


def test_training_is_deterministic_and_learns(tool: ModuleType) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        recipe = tool.Recipe(steps=12, batch_size=16, layers=2, embed_dim=32, ffn_dim=64, layer_drop=0.5)
        (first, curve), (again, _) = tool.train(recipe, every=6), tool.train(recipe, every=6)
    finally:
        torch.set_num_threads(threads)
    assert [row["step"] for row in curve] == [6, 12]
    for name, tensor in first.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name
    assert first.spec.dimensions()["vision.layers"] == 2
    assert not torch.equal(first.visual.proj, tool.Clip(recipe.spec()).visual.proj)


def test_orthogonal_makes_all_singular_values_about_one(tool: ModuleType) -> None:
    torch.manual_seed(0)
    for shape in ((3, 192, 64), (2, 64, 256)):
        values = torch.linalg.svdvals(tool.orthogonal(torch.randn(shape)))
        assert values.min() > 0.6
        assert values.max() < 1.3
    square = torch.linalg.svdvals(tool.orthogonal(torch.randn(3, 64, 64)))  # the least may be near zero
    assert square.median() > 0.6
    assert square.max() < 1.3


def test_schedules_start_and_end_where_they_should(tool: ModuleType) -> None:
    recipe = tool.Recipe(steps=1000)
    assert recipe.rate(0) < 0.1
    assert max(recipe.rate(step) for step in range(1000)) == 1
    assert recipe.rate(999) < 1e-4
    assert (recipe.auxiliary(0), recipe.auxiliary(700), recipe.auxiliary(999)) == (1, 0, 0)
    assert (recipe.disorder(0), recipe.disorder(150), recipe.disorder(999)) == (0, 1, 1)


def test_structured_dropout_drops_whole_blocks_and_heads(tool: ModuleType) -> None:
    recipe = tool.Recipe(layer_drop=1.0)
    torch.manual_seed(0)
    model, x = tool.Clip(recipe.spec()), torch.randn(2, 12, 64)
    before = model.transformer(x)
    dropout = tool.StructuredDropout(model, recipe)
    assert torch.equal(model.transformer(x), before)  # inactive
    dropout.active = True
    assert torch.equal(model.transformer(x), x)  # every block gone
    context = torch.ones(2, 12, 64)
    dropout.recipe = tool.Recipe(head_drop=0.5)
    (masked,) = dropout.drop_heads(model, (context,))
    heads = masked.view(2, 12, 4, 16)
    kept = heads[0, 0, :, 0] > 0
    assert torch.equal(heads.amax(dim=(0, 1, 3)), heads.amin(dim=(0, 1, 3)))  # a head is kept or dropped as a whole
    assert 0 < kept.sum() < 4
    assert masked.mean() == pytest.approx(1)


def test_the_script_writes_a_model_that_loads(tmp_path: Path) -> None:
    command = [sys.executable, str(TOOL), "--steps", "2", "--out", str(tmp_path / "new")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert "step     2 of 2" in done.stdout
    assert "validation: recall@1" in done.stdout
    path = tmp_path / "new" / "model.safetensors"
    assert load_model(path).spec == embedded_spec()
    assert read_description(path)["seed"] == 0
    wrong = subprocess.run(
        [sys.executable, str(TOOL), "--steps", "0"], capture_output=True, text=True, check=False, timeout=120
    )
    assert wrong.returncode == 2
    assert "must be positive" in wrong.stderr
