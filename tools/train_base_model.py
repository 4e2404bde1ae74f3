"""Train the small CLIP that ships with the package, and write it with its recipe, curve and accuracy.

The data are the scenes of `catransformers.accuracy.tasks.scenes`, made on the fly. The loss is CLIP's symmetric
cross-entropy on batches of groups that differ by one change. What gets a transformer this small through the long
plateau in which it sees colours but reads no digits, all of it only while training and gone from the result:

- two auxiliary losses that fade out: linear probes, shared by both encoders, of the seven numbers that describe a
  scene, and token labels, the digit under each patch (Jiang et al., "All Tokens Matter", NeurIPS 2021);
- a curriculum: digits stand at fixed places first, anywhere later;
- Muon (Jordan et al., 2024) for the matrices of the blocks, AdamW for the rest.

Whole blocks and heads are dropped at random (LayerDrop, Fan et al., "Reducing Transformer Depth on Demand with
Structured Dropout", ICLR 2020), so that the model can be pruned with grace.

The weights that ship are an exponential moving average. Training looks at the validation pool only to draw the curve;
the test pool is scored once, at the end.

    python tools/train_base_model.py                               # the shipped model; about 10 minutes on one core
    python tools/train_base_model.py --steps 200 --out /tmp/try    # a quick look
"""

from __future__ import annotations

import argparse
import copy
import math
import platform
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import sklearn
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from catransformers.accuracy.metrics.retrieval import recall_at_1
from catransformers.accuracy.metrics.score import Score
from catransformers.accuracy.tasks.scenes import ScenesTask
from catransformers.accuracy.tasks.scenes_images import IMAGE_SIZE, render
from catransformers.accuracy.tasks.scenes_text import (
    CONTEXT,
    DIGIT,
    DIGITS,
    RADIX,
    VOCABULARY,
    random_groups,
    tokenize_scenes,
)
from catransformers.accuracy.training.losses import contrastive_loss
from catransformers.models.families.clip import MAXIMAL_LOGIT_SCALE, Block, Clip
from catransformers.models.loading.storage import save_model
from catransformers.workloads.spec import ClipSpec, TextSpec, VisionSpec

OUT = Path(__file__).resolve().parents[1] / "src" / "catransformers" / "data" / "embedded"


@dataclass(frozen=True)
class Recipe:
    """All settings of the training, as they are stored beside the model."""

    patch_size: int = 8
    layers: int = 6
    embed_dim: int = 64
    heads: int = 4
    ffn_dim: int = 256
    projection_dim: int = 64
    steps: int = 2400
    batch_size: int = 128
    group_size: int = 8
    learning_rate: float = 1e-3  # AdamW: embeddings, projections, norms, biases
    matrix_learning_rate: float = 0.02  # Muon: matrices of the blocks
    warmup_fraction: float = 0.02
    weight_decay: float = 0.05
    gradient_clip: float = 1.0
    ema_decay: float = 0.998
    attribute_weight: float = 1.0
    token_weight: float = 4.0
    auxiliary_fraction: float = 0.7  # of the steps, after which the auxiliary losses are gone
    layer_drop: float = 0.15  # probability of each block, per batch
    head_drop: float = 0.15  # probability of each head, per batch
    drop_start: float = 0.25  # of the steps, before which nothing is dropped
    curriculum_fraction: float = 0.15  # of the steps, after which the scenes are as they are in the pools
    seed: int = 0

    def spec(self) -> ClipSpec:
        """The model's dimensions."""
        encoder = (self.layers, self.ffn_dim, self.embed_dim, self.heads, self.embed_dim // self.heads)
        tokens = (IMAGE_SIZE // self.patch_size) ** 2 + 1
        return ClipSpec(
            VisionSpec(*encoder, tokens, IMAGE_SIZE, self.patch_size),
            TextSpec(*encoder, CONTEXT, len(VOCABULARY)),
            self.projection_dim,
        )

    def rate(self, step: int) -> float:
        """Share of the learning rates at a step: linear warm-up, then half a cosine to zero."""
        warmup = max(1, round(self.warmup_fraction * self.steps))
        if step < warmup:
            return (step + 1) / warmup
        return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, self.steps - warmup)))

    def auxiliary(self, step: int) -> float:
        """Share of the auxiliary losses at a step: from one linearly to zero."""
        return max(0.0, 1 - step / (self.auxiliary_fraction * self.steps))

    def disorder(self, step: int) -> float:
        """How freely digits are placed and bent at a step: from zero linearly to one."""
        return min(1.0, step / (self.curriculum_fraction * self.steps))


