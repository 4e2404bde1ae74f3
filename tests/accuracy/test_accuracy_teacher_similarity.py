"""Similarity to the teacher for all families: measure, loss, importance at the base itself, data of any kind."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from user_data import (
    COLOURS,
    bert_base,
    check_batches,
    check_learning,
    clip_base,
    llama_base,
    net_of,
    section,
    sentences,
    vit_base,
    write_classes,
    write_csv,
    write_images,
)

from catransformers.accuracy.tasks import open_task
from catransformers.accuracy.tasks.teacher_similarity import SimilarityTask, similarity
from catransformers.accuracy.training.distillation import distance, taught
from catransformers.errors import InputError
from catransformers.models.families.net import Batch
from catransformers.models.loading.base import Base
from catransformers.models.pruning.importance import Methods, importance
from catransformers.models.pruning.prune import prune

CASES = ("clip captions", "clip classes", "vit classes", "vit captions", "bert texts", "bert plain", "llama plain")


def write_data(folder: Path, kind: str) -> Path:
    folder.mkdir()
    if kind == "captions":
        names = write_images(folder, 80)
        return write_csv(folder, [(n, f"a picture that is {COLOURS[i % 8]}") for i, n in enumerate(names)])
    if kind == "classes":
        return write_classes(folder / "data", classes=4, each=20)
    if kind == "texts":
        path = folder / "texts.csv"
        path.write_text("\n".join(["text,label", *(f"{t},{i % 2}" for i, t in enumerate(sentences(200)))]) + "\n")
        return path
    path = folder / "book.txt"
    path.write_text("\n".join(sentences(600)) + "\n")
    return path


def make_base(family: str, folder: Path) -> Base:
    folder.mkdir()
    if family == "clip":
        return clip_base(folder)
    if family == "vit":
        return vit_base(6)
    return bert_base(folder, 3) if family == "bert" else llama_base(folder, "\n".join(sentences(600)))


def make_case(case: str, folder: Path) -> tuple[SimilarityTask, Base]:
    family, kind = case.split()
    base = make_base(family, folder / "base")
    # Weights as initialised make distributions that are all alike: as in training, they are larger here.
    with torch.no_grad():
        for parameter in base.net.parameters():
            if parameter.dim() >= 2:
                parameter.mul_(3)
    path = write_data(folder / "user", kind)
    keys = {"tokens": 12} if kind in ("texts", "plain") else {}
    task = open_task(section("teacher-similarity", path, pool_samples=20, **keys), base)
    assert isinstance(task, SimilarityTask)
    return task, base


def other(base: Base, seed: int = 7) -> torch.nn.Module:
    """The base with a little noise on its weights."""
    net = copy.deepcopy(base.net)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.3 * parameter.std(unbiased=False) * torch.randn(parameter.shape, generator=generator))
    return net


@pytest.mark.parametrize("case", CASES)
def test_similarity_is_that_of_a_slow_reference(case: str, tmp_path: Path) -> None:
    task, base = make_case(case, tmp_path)
    task.check()
    check_batches(task, 8)
    itself = task.evaluate(base.net, "validation")
    assert itself.accuracy == pytest.approx(1, abs=1e-5)
    assert itself.standard_error < 1e-5
    net = other(base)
    score = task.evaluate(net, "validation")  # type: ignore[arg-type]
    values = []
    batches, _ = task.inputs.judged_on("validation", 1)
    for batch in batches:
        with torch.no_grad():
            ours, theirs = (
                {name: rows[0].double().numpy() for name, rows in taught(n.outputs(batch)).items()}
                for n in (net, base.net)  # type: ignore[union-attr]
            )
        values.append(reference(ours, theirs, batch))
    assert len(values) == len(score.values) > 1
    np.testing.assert_allclose(score.values, values, atol=1e-5)
    assert 0.02 < score.accuracy < 0.999
    assert score.standard_error == pytest.approx(np.std(values, ddof=1) / np.sqrt(len(values)), rel=1e-3)
    assert set(score.metrics) == {
        "clip captions": {"image_cosine", "text_cosine"},
        "clip classes": {"image_cosine"},
    }.get(case, {"agreement"})


def reference(ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray], batch: Batch) -> float:
    """One sample's similarity, in numpy."""
    if "logits" not in theirs:
        return float(np.mean([max(0.0, ours[name] @ theirs[name]) for name in theirs]))
    p, q = (np.exp(n["logits"] - n["logits"].max(axis=-1, keepdims=True)) for n in (ours, theirs))
    p, q = p / p.sum(axis=-1, keepdims=True), q / q.sum(axis=-1, keepdims=True)
    shared = np.minimum(p, q).sum(axis=-1)
    if shared.ndim == 0:
        return float(shared)
    real = int(batch["mask"].sum())
    return float(np.mean([shared[i] for i in range(real - 1)]))


