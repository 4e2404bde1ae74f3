"""Checkpoints on disk: every format, mapped rather than read, damage named, and no network without leave."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from catransformers.errors import InputError
from catransformers.models.loading.checkpoints import (
    cached_folder,
    find_folder,
    hub_name,
    read_config,
    read_folder,
    read_tensors,
    tensor_names,
)

TENSORS = {f"layer.{i}": torch.arange(4.0) + i for i in range(5)}


def write_shards(folder: Path, suffix: str = ".safetensors") -> Path:
    """Three shards and their index; the index's path."""
    stem = "model" if suffix == ".safetensors" else "pytorch_model"
    names, shards = list(TENSORS), {}
    for number, part in enumerate((names[:2], names[2:4], names[4:]), start=1):
        file = f"{stem}-{number:05d}-of-00003{suffix}"
        content = {name: TENSORS[name].clone() for name in part}
        if suffix == ".safetensors":
            save_file(content, folder / file)
        else:
            torch.save(content, folder / file)
        shards |= dict.fromkeys(part, file)
    index = folder / f"{stem}{suffix}.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": shards}))
    return index


def same(found: dict[str, Any]) -> bool:
    return found.keys() == TENSORS.keys() and all(torch.equal(found[name], TENSORS[name]) for name in TENSORS)


@pytest.mark.parametrize("suffix", [".safetensors", ".bin"])
def test_shards_are_one_checkpoint(suffix: str, tmp_path: Path) -> None:
    write_shards(tmp_path, suffix)
    assert same(read_folder(tmp_path, "here"))
    assert tensor_names(tmp_path, "here") == TENSORS.keys()


def test_a_missing_shard_and_a_shard_that_lacks_a_tensor_are_named(tmp_path: Path) -> None:
    index = write_shards(tmp_path)
    save_file({"layer.2": torch.zeros(1)}, tmp_path / "model-00002-of-00003.safetensors")
    with pytest.raises(InputError, match=r"00002-of-00003.safetensors lacks layer\.3"):
        read_folder(tmp_path, "here")
    (tmp_path / "model-00001-of-00003.safetensors").unlink()
    (tmp_path / "model-00002-of-00003.safetensors").unlink()
    with pytest.raises(InputError) as caught:
        read_folder(tmp_path, "here")
    assert [f"{n:05d}-of-00003" in str(p) for n, p in zip((1, 2), caught.value.problems, strict=True)] == [True, True]
    index.write_text(json.dumps({"weight_map": {"layer.0": "../elsewhere.safetensors"}}))
    with pytest.raises(InputError, match="no file beside it"):
        read_folder(tmp_path, "here")
    index.write_text("[]")
    with pytest.raises(InputError, match="JSON object"):
        read_folder(tmp_path, "here")
    index.write_text("{}")
    with pytest.raises(InputError, match="no weight_map"):
        read_folder(tmp_path, "here")


@pytest.mark.parametrize("kind", ["safetensors", "torch", "torch before 1.6", "state_dict", "model"])
def test_every_format_of_one_file(kind: str, tmp_path: Path) -> None:
    path = tmp_path / ("w.safetensors" if kind == "safetensors" else "w.pt")
    content: dict[str, Any] = {name: tensor.clone() for name, tensor in TENSORS.items()}
    if kind == "safetensors":
        save_file(content, path)
    elif kind in ("state_dict", "model"):
        torch.save({kind: {f"module.{name}": tensor for name, tensor in content.items()}, "epoch": 3}, path)
    else:
        torch.save(content, path, _use_new_zipfile_serialization=kind == "torch")
    assert same(read_tensors(path, "here"))


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_a_file_that_was_cut_short_is_damaged(suffix: str, share: float, tmp_path: Path) -> None:
    path = tmp_path / f"w{suffix}"
    content = {name: tensor.clone() for name, tensor in TENSORS.items()}
    if suffix == ".pt":
        torch.save(content, path)
    else:
        save_file(content, path)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(InputError, match=f"here: .*w{suffix} is not a checkpoint of tensors.*cut short"):
        read_tensors(path, "here")
    path.rename(tmp_path / "model.safetensors")
    with pytest.raises(InputError, match="is not a file of tensors"):
        tensor_names(tmp_path, "here")


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone.safetensors cannot be read"):
        read_tensors(tmp_path / "gone.safetensors", "here")
    with pytest.raises(InputError, match=r"holds no weights; allowed: model.safetensors"):
        read_folder(tmp_path, "here")
    with pytest.raises(InputError, match=r"config.json cannot be read"):
        read_config(tmp_path / "config.json", "here")
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(InputError, match="damaged, not JSON"):
        read_config(tmp_path / "config.json", "here")


