"""Final training: exact resume, the same gradient on one process or two, honest checkpoints."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from toy_tasks import CLIP_SPEC, VIT_SPEC, ToyClasses, ToyPairs, made

from catransformers.accuracy.training.distillation import affinity_distance, distance
from catransformers.accuracy.training.distributed import World, world
from catransformers.accuracy.training.final import CHECKPOINTS, train
from catransformers.accuracy.training.proxy import ProxySettings, TrialFailure
from catransformers.errors import CatransformersWarning, InputError
from catransformers.models.families.net import Net
from catransformers.models.loading.storage import load_model

ALONE = World(0, 1, torch.device("cpu"))
SETTINGS = ProxySettings(steps=6, learning_rate=1e-2, batch_size=8, distillation=0.5)


def stop_after(number: int) -> Callable[[int, float], None]:
    def listen(step: int, _loss: float) -> None:
        if step == number:
            raise KeyboardInterrupt

    return listen


def weights(net: Net) -> list[torch.Tensor]:
    return [tensor.clone() for tensor in net.state_dict().values()]


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_an_interrupted_training_ends_with_the_very_same_weights(tmp_path: Path) -> None:
    whole, parts = made(CLIP_SPEC), made(CLIP_SPEC)
    expected = train(whole, ToyPairs(), SETTINGS, tmp_path / "a", ALONE, base=made(CLIP_SPEC, 9))
    for number in (2, 3):
        with pytest.raises(KeyboardInterrupt):
            train(
                parts, ToyPairs(), SETTINGS, tmp_path / "b", ALONE, base=made(CLIP_SPEC, 9), progress=stop_after(number)
            )
        parts = made(CLIP_SPEC, number)  # whatever the new process begins with
    result = train(parts, ToyPairs(), SETTINGS, tmp_path / "b", ALONE, base=made(CLIP_SPEC, 9))
    assert result.resumed_at == 3
    assert result.losses == expected.losses
    assert all(torch.equal(a, b) for a, b in zip(weights(whole), weights(parts), strict=True))


@pytest.mark.usefixtures("ctrl_c")
@pytest.mark.parametrize("how", ["a signal", "an exception"])
def test_an_interruption_inside_an_optimisers_step_leaves_no_half_step(tmp_path: Path, how: str) -> None:
    whole, net, steps = made(VIT_SPEC), made(VIT_SPEC), 0
    expected = train(whole, ToyClasses(), SETTINGS, tmp_path / "a", ALONE)

    def constrain() -> None:  # weights have changed, and the step is not written down yet
        nonlocal steps
        steps += 1
        if steps == 3 and how == "a signal":
            signal.raise_signal(signal.SIGINT)
        elif steps == 3:
            raise KeyboardInterrupt

    net.constrain = constrain  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        train(net, ToyClasses(), SETTINGS, tmp_path / "b", ALONE)
    again = made(VIT_SPEC)
    result = train(again, ToyClasses(), SETTINGS, tmp_path / "b", ALONE)
    assert result.resumed_at == (3 if how == "a signal" else 0)
    assert result.losses == expected.losses
    assert all(torch.equal(a, b) for a, b in zip(weights(whole), weights(again), strict=True))
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_similarity_to_the_teacher_is_taught_once(tmp_path: Path) -> None:
    class Similarity(ToyPairs):
        name = "teacher-similarity"

    alone, taught = made(CLIP_SPEC), made(CLIP_SPEC)
    train(alone, Similarity(), SETTINGS, tmp_path / "a", ALONE)
    train(taught, Similarity(), SETTINGS, tmp_path / "b", ALONE, base=made(CLIP_SPEC, 9))
    assert all(torch.equal(a, b) for a, b in zip(weights(alone), weights(taught), strict=True))


def test_a_finished_training_is_not_done_again(tmp_path: Path) -> None:
    net = made(VIT_SPEC)
    train(net, ToyClasses(), SETTINGS, tmp_path, ALONE)
    again = made(VIT_SPEC, 5)
    result = train(again, ToyClasses(), SETTINGS, tmp_path, ALONE)
    assert (result.resumed_at, result.steps) == (6, 6)
    assert all(torch.equal(a, b) for a, b in zip(weights(net), weights(again), strict=True))


def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(tmp_path: Path) -> None:
    whole = made(VIT_SPEC)
    train(whole, ToyClasses(), SETTINGS, tmp_path / "a", ALONE)
    net = made(VIT_SPEC)
    train(net, ToyClasses(), SETTINGS, tmp_path / "b", ALONE, checkpoint_minutes=0)
    places = sorted((tmp_path / "b" / CHECKPOINTS).iterdir())
    assert [place.name for place in places] == ["step-00000005", "step-00000006"]
    file = places[1] / "state.safetensors"
    content = bytearray(file.read_bytes())
    content[-3] ^= 1
    file.write_bytes(content)
    again = made(VIT_SPEC, 3)
    with pytest.warns(CatransformersWarning, match="passed over"):
        result = train(again, ToyClasses(), SETTINGS, tmp_path / "b", ALONE)
    assert result.resumed_at == 5
    assert all(torch.equal(a, b) for a, b in zip(weights(whole), weights(again), strict=True))


def test_a_checkpoint_without_its_facts_was_cut_off_and_is_none(tmp_path: Path) -> None:
    train(made(VIT_SPEC), ToyClasses(), SETTINGS, tmp_path, ALONE)
    (tmp_path / CHECKPOINTS / "step-00000006" / "state.json").unlink()
    assert train(made(VIT_SPEC), ToyClasses(), SETTINGS, tmp_path, ALONE).resumed_at == 0


@pytest.mark.parametrize("change", [{"learning_rate": 1e-3}, {"steps": 7}, {"batch_size": 4}, {"seed": 1}])
def test_a_checkpoint_of_other_settings_is_refused(tmp_path: Path, change: dict[str, float]) -> None:
    train(made(VIT_SPEC), ToyClasses(), SETTINGS, tmp_path, ALONE)
    with pytest.raises(InputError, match="other settings or data"):
        train(made(VIT_SPEC), ToyClasses(), replace(SETTINGS, **change), tmp_path, ALONE)


def test_how_it_is_computed_may_change(tmp_path: Path) -> None:
    train(made(VIT_SPEC), ToyClasses(), SETTINGS, tmp_path, ALONE)
    assert train(made(VIT_SPEC), ToyClasses(), replace(SETTINGS, micro_batch=2), tmp_path, ALONE).resumed_at == 6


def test_data_of_another_kind_are_refused(tmp_path: Path) -> None:
    train(made(VIT_SPEC), ToyClasses(), SETTINGS, tmp_path, ALONE, identity="these")
    with pytest.raises(InputError, match="other settings or data"):
        train(made(VIT_SPEC), ToyClasses(), SETTINGS, tmp_path, ALONE, identity="those")


def test_a_loss_that_is_not_finite_stops(tmp_path: Path) -> None:
    net = made(VIT_SPEC)
    with torch.no_grad():
        next(net.parameters()).fill_(torch.nan)
    with pytest.raises(TrialFailure, match="diverged at step 1 of 6"):
        train(net, ToyClasses(), SETTINGS, tmp_path, ALONE)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def run_processes(number: int, kind: str, micro: int, out: Path) -> Net:
    environment = {**os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "OMP_NUM_THREADS": "1"}
    environment |= {"WORLD_SIZE": str(number)}
    worker = [sys.executable, str(Path(__file__).with_name("final_worker.py")), kind, str(micro), str(out)]
    running = [
        subprocess.Popen(worker, env={**environment, "RANK": str(rank), "LOCAL_RANK": str(rank)})
        for rank in range(number)
    ]
    assert [process.wait(120) for process in running] == [0] * number
    return load_model(out / "model.safetensors")


@pytest.mark.parametrize(("kind", "micro"), [("clip", 0), ("clip", 2), ("vit", 0)])
def test_two_processes_train_as_one_does(tmp_path: Path, kind: str, micro: int) -> None:
    one, two = run_processes(1, kind, 0, tmp_path / "one"), run_processes(2, kind, micro, tmp_path / "two")
    begun = made(one.spec, 1)
    for name, tensor in one.state_dict().items():
        other = two.state_dict()[name]
        assert torch.allclose(tensor, other, atol=2e-5), name
    moved = max(float((a - b).abs().max()) for a, b in zip(weights(one), weights(begun), strict=True))
    assert moved > 1e-2  # the comparison is of weights that were trained
    facts = json.loads((tmp_path / "two" / CHECKPOINTS / "step-00000004" / "state.json").read_text())
    assert facts["step"] == 4


def test_a_batch_that_cannot_be_shared_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="multiple of 3"):
        train(made(VIT_SPEC), ToyClasses(), SETTINGS, tmp_path, replace(ALONE, size=3))


def test_a_missing_gpu_is_said() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(InputError, match="has no GPU 0"), world("cuda"):
        pass


def test_affinity_is_zero_for_the_teacher_itself_and_has_the_cross_entropys_gradient() -> None:
    batch = next(ToyPairs().train_batches(5, 0))
    net, base = made(CLIP_SPEC, 1), made(CLIP_SPEC, 2)
    with torch.no_grad():
        target = base.outputs(batch)
        assert float(affinity_distance(target, target, batch)) == pytest.approx(0, abs=1e-6)
    value = affinity_distance(net.outputs(batch), target, batch)
    value.backward()
    gradient = net.get_parameter("text_projection").grad.clone()
    net.zero_grad()
    outputs = net.outputs(batch)
    logits = outputs["logit_scale"].exp() * outputs["image"] @ outputs["text"].T
    goal = target["logit_scale"].exp() * target["image"] @ target["text"].T
    cross = sum(
        -(b.softmax(dim=1) * a.log_softmax(dim=1)).sum(dim=1).mean() / 2
        for a, b in ((logits, goal), (logits.T, goal.T))
    )
    cross.backward()
    assert torch.allclose(gradient, net.get_parameter("text_projection").grad, atol=1e-6)
    assert float(value.detach()) > 0


def test_affinity_of_other_nets_is_their_logits_divergence() -> None:
    logits = {"logits": torch.randn(3, 4)}
    other = {"logits": torch.randn(3, 4)}
    assert torch.equal(affinity_distance(logits, other, {}), distance(logits, other, {}))
