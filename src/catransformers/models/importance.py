"""How much each part of a CLIP matters: the scores by which pruning chooses.

Heads, FFN neurons and embedding channels get a *gate* ξ, a factor of one that multiplies the part. To first order,
removing the part (ξ: 1 → 0) changes the loss by −∂L/∂ξ. One forward and backward pass over calibration data gives that
for every part at once. The derivative is taken per sample, and its size averaged: I = E_x |∂L(x)/∂ξ|. (The plain sum
over samples is near zero at the end of training for everything that the weights can rescale themselves, important or
not: it would rank noise.) Gates act where a part is *read*:

- head: on its slice of the context, before the output projection;
- neuron: on its activation, before the second matrix;
- channel: inside every LayerNorm that reads the residual stream, statistics included: mean and variance are weighted
  by the gates, so that a score holds what removal does to all other channels through the norms.

Gates are values of exactly one in hooks; they change no output. Layers are few and removing one is not a small step, so
their score is the loss increase measured with the layer skipped (leave one out).

Calibration data are the study's own calibration split, never validation or test data.

Sources: Michel et al., Are Sixteen Heads Really Better than One?, NeurIPS 2019, equation (2) and section 4.1 (heads,
expected absolute gate gradient); Molchanov et al., Importance Estimation for Neural Network Pruning, CVPR 2019,
equation (8) (first-order Taylor terms of gates, for neurons and channels).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from catransformers.errors import InputError, Problem
from catransformers.models.clip import Clip, Transformer
from catransformers.workloads.spec import EncoderSpec

#: (images (b, 3, h, w), tokens (b, s)).
Batch = tuple[Tensor, Tensor]
#: (logits per image (b, b), tokens (b, s)) → scalar mean loss of the batch.
Loss = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True, slots=True, eq=False)
class EncoderImportance:
    """Scores of one encoder's parts, larger is more important; float32 on the CPU.

    Args:
        heads: (layers, heads) expected absolute gate gradient, nats.
        ffn: (layers, ffn_dim) the same for FFN neurons.
        embed: (embed_dim,) the same for channels of the residual stream.
        layers: (layers,) loss without the layer minus loss with it, nats; negative where the loss falls.
    """

    heads: Tensor
    ffn: Tensor
    embed: Tensor
    layers: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Importance:
    """Scores of both encoders' parts, and the loss of the whole model on the calibration data, in nats."""

    vision: EncoderImportance
    text: EncoderImportance
    loss: float


def _blocks(transformer: Transformer) -> list[nn.Module]:
    return list(transformer.resblocks)


