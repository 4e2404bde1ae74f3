"""Of exports: the package's own format holds every shape, and ONNX, where it is installed, computes the same."""

from __future__ import annotations

import importlib
import importlib.util
import tempfile
import unittest
from pathlib import Path

import torch

import catransformers
from catransformers.exports.formats import Model, formats_of, write_model
from catransformers.models.families.net import Net
from catransformers.models.pruning.prune import prune
from catransformers.testing.kit import FamilyKit, differences, halves, outputs_of, random_importance, rows, samples

_ONNX = 1e-4


class ExportChecks(FamilyKit):
    """Of exports."""

    def test_the_own_format_comes_back_bit_by_bit(self) -> None:
        """With `catransformers.load`, full and with all dimensions at one half."""
        batch = self.batch()
        for net in self._nets():
            with tempfile.TemporaryDirectory() as folder:
                files = write_model(Model(net), "catransformers", Path(folder))
                assert all(path.is_file() for path in files), f"not all there: {files}"
                again = catransformers.load(folder)
                assert again.spec == net.spec
                wrong = differences(outputs_of(again, batch), outputs_of(net, batch))
            assert not wrong, "; ".join(wrong)

    def test_onnx_computes_the_same(self) -> None:
        """With other numbers of samples than the translation saw; skipped where onnx and onnxruntime are missing."""
        family = self.spec().family
        if "onnx" not in formats_of(family):
            raise unittest.SkipTest(f"no ONNX of family {family!r}")
        missing = [n for n in ("onnx", "onnxscript", "onnxruntime") if importlib.util.find_spec(n) is None]
        if missing:
            raise unittest.SkipTest(f"not installed: {', '.join(missing)}")
        onnxruntime = importlib.import_module("onnxruntime")
        net, batch = self._nets()[-1], self.batch()
        with tempfile.TemporaryDirectory() as folder:
            seen: set[str] = set()
            for path in write_model(Model(net), "onnx", Path(folder)):
                session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
                for index in ([0], list(range(samples(batch)))):
                    some = rows(batch, index)
                    expected = outputs_of(net, some)
                    given = {put.name: some[put.name].numpy() for put in session.get_inputs()}
                    names = [put.name for put in session.get_outputs()]
                    found = dict(zip(names, map(torch.from_numpy, session.run(None, given)), strict=True))
                    wrong = differences(found, {name: expected[name] for name in names}, _ONNX)
                    assert not wrong, f"{path.name}, {len(index)} samples: {'; '.join(wrong)}"
                    seen |= set(names)
            left_out = {name for name, output in outputs_of(net, batch).items() if output.dim()} - seen
            assert not left_out, f"outputs of no graph: {', '.join(left_out)}"

    def _nets(self) -> list[Net]:
        net = self.net()
        (_, smallest) = list(halves(net.spec))[-1]
        return [net, prune(net, net.spec.with_dimensions(smallest), random_importance(net))]
