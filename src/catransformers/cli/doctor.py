"""`catransformers doctor`: what is installed, what is missing or broken, and the command that fixes it."""

from __future__ import annotations

import os
import platform
import sys
from dataclasses import asdict, dataclass
from importlib import import_module, metadata

import click

from catransformers import __version__
from catransformers.cli.output import json_option, print_json
from catransformers.energy.choose import survey
from catransformers.errors import CatransformersError
from catransformers.extras import install
from catransformers.lazy import lazy
from catransformers.reports.terminal.screen import console, table, text

compat = lazy("catransformers.models.loading.torchvision_compat")
storage = lazy("catransformers.models.loading.storage")


@dataclass(frozen=True)
class Diagnosis:
    """One line of the doctor: what was looked at, how it is (`ok`, `missing`, `broken`), and what fixes it."""

    item: str
    state: str
    detail: str
    mend: str = ""
    needed: bool = True


#: Libraries by the extra that brings them; the empty one is the core, which works without the others.
_LIBRARIES = {
    "numpy": "",
    "scipy": "search",
    "scikit-learn": "search",
    "safetensors": "search",
    "botorch": "search",
    "gpytorch": "search",
    "plotly": "figures",
    "matplotlib": "figures",
}


@click.command()
@json_option
def doctor(as_json: bool) -> int:
    """Check what is installed and what is missing, with the exact command that fixes it.

    Exits with 0 when everything that the core needs is there, else with 1.
    """
    findings = examine()
    healthy = all(f.state == "ok" for f in findings if f.needed)
    if as_json:
        print_json({"healthy": healthy, "findings": [asdict(f) for f in findings]})
        return 0 if healthy else 1
    screen = console()
    colours = {"ok": "green", "missing": "yellow", "broken": "red"}
    screen.print(
        table(
            "catransformers doctor",
            ("", "state", "detail"),
            [(f.item, f"[{colours[f.state]}]{f.state}[/]", text(f.detail)) for f in findings],
            left=3,
        )
    )
    for finding in findings:
        if finding.mend:
            screen.print(f"{finding.item}: {finding.mend}", soft_wrap=True, markup=False)  # "pkg[extra]" is no markup
    screen.print("All that the core needs is here." if healthy else "Something that the core needs is not right.")
    return 0 if healthy else 1


def examine() -> list[Diagnosis]:
    """Look at this environment; imports torch and torchvision, reaches no network."""
    found = [
        Diagnosis("catransformers", "ok", __version__),
        Diagnosis("python", "ok", f"{platform.python_version()} at {sys.executable}"),
        Diagnosis("processor", "ok", f"{_cores()} cores for this process, {platform.machine()}"),
    ]
    found += [_package(name, needed=not extra, mend=extra and install(extra)) for name, extra in _LIBRARIES.items()]
    found += _torch()
    found += [_embedded(), _open_clip()]
    return found + _meters()


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)


def _package(name: str, *, needed: bool = True, mend: str = "") -> Diagnosis:
    try:
        return Diagnosis(name, "ok", metadata.version(name), needed=needed)
    except metadata.PackageNotFoundError:
        return Diagnosis(name, "missing", "not installed", mend or f'pip install "{name}"', needed)


def _torch() -> list[Diagnosis]:
    try:
        torch = import_module("torch")
    except ModuleNotFoundError:
        return [Diagnosis("torch", "missing", "not installed", install("search"), needed=False)]
    except Exception as error:  # whatever keeps torch from importing is the finding
        return [Diagnosis("torch", "broken", str(error), "pip install --force-reinstall torch")]
    found = [Diagnosis("torch", "ok", f"{torch.__version__}, {torch.get_num_threads()} threads")]
    if torch.cuda.is_available():
        names = ", ".join(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count()))
        found.append(Diagnosis("GPU", "ok", names, needed=False))
    else:
        found.append(Diagnosis("GPU", "missing", "no CUDA device: everything runs on the CPU", needed=False))
    found.append(_torchvision())
    return found


def _torchvision() -> Diagnosis:
    """Whether torchvision imports; its builds must match torch's (version and device), or it takes open_clip down."""
    try:
        version = import_module("torchvision").__version__
    except ImportError:
        return Diagnosis("torchvision", "missing", "only open_clip models need it", needed=False)
    except Exception as error:  # whatever keeps it from importing is the finding
        if not compat.is_mismatch(error):
            return Diagnosis("torchvision", "broken", str(error), _reinstall_torchvision(), needed=False)
        installed = metadata.version("torchvision")
        if os.environ.get(compat.ENVIRONMENT) == "1":
            return Diagnosis("torchvision", "ok", f"{installed} with stand-ins ({compat.ENVIRONMENT}=1)", needed=False)
        detail = f"{installed} was built for another torch than {metadata.version('torch')}"
        mend = f"{_reinstall_torchvision()}  (from the index that torch came from), or set {compat.ENVIRONMENT}=1"
        return Diagnosis("torchvision", "broken", detail, mend, needed=False)
    return Diagnosis("torchvision", "ok", str(version), needed=False)


def _reinstall_torchvision() -> str:
    """The command for the release that goes with the installed torch: torchvision 0.(n+15) belongs to torch 2.n."""
    minor = int(metadata.version("torch").split(".")[1])
    return f'pip install --force-reinstall --no-deps "torchvision==0.{minor + 15}.*"'


def _open_clip() -> Diagnosis:
    return _package("open_clip_torch", needed=False, mend=install("clip"))


def _meters() -> list[Diagnosis]:
    """The energy meters for the search's own footprint; none of them is needed."""
    return [
        Diagnosis(f"meter {meter.name}", "ok" if meter.usable else "missing", meter.detail, meter.mend, needed=False)
        for meter in survey()
    ]


def _embedded() -> Diagnosis:
    try:
        model = storage.embedded_model()
    except ModuleNotFoundError:
        return Diagnosis("embedded model", "missing", "needs torch", install("search"), needed=False)
    except CatransformersError as error:
        return Diagnosis("embedded model", "broken", str(error), "pip install --force-reinstall catransformers")
    return Diagnosis(
        "embedded model", "ok", f"{sum(p.numel() for p in model.parameters()):,} parameters, SHA-256 verified"
    )
