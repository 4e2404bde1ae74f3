"""A study as a file: TOML read into one frozen, validated `StudyConfig`, every mistake told at once.

This module knows structure, types and ranges. Whether a *name* means something (a model, a region, a space) is
known higher up; `catransformers.execution.studies.assemble.check` adds those problems to the ones found here.
"""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Literal, get_args

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator, model_validator

from catransformers.errors import InputError, Problem, nearest
from catransformers.units import as_float

Mode = Literal["carbon", "latency", "energy", "all", "hardware"]
Quantity = Literal["carbon", "latency", "energy", "area", "tcdp", "water"]
#: What each mode minimises; `hardware` is the exact front of a fixed model, for which nothing is trained.
MODES: Mapping[str, tuple[Quantity, ...]] = MappingProxyType(
    {
        "carbon": ("carbon",),
        "latency": ("latency",),
        "energy": ("energy",),
        "all": ("carbon", "latency"),
        "hardware": ("carbon", "latency"),
    }
)
ImportanceMethod = Literal["taylor", "leave-one-out", "metric", "magnitude", "activation", "random"]
#: The sections that have no say where nothing is trained.
TRAINING = ("accuracy", "search", "execution")
START_WITHIN = re.compile(r"greenest within (\d{1,4}(?:\.\d{1,3})?) ?h(?:ours?)?")
MAX_START_HOURS = 24 * 30
PRESET_LATENCY_MS = 50.0  # arXiv 2505.01386, section 4: the latency limit of its modes carbon and energy


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    @field_validator("*")
    @classmethod
    def _printable(cls, value: Any) -> Any:
        if isinstance(value, str) and "\0" in value:
            raise ValueError("holds a zero character")
        return value


class DimensionRange(_Section):
    """The values of one model dimension: `min` to `max` by `step`, or an explicit list of `values`."""

    min: int | None = Field(default=None, ge=1)
    max: int | None = Field(default=None, ge=1)
    step: int | None = Field(default=None, ge=1)
    values: tuple[int, ...] | None = None

    @field_validator("values", mode="before")
    @classmethod
    def _tuple(cls, value: Any) -> Any:
        return tuple(value) if isinstance(value, list) else value


class ImportanceSection(_Section):
    """How each kind of part is scored, and how many neighbouring FFN neurons go together."""

    heads: ImportanceMethod = "taylor"
    ffn: ImportanceMethod = "taylor"
    embed: ImportanceMethod = "taylor"
    layers: Literal["leave-one-out", "metric", "magnitude", "activation", "random"] = "leave-one-out"
    ffn_block: int = Field(default=1, ge=1)


class ModelSection(_Section):
    """Which model to start from, how it is used, how it is pruned and which dimensions may shrink."""

    family: Literal["clip", "vit", "bert", "llama"] | None = None
    base: str = Field(default="embedded", min_length=1)
    pretrained: str | None = None
    allow_network: bool = False
    classes: int | None = Field(default=None, ge=2)
    usage: dict[str, int] = Field(default_factory=dict)
    importance: ImportanceSection = ImportanceSection()
    space: dict[str, DimensionRange] = Field(default_factory=dict)


