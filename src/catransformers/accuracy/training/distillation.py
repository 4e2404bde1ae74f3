"""Knowledge distillation: a pruned model is also told what its base makes of the batches that it trains on.

It recovers several times faster that way. What is compared follows from the outputs: unit vectors of images and texts
by their cosine, logits of classifiers and language models by the divergence of the distributions. All trials of a study
see the same batches, so the base runs over them once, and what it says is kept in a file (`KeptTeacher`): for a trial
the targets are free. Where that would be too much to keep (a language model's logits), the base runs beside the model
(`LiveTeacher`).

Sources: Hinton et al., Distilling the Knowledge in a Neural Network, 2015 (arXiv 1503.02531, section 2, logits); Romero
et al., FitNets, ICLR 2015 (matching a teacher's representation); Wu et al., TinyCLIP, ICCV 2023 (pruned CLIPs).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from catransformers.accuracy.tasks import Task
from catransformers.file_cache import content_key
from catransformers.models.families.net import Batch, Net, Outputs, wide
from catransformers.models.loading.tensor_cache import cached, digest

#: Raise it when the targets of the same base and data would come out differently.
VERSION: Final = "targets-2"
#: The most that is kept of a base's outputs, in bytes.
MOST_KEPT: Final = 512 * 2**20
#: Weight of the distance where nothing is said: unit vectors need more than distributions, whose distance is in nats.
WEIGHT_OF_VECTORS: Final = 20.0
WEIGHT_OF_LOGITS: Final = 1.0

_TAUGHT = ("image", "text", "logits")


class Teacher(Protocol):
    """Says what the base makes of a step's batch."""

    def __call__(self, step: int, batch: Batch) -> Outputs:
        """The base's outputs on the batch of step 0, 1, …, on the batch's device."""
        ...


class LiveTeacher:
    """A teacher that runs the base each time.

    Args:
        base: on the device to use; put in evaluation mode.
    """

    def __init__(self, base: Net) -> None:
        self.base = base.eval()

    @torch.no_grad()
    def __call__(self, step: int, batch: Batch) -> Outputs:
        """See `Teacher`."""
        return self.base.outputs(batch)


class KeptTeacher:
    """A teacher that reads what the base made of the steps' batches.

    Args:
        targets: by output, (steps, b, …), on the CPU.
    """

    def __init__(self, targets: Mapping[str, Tensor]) -> None:
        self.targets = targets

    def __len__(self) -> int:
        return min(len(target) for target in self.targets.values())

    def __call__(self, step: int, batch: Batch) -> Outputs:
        """See `Teacher`."""
        device = next(iter(batch.values())).device
        return {name: target[step].to(device) for name, target in self.targets.items()}


def taught(outputs: Outputs) -> dict[str, Tensor]:
    """Those of a net's outputs that a teacher can teach."""
    return {name: outputs[name] for name in _TAUGHT if name in outputs}


def default_weight(outputs: Outputs) -> float:
    """The distance's weight for a kind of net, where the user gives none."""
    return WEIGHT_OF_LOGITS if "logits" in outputs else WEIGHT_OF_VECTORS


def distance(outputs: Outputs, target: Outputs, batch: Batch) -> Tensor:
    """How far a net's outputs are from its teacher's.

    Unit vectors (b, p): mean 1 − cosine, images plus texts, 0 to 4. Logits (b, classes) or (b, s, V): the mean
    Kullback-Leibler divergence KL(teacher ‖ net) in nats; of a language model over the real tokens that predict one.
    """
    if "logits" in target:
        divergence = F.kl_div(
            F.log_softmax(wide(outputs["logits"]), dim=-1),
            F.log_softmax(wide(target["logits"]), dim=-1),
            reduction="none",
            log_target=True,
        ).sum(dim=-1)  # (b,) or (b, s)
        if divergence.dim() == 1:
            return divergence.mean()
        divergence = divergence[:, :-1]
        mask = batch.get("mask")
        real = torch.ones_like(divergence) if mask is None else mask[:, 1:].to(divergence.dtype)
        return ((divergence * real).sum(dim=1) / real.sum(dim=1).clamp_min(1)).mean()
    parts = [(1 - (outputs[name] * target[name]).sum(dim=-1)).mean() for name in ("image", "text") if name in target]
    return torch.stack(parts).sum()


