"""Plug-in registry: whatever comes by name, the package's own and what other packages add through entry points.

A kind (strategies, tasks, …) is a `Registry`: a table of rows, name → `"module:attribute"`. The package's own rows
stand below; another package's are its entry points in the kind's group. Both are declared alike, and imported when
used:

    [project.entry-points."catransformers.strategies"]
    evenly = "my_package.evenly:Evenly"

Installed packages are searched (some ten milliseconds) only for a name that is not the package's own, or for all names.

Reference: PyPA, "Entry points specification".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any, TypeVar

from catransformers.errors import InputError, Problem, Problems, unknown_name

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from catransformers.carbon.embodied import EmbodiedModel
    from catransformers.energy.reading import Meter
    from catransformers.execution.local import Executor
    from catransformers.exports.formats import ExportFormat
    from catransformers.intensity.source import IntensitySource
    from catransformers.workloads.family import Family

T = TypeVar("T")


@cache
def entries_of(group: str) -> tuple[EntryPoint, ...]:
    """The entry points of a group in all installed packages, by name; searched once a process."""
    from importlib.metadata import entry_points  # noqa: PLC0415 - slow to import, seldom needed

    return tuple(sorted(entry_points(group=group), key=lambda entry: (entry.name, entry.value)))


class Registry(Mapping[str, T]):
    """All of one kind, by name: the package's own in their order, then those of other packages by name.

    Iterating names imports none of them; a value is imported when it is asked for.

    Args:
        kind: what one is called in messages.
        where: the key or option that holds the name, for messages.
        group: the entry point group.
        rows: the package's own: name → `"module:attribute"`, or the thing itself where it costs nothing to have.
        shape: the class, as `"module:attribute"`, that whatever another package adds must be an instance of.
    """

    def __init__(
        self, kind: str, where: str, group: str, rows: Mapping[str, str | T], shape: str = "builtins:type"
    ) -> None:
        self.kind, self.where, self.group, self.rows, self.shape = kind, where, group, dict(rows), shape

    def __getitem__(self, name: str) -> T:
        """What is registered by that name.

        Raises:
            KeyError: if nothing is.
            InputError: if two packages define it, or the one that does cannot be imported.
        """
        if name in self.rows:
            row = self.rows[name]
            found: T = resolve_name(row) if isinstance(row, str) else row
            return found
        return self._imported(self._added()[name])

    def __iter__(self) -> Iterator[str]:
        yield from self.rows
        yield from self._added()

    def __len__(self) -> int:
        return len(self.rows) + len(self._added())

    def __contains__(self, name: object) -> bool:
        return name in self.rows or name in self._added()

    def find(self, name: str, where: str = "") -> T:
        """What is registered by that name; `where` is the key or option that holds it, if not the kind's own.

        Raises:
            InputError: for an unknown name, with the nearest one; if two packages define it, or the one that does
                cannot be imported.
        """
        self.check(name, where)
        return self[name]

    def check(self, name: str, where: str = "") -> None:
        """Find out whether a name is registered, without importing what it stands for.

        Raises:
            InputError: if it is not, with the nearest one.
        """
        if name not in self:
            raise InputError(unknown_name(where or self.where, self.kind, name, self))

    def _added(self) -> dict[str, EntryPoint]:
        """What other packages add, by name.

        Raises:
            InputError: for all names that are defined twice.
        """
        found: dict[str, EntryPoint] = {}
        problems = Problems()
        for entry in entries_of(self.group):
            if entry.name in self.rows:
                row = self.rows[entry.name]
                first = f"{row} (package catransformers)" if isinstance(row, str) else "in catransformers itself"
            elif found.setdefault(entry.name, entry).value != entry.value:
                first = _told(found[entry.name])
            else:  # new, or the same package twice on the path
                continue
            what = f"the {self.kind} {entry.name!r} is defined twice: {first} and {_told(entry)}"
            problems.append(Problem(self.where, what, hint="uninstall one of the packages"))
        problems.finish()
        return found

    def _imported(self, entry: EntryPoint) -> T:
        what = f"the {self.kind} {entry.name!r} cannot be used: {_told(entry)}"
        hint = "mend or uninstall that package"
        try:
            found: Any = resolve_name(entry.value)
        except Exception as error:
            said = f"{type(error).__name__}: {error}"
            raise InputError(Problem(self.where, f"{what} cannot be imported: {said}", hint=hint)) from error
        shape = resolve_name(self.shape)
        if not isinstance(found, shape):
            expected = "a class" if shape is type else f"a {shape.__name__}"
            raise InputError(
                Problem(self.where, f"{what} is of type {type(found).__name__}, not {expected}", hint=hint)
            )
        made: T = found
        return made


def _told(entry: EntryPoint) -> str:
    package = entry.dist.name if entry.dist is not None else entry.module.partition(".")[0]
    return f"{entry.value} (package {package})"


#: Which model a study tries next: classes made from a problem and a seed, see `catransformers.search.strategies`.
STRATEGIES: Registry[Any] = Registry(
    "strategy",
    "search.strategy",
    "catransformers.strategies",
    {
        "exact-hardware": "catransformers.search.strategies.exact_hardware:ExactHardware",
        "nsga2": "catransformers.search.strategies.nsga2:Nsga2",
        "qnehvi": "catransformers.search.strategies.qnehvi:QNehvi",
        "sobol": "catransformers.search.strategies.sobol:Sobol",
    },
)

#: Who runs a study's jobs: classes made from the number of threads of each, see `catransformers.execution.local`.
EXECUTORS: Registry[Callable[[int], Executor]] = Registry(
    "executor",
    "execution.executor",
    "catransformers.executors",
    {"local": "catransformers.execution.local:LocalExecutor"},
)

#: What meters the work's energy: classes made from nothing, see `catransformers.energy.reading`.
METERS: Registry[type[Meter]] = Registry(
    "meter",
    "execution.measure",
    "catransformers.meters",
    {
        "estimate": "catransformers.energy.estimate:ProcessorEstimate",
        "rapl": "catransformers.energy.rapl:RaplMeter",
        "nvml": "catransformers.energy.nvml:NvmlMeter",
        "codecarbon": "catransformers.energy.codecarbon_meter:CodecarbonMeter",
    },
)

#: Who forecasts the grid's carbon intensity: clients of services, see `catransformers.intensity.source`.
INTENSITY_SOURCES: Registry[type[IntensitySource]] = Registry(
    "source",
    "source",
    "catransformers.intensity_sources",
    {
        "electricity-maps": "catransformers.intensity.services.electricity_maps:ElectricityMaps",
        "watttime": "catransformers.intensity.services.watttime:WattTime",
        "uk": "catransformers.intensity.services.uk:UnitedKingdom",
        "carbon-aware-sdk": "catransformers.intensity.services.carbon_aware_sdk:CarbonAwareSdk",
    },
)

#: What processing a wafer emits: classes made from nothing, see `catransformers.carbon.embodied`.
EMBODIED_MODELS: Registry[type[EmbodiedModel]] = Registry(
    "embodied model",
    "scenario.embodied_model",
    "catransformers.embodied",
    {"act": "catransformers.carbon.embodied:Act"},
)

#: The formats in which models are written: `catransformers.exports.formats.ExportFormat`.
EXPORT_FORMATS: Registry[ExportFormat] = Registry(
    "format",
    "--format",
    "catransformers.export_formats",
    {
        "catransformers": "catransformers.exports.formats:CATRANSFORMERS",
        "huggingface": "catransformers.exports.formats:HUGGINGFACE",
        "open_clip": "catransformers.exports.formats:OPEN_CLIP",
        "timm": "catransformers.exports.formats:TIMM",
        "onnx": "catransformers.exports.formats:ONNX",
    },
    "catransformers.exports.formats:ExportFormat",
)

#: Model families: spec, closed form, net and formats, each as one row.
FAMILIES: Registry[Family] = Registry(
    "family",
    "model spec: family",
    "catransformers.families",
    {
        "clip": "catransformers.workloads.clip:FAMILY",
        "vit": "catransformers.workloads.vit:FAMILY",
        "bert": "catransformers.workloads.bert:FAMILY",
        "llama": "catransformers.workloads.llama:FAMILY",
    },
    "catransformers.workloads.family:Family",
)
