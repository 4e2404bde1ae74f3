"""BoTorch's compiled kernel for expected hypervolume improvement, made once a machine, safely.

The first acquisition in a process has BoTorch compile a C++ extension (about a minute), in a folder that all programs
of a user share and under a lock that a killed process leaves behind, on which the next one would wait for ever. Here it
is compiled in a folder of its own and moved to its place when it is whole; BoTorch then finds it as the precompiled
module that it asks for first. The place's name says which source, libraries and processor it was compiled for. Where it
cannot be compiled BoTorch is left to itself, and uses the slower code that is written in Python.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import platform
import shutil
import sys
import tempfile
from pathlib import Path

NAME = "logei_fused_ext"  # what BoTorch calls it
FLAGS = ("-O3", "-march=native")  # BoTorch's own


def warm_up() -> bool:
    """Make the kernel importable, compiling it if need be; says whether it is."""
    source = _source()
    return source is not None and compiled(NAME, source, FLAGS)


def _source() -> Path | None:
    found = importlib.util.find_spec("botorch")
    if found is None or found.origin is None:
        return None
    path = Path(found.origin).parent / "csrc" / "logei_fused.cpp"
    return path if path.exists() else None


def compiled(name: str, source: Path, flags: tuple[str, ...]) -> bool:
    """Make a C++ extension of torch importable as `name`, compiling it if need be; says whether it is.

    Args:
        name: of the module, as its source has it.
        source: one C++ file.
        flags: of the compiler.
    """
    if name in sys.modules:
        return True
    from torch.utils.cpp_extension import get_default_build_root  # noqa: PLC0415

    root = Path(os.environ.get("TORCH_EXTENSIONS_DIR") or get_default_build_root())
    try:
        place = root / "catransformers" / f"{name}-{_key(source, flags)}.so"
        if not place.exists():
            _compile(name, source, flags, place)
        _load(name, place)
    except Exception:  # no compiler, no room, another platform: all are as good as not having it
        return False
    return True


def _key(source: Path, flags: tuple[str, ...]) -> str:
    """What the compiled kernel depends on."""
    import torch  # noqa: PLC0415

    described = [source.read_text(), torch.__version__, platform.platform(), sys.version, *flags]
    cpu = Path("/proc/cpuinfo")
    if cpu.exists():
        described += [line for line in cpu.read_text().splitlines() if line.startswith(("flags", "Features"))][:1]
    return hashlib.sha256("\n".join(described).encode()).hexdigest()[:16]


def _compile(name: str, source: Path, flags: tuple[str, ...], place: Path) -> None:
    from torch.utils.cpp_extension import load  # noqa: PLC0415

    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place.parent) as folder:
        load(name=name, sources=[str(source)], extra_cflags=list(flags), build_directory=folder, verbose=False)
        part = place.with_suffix(f".{os.getpid()}.part")
        shutil.copyfile(Path(folder) / f"{name}.so", part)
        part.replace(place)


def _load(name: str, place: Path) -> None:
    spec = importlib.util.spec_from_file_location(name, place)
    if spec is None or spec.loader is None:
        raise ImportError(f"{place} is no module")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.modules[name] = module
