"""The sections of a study file: every key with the rule of its value and its default.

Whether a *name* means something (a model, a space, a strategy) is known higher up;
`catransformers.execution.studies.assemble.check` adds those problems.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, TypeVar, get_args

from catransformers.carbon.scenario_keys import region
from catransformers.config.section import Bounded, Each, Section, Several, Text, Within, key, real, whole
from catransformers.designs.quantities import OBJECTIVES, QUANTITIES
from catransformers.errors import InputError, Problem, Problems
from catransformers.reading import Choice, Flag, Rule
from catransformers.registry import EXECUTORS, FAMILIES, METERS, Registry

Mode = Literal["carbon", "latency", "energy", "all", "hardware"]
#: What each mode minimises; `hardware` is the exact front of a fixed model, for which nothing is trained.
MODES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "carbon": ("carbon",),
        "latency": ("latency",),
        "energy": ("energy",),
        "all": ("carbon", "latency"),
        "hardware": ("carbon", "latency"),
    }
)
ImportanceMethod = Literal["taylor", "leave-one-out", "metric", "magnitude", "activation", "random"]
LayerMethod = Literal["leave-one-out", "metric", "magnitude", "activation", "random"]
START_WITHIN = re.compile(r"greenest within (\d{1,4}(?:\.\d{1,3})?) ?h(?:ours?)?")
MAX_START_HOURS = 24 * 30
PRESET_LATENCY_MS = 50.0  # arXiv 2505.01386, section 4: the latency limit of its modes carbon and energy

T = TypeVar("T")

TEXT, FILLED = Text(), Text(filled=True)
FLAG = Flag("should be a valid boolean")
POSITIVE = real(0, above=True)
HOURS = real(0, 24 * 30, above=True)


def _registered(registry: Registry[Any], *others: str) -> Rule:
    """A name of the registry, or one of `others`; what it stands for is not imported."""

    def rule(value: object, where: str) -> Any:
        if isinstance(value, str) and (value in others or value in registry):
            return value
        return Choice((*others, *registry))(value, where)

    return rule


def _quantities(value: Any, where: str) -> tuple[str, ...]:
    """One quantity to minimise, or several different ones."""
    found = Several(Choice(OBJECTIVES))(value, where)
    if not found or len(set(found)) != len(found):
        raise InputError(Problem(where, f"{value!r} is not one quantity, or several different ones"))
    return found


def _folders(value: Any, where: str) -> tuple[str, ...]:
    """The folder of a study, or a list of such folders."""
    folders = [value] if isinstance(value, str) else value
    if not (isinstance(folders, list | tuple) and all(isinstance(f, str) and f and "\0" not in f for f in folders)):
        raise InputError(Problem(where, f"{value!r} is not the folder of a study, or a list of such folders"))
    return tuple(folders)


def _start(value: Any, where: str) -> str:
    """When to begin: now, or the greenest moment within some hours."""
    found = START_WITHIN.fullmatch(TEXT(value, where))
    if value != "now" and (found is None or not 0 < float(found[1]) <= MAX_START_HOURS):
        what = f'{value!r} is not a start: "now", or "greenest within 12h" (at most {MAX_START_HOURS}h)'
        raise InputError(Problem(where, what))
    return str(value)


@dataclass(frozen=True)
class DimensionRange(Section):
    """The values of one model dimension: `min` to `max` by `step`, or an explicit list of `values`."""

    min: int | None = key(whole(1), None)
    max: int | None = key(whole(1), None)
    step: int | None = key(whole(1), None)
    values: tuple[int, ...] | None = key(Several(whole(-math.inf)), None)


@dataclass(frozen=True)
class ImportanceSection(Section):
    """How each kind of part is scored, and how many neighbouring FFN neurons go together."""

    heads: ImportanceMethod = key(Choice(get_args(ImportanceMethod)), "taylor")
    ffn: ImportanceMethod = key(Choice(get_args(ImportanceMethod)), "taylor")
    embed: ImportanceMethod = key(Choice(get_args(ImportanceMethod)), "taylor")
    layers: LayerMethod = key(Choice(get_args(LayerMethod)), "leave-one-out")
    ffn_block: int = key(whole(1), 1)


@dataclass(frozen=True)
class ModelSection(Section):
    """Which model to start from, how it is used, how it is pruned and which dimensions may shrink."""

    family: str | None = key(_registered(FAMILIES), None)
    base: str = key(FILLED, "embedded")
    pretrained: str | None = key(TEXT, None)
    allow_network: bool = key(FLAG, False)
    classes: int | None = key(whole(2), None)
    usage: Mapping[str, int] = key(Each(whole(-math.inf)), dict)
    importance: ImportanceSection = key(Within(ImportanceSection), ImportanceSection)
    space: Mapping[str, DimensionRange] = key(Each(Within(DimensionRange)), dict)


@dataclass(frozen=True)
class HardwareSection(Section):
    """The accelerators to choose from."""

    space: str = key(TEXT, "edge")
    technology: str = key(TEXT, "default-22nm")
    max_tops: float | None = key(POSITIVE, None)
    dimensions: Mapping[str, tuple[float, ...]] = key(Each(Several(real())), dict)


def _with_limits(section: type[T]) -> type[T]:
    """Adds a key for the limit on each quantity, before the last key."""
    *first, last = section.__annotations__.items()
    counted = Bounded(0, above=True, whole=True, kind="should be a valid integer")
    for row in QUANTITIES.values():
        setattr(section, row.limit, key(counted if row.of_model else POSITIVE, None))
        first.append((row.limit, "int | None" if row.of_model else "float | None"))
    section.__annotations__ = dict([*first, last])
    return section


@dataclass(frozen=True)
@_with_limits
class ObjectivesSection(Section):
    """What to minimise beside maximising accuracy, and the limits no design may break.

    A `mode` says it by name, `minimise` by one quantity or several; the default is the mode `carbon`.
    """

    mode: Mode | None = key(Choice(get_args(Mode)), None)
    minimise: tuple[str, ...] | None = key(_quantities, None)
    carbon_quantile: Literal["p50", "p95"] = key(Choice(("p50", "p95")), "p50")
    min_accuracy: float | None = key(real(0, 1, above=True, below=True), None)

    @classmethod
    def completed(cls, good: dict[str, Any], prefix: str, problems: Problems) -> dict[str, Any]:
        """The mode is `carbon` unless told otherwise; the paper's `carbon` and `energy` keep latency within 50 ms."""
        if "minimise" in good and "mode" in good:
            what = f"{list(good.pop('minimise'))!r} stands beside a mode, which says the same: give one of the two"
            problems.append(Problem(f"{prefix}minimise", what))
        if "minimise" not in good:
            good = {"mode": "carbon", **good}
        if good.get("mode") in ("carbon", "energy"):
            good = {"max_latency_ms": PRESET_LATENCY_MS, **good}
        return good

    @property
    def limits(self) -> dict[str, float]:
        """The limits that there are, by quantity, in the units of their keys."""
        values = {name: getattr(self, row.limit) for name, row in QUANTITIES.items()}
        return {name: value for name, value in values.items() if value is not None}

    @property
    def quantities(self) -> tuple[str, ...]:
        """What is minimised: one quantity or more."""
        return self.minimise if self.minimise is not None else MODES[self.mode or "carbon"]


