"""The conformance kit of a task.

    class TestMine(TaskConformance):
        def task(self): return MyTask(folder, …)
        def net(self): return make_net(spec)  # a small one of a family that can do the task

A task that passes can be searched with: its trials repeat, resume where they stopped, and are judged alike.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from catransformers.accuracy.metrics.score import Score
from catransformers.accuracy.tasks import PoolName, Task
from catransformers.errors import InputError
from catransformers.models.families.net import Batch, Net
from catransformers.testing.kit import rows, samples

_BATCH, _BATCHES, _STEPS = 6, 5, 5
_POOLS: tuple[PoolName, ...] = ("validation", "test")


class TaskConformance(ABC):
    """All that a task must do. Inherit it, and say what `task` and `net` are."""

    @abstractmethod
    def task(self) -> Task:
        """The task, on data of at least some dozens of samples."""

    @abstractmethod
    def net(self) -> Net:
        """A small net of a family that can do it, the same at each call."""

    def test_the_data_are_there(self) -> None:
        """`check` finds nothing wrong, and the task has a name."""
        task = self.task()
        task.check(lambda done, samples: None)
        assert task.name, "the task has no name"

    def test_training_batches_repeat(self) -> None:
        """The same seed gives the same batches, another one others; each batch has as many samples as asked."""
        task = self.task()
        first = _some(task.train_batches(_BATCH, seed=1))
        sizes = [samples(batch) for batch in first]
        assert sizes == [_BATCH] * _BATCHES, f"batches of {sizes} samples, asked for {_BATCH}"
        assert _keys(first) == _keys(_some(self.task().train_batches(_BATCH, seed=1))), "the same seed, other batches"
        assert _keys(first) != _keys(_some(task.train_batches(_BATCH, seed=2))), "another seed, the same batches"
        assert _keys(first[:1]) != _keys(first[1:2]), "the first two batches are the same"

    def test_training_resumes(self) -> None:
        """From batch number n on come the batches that would have come."""
        task = self.task()
        whole = _some(task.train_batches(_BATCH, seed=3))
        for start in (1, _BATCHES - 1):
            found = list(islice(task.train_batches(_BATCH, seed=3, start=start), _BATCHES - start))
            for number, (ours, theirs) in enumerate(zip(found, whole[start:], strict=True), start):
                fault = _difference(ours, theirs)
                assert not fault, f"start={start}, batch {number}: {fault}"

    def test_processes_share_each_batch(self) -> None:
        """What several processes get together is what one would get, in parts of (almost) one size."""
        task = self.task()
        whole = _some(task.train_batches(_BATCH, seed=4))
        parts = [_some(task.train_batches(_BATCH, seed=4, rank=rank, world_size=2)) for rank in range(2)]
        for number, batch in enumerate(whole):
            together = [part[number] for part in parts]
            assert abs(samples(together[0]) - samples(together[1])) <= 1, f"batch {number}: parts of unlike size"
            assert sorted(_keys(together)) == sorted(_keys([batch])), f"batch {number}: the parts are not the whole"

    def test_calibration_is_apart(self) -> None:
        """Always the same batches, no more samples in one than asked, and none of them one that training draws.

        One in a hundred may be, for texts that are cut to a length meet by chance.
        """
        task = self.task()
        found = task.calibration_batches(_BATCH)
        assert found, "no calibration batches"
        assert max(samples(batch) for batch in found) <= _BATCH, "a calibration batch is larger than asked"
        again = self.task().calibration_batches(_BATCH)
        assert len(again) == len(found), f"{len(found)} batches, then {len(again)}"
        for number, (ours, theirs) in enumerate(zip(again, found, strict=True)):
            fault = _difference(ours, theirs)
            assert not fault, f"calibration batch {number}: {fault}"
        drawn = set(_keys(list(islice(task.train_batches(_BATCH, seed=5), 4 * _BATCHES))))
        keys = _keys(found)
        shared = sum(key in drawn for key in keys)
        assert shared <= len(keys) // 100, f"{shared} of {len(keys)} calibration samples are training samples"

    def test_the_loss_is_a_mean(self) -> None:
        """A finite scalar; a batch's is that of the same samples twice, unless samples are compared."""
        task, net = self.task(), self.net()
        batches = [*_some(task.train_batches(_BATCH, seed=6))[:2], task.calibration_batches(_BATCH)[0]]
        for batch in batches:
            loss = _loss(task, net, batch)
            assert loss.shape == (), f"the loss is {tuple(loss.shape)}, not a scalar"
            assert bool(loss.isfinite()), f"the loss is {float(loss)}"
            if not task.pairwise:
                twice = _loss(task, net, rows(batch, [*range(samples(batch))] * 2))
                gap = abs(float(twice) - float(loss))
                allowed = 1e-5 * max(1.0, abs(float(loss)))
                assert gap <= allowed, f"{float(loss)} once, {float(twice)} of the batch twice"

    def test_the_loss_can_be_learnt(self) -> None:
        """A few steps on one batch make it smaller."""
        task, net = self.task(), self.net().train()
        batch = next(task.train_batches(_BATCH, seed=7))
        before = float(_loss(task, net, batch))
        optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3)
        for _ in range(_STEPS):
            optimizer.zero_grad()
            task.loss(net.wide_outputs(batch), batch).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            net.constrain()
        after = float(_loss(task, net, batch))
        assert after < before, f"{before} before, {after} after {_STEPS} steps"

    def test_scores_are_scores(self) -> None:
        """0 … 1, the mean of their values, the same each time; the net stays in its mode, its weights as they are."""
        task = self.task()
        for pool in _POOLS:
            net = self.net()
            before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
            for training in (True, False):
                net.train(training)
                score = task.evaluate(net, pool)
                assert net.training == training, f"{pool}: the net was left in another mode"
                fault = _score_fault(score)
                assert not fault, f"{pool}: {fault}"
                again = task.evaluate(net, pool)
                assert np.array_equal(again.values, score.values), f"{pool}: judged twice, two scores"
                assert np.array_equal(again.groups, score.groups), f"{pool}: judged twice, two groupings"
            wrong = [name for name, tensor in net.state_dict().items() if not torch.equal(tensor, before[name])]
            assert not wrong, f"{pool}: judging changed {', '.join(wrong)}"

    def test_unknown_pools_are_refused(self) -> None:
        """There are two, and the message names them."""
        message = ""
        try:
            self.task().evaluate(self.net(), "training")  # type: ignore[arg-type] # on purpose
        except InputError as error:
            message = str(error)
        assert message, "the pool 'training' was taken"
        assert all(pool in message for pool in _POOLS), f"the message does not name the pools: {message}"


