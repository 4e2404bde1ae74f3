"""What a base model costs: no memory of its own where its file can be mapped, no torch where only a spec is asked."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from catransformers.models.families.nets import make_net
from catransformers.models.loading.storage import save_model
from catransformers.workloads.spec import LlamaSpec

SPEC = LlamaSpec(4, 2048, 768, 12, 4, 64, 8000, False, 64, 32, 16)

MEASURE = """
import sys
import torch
from catransformers.models.loading.base import load_base

def anonymous():
    for line in open("/proc/self/smaps_rollup"):
        if line.startswith("Anonymous:"):
            return int(line.split()[1])

first = load_base(sys.argv[1])
tokens = torch.randint(0, 8000, (1, 8))
with torch.no_grad():
    expected = first.net.outputs({"tokens": tokens})["logits"]
before = anonymous()
second = load_base(sys.argv[1])
with torch.no_grad():
    assert torch.equal(second.net.outputs({"tokens": tokens})["logits"], expected)
print(anonymous() - before)
"""

LIGHT = """
import sys
from catransformers.models.loading.base import spec_of_base
import catransformers
for name in ("embedded", "ViT-B-16", "Llama-3.2-1B"):
    spec_of_base(name)
print("torch" in sys.modules)
"""


def run(code: str, *arguments: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True, timeout=120
    ).stdout


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="the kernel does not tell")
@pytest.mark.parametrize("layout", ["own", "huggingface"])
def test_a_second_load_costs_no_memory_of_its_own(layout: str, tmp_path: Path) -> None:
    import json

    from safetensors.torch import save_file

    from catransformers.models.formats.llama import to_huggingface

    torch.manual_seed(0)
    net = make_net(SPEC)
    size = sum(tensor.numel() * tensor.element_size() for tensor in net.state_dict().values())
    if layout == "own":
        save_model(net, tmp_path / "model.safetensors")
    else:
        config, tensors = to_huggingface(net)  # type: ignore[arg-type]
        (tmp_path / "config.json").write_text(json.dumps(config))
        save_file(tensors, tmp_path / "model.safetensors", {"format": "pt"})
    assert size > 130e6
    assert int(run(MEASURE, str(tmp_path))) * 1024 < 0.05 * size


def test_specs_by_name_need_no_torch() -> None:
    assert run(LIGHT).strip() == "False"
