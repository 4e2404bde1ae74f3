"""A net as ONNX graphs, one for each stack that can be run by itself: `vision.onnx` and `text.onnx` of a CLIP, else
`model.onnx`. The number of samples is free; the length of texts too, but for CLIP's, which fill their context.

Source: Open Neural Network Exchange, onnx.ai; the translation is torch's own (`torch.onnx.export`).
"""

from __future__ import annotations

import contextlib
import copy
import importlib.util
import io
import logging
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from catransformers.errors import CatransformersError, InputError, Problem
from catransformers.extras import install
from catransformers.files import write_whole
from catransformers.models.families.net import Net
from catransformers.workloads.families import family_of

MOST_INSIDE = 1_900_000_000  # bytes of weights in the graph's own file
_BATCH, _LENGTH = 2, 8  # samples and tokens of the example that the translation follows


@dataclass(frozen=True, slots=True)
class Graph:
    """One graph.

    Args:
        file: its name.
        inputs: examples of them, in order, by name.
        outputs: their names.
        longest: texts of up to so many tokens may come in; 0 where the length is the example's.
    """

    file: str
    inputs: dict[str, Tensor]
    outputs: tuple[str, ...]
    longest: int = 0


class _Called(nn.Module):
    """A net called with tensors by position, as graphs are."""

    def __init__(self, net: Net, graph: Graph) -> None:
        super().__init__()
        self.net, self.names, self.results = net, tuple(graph.inputs), graph.outputs

    def forward(self, *values: Tensor) -> tuple[Tensor, ...]:
        """The graph's outputs."""
        outputs = self.net.outputs(dict(zip(self.names, values, strict=True)))
        return tuple(outputs[name] for name in self.results)


def graphs_of(net: Net) -> list[Graph]:
    """The graphs that a net is written as."""
    spec, family = net.spec, family_of(net.spec)
    if family.pairs:
        return [
            Graph("vision.onnx", {"images": _images(spec.vision.image_size)}, ("image",)),
            Graph("text.onnx", {"tokens": _tokens(spec.text.vocab_size, spec.text.tokens)}, ("text",)),
        ]
    result = ("logits",) if getattr(spec, "classes", 1) else ("features",)
    if family.vision is not None:
        return [Graph("model.onnx", {"images": _images(family.vision(spec).image_size)}, result)]
    inputs = {"tokens": _tokens(spec.vocab_size, min(_LENGTH, spec.max_tokens))}
    if not family.generates:
        inputs["mask"] = torch.ones_like(inputs["tokens"], dtype=torch.bool)
        if spec.token_types:
            inputs["types"] = torch.zeros_like(inputs["tokens"])
    # The translation of a free length needs an example of at least two tokens, and room for another length.
    return [Graph("model.onnx", inputs, result, spec.max_tokens if spec.max_tokens > 2 else 0)]


def write_graphs(net: Net, folder: Path) -> list[Path]:
    """Write a net's graphs.

    Args:
        net: on the CPU, left as it is; the graphs' weights are float32.
        folder: where to.

    Returns:
        The files.

    Raises:
        InputError: if the translator is not installed.
        CatransformersError: if it fails.
    """
    if any(importlib.util.find_spec(name) is None for name in ("onnx", "onnxscript")):
        raise InputError(Problem("--format", "'onnx' needs a translator that is not installed", hint=install("onnx")))
    training = net.training
    if any(parameter.dtype != torch.float32 for parameter in net.parameters()):
        net = copy.deepcopy(net).float()
    files = []
    large = sum(parameter.numel() * 4 for parameter in net.parameters()) > MOST_INSIDE
    try:
        net.eval()
        for graph in graphs_of(net):
            program = _translated(net, graph)
            path = folder / graph.file
            if large:  # protobuf ends at 2 GiB: the weights go beside the graph
                folder.mkdir(parents=True, exist_ok=True)
                program.save(path, external_data=True)
                files.append(path.with_name(path.name + ".data"))
            else:
                write_whole(path, program.model_proto.SerializeToString())
            files.append(path)
    finally:
        net.train(training)
    return files


def _translated(net: Net, graph: Graph) -> Any:
    free: dict[int, Any] = {0: torch.export.Dim("batch", min=1)}
    if graph.longest:
        free[1] = torch.export.Dim("length", min=2, max=graph.longest)
    shapes: tuple[Any, ...] = tuple(free for _ in graph.inputs)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), _quiet("torch.onnx"):
        warnings.simplefilter("ignore")  # of the translator, about itself
        try:
            program = torch.onnx.export(
                _Called(net, graph),
                tuple(graph.inputs.values()),
                input_names=list(graph.inputs),
                output_names=list(graph.outputs),
                dynamic_shapes=(shapes,),
                dynamo=True,
                verbose=False,
            )
        except Exception as error:
            raise CatransformersError(f"{graph.file}: torch could not translate the net: {error}") from error
    assert program is not None  # noqa: S101 - for the type checker; with dynamo there is one
    return program


@contextlib.contextmanager
def _quiet(name: str) -> Iterator[None]:
    """While open, a logger tells errors only."""
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _images(size: int) -> Tensor:
    return torch.zeros(_BATCH, 3, size, size)


def _tokens(vocabulary: int, length: int) -> Tensor:
    return torch.arange(_BATCH * length).reshape(_BATCH, length) % vocabulary