def _some(batches: Iterator[Batch]) -> list[Batch]:
    return list(islice(batches, _BATCHES))


def _loss(task: Task, net: Net, batch: Batch) -> Tensor:
    with torch.no_grad():
        return task.loss(net.wide_outputs(batch), batch)


def _keys(batches: Sequence[Batch]) -> list[bytes]:
    """What samples hold, one by one: images, and texts without their padding."""
    found = []
    for batch in batches:
        for number in range(samples(batch)):
            parts = []
            for name in ("images", "tokens"):
                if name in batch:
                    values = batch[name][number]
                    if name == "tokens" and "mask" in batch:
                        values = values[batch["mask"][number]]
                    parts.append(values.contiguous().numpy().tobytes())
            found.append(b"|".join(parts))
    return found


def _difference(ours: Batch, theirs: Batch) -> str:
    """In what two batches differ; empty if they are the same bits."""
    if set(ours) != set(theirs):
        return f"keys {sorted(ours)}, not {sorted(theirs)}"
    wrong = [name for name, tensor in theirs.items() if not torch.equal(ours[name], tensor)]
    return f"other {', '.join(wrong)}" if wrong else ""


def _score_fault(score: Score) -> str:
    if not 0 <= score.accuracy <= 1:
        return f"an accuracy of {score.accuracy}"
    mean = float(np.mean(score.values))
    if abs(mean - score.accuracy) > 1e-9:
        return f"an accuracy of {score.accuracy}, and values of mean {mean}"
    if score.values.shape != score.groups.shape or score.values.ndim != 1:
        return f"{score.values.shape} values in {score.groups.shape} groups"
    if not score.standard_error >= 0:
        return f"a standard error of {score.standard_error}"
    wrong = [name for name, value in score.metrics.items() if not np.isfinite(value)]
    return f"metrics that are not finite: {', '.join(wrong)}" if wrong else ""
