"""At what cost to the planet: embodied and operational carbon, grids, scenarios, ranges.

`catransformers.carbon.die(…)`, `.memory(…)` and `.footprint(…)` are for notebooks, see `api.carbon`.
"""

from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from catransformers.api.carbon import die, footprint, memory

__all__ = ["die", "footprint", "memory"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return resolve_name(f"catransformers.api.carbon:{name}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