@pytest.mark.parametrize("case", ["clip captions", "vit classes", "bert texts", "llama plain"])
def test_a_net_learns_to_be_like_the_base(case: str, tmp_path: Path) -> None:
    task, base = make_case(case, tmp_path)
    before = {name: tensor.clone() for name, tensor in base.net.state_dict().items()}
    net = other(base)
    start = task.evaluate(net, "test")  # type: ignore[arg-type]
    learner = check_learning(task, net, rate=5e-3)  # type: ignore[arg-type]
    assert task.evaluate(learner, "test").accuracy > start.accuracy
    assert all(torch.equal(tensor, before[name]) for name, tensor in base.net.state_dict().items())


def test_the_weights_are_shared_and_the_hooks_are_not(tmp_path: Path) -> None:
    task, base = make_case("vit classes", tmp_path)
    batch = task.calibration_batches(4)[0]
    outputs = base.net.outputs(batch)
    assert task.loss(outputs, batch).item() == pytest.approx(0, abs=1e-6)
    handle = base.net.blocks_of(base.net.stacks()[0])[0].register_forward_hook(lambda _m, inputs, _o: inputs[0])
    changed = base.net.outputs(batch)
    assert task.loss(changed, batch).item() > 1e-4
    assert task.loss(changed, batch).item() == pytest.approx(distance(changed, taught(outputs), batch).item())
    handle.remove()
    held = [p for n, p in task._base.named_parameters()]
    assert all(a is b for a, b in zip(base.net.parameters(), held, strict=True))


@pytest.mark.parametrize("case", ["clip captions", "vit classes", "bert texts", "llama plain"])
def test_parts_of_the_base_itself_have_importance(case: str, tmp_path: Path) -> None:
    """The plain distance is flat at the base; with random directions every head and layer has a score."""
    task, base = make_case(case, tmp_path)
    plain = importance(base.net, task.inputs.calibration_batches(8)[:3], task.loss, Methods())
    found = importance(base.net, task.calibration_batches(8)[:3], task.loss, Methods())
    assert found.loss == pytest.approx(0, abs=1e-5)
    for name, stack in found.stacks.items():
        assert float(plain.stacks[name].heads.max()) < 1e-6
        assert float(stack.heads.min()) > 1e-4
        assert float(stack.layers.min()) > 1e-6
        assert torch.equal(stack.layers, plain.stacks[name].layers)  # removal is measured as it is


