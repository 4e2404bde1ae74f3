"""The core without any optional library, and what is said where one is missing."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from catransformers.extras import EXTRAS, install, not_installed

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
DISTRIBUTIONS = {"PIL": "pillow", "sklearn": "scikit-learn", "ax": "ax-platform", "open_clip": "open_clip_torch"}
DISTRIBUTIONS |= {"pynvml": "nvidia-ml-py"}
WITH = {"huggingface_hub": "transformers", "markupsafe": "jinja2", "tokenizers": "transformers"}
#: Stands in for an environment with the core alone: what no dependency of the core brings cannot be imported.
WITHOUT = """
import sys
from importlib.abc import MetaPathFinder
from importlib.metadata import packages_distributions
CORE = {"catransformers", "click", "markdown-it-py", "mdurl", "numpy", "pygments", "rich", "tomli-w", "tzdata"}
OTHERS = {
    name
    for name, distributions in packages_distributions().items()
    if not {one.lower().replace("_", "-") for one in distributions} & CORE
}
class Missing(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in OTHERS:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Missing())
from catransformers.cli import main
main(sys.argv[1:])
"""
HARDWARE = "cores=1,pe_x=64,pe_y=8,local_kib=64,local_bandwidth=32,global_mib=2"


def core_only(*arguments: str, cwd: Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", WITHOUT, *arguments]
    environment = {**os.environ, "COLUMNS": "120"}
    return subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=cwd, env=environment, check=False)


@pytest.mark.parametrize(
    "command",
    [
        f"estimate --model embedded --hardware {HARDWARE} --explain",
        "sweep --model embedded --space micro",
        "carbon die --area-mm2 10",
        "carbon memory --kind lpddr4 --gb 1",
        "carbon regions --search fr",
        "carbon scenarios",
        "schedule --hours 2 --deadline 12h --region US-CA",
        "--help",
        "search --help",
        "doctor",
    ],
)
def test_the_core_needs_no_optional_library(command: str, tmp_path: Path) -> None:
    found = core_only(*command.split(), cwd=tmp_path)
    assert found.returncode in (0, 3), found.stderr
    assert "Traceback" not in found.stderr


@pytest.mark.parametrize("command", ["search study.toml", "demo", "train --model small-vit --task digits --steps 1"])
def test_what_needs_more_says_what_to_install(command: str, tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_text('name = "s"\n[hardware]\nspace = "micro"\n')
    found = core_only(*command.split(), cwd=tmp_path)
    assert found.returncode == 2
    assert install("search") in found.stderr and "Traceback" not in found.stderr
    assert not (tmp_path / "runs").exists()


def test_a_picture_needs_its_extra(tmp_path: Path) -> None:
    found = core_only("estimate", "--model", "embedded", "--hardware", HARDWARE, "--roofline", "r.svg", cwd=tmp_path)
    assert found.returncode == 2
    assert install("figures") in found.stderr and "Traceback" not in found.stderr


def test_every_library_is_in_the_extra_that_is_named() -> None:
    extras = PROJECT["optional-dependencies"]
    for library, extra in EXTRAS.items():
        name = DISTRIBUTIONS.get(library, WITH.get(library, library))
        assert any(line.partition(">")[0] == name for line in extras[extra]), (library, extra)


def test_all_has_every_extra() -> None:
    (line,) = PROJECT["optional-dependencies"]["all"]
    named = set(line.partition("[")[2].rstrip("]").split(","))
    assert named == set(PROJECT["optional-dependencies"]) - {"all", "dev", "figures"}  # `search` has the figures


def test_only_optional_libraries_are_explained() -> None:
    assert not_installed(ModuleNotFoundError("No module named 'catransformers.nothing'", name="catransformers")) is None
    found = not_installed(ModuleNotFoundError("No module named 'torch.nn'", name="torch.nn"))
    assert found is not None and install("search") in str(found)
