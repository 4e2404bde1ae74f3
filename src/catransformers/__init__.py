"""catransformers: transformer models and accelerators that together emit the least carbon.

    >>> import catransformers as ct
    >>> ct.estimate("ViT-B-16", "cores=1,pe_x=256,pe_y=8,local_kib=64,local_bandwidth=128,global_mib=2")
    >>> ct.sweep("ViT-B-16", limits={"max_latency_ms": 20})
    >>> ct.open_study("runs/demo").front

Names are imported when they are first used, so that importing the package stays cheap.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from catransformers import carbon
    from catransformers.api.models import models
    from catransformers.api.scheduling import schedule
    from catransformers.api.study import Study, export, open_study, search
    from catransformers.carbon.scenario import Scenario
    from catransformers.carbon.scenario import read_scenario as scenario
    from catransformers.designs.estimate import Estimate, estimate
    from catransformers.designs.explain import explain
    from catransformers.designs.sweep import Sweep, sweep
    from catransformers.errors import InfeasibleError, InputError, IntegrityError
    from catransformers.hardware.accelerator import Accelerator
    from catransformers.hardware.technology import Technology, technology
    from catransformers.models.loading.storage import load_model as load
    from catransformers.models.tracing.trace import trace

__version__ = "0.1.0"
__all__ = [
    "Accelerator",
    "Estimate",
    "InfeasibleError",
    "InputError",
    "IntegrityError",
    "Scenario",
    "Study",
    "Sweep",
    "Technology",
    "carbon",
    "estimate",
    "explain",
    "export",
    "load",
    "models",
    "open_study",
    "scenario",
    "schedule",
    "search",
    "sweep",
    "technology",
    "trace",
]

#: Name → module and attribute; a name without an attribute is a package of its own.
_LAZY = {
    "Accelerator": "hardware.accelerator:Accelerator",
    "Estimate": "designs.estimate:Estimate",
    "InfeasibleError": "errors:InfeasibleError",
    "InputError": "errors:InputError",
    "IntegrityError": "errors:IntegrityError",
    "Scenario": "carbon.scenario:Scenario",
    "Study": "api.study:Study",
    "Sweep": "designs.sweep:Sweep",
    "Technology": "hardware.technology:Technology",
    "carbon": "carbon",
    "estimate": "designs.estimate:estimate",
    "explain": "designs.explain:explain",
    "export": "api.study:export",
    "load": "models.loading.storage:load_model",
    "models": "models",
    "open_study": "api.study:open_study",
    "scenario": "carbon.scenario:read_scenario",
    "schedule": "api.scheduling:schedule",
    "search": "search",
    "sweep": "designs.sweep:sweep",
    "technology": "hardware.technology:technology",
    "trace": "models.tracing.trace:trace",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, attribute = _LAZY[name].partition(":")
    try:
        found: Any = import_module(f"{__name__}.{module}")
    except ModuleNotFoundError as error:
        from catransformers.extras import not_installed  # noqa: PLC0415 - only where something is missing

        raise not_installed(error) or error from error
    return getattr(found, attribute) if attribute else found


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