class _Gates:
    """Gates of one encoder for one batch: hooks that multiply by ones and remember them for their gradients."""

    def __init__(self, spec: EncoderSpec, batch: int, device: torch.device) -> None:
        self.spec = spec

        def ones(*shape: int) -> Tensor:
            return torch.ones(*shape, device=device, requires_grad=True)

        self.heads = [ones(batch, spec.heads) for _ in range(spec.layers)]
        self.ffn = [ones(batch, spec.ffn_dim) for _ in range(spec.layers)]
        self.embed = ones(batch, spec.embed_dim)

    def attach(self, transformer: Transformer, last_norm: nn.Module) -> Iterator[RemovableHandle]:
        """Put the gates on an encoder's blocks and on the norm after them."""
        for number, block in enumerate(_blocks(transformer)):
            out_proj, c_proj = block.get_submodule("attn.out_proj"), block.get_submodule("mlp.c_proj")
            yield out_proj.register_forward_pre_hook(self._scale(self.heads[number], self.spec.head_dim))
            yield c_proj.register_forward_pre_hook(self._scale(self.ffn[number], 1))
            for name in ("ln_1", "ln_2"):
                yield block.get_submodule(name).register_forward_hook(self._norm)
        yield last_norm.register_forward_hook(self._norm)

    @staticmethod
    def _scale(gate: Tensor, repeat: int) -> Callable[[nn.Module, tuple[Any, ...]], tuple[Tensor]]:
        def hook(_module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Tensor]:
            (x,) = inputs  # (b, s, heads·head_dim) or (b, s, f)
            return (x * gate.repeat_interleave(repeat, dim=1)[:, None, :],)

        return hook

    def _norm(self, module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
        """A LayerNorm over the channels' gated sum; ones leave `output` as it is, to the bit."""
        assert isinstance(module, nn.LayerNorm)  # noqa: S101 - for the type checker
        (x,) = inputs  # (b, s, d), or (b, d) after pooling
        gate = self.embed if x.dim() == 2 else self.embed[:, None, :]
        x = x.detach()  # the path through x is the module's own
        number = gate.sum(dim=-1, keepdim=True)
        mean = (gate * x).sum(dim=-1, keepdim=True) / number
        variance = (gate * (x - mean).square()).sum(dim=-1, keepdim=True) / number
        normal = (x - mean) * torch.rsqrt(variance + module.eps)
        gated = gate * (normal * module.weight.detach() + module.bias.detach())
        result: Tensor = output + (gated - gated.detach())
        return result

    def gradients(self) -> tuple[Tensor, Tensor, Tensor]:
        """Σ over the batch of |∂L/∂ξ|: (layers, heads), (layers, f), (d,), in double precision.

        Raises:
            RuntimeError: if a gate was not met on the way (the network is not built as the hooks expect).
        """
        every = [*self.heads, *self.ffn, self.embed]
        if any(gate.grad is None for gate in every):
            raise RuntimeError("an importance gate was never used")
        sums = [gate.grad.abs().double().sum(dim=0).cpu() for gate in every if gate.grad is not None]
        layers = self.spec.layers
        return torch.stack(sums[:layers]), torch.stack(sums[layers:-1]), sums[-1]


def _parts(model: Clip) -> tuple[tuple[EncoderSpec, Transformer, nn.Module], ...]:
    """Vision and text: spec, blocks, and the norm that reads the stream after the last block."""
    return (
        (model.spec.vision, model.visual.transformer, model.visual.ln_post),
        (model.spec.text, model.transformer, model.ln_final),
    )


def _gate_scores(model: Clip, batches: Sequence[Batch], loss_fn: Loss) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Per encoder: head, neuron and channel scores, each E_x |∂L(x)/∂ξ|."""
    totals: list[list[Tensor]] = [[], []]
    samples = 0
    for images, tokens in batches:
        number = len(images)
        with ExitStack() as stack:
            gates = []
            for spec, transformer, last_norm in _parts(model):
                gate = _Gates(spec, number, images.device)
                for handle in gate.attach(transformer, last_norm):
                    stack.callback(handle.remove)
                gates.append(gate)
            # The batch's loss is a mean of its samples' losses: times b, a gate's gradient is its own sample's.
            (loss_fn(model(images, tokens), tokens) * number).backward()  # type: ignore[no-untyped-call]
        for encoder, gate in enumerate(gates):
            sums = list(gate.gradients())
            totals[encoder] = [a + b for a, b in zip(totals[encoder], sums, strict=True)] if totals[encoder] else sums
        samples += number
    return [(h / samples, f / samples, e / samples) for h, f, e in totals]


@contextmanager
def skipped(block: nn.Module) -> Iterator[None]:
    """While open, the block hands its input on unchanged, as if it had been removed."""
    handle = block.register_forward_hook(lambda _module, inputs, _output: inputs[0])
    try:
        yield
    finally:
        handle.remove()


@torch.no_grad()
def _layer_scores(model: Clip, batches: Sequence[Batch], loss_fn: Loss) -> tuple[float, Tensor, Tensor]:
    """The loss, and its increase without each layer of the vision and of the text encoder."""
    samples = sum(len(images) for images, _ in batches)
    whole = 0.0
    vision = torch.zeros(model.spec.vision.layers, dtype=torch.float64)
    text = torch.zeros(model.spec.text.layers, dtype=torch.float64)
    for images, tokens in batches:
        scale, weight = model.logit_scale.exp(), len(images) / samples
        image, caption = model.encode_image(images), model.encode_text(tokens)
        whole += weight * float(loss_fn(scale * image @ caption.T, tokens))
        for number, block in enumerate(_blocks(model.visual.transformer)):
            with skipped(block):
                logits = scale * model.encode_image(images) @ caption.T
            vision[number] += weight * float(loss_fn(logits, tokens))
        for number, block in enumerate(_blocks(model.transformer)):
            with skipped(block):
                logits = scale * image @ model.encode_text(tokens).T
            text[number] += weight * float(loss_fn(logits, tokens))
    return whole, vision - whole, text - whole


def importance(model: Clip, batches: Sequence[Batch], loss_fn: Loss) -> Importance:
    """Score every prunable part of `model` on calibration data.

    Args:
        model: the base; its weights, gradients and mode are as before afterwards.
        batches: the calibration batches, on the model's device; of a contrastive loss the batch size matters.
        loss_fn: (logits per image (b, b), tokens (b, s)) → scalar mean loss.

    Returns:
        The scores, float32 on the CPU.

    Raises:
        InputError: if there are no batches, or the model's loss on them is not finite.

    Reference: Michel et al. 2019, section 4.1; Molchanov et al. 2019, equation (8).
    """
    if not batches:
        raise InputError(Problem("calibration data", "there are no calibration batches"))
    training, needed = model.training, [p.requires_grad for p in model.parameters()]
    model.eval().requires_grad_(False)
    try:
        loss, vision_layers, text_layers = _layer_scores(model, batches, loss_fn)
        vision, text = _gate_scores(model, batches, loss_fn)
    finally:
        model.train(training)
        for parameter, flag in zip(model.parameters(), needed, strict=True):
            parameter.requires_grad_(flag)
    scores = [
        EncoderImportance(heads.float(), ffn.float(), embed.float(), layers.float())
        for (heads, ffn, embed), layers in ((vision, vision_layers), (text, text_layers))
    ]
    every = [t for s in scores for t in (s.heads, s.ffn, s.embed, s.layers)]
    if not all(bool(t.isfinite().all()) for t in every):
        raise InputError(Problem("calibration data", "the model's loss on them is not finite"))
    return Importance(scores[0], scores[1], loss)
