"""ONNX: the graphs of every family compute what the net does, for other sizes than those that were translated."""

from __future__ import annotations

import importlib
import importlib.util
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from catransformers.errors import CatransformersError, InputError
from catransformers.exports import onnx as onnx_module
from catransformers.exports.formats import Model, write_model
from catransformers.models.families.net import Net
from catransformers.models.families.nets import make_net
from catransformers.models.pruning.prune import prune
from catransformers.testing.kit import outputs_of, random_importance, randomised
from catransformers.workloads.spec import (
    BertSpec,
    ClipSpec,
    EncoderSpec,
    LlamaSpec,
    ModelSpec,
    TextSpec,
    VisionSpec,
    VitSpec,
)

installed = all(importlib.util.find_spec(name) for name in ("onnx", "onnxscript", "onnxruntime"))
needs_onnx = pytest.mark.skipif(not installed, reason="the extra 'onnx' or onnxruntime is not installed")
VISION = VisionSpec(layers=1, ffn_dim=12, embed_dim=8, heads=2, head_dim=4, tokens=5, image_size=8, patch_size=4)
BERT = BertSpec(EncoderSpec(1, 12, 8, 2, 4, 9), vocab_size=20, positions=16, classes=0)
SPECS: dict[str, ModelSpec] = {
    "clip": ClipSpec(VISION, TextSpec(1, 12, 8, 2, 4, 9, vocab_size=20), 6),
    "vit": VitSpec(VISION, classes=0),
    "bert": BERT,
    "llama": LlamaSpec(1, 12, 8, 4, 2, 4, 20, tied_embeddings=True, max_tokens=16, prompt_tokens=9, new_tokens=0),
}


def irregular(name: str) -> Net:
    """Fewer heads and channels, so that no other library's classes fit."""
    net = randomised(make_net(SPECS[name]))
    values = {key: size - 1 for key, size in net.spec.dimensions().items() if key.split(".")[-1] != "layers"}
    return prune(net, net.spec.with_dimensions(values), random_importance(net))


def batch(samples: int, length: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(samples)
    tokens = torch.randint(0, 20, (samples, length), generator=generator)
    return {
        "images": torch.randn(samples, 3, 8, 8, generator=generator),
        "tokens": tokens,
        "mask": torch.arange(length) < 1 + torch.arange(samples)[:, None],
        "types": torch.randint(0, 2, tokens.shape, generator=generator),
    }


def run(path: Path, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """What ONNX Runtime makes of a graph."""
    runtime: Any = importlib.import_module("onnxruntime")
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    given = {put.name: inputs[put.name].numpy() for put in session.get_inputs()}
    return dict(zip(names, map(torch.from_numpy, session.run(None, given)), strict=True))


@needs_onnx
@pytest.mark.parametrize("name", SPECS)
def test_graphs_compute_what_the_net_does(tmp_path: Path, name: str) -> None:
    net = irregular(name)
    expected_files = ["text.onnx", "vision.onnx"] if name == "clip" else ["model.onnx"]
    files = write_model(Model(net), "onnx", tmp_path)
    assert sorted(path.name for path in files) == expected_files
    seen = set()
    for samples, length in ((1, 9), (2, 8), (5, 9), (3, 16), (2, 1)):
        if name == "clip" and length != 9:  # its texts fill the context
            continue
        inputs = batch(samples, length)
        ours = outputs_of(net, inputs)
        for path in files:
            for key, output in run(path, inputs).items():
                assert ours[key].std() > 0.01
                torch.testing.assert_close(output, ours[key], rtol=0, atol=1e-5)
                seen.add(key)
    assert seen == {key for key in ours if key != "logit_scale"}


@needs_onnx
def test_a_text_longer_than_the_model_admits_is_refused_by_the_runtime_or_the_net(tmp_path: Path) -> None:
    net = irregular("bert")
    (path,) = write_model(Model(net), "onnx", tmp_path)
    with pytest.raises(InputError, match="too long"):
        net.outputs(batch(2, 17))
    with pytest.raises(Exception, match=r"Fail|shape|dimension"):
        run(path, batch(2, 17))


@needs_onnx
def test_the_net_is_left_as_it_is(tmp_path: Path) -> None:
    net = irregular("vit").bfloat16().train()
    before = {key: tensor.clone() for key, tensor in net.state_dict().items()}
    level = logging.getLogger("torch.onnx").level
    (path,) = write_model(Model(net), "onnx", tmp_path)
    assert net.training
    assert all(torch.equal(tensor, before[key]) for key, tensor in net.state_dict().items())
    assert {p.dtype for p in net.parameters()} == {torch.bfloat16}
    assert logging.getLogger("torch.onnx").level == level
    images = batch(2, 9)
    wide = net.float().eval()
    torch.testing.assert_close(run(path, images)["features"], outputs_of(wide, images)["features"], rtol=0, atol=1e-5)


@needs_onnx
def test_large_models_keep_their_weights_beside_the_graph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net = irregular("vit")
    monkeypatch.setattr(onnx_module, "MOST_INSIDE", 100)
    files = write_model(Model(net), "onnx", tmp_path / "new")
    assert sorted(files) == sorted((tmp_path / "new").iterdir())
    assert len(files) == 2
    images = batch(2, 9)
    found = run(tmp_path / "new" / "model.onnx", images)["features"]
    torch.testing.assert_close(found, outputs_of(net, images)["features"], rtol=0, atol=1e-5)


def test_short_texts_have_a_fixed_length() -> None:
    for positions, longest in ((1, 0), (2, 0), (3, 3), (16, 16)):
        spec = replace(BERT, encoder=replace(BERT.encoder, tokens=1), positions=positions)
        (graph,) = onnx_module.graphs_of(make_net(spec))
        assert graph.longest == longest
        assert graph.inputs["tokens"].shape[1] == min(8, positions)


def test_without_a_translator_it_says_which_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    true = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "onnxscript" else true(name))
    with pytest.raises(InputError, match=r"catransformers\[onnx\]"):
        write_model(Model(irregular("vit")), "onnx", tmp_path / "new")
    assert not (tmp_path / "new").exists()


@needs_onnx
def test_a_net_that_cannot_be_translated_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net = irregular("vit")
    monkeypatch.setattr(type(net), "outputs", lambda self, batch: {"features": torch.tensor(self(batch).tolist())})
    with pytest.raises(CatransformersError, match=r"model\.onnx: torch could not translate"):
        write_model(Model(net), "onnx", tmp_path)