def affinity_distance(outputs: Outputs, target: Outputs, batch: Batch) -> Tensor:
    """`distance`, but of a CLIP: how far its distributions over a batch are from its teacher's, both ways.

    Args:
        outputs: of a CLIP `image` (b, p), `text` (b, p) and `logit_scale`; of other nets as for `distance`.
        target: the same of the teacher, whose p may be another.
        batch: as for `distance`.

    Returns:
        Mean of both directions of KL(teacher ‖ net) in nats; it has the gradient of the cross-entropy.

    Reference: Wu et al., ICCV 2023, equations (3) and (4) (affinity mimicking).
    """
    if "logits" in target or "text" not in target or "image" not in target:
        return distance(outputs, target, batch)
    own = outputs["logit_scale"].exp() * outputs["image"] @ outputs["text"].T
    other = target["logit_scale"].exp() * target["image"] @ target["text"].T
    ways = [
        F.kl_div(a.log_softmax(dim=1), b.log_softmax(dim=1), reduction="batchmean", log_target=True)
        for a, b in ((own, other), (own.T, other.T))
    ]
    return torch.stack(ways).mean()


@torch.no_grad()
def make_targets(base: Net, task: Task, *, steps: int, batch_size: int, seed: int) -> dict[str, Tensor]:
    """Run the base over the first `steps` training batches of a seed.

    Args:
        base: in evaluation mode, on the device to use.
        task: gives `train_batches(batch_size, seed)`.
        steps: how many batches; at least 1.
        batch_size: samples a batch.
        seed: of the order of the data.

    Returns:
        By output, (steps, b, …), on the CPU.
    """
    device = next(base.parameters()).device
    batches = task.train_batches(batch_size, seed)
    rows: dict[str, list[Tensor]] = {}
    for _ in range(steps):
        batch = {name: tensor.to(device) for name, tensor in next(batches).items()}
        for name, output in taught(base.outputs(batch)).items():
            rows.setdefault(name, []).append(output.float().cpu())
    return {name: torch.stack(parts) for name, parts in rows.items()}


def teacher_of(
    base: Net,
    task: Task,
    folder: Path,
    *,
    steps: int,
    batch_size: int,
    seed: int,
    base_sha256: str | None = None,
    most: int = MOST_KEPT,
) -> Teacher:
    """The teacher of a study's trials: one that reads kept targets, or the base itself where there is too much to keep.

    Logits of every token are never kept: there are as many as the longest text of each batch has.

    Args:
        base: as for `make_targets`.
        task: as for `make_targets`; its first batch stands for its data in the key.
        folder: where `targets-<key>.safetensors` lies; made if needed. Processes may share it.
        steps: as for `make_targets`.
        batch_size: as for `make_targets`.
        seed: as for `make_targets`.
        base_sha256: digest of the base's weights, where it is known; large ones take a while.
        most: bytes that may be kept.

    Warns:
        CatransformersWarning: if the cached file was damaged; it is made and written again.

    Raises:
        OSError: if the folder cannot be written.
    """
    first = next(task.train_batches(batch_size, seed))
    device = next(base.parameters()).device
    with torch.no_grad():
        sample = taught(base.outputs({name: tensor[:1].to(device) for name, tensor in first.items()}))
    by_token = any(output.dim() > 2 for output in sample.values())  # as long as each batch's longest text
    if by_token or steps * batch_size * sum(output.numel() * 4 for output in sample.values()) > most:
        return LiveTeacher(base)
    key = content_key(
        {
            "version": VERSION,
            "spec": base.spec.to_dict(),
            "base": base_sha256 or digest(base.state_dict()),
            "task": task.name,
            "first batch": digest(first),
            "numbers": [steps, batch_size, seed],
        }
    )

    def make() -> dict[str, Tensor]:
        return make_targets(base, task, steps=steps, batch_size=batch_size, seed=seed)

    return KeptTeacher(cached(folder, "targets", key, make))