# --- the hub -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("google/vit-base-patch16-224", "google/vit-base-patch16-224"),
        ("hf_hub:timm/vit_base_patch16_224.augreg_in1k", "timm/vit_base_patch16_224.augreg_in1k"),
        ("hf-hub:laion/CLIP", "laion/CLIP"),
        ("bert-base-uncased", "bert-base-uncased"),
        ("/tmp/model", None),
        ("../model", None),
        ("a/b/c", None),
        ("", None),
    ],
)
def test_names_on_the_hub(name: str, expected: str | None) -> None:
    assert hub_name(name) == expected


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the hub, and a machine on which using the network fails the test."""
    library = pytest.importorskip("huggingface_hub")
    monkeypatch.setattr(importlib.import_module("huggingface_hub.constants"), "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("the network was used"))
    monkeypatch.setattr("socket.getaddrinfo", lambda *_a, **_k: pytest.fail("the network was used"))
    assert library is not None
    return tmp_path / "hub"


def in_cache(hub: Path, repository: str) -> Path:
    """An empty snapshot of a repository, as the hub's client lays it out."""
    root = hub / f"models--{repository.replace('/', '--')}"
    folder = root / "snapshots" / ("0" * 40)
    folder.mkdir(parents=True)
    (root / "refs").mkdir()
    (root / "refs" / "main").write_text("0" * 40)
    return folder


def test_a_folder_is_found_by_path_or_in_the_hub_s_cache(hub: Path, tmp_path: Path) -> None:
    assert find_folder(str(tmp_path), allow_network=False, where="here") == tmp_path
    assert cached_folder("someone/model") is None
    assert cached_folder("no name!") is None
    folder = in_cache(hub, "someone/model")
    (folder / "config.json").write_text("{}")
    assert cached_folder("hf_hub:someone/model") == folder
    with pytest.raises(
        InputError, match=r"the weights of 'someone/model' are not in .* cache.*hf download someone/model"
    ):
        find_folder("someone/model", allow_network=False, where="here")
    save_file({"w": torch.zeros(1)}, folder / "model.safetensors")
    assert find_folder("someone/model", allow_network=False, where="here") == folder
    assert find_folder("someone/model", allow_network=True, where="here") == folder, "complete: no download"


def test_what_is_not_on_this_machine_needs_leave(hub: Path) -> None:
    with pytest.raises(
        InputError, match=r"neither a folder nor in .* cache.*the network is not allowed.*allow_network"
    ):
        find_folder("someone/other", allow_network=False, where="here")
    with pytest.raises(InputError, match="there is no folder /nowhere/at/all"):
        find_folder("/nowhere/at/all", allow_network=False, where="here")


def test_a_download_takes_one_kind_of_weights(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library = importlib.import_module("huggingface_hub")
    asked: list[list[str]] = []

    def download(name: str, *, local_files_only: bool = False, **options: Any) -> str:
        if local_files_only:
            raise FileNotFoundError(name)
        asked.append(options["allow_patterns"])
        folder = hub / "made"
        folder.mkdir(parents=True, exist_ok=True)
        if "pytorch_model.bin" in options["allow_patterns"]:
            torch.save({}, folder / "pytorch_model.bin")
        return str(folder)

    monkeypatch.setattr(library, "snapshot_download", download)
    assert find_folder("someone/other", allow_network=True, where="here") == hub / "made"
    assert ["pytorch_model.bin" in patterns for patterns in asked] == [False, False, True]

    def refuse(_name: str, **_options: Any) -> str:
        raise OSError("401: this repository is gated\nand more")

    monkeypatch.setattr(library, "snapshot_download", refuse)
    with pytest.raises(InputError, match=r"'someone/other' cannot be downloaded: 401: this repository is gated$"):
        find_folder("someone/other", allow_network=True, where="here")


# --- memory --------------------------------------------------------------------------------------------------------

MEASURE = """
import sys
from pathlib import Path
import torch
from catransformers.models.loading.checkpoints import read_tensors

def anonymous():
    for line in open("/proc/self/smaps_rollup"):
        if line.startswith("Anonymous:"):
            return int(line.split()[1])

read_tensors(Path(sys.argv[1]), "here")  # what the libraries themselves take
before = anonymous()
tensors = read_tensors(Path(sys.argv[2]), "here")
total = sum(float(tensor.sum()) for tensor in tensors.values())
print(anonymous() - before, total)
"""


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="the kernel does not tell")
@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_reading_costs_no_memory_of_its_own(suffix: str, tmp_path: Path) -> None:
    large = {f"w{i}": torch.ones(2_000_000) for i in range(12)}  # 96 MB
    for name, content in (("small", {"w": torch.ones(10)}), ("large", large)):
        if suffix == ".pt":
            torch.save(content, tmp_path / f"{name}.pt")
        else:
            save_file(content, tmp_path / f"{name}.safetensors")
    paths = [str(tmp_path / f"{name}{suffix}") for name in ("small", "large")]
    output = subprocess.run(
        [sys.executable, "-c", MEASURE, *paths], capture_output=True, text=True, check=True, timeout=120
    ).stdout
    kilobytes, total = output.split()
    assert float(total) == 24_000_000
    assert int(kilobytes) < 8_000
