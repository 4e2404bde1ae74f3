"""Models on disk: what is written comes back, and nothing else is accepted."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from catransformers.errors import InputError, IntegrityError
from catransformers.models.families.clip import Clip
from catransformers.models.loading.storage import assign_tensors, load_model, read_description, save_model
from catransformers.workloads.spec import ClipSpec, TextSpec, VisionSpec

SPEC = ClipSpec(
    VisionSpec(1, 24, 12, 3, 4, 5, image_size=8, patch_size=4),
    TextSpec(2, 16, 8, 2, 4, 6, vocab_size=11),
    projection_dim=6,
    activation="quick_gelu",
)


def saved(folder: Path) -> tuple[Clip, Path]:
    torch.manual_seed(0)
    model, path = Clip(SPEC), folder / "model.safetensors"
    save_model(model, path, {"seed": 3})
    return model, path


def test_a_saved_model_loads_back_bit_for_bit(tmp_path: Path) -> None:
    model, path = saved(tmp_path)
    again = load_model(path)
    assert again.spec == SPEC
    assert read_description(path)["seed"] == 3
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name])
    assert all(p.requires_grad and not p.is_meta for p in again.parameters())
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model.json", "model.safetensors"]


def test_load_takes_text_or_the_folder_and_gives_a_model_to_use(tmp_path: Path) -> None:
    _, path = saved(tmp_path)
    for given in (str(path), tmp_path, str(tmp_path)):
        assert not load_model(given).training


def test_the_same_weights_give_the_same_hash(tmp_path: Path) -> None:
    model, path = saved(tmp_path)
    first = read_description(path)["sha256"]
    assert save_model(model, tmp_path / "again.safetensors") == first


@pytest.mark.parametrize("position", [0, 7, 200, -1])
def test_a_damaged_byte_is_found(tmp_path: Path, position: int) -> None:
    _, path = saved(tmp_path)
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)
    with pytest.raises(IntegrityError, match="SHA-256"):
        load_model(path)


def test_a_truncated_file_and_damaged_json_are_found(tmp_path: Path) -> None:
    _, path = saved(tmp_path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(IntegrityError, match="SHA-256"):
        load_model(path)
    path.with_suffix(".json").write_text("{", encoding="utf-8")
    with pytest.raises(IntegrityError, match="not JSON"):
        load_model(path)
    path.with_suffix(".json").write_text("{}", encoding="utf-8")
    with pytest.raises(IntegrityError, match="no spec and sha256"):
        load_model(path)


def test_every_missing_extra_and_misshapen_tensor_is_named(tmp_path: Path) -> None:
    model, path = saved(tmp_path)
    tensors = load_file(path)
    del tensors["visual.proj"], tensors["logit_scale"]
    tensors["surplus"] = torch.zeros(2)
    tensors["ln_final.weight"] = torch.zeros(9)
    with pytest.raises(IntegrityError) as caught:
        assign_tensors(model, tensors, "here")
    for part in (
        "missing visual.proj",
        "missing logit_scale",
        "unexpected surplus",
        "ln_final.weight is (9,), not (8,)",
    ):
        assert part in str(caught.value)


def test_another_spec_than_the_tensors_is_found(tmp_path: Path) -> None:
    _, path = saved(tmp_path)
    description = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    description["spec"]["text"]["layers"] = 1
    path.with_suffix(".json").write_text(json.dumps(description), encoding="utf-8")
    with pytest.raises(IntegrityError, match=r"unexpected transformer\.resblocks\.1"):
        load_model(path)


def test_another_type_than_numbers_to_compute_with_is_found(tmp_path: Path) -> None:
    model, path = saved(tmp_path)
    tensors = load_file(path)
    tensors["ln_final.bias"] = torch.zeros(8, dtype=torch.int64)
    with pytest.raises(IntegrityError, match=r"ln_final\.bias is of torch\.int64"):
        assign_tensors(model, tensors, "here")


def test_tensors_are_copied_or_taken_themselves(tmp_path: Path) -> None:
    model, path = saved(tmp_path)
    tensors = load_file(path)
    assign_tensors(model, tensors, "here")
    tensors["visual.proj"].zero_()
    assert bool(model.visual.proj.abs().max() > 0)
    assign_tensors(model, tensors, "here", copy=False)
    assert model.visual.proj.data_ptr() == tensors["visual.proj"].data_ptr()


def test_half_precision_comes_back_as_it_was(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = Clip(SPEC).bfloat16()
    save_model(model, tmp_path / "half.safetensors")
    again = load_model(tmp_path / "half.safetensors")
    assert all(torch.equal(tensor, again.state_dict()[name]) for name, tensor in model.state_dict().items())
    assert {p.dtype for p in again.parameters()} == {torch.bfloat16}


LARGE = ClipSpec(
    VisionSpec(4, 4096, 512, 8, 64, 5, image_size=8, patch_size=4),
    TextSpec(1, 16, 8, 2, 4, 6, vocab_size=11),
    projection_dim=6,
)
MAPPED = """
import sys
import torch
from catransformers.models.families.nets import make_net  # what is imported is no part of the measurement
import catransformers.models.families.clip
from catransformers.models.loading.storage import load_model

def memory():
    lines = open("/proc/self/status").read().splitlines()
    found = dict(line.split(":") for line in lines)
    return {name: int(found[name].split()[0]) * 1024 for name in ("RssAnon", "RssFile")}

before = memory()
net = load_model(sys.argv[1])
total = sum(float(p.detach().sum()) for p in net.parameters())
after = memory()
print(*(after[name] - before[name] for name in ("RssAnon", "RssFile")), total)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_weights_are_mapped_not_read(tmp_path: Path) -> None:
    """A net whose every weight has been looked at has cost pages of the file, and next to no memory of its own."""
    torch.manual_seed(0)
    path = tmp_path / "model.safetensors"
    save_model(Clip(LARGE), path)
    size = path.stat().st_size
    assert size > 80e6
    done = subprocess.run(
        [sys.executable, "-c", MAPPED, str(path)], capture_output=True, text=True, check=True, timeout=120
    )
    private, mapped, total = (float(part) for part in done.stdout.split())
    assert total != 0
    assert mapped > 0.95 * size
    assert private < 0.1 * size


def test_changing_a_mapped_net_leaves_the_file(tmp_path: Path) -> None:
    _, path = saved(tmp_path)
    before = path.read_bytes()
    net = load_model(path)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(1)
    assert path.read_bytes() == before
    load_model(path)


def test_not_safetensors_is_an_error_not_a_crash(tmp_path: Path) -> None:
    import hashlib

    _, path = saved(tmp_path)
    path.write_bytes(b"not tensors at all")
    description = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    description["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    path.with_suffix(".json").write_text(json.dumps(description), encoding="utf-8")
    with pytest.raises(IntegrityError, match="not a safetensors file"):
        load_model(path)


def test_wrong_requests_are_input_errors(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        load_model(tmp_path / "nothing.safetensors")
    with pytest.raises(InputError) as caught:
        save_model(Clip(SPEC), tmp_path / "model.bin", {"spec": 1})
    assert len(caught.value.problems) == 2
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, path = saved(tmp_path)
    before = path.read_bytes()
    with torch.no_grad():
        model.logit_scale.add_(1)

    def fail(_: int) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        save_model(model, path)
    assert path.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model.json", "model.safetensors"]