class StructuredDropout:
    """Drops whole blocks and heads of a model in training, anew at every forward pass of each."""

    def __init__(self, model: Clip, recipe: Recipe) -> None:
        self.active = False
        self.recipe = recipe
        self.random = np.random.default_rng([1, recipe.seed])
        for module in model.modules():
            if isinstance(module, Block):
                module.register_forward_hook(self.drop_block)
                module.attn.out_proj.register_forward_pre_hook(self.drop_heads)

    def drop_block(self, _module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> Tensor:
        """The block's input instead of its output, at times."""
        return inputs[0] if self.active and self.random.random() < self.recipe.layer_drop else output

    def drop_heads(self, _module: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:
        """The heads' contexts (b, s, a), some heads zero, the others scaled up to make good for them."""
        if not self.active:
            return inputs
        keep = self.random.random(self.recipe.heads) >= self.recipe.head_drop
        mask = torch.from_numpy(keep / max(keep.mean(), 1 / len(keep))).float()
        return (inputs[0] * mask.repeat_interleave(inputs[0].shape[-1] // len(mask)),)


@dataclass(frozen=True)
class TrainingBatch:
    """Scenes (b, 7), images (b, 3, h, w), ink of both digits (b, 2, h, w), token ids (b, context)."""

    scenes: Tensor
    images: Tensor
    ink: Tensor
    tokens: Tensor


def batches(recipe: Recipe) -> Iterator[TrainingBatch]:
    """One batch a step, as the recipe's curriculum says."""
    rng = np.random.default_rng([0, recipe.seed])
    for step in range(recipe.steps):
        groups = random_groups(recipe.batch_size // recipe.group_size, recipe.group_size, "train", rng)
        scenes = groups.reshape(-1, groups.shape[-1])
        tokens = tokenize_scenes(scenes, rng.random(len(scenes)) < 0.5)
        images, ink = render(scenes, "train", rng, disorder=recipe.disorder(step))
        yield TrainingBatch(torch.from_numpy(scenes), images, ink, torch.from_numpy(tokens))


class AuxiliaryLosses(nn.Module):
    """What guides the training at first; none of it is part of the model."""

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self.recipe = recipe
        self.attributes = nn.Linear(recipe.projection_dim, int(RADIX.sum()))
        self.digits = nn.Linear(recipe.embed_dim, len(DIGITS))

    def forward(self, image: Tensor, text: Tensor, patches: Tensor, batch: TrainingBatch) -> Tensor:
        """Loss of the encoders' unit vectors (b, p) and of the vision blocks' patch tokens (b, s - 1, d)."""
        attributes = torch.zeros(())
        for encoded in (image, text):
            logits = self.attributes(encoded * self.recipe.projection_dim**0.5)
            for column, part in enumerate(logits.split(RADIX.tolist(), dim=1)):
                attributes = attributes + F.cross_entropy(part, batch.scenes[:, column]) / 2
        cover = F.avg_pool2d(batch.ink, self.recipe.patch_size).flatten(2)  # (b, 2, s - 1)
        weight, owner = cover.max(dim=1)  # (b, s - 1)
        labels = batch.scenes[:, [DIGIT, DIGIT + 3]].gather(1, owner)
        losses = F.cross_entropy(self.digits(patches).flatten(0, 1), labels.flatten(), reduction="none")
        tokens = (losses * weight.flatten()).sum() / weight.sum()
        return self.recipe.attribute_weight * attributes + self.recipe.token_weight * tokens


class Muon(torch.optim.Optimizer):
    """Momentum whose matrices are made orthogonal by five Newton-Schulz steps (Jordan et al., "Muon", 2024).

    Matrices of one shape are stacked and done at once, which for many small ones is what makes it cheap on a CPU.
    """

    def __init__(self, parameters: list[nn.Parameter], lr: float, momentum: float, weight_decay: float) -> None:
        super().__init__(parameters, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One update of every matrix."""
        for group in self.param_groups:
            by_shape: dict[torch.Size, list[nn.Parameter]] = {}
            for parameter in group["params"]:
                if parameter.grad is not None:  # a dropped block has none
                    by_shape.setdefault(parameter.shape, []).append(parameter)
            for shape, parameters in by_shape.items():
                updates = []
                for parameter in parameters:
                    assert parameter.grad is not None
                    momentum = self.state[parameter].setdefault("momentum", torch.zeros_like(parameter))
                    momentum.lerp_(parameter.grad, 1 - group["momentum"])
                    updates.append(parameter.grad.lerp(momentum, group["momentum"]))  # Nesterov
                scale = group["lr"] * max(1.0, shape[0] / shape[1]) ** 0.5
                for parameter, update in zip(parameters, orthogonal(torch.stack(updates)), strict=True):
                    parameter.mul_(1 - group["lr"] * group["weight_decay"]).sub_(update, alpha=scale)


def orthogonal(matrices: Tensor) -> Tensor:
    """About the nearest (semi-)orthogonal matrices of a stack (n, rows, columns), by quintic Newton-Schulz steps."""
    a, b, c = 3.4445, -4.7750, 2.0315
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(5):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    result: Tensor = x.mT if tall else x
    return result


def optimisers(model: Clip, auxiliary: AuxiliaryLosses, recipe: Recipe) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the blocks; AdamW, without weight decay, for all else."""
    matrices = [p for name, p in model.named_parameters() if ".resblocks." in name and p.ndim == 2]
    chosen = {id(p) for p in matrices}
    others = [p for p in (*model.parameters(), *auxiliary.parameters()) if id(p) not in chosen]
    return [
        torch.optim.AdamW(others, lr=recipe.learning_rate, betas=(0.9, 0.98), weight_decay=0.0, fused=True),
        Muon(matrices, lr=recipe.matrix_learning_rate, momentum=0.95, weight_decay=recipe.weight_decay),
    ]


@torch.no_grad()
def update_average(average: Clip, model: Clip, step: int, decay: float) -> None:
    """Move the averaged weights towards the model's; the average is short at first, so that it forgets the start."""
    weight = 1 - min(decay, (1 + step) / (10 + step))
    for mean, value in zip(average.parameters(), model.parameters(), strict=True):
        mean.lerp_(value, weight)


def train(recipe: Recipe, every: int = 100, label: str = "") -> tuple[Clip, list[dict[str, float]]]:
    """The averaged model and its curve: step, mean contrastive loss since the last row, validation recall@1."""
    torch.manual_seed(recipe.seed)
    model, auxiliary = Clip(recipe.spec()), AuxiliaryLosses(recipe)
    average = copy.deepcopy(model).requires_grad_(False)
    patches: list[Tensor] = []
    model.visual.transformer.register_forward_hook(lambda _module, _inputs, output: patches.append(output[:, 1:]))
    dropout = StructuredDropout(model, recipe)
    optimizers = optimisers(model, auxiliary, recipe)
    peaks = [group["lr"] for optimizer in optimizers for group in optimizer.param_groups]
    pool = ScenesTask().pool("validation")
    curve: list[dict[str, float]] = []
    losses: list[float] = []
    start = time.monotonic()
    for step, batch in enumerate(batches(recipe)):
        groups = [group for optimizer in optimizers for group in optimizer.param_groups]
        for group, peak in zip(groups, peaks, strict=True):
            group["lr"] = peak * recipe.rate(step)
        dropout.active = step >= recipe.drop_start * recipe.steps
        image, text = model.encode_image(batch.images), model.encode_text(batch.tokens)
        loss = contrastive_loss(model.logit_scale.exp() * image @ text.T, batch.tokens)
        total, weight = loss, recipe.auxiliary(step)
        if weight > 0:
            total = loss + weight * auxiliary(image, text, patches[-1], batch)
        patches.clear()
        for optimizer in optimizers:
            optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(total)
        nn.utils.clip_grad_norm_(model.parameters(), recipe.gradient_clip)
        for optimizer in optimizers:
            optimizer.step()
        with torch.no_grad():
            model.logit_scale.clamp_(max=MAXIMAL_LOGIT_SCALE)
        update_average(average, model, step, recipe.ema_decay)
        losses.append(loss.item())
        if (step + 1) % every == 0 or step + 1 == recipe.steps:
            mean_loss, score = sum(losses) / len(losses), recall_at_1(average, pool)
            losses.clear()
            curve.append({"step": step + 1, "loss": round(mean_loss, 4), "validation_recall": score.accuracy})
            print(
                f"{label}step {step + 1:5d} of {recipe.steps}  loss {mean_loss:.3f}  validation recall@1 "
                f"{score.accuracy:.4f} ± {score.standard_error:.4f}  {time.monotonic() - start:.0f} s",
                flush=True,
            )
    return average, curve


def described(score: Score) -> dict[str, float | int]:
    """A score as it is stored."""
    return {
        "recall_at_1": score.accuracy,
        "standard_error": score.standard_error,
        "image_to_text": score.metrics["image_to_text"],
        "text_to_image": score.metrics["text_to_image"],
        "hits": round(2 * score.values.sum()),  # a pair's value is the mean of its two directions
        "pairs": len(score.groups),
    }


def steps_in(minutes: float, recipe: Recipe) -> int:
    """About how many steps of the recipe this machine makes in `minutes`, from a short trial."""
    start = time.monotonic()
    train(replace(recipe, steps=5), every=10**9)
    start, count = time.monotonic(), 30
    train(replace(recipe, steps=count), every=10**9)
    return max(1, round(count * 60 * minutes / (time.monotonic() - start)))


def main() -> None:
    """Parse, train, score, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--steps", type=int, default=Recipe.steps, help=f"training steps (default {Recipe.steps})")
    length.add_argument("--minutes", type=float, help="as many steps as this machine makes in about this time")
    parser.add_argument("--seed", type=int, default=Recipe.seed, help="of the weights and the data (default 0)")
    parser.add_argument("--threads", type=int, default=1, help="of torch (default 1; others round differently)")
    parser.add_argument("--out", type=Path, default=OUT, help="folder for model.safetensors and model.json")
    arguments = parser.parse_args()
    if arguments.steps < 1 or (arguments.minutes is not None and arguments.minutes <= 0):
        parser.error("--steps and --minutes must be positive")
    torch.set_num_threads(arguments.threads)
    recipe = Recipe(steps=arguments.steps, seed=arguments.seed)
    if arguments.minutes is not None:
        recipe = replace(recipe, steps=steps_in(arguments.minutes, recipe))
    arguments.out.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    model, curve = train(recipe)
    seconds = time.monotonic() - start
    task = ScenesTask()
    validation, test = (recall_at_1(model, task.pool(name)) for name in ("validation", "test"))
    metadata = {
        "recipe": asdict(recipe),
        "seed": recipe.seed,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "validation": described(validation),
        "test": described(test),
        "curve": curve,
        "seconds": round(seconds),
        "threads": arguments.threads,
        "command": "python tools/train_base_model.py "
        f"--steps {recipe.steps} --seed {recipe.seed} --threads {arguments.threads}",
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
            "scikit-learn": sklearn.__version__,
        },
    }
    digest = save_model(model, arguments.out / "model.safetensors", metadata)
    print(f"{arguments.out / 'model.safetensors'}: SHA-256 {digest}, {seconds:.0f} s")
    for name, score in (("validation", validation), ("test", test)):
        print(f"{name}: recall@1 {score.accuracy:.4f} ± {score.standard_error:.4f}")


if __name__ == "__main__":
    main()