class HardwareSection(_Section):
    """The accelerators to choose from."""

    space: str = "edge"
    technology: str = "default-22nm"
    max_tops: float | None = Field(default=None, gt=0)
    dimensions: dict[str, tuple[float, ...]] = Field(default_factory=dict)

    @field_validator("dimensions", mode="before")
    @classmethod
    def _tuples(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {
            key: tuple(as_float(item) if type(item) is int else item for item in values)
            if isinstance(values, list)
            else values
            for key, values in value.items()
        }


class ObjectivesSection(_Section):
    """What to minimise beside maximising accuracy, and the limits no design may break.

    A `mode` says it by name, `minimise` by one quantity or several; the default is the mode `carbon`.
    """

    mode: Mode | None = None
    minimise: tuple[Quantity, ...] | None = None
    carbon_quantile: Literal["p50", "p95"] = "p50"
    max_latency_ms: float | None = Field(default=None, gt=0)
    max_energy_mj: float | None = Field(default=None, gt=0)
    max_area_mm2: float | None = Field(default=None, gt=0)
    max_carbon_kg: float | None = Field(default=None, gt=0)
    max_parameters: int | None = Field(default=None, gt=0)
    max_tcdp_kg_s: float | None = Field(default=None, gt=0)
    max_water_l: float | None = Field(default=None, gt=0)
    max_power_w: float | None = Field(default=None, gt=0)
    max_tops: float | None = Field(default=None, gt=0)
    min_accuracy: float | None = Field(default=None, gt=0, lt=1)

    @model_validator(mode="before")
    @classmethod
    def _presets(cls, data: Any) -> Any:
        """The mode is `carbon` unless told otherwise; the paper's `carbon` and `energy` keep latency within 50 ms."""
        if not isinstance(data, dict):
            return data
        if data.get("minimise") is None:
            data = {"mode": "carbon", **data}
        if data.get("mode") in ("carbon", "energy"):
            data = {"max_latency_ms": PRESET_LATENCY_MS, **data}
        return data

    @field_validator("minimise", mode="before")
    @classmethod
    def _tuple(cls, value: Any) -> Any:
        return tuple(value) if isinstance(value, list) else value

    @field_validator("minimise")
    @classmethod
    def _different(cls, value: tuple[Quantity, ...] | None) -> tuple[Quantity, ...] | None:
        if value is not None and (not value or len(set(value)) != len(value)):
            raise ValueError("is not one quantity, or several different ones")
        return value

    @field_validator("minimise")
    @classmethod
    def _not_both(cls, value: tuple[Quantity, ...] | None, info: ValidationInfo) -> tuple[Quantity, ...] | None:
        if value is not None and info.data.get("mode") is not None:
            raise ValueError("stands beside a mode, which says the same: give one of the two")
        return value

    @property
    def quantities(self) -> tuple[Quantity, ...]:
        """What is minimised: one quantity or more."""
        return self.minimise if self.minimise is not None else MODES[self.mode or "carbon"]


class AccuracySection(_Section):
    """How good a pruned model is: the task, its data, and the proxy fine-tune."""

    task: str = "scenes"
    data: str | None = None
    class_names: str | None = None
    templates: str | None = None
    tokens: int | None = Field(default=None, ge=2)
    workers: int = Field(default=0, ge=0, le=256)
    pool_samples: int = Field(default=1000, ge=2)
    steps: int = Field(default=100, ge=0)
    flop_scaled: bool = False
    learning_rate: float = Field(default=1e-3, gt=0)
    batch_size: int = Field(default=64, ge=2)
    micro_batch: int | None = Field(default=None, ge=1)
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    warmup_fraction: float = Field(default=0.1, ge=0, le=1)
    distillation: float | None = Field(default=None, ge=0)


class SearchSection(_Section):
    """How the next model is chosen, how many are tried, and the seed of everything random."""

    strategy: str = "exact-hardware"
    trials: int = Field(default=40, ge=1)
    seed: int = Field(default=0, ge=0, le=2**31 - 1)
    warm_start: tuple[str, ...] | None = None

    @field_validator("warm_start", mode="before")
    @classmethod
    def _several(cls, value: Any) -> Any:
        folders = (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list) else value
        if folders is not None and not (
            isinstance(folders, tuple) and all(isinstance(f, str) and f and "\0" not in f for f in folders)
        ):
            raise ValueError("is not the folder of a study, or a list of such folders")
        return folders


class ExecutionSection(_Section):
    """Who does the work: `workers` trials at a time, one process each; how its energy is metered, and on which grid."""

    executor: Literal["local"] = "local"
    workers: int = Field(default=1, ge=1, le=256)
    device: Literal["cpu", "cuda"] = "cpu"
    threads_per_worker: int = Field(default=1, ge=1, le=256)
    measure: Literal["auto", "off", "estimate", "rapl", "nvml", "codecarbon"] = "auto"
    region: str | int | float | None = None
    start: str = "now"
    expected_hours: float = Field(default=1.0, gt=0, le=24 * 30)
    pause_above_g_per_kwh: float | None = Field(default=None, gt=0)
    max_pause_hours: float = Field(default=24.0, gt=0, le=24 * 30)
    intensity_region: str | None = Field(default=None, min_length=1)
    intensity_profile: str | None = Field(default=None, min_length=1)
    intensity_source: str | None = None

    @field_validator("start")
    @classmethod
    def _start(cls, value: str) -> str:
        found = START_WITHIN.fullmatch(value)
        if value != "now" and (found is None or not 0 < float(found[1]) <= MAX_START_HOURS):
            raise ValueError(f'is not a start: "now", or "greenest within 12h" (at most {MAX_START_HOURS}h)')
        return value

    @property
    def start_within_hours(self) -> float | None:
        """Hours within which the greenest start is to be taken; None to start now."""
        found = START_WITHIN.fullmatch(self.start)
        return float(found[1]) if found is not None else None


class StudyConfig(_Section):
    """One study: see section 6 of the design, and `docs/study-file.md` for every key."""

    name: str = Field(min_length=1, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    model: ModelSection = ModelSection()
    hardware: HardwareSection = HardwareSection()
    scenario: dict[str, str | int | float | bool] = Field(default_factory=dict)
    objectives: ObjectivesSection = Field(default_factory=lambda: ObjectivesSection.model_validate({}))
    accuracy: AccuracySection = AccuracySection()
    search: SearchSection = SearchSection()
    execution: ExecutionSection = ExecutionSection()

    #: Keys that may change when a study is resumed; everything else defines the study.
    RESUMABLE: ClassVar[tuple[str, ...]] = (
        "search.trials",
        "accuracy.workers",
        "execution.workers",
        "execution.measure",
        "execution.region",
        "execution.start",
        "execution.expected_hours",
        "execution.pause_above_g_per_kwh",
        "execution.max_pause_hours",
        "execution.intensity_region",
        "execution.intensity_profile",
        "execution.intensity_source",
    )

    @property
    def trains_nothing(self) -> bool:
        """Whether the model is fixed and only its accelerator is chosen: mode `hardware`."""
        return self.objectives.mode == "hardware"

    def without_training(self) -> StudyConfig:
        """The same with all that says how models are pruned, trained and chosen at its default."""
        defaults = {name: StudyConfig.model_fields[name].get_default() for name in TRAINING}
        model = self.model.model_copy(update={"space": {}, "importance": ImportanceSection()})
        return self.model_copy(update={**defaults, "model": model})

    def to_toml(self) -> str:
        """The resolved study as TOML: every default written out; `parse` reads it back to an equal config.

        Of a study that trains nothing the sections that have no say are left out.
        """
        unused: dict[str, Any] = {"model": {"space", "importance"}, **dict.fromkeys(TRAINING, True)}
        if not self.trains_nothing:
            unused = {}
        return tomli_w.dumps(self.model_dump(mode="json", exclude_none=True, exclude=unused))


def read(path: Path) -> tuple[StudyConfig, list[Problem]]:
    """Read a study file; see `parse`. Paths in it count from its own folder and come back absolute.

    Raises:
        InputError: if there is no such file, it cannot be read, or it is not TOML (with the line).
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise InputError(Problem(str(path), f"cannot be read: {reason}", "a TOML study file")) from error
    config, problems = parse(text, str(path))
    return _anchored(config, path.parent), problems


def _anchored(config: StudyConfig, folder: Path) -> StudyConfig:
    """The config with its paths made absolute: they count from the study file's folder, wherever one runs it."""

    def anchor(value: str | None, *, always: bool = False) -> str | None:
        if value is None or not (always or (folder / value).exists()):
            return value  # a name, not a path
        return str((folder / Path(value).expanduser()).resolve())

    model, hardware, accuracy, execution = config.model, config.hardware, config.accuracy, config.execution
    others = config.search.warm_start
    anchored = {
        "model": model.model_copy(
            update={
                # "embedded" and the like stay names even beside a folder that is called so
                "base": anchor(model.base) if "/" in model.base or model.base.startswith(".") else model.base,
                "pretrained": anchor(model.pretrained),
            }
        ),
        "hardware": hardware.model_copy(
            update={
                "technology": anchor(hardware.technology, always=True)
                if hardware.technology.endswith(".toml")
                else hardware.technology
            }
        ),
        "accuracy": accuracy.model_copy(
            update={name: anchor(getattr(accuracy, name), always=True) for name in ("data", "class_names", "templates")}
        ),
        "search": config.search.model_copy(
            update={"warm_start": others and tuple(anchor(other, always=True) for other in others)}
        ),
        "execution": execution.model_copy(
            update={"intensity_profile": anchor(execution.intensity_profile, always=True)}
        ),
    }
    given = config.model_fields_set  # a section that the file leaves out has no path, and stays known as left out
    return config.model_copy(update={name: section for name, section in anchored.items() if name in given})


def parse(text: str, where: str) -> tuple[StudyConfig, list[Problem]]:
    """Check a study's text; `where` names it in messages.

    Returns:
        The config, and every problem of structure, type or range. When there are problems, the config has
        defaults in the place of what was wrong: good only for finding the mistakes in the rest.

    Raises:
        InputError: if the text is not TOML.
    """
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(Problem(where, f"not TOML: {error}")) from error
    try:
        return StudyConfig.model_validate(data), []
    except ValidationError as error:
        errors: list[dict[str, Any]] = [dict(item) for item in error.errors()]
    for item in errors:
        _remove(data, item["loc"])
    data.setdefault("name", "unnamed")
    return StudyConfig.model_validate(data), [_problem(where, item) for item in errors]


def _remove(data: Any, location: tuple[str | int, ...]) -> None:
    """Take out what stands at `location`, or the nearest table entry around it (a list goes whole)."""
    for depth, part in enumerate(location):
        last = depth == len(location) - 1 or not isinstance(data.get(part), dict)
        if last:
            data.pop(part, None)
            return
        data = data[part]


def _problem(where: str, item: dict[str, Any]) -> Problem:
    """A pydantic error in our words: the key as the file has it, what is allowed, the nearest valid key."""
    location = [str(part) for part in item["loc"]]
    key = ".".join(_quoted(part) for part in location)
    place, kind, context = f"{where}: {key}", item["type"], item.get("ctx", {})
    given = item.get("input")
    if kind == "extra_forbidden":
        known = _known_keys(location[:-1])
        return Problem(place, "unknown key", ", ".join(known), _home(location[-1]) or nearest(location[-1], known))
    if kind == "missing":
        return Problem(place, "missing")
    bounds = {
        "greater_than": "> {gt}",
        "greater_than_equal": "≥ {ge}",
        "less_than_equal": "≤ {le}",
        "less_than": "< {lt}",
    }
    if kind in bounds:
        return Problem(place, f"{given!r} is out of range", bounds[kind].format(**context))
    if kind == "literal_error":
        options = [str(o) for o in _literal_options(location)] or [str(context.get("expected"))]
        return Problem(place, f"{given!r} is not an option", ", ".join(options), nearest(str(given), options))
    if kind == "string_pattern_mismatch":
        return Problem(
            place, f"{given!r} cannot be used", "letters, digits, '.', '_', '-', starting with a letter or digit"
        )
    message = str(item["msg"]).removeprefix("Input ").removeprefix("Value error, ")
    shown = repr(given) if isinstance(given, str | int | float | bool | list) else type(given).__name__
    if isinstance(given, float) and not math.isfinite(given):
        message = "should be a finite number"
    return Problem(place, f"{shown} {message}")


def _quoted(part: str) -> str:
    return f'"{part}"' if "." in part else part


def _model_at(location: list[str]) -> type[BaseModel] | None:
    model: type[BaseModel] = StudyConfig
    for part in location:
        field = model.model_fields.get(part)
        if field is None:
            return DimensionRange if location[:2] == ["model", "space"] and len(location) == 3 else None
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            model = field.annotation
        elif location != ["model", "space"]:
            return DimensionRange if location[:2] == ["model", "space"] and len(location) == 3 else None
    return model


def _known_keys(location: list[str]) -> list[str]:
    model = _model_at(location)
    return list(model.model_fields) if model else []


def _home(key: str) -> str:
    """A hint that names the tables in which a key would be right, or an empty string."""
    tables = [f"[{name}]" for name in StudyConfig.model_fields if key in _known_keys([name])]
    return f"it belongs to {' or '.join(tables)}" if tables else ""


def _literal_options(location: list[str]) -> tuple[Any, ...]:
    model = _model_at(location[:-1])
    if model is None:
        return ()
    return tuple(
        option
        for part in get_args(model.model_fields[location[-1]].annotation)
        for option in (get_args(part) if get_args(part) else (part,))
        if option is not type(None)
    )