@pytest.mark.parametrize("case", ["clip captions", "vit classes", "llama plain"])
def test_the_random_gradient_has_the_curvature_as_its_variance(case: str, tmp_path: Path) -> None:
    """Along a line of weights, 2 × distance / step² is the mean square of the directional derivatives."""
    task, base = make_case(case, tmp_path)
    many, step = 2000, 0.03
    net, generator = copy.deepcopy(base.net), torch.Generator().manual_seed(3)
    inputs = {name: rows[:1] for name, rows in task.inputs.calibration_batches(4)[0].items()}
    with torch.no_grad():
        here = taught(net.outputs(inputs))
        for parameter in net.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.add_(0.1 * step * parameter.std(unbiased=False) * noise)
        there = taught(net.outputs(inputs))
        curvature = 2 * float(task.loss(there, inputs)) / step**2
    # One sample many times over, each time with a direction of its own.
    batch = {name: rows.expand(many, *rows.shape[1:]) for name, rows in inputs.items()}
    whole = {**batch, **task._directions(batch, 0)}
    leaves = {name: rows.repeat(many, *[1] * (rows.dim() - 1)).requires_grad_() for name, rows in here.items()}
    task.loss(leaves, whole).backward()  # type: ignore[no-untyped-call]
    derivatives = sum(
        (many * leaf.grad * (there[name] - here[name]) / step).flatten(1).sum(dim=1)
        for name, leaf in leaves.items()
        if leaf.grad is not None
    )
    assert isinstance(derivatives, torch.Tensor)
    assert float(derivatives.square().mean()) == pytest.approx(curvature, rel=0.15)


def test_only_tokens_that_predict_a_real_one_have_directions(tmp_path: Path) -> None:
    task, base = make_case("llama plain", tmp_path)
    tokens = torch.randint(0, 50, (2, 6), generator=torch.Generator().manual_seed(0))
    batch = {"tokens": tokens, "mask": torch.arange(6) < torch.tensor([[6], [4]])}
    logits = base.net.outputs(batch)["logits"].detach().requires_grad_()
    task.loss({"logits": logits}, {**batch, **task._directions(batch, 0)}).backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    reached = logits.grad.abs().amax(dim=-1) > 1e-4
    assert reached.tolist() == [[True] * 5 + [False], [True] * 3 + [False] * 3]


def test_what_is_no_number_is_not_alike() -> None:
    nan = torch.full((2, 3), torch.nan)
    found = similarity({"logits": nan}, {"logits": torch.zeros(2, 3)}, {})
    assert found["value"].tolist() == [0, 0]
    assert similarity({"image": nan}, {"image": torch.ones(2, 3)}, {})["value"].tolist() == [0, 0]
    opposite = similarity({"image": -torch.eye(2)}, {"image": torch.eye(2)}, {})
    assert opposite["value"].tolist() == [0, 0]
    assert opposite["image_cosine"].tolist() == [-1, -1]


def test_pruned_nets_are_less_like_the_base(tmp_path: Path) -> None:
    task, base = make_case("vit classes", tmp_path)
    scores = importance(base.net, task.calibration_batches(8), task.loss)
    ffn = base.net.spec.encoder.ffn_dim
    found = [
        task.evaluate(prune(base.net, base.net.spec.with_dimensions({"ffn_dim": n}), scores), "test").accuracy
        for n in (ffn, ffn // 2, 1)
    ]
    assert found[0] == pytest.approx(1, abs=1e-5)
    assert found[0] > found[1] > found[2]


def test_bases_without_classifier_are_refused(tmp_path: Path) -> None:
    path = write_data(tmp_path / "user", "classes")
    with pytest.raises(InputError, match="no classifier"):
        open_task(section("teacher-similarity", path), vit_base(0))
    base = bert_base(tmp_path, 2)
    bare = replace(base, net=net_of(replace(base.net.spec, classes=0)))
    with pytest.raises(InputError, match="no classifier"):
        open_task(section("teacher-similarity", write_data(tmp_path / "texts", "texts")), bare)


def test_mistakes_in_data_are_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        open_task(section("teacher-similarity", tmp_path / "none"), vit_base(3))
    base = llama_base(tmp_path, "\n".join(sentences(100)))
    (tmp_path / "table.csv").write_text("text,lable\nx,1\n")
    with pytest.raises(InputError, match="column"):  # and it is not read as plain text
        open_task(section("teacher-similarity", tmp_path / "table.csv"), base)
