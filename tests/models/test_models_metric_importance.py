"""Importance by the error rate: what is counted, against plain counting, for each kind of net; and its ties."""

from __future__ import annotations

import pytest
import torch

from catransformers.accuracy.training.losses import class_loss, error_rate, language_loss, pair_loss
from catransformers.models.families.net import Batch, Net
from catransformers.models.families.nets import make_net
from catransformers.models.pruning.importance import TIE, Methods, importance
from catransformers.models.pruning.removal import skipped
from catransformers.workloads.spec import ClipSpec, LlamaSpec, TextSpec, VisionSpec, VitSpec

VISION = VisionSpec(layers=3, ffn_dim=6, embed_dim=8, heads=2, head_dim=4, tokens=5, image_size=4, patch_size=2)
CLIP = ClipSpec(VISION, TextSpec(2, 6, 8, 2, 4, tokens=4, vocab_size=11), projection_dim=6)
VIT = VitSpec(VISION, classes=3)
LLAMA = LlamaSpec(2, 6, 8, 2, 2, 4, vocab_size=9, tied_embeddings=True, max_tokens=16, prompt_tokens=4, new_tokens=2)
METRIC = Methods(heads="metric", ffn="metric", embed="metric", layers="metric")


def made(spec: object) -> Net:
    torch.manual_seed(0)
    net = make_net(spec).eval()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return net


def batch_of(spec: object) -> Batch:
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(6, 3, 4, 4, generator=generator)
    tokens = torch.randint(0, 9, (6, 4), generator=generator)
    if spec is VIT:
        return {"images": images, "labels": tokens[:, 0] % 3}
    if spec is LLAMA:
        return {"tokens": tokens, "mask": torch.arange(4) < torch.tensor([[4], [3], [4], [2], [4], [4]])}
    return {"images": images, "tokens": torch.cat([tokens[:, :3], torch.full((6, 1), 10)], dim=1)}


def counted(net: Net, batch: Batch) -> float:
    """The error rate, one decision at a time."""
    outputs = {name: tensor.detach() for name, tensor in net.outputs(batch).items()}
    if "labels" in batch:
        guesses = [row.index(max(row)) for row in outputs["logits"].tolist()]
        return sum(a != b for a, b in zip(guesses, batch["labels"].tolist(), strict=True)) / 6
    if "image" in outputs:
        table = (outputs["image"] @ outputs["text"].T).tolist()
        wrong = sum(row.index(max(row)) != i for i, row in enumerate(table))
        columns = [[row[j] for row in table] for j in range(6)]
        return (wrong + sum(c.index(max(c)) != j for j, c in enumerate(columns))) / 12
    rates = []
    for row, logits, mask in zip(
        batch["tokens"].tolist(), outputs["logits"].tolist(), batch["mask"].tolist(), strict=True
    ):
        real = [i for i in range(1, 4) if mask[i]]
        rates.append(sum(logits[i - 1].index(max(logits[i - 1])) != row[i] for i in real) / len(real))
    return sum(rates) / 6


@pytest.mark.parametrize("spec", [CLIP, VIT, LLAMA], ids=["clip", "vit", "llama"])
def test_the_error_rate_is_what_one_counts(spec: object) -> None:
    net, batch = made(spec), batch_of(spec)
    assert float(error_rate(net.outputs(batch), batch)) == pytest.approx(counted(net, batch))


def test_a_repeated_caption_is_no_rival() -> None:
    vectors = torch.nn.functional.normalize(torch.eye(3) + 0.1, dim=1)
    batch = {"tokens": torch.tensor([[1, 2], [1, 2], [3, 4]])}
    same = vectors.clone()
    same[1] = same[0]
    outputs = {"image": same, "text": same, "logit_scale": torch.tensor(0.0)}
    assert float(error_rate(outputs, batch)) == 0.0


@pytest.mark.parametrize(("spec", "loss"), [(CLIP, pair_loss), (VIT, class_loss), (LLAMA, language_loss)])
def test_a_layers_score_is_the_rise_of_the_error_and_a_trace_of_the_loss(spec: object, loss: object) -> None:
    net, batch = made(spec), batch_of(spec)
    found = importance(net, [batch], loss, METRIC, error_fn=error_rate)
    stack = net.stacks()[0]
    for number, block in enumerate(net.blocks_of(stack)):
        with torch.no_grad():
            whole = float(loss(net.outputs(batch), batch))
            error = counted(net, batch)
            with skipped(block):
                rise = counted(net, batch) - error
                risen = float(loss(net.outputs(batch), batch)) - whole
        assert float(found.stacks[stack.name].layers[number]) == pytest.approx(rise + TIE * risen, abs=1e-6)


def test_without_an_error_rate_there_is_no_such_method() -> None:
    with pytest.raises(ValueError, match="error_fn"):
        importance(made(VIT), [batch_of(VIT)], class_loss, METRIC)