@dataclass(frozen=True)
class AccuracySection(Section):
    """How good a pruned model is: the task, its data, and the proxy fine-tune."""

    task: str = key(TEXT, "scenes")
    data: str | None = key(TEXT, None)
    class_names: str | None = key(TEXT, None)
    templates: str | None = key(TEXT, None)
    tokens: int | None = key(whole(2), None)
    workers: int = key(whole(0, 256), 0)
    pool_samples: int = key(whole(2), 1000)
    steps: int = key(whole(0), 100)
    flop_scaled: bool = key(FLAG, False)
    learning_rate: float = key(POSITIVE, 1e-3)
    batch_size: int = key(whole(2), 64)
    micro_batch: int | None = key(whole(1), None)
    precision: Literal["auto", "fp32", "bf16", "fp16"] = key(Choice(("auto", "fp32", "bf16", "fp16")), "auto")
    warmup_fraction: float = key(real(0, 1), 0.1)
    distillation: float | None = key(real(0), None)


@dataclass(frozen=True)
class SearchSection(Section):
    """How the next model is chosen, how many are tried, and the seed of everything random."""

    strategy: str = key(TEXT, "exact-hardware")
    trials: int = key(whole(1), 40)
    seed: int = key(whole(0, 2**31 - 1), 0)
    warm_start: tuple[str, ...] | None = key(_folders, None)


@dataclass(frozen=True)
class ExecutionSection(Section):
    """Who does the work: `workers` trials at a time, one process each; how its energy is metered, and on which grid."""

    executor: str = key(_registered(EXECUTORS), "local")
    workers: int = key(whole(1, 256), 1)
    device: Literal["cpu", "cuda"] = key(Choice(("cpu", "cuda")), "cpu")
    threads_per_worker: int = key(whole(1, 256), 1)
    measure: str = key(_registered(METERS, "auto", "off"), "auto")
    region: str | float | None = key(region, None)
    start: str = key(_start, "now")
    expected_hours: float = key(HOURS, 1.0)
    pause_above_g_per_kwh: float | None = key(POSITIVE, None)
    max_pause_hours: float = key(HOURS, 24.0)
    intensity_region: str | None = key(FILLED, None)
    intensity_profile: str | None = key(FILLED, None)
    intensity_source: str | None = key(TEXT, None)

    @property
    def start_within_hours(self) -> float | None:
        """Hours within which the greenest start is to be taken; None to start now."""
        found = START_WITHIN.fullmatch(self.start)
        return float(found[1]) if found is not None else None
