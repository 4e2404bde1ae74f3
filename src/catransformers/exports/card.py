"""The model card: what a model is, where it comes from, how good it is, what it costs, and what nobody knows of it.

Source: Mitchell et al., Model Cards for Model Reporting, FAT* 2019 (arXiv 1810.03993, section 4), whose headings it
follows as far as there is something to say.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from catransformers import __version__
from catransformers.carbon.scenario import Scenario
from catransformers.config.sections import AccuracySection
from catransformers.execution.training.result import TrainingResult
from catransformers.reports.assumptions import sentence
from catransformers.reports.wording import amount
from catransformers.search.costs.enumerated import DesignCost
from catransformers.study.records import EvaluationRecord, TrialRecord
from catransformers.units import MILLI, MM2_PER_M2
from catransformers.workloads.families import workload
from catransformers.workloads.spec import ModelSpec

#: By pool: the model's evaluation and the base's.
Evaluations = Mapping[str, tuple[EvaluationRecord | None, EvaluationRecord | None]]


@dataclass(frozen=True, slots=True)
class Facts:
    """What a card is written from.

    Args:
        title: of the model.
        base: what it was made from.
        spec: its dimensions.
        parameters: their number.
        metric: what accuracy is.
        base_spec: the base's dimensions.
        accuracy: how the proxy fine-tuned and judged.
        trial: the trial that made it.
        evaluations: of its proxy state.
        design: its best accelerator and what it costs there.
        scenario: under which.
        training: its final training.
    """

    title: str
    base: str
    spec: ModelSpec
    parameters: int
    metric: str
    base_spec: ModelSpec | None = None
    accuracy: AccuracySection | None = None
    trial: TrialRecord | None = None
    evaluations: Evaluations = field(default_factory=dict)
    design: DesignCost | None = None
    scenario: Scenario | None = None
    training: TrainingResult | None = None


def card(facts: Facts, reader: str) -> str:
    """The card in Markdown.

    Args:
        facts: what is known.
        reader: what reads the model.
    """
    parts = [f"# {facts.title}", _details(facts, reader), _shape(facts), _quality(facts), _cost(facts), _limits(facts)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _details(facts: Facts, reader: str) -> str:
    pruned = "" if facts.trial is None else ", pruned along its layers, FFN neurons, heads and channels"
    lines = [
        f"A {facts.spec.family} model made from `{facts.base}`{pruned}.",
        "",
        f"- Made by catransformers {__version__}; read by {reader}",
        f"- Parameters: {facts.parameters:,}; multiply-accumulates of one inference: {workload(facts.spec).macs:,}",
        f"- The licence of `{facts.base}` and of the data goes on to this model",
    ]
    return "\n".join(lines)


def _shape(facts: Facts) -> str:
    own = facts.spec.dimensions()
    base = facts.base_spec.dimensions() if facts.base_spec is not None else own
    rows = [f"| {name} | {value:,} | {base[name]:,} |" for name, value in own.items()]
    return "\n".join(["## Dimensions", "", "| dimension | model | base |", "|---|---:|---:|", *rows])


def _quality(facts: Facts) -> str:
    rows = []
    for pool, (own, base) in facts.evaluations.items():
        if own is None and facts.trial is not None and facts.trial.accuracy is not None and pool == "validation":
            rows.append(_row(pool, "proxy", (facts.trial.accuracy, facts.trial.accuracy_se or 0.0), base))
        elif own is not None:
            rows.append(_row(pool, "proxy", (own.accuracy, own.standard_error), base))
    if facts.training is not None:
        for pool, result in facts.training.pools.items():
            value = "" if result.base is None else _percent(*result.base)
            metric = facts.training.metric
            state = "final training" if metric == facts.metric else f"final training, {metric}"
            rows.append(f"| {pool} | {state} | {_percent(*result.after)} | {value} |")
    if not rows:
        return ""
    head = [f"## Accuracy ({facts.metric})", "", "| pool | state | model | base |", "|---|---|---:|---:|"]
    return "\n".join([*head, *rows, "", *_training(facts)])


def _row(pool: str, state: str, own: tuple[float, float], base: EvaluationRecord | None) -> str:
    value = "" if base is None else _percent(base.accuracy, base.standard_error)
    return f"| {pool} | {state} | {_percent(*own)} | {value} |"


def _percent(value: float, error: float) -> str:
    shown = f"{100 * error:.2f}" if math.isfinite(error) else "?"  # of one sample nothing can be said
    return f"{100 * value:.2f} ± {shown} %"


def _training(facts: Facts) -> list[str]:
    lines = ["± is one standard error."]
    if facts.trial is not None:
        lines.append("The search chose by validation data; test data were looked at once.")
    if facts.accuracy is not None:
        section = facts.accuracy
        lines.append(
            f"Proxy: {section.steps} steps of {section.batch_size} samples of the task `{section.task}` after pruning."
        )
    if facts.training is not None:
        energy = facts.training.energy_j
        spent = "" if energy is None else f", {amount('energy', energy)}"
        lines.append(f"Final training: {facts.training.steps} steps, {facts.training.seconds:.0f} s{spent}.")
    return lines


def _cost(facts: Facts) -> str:
    if facts.design is None or facts.scenario is None:
        return ""
    design = facts.design
    machine = ", ".join(f"{name}={value:g}" for name, value in design.accelerator.to_dict().items())
    lines = [
        "## On its best accelerator",
        "",
        f"`{machine}`",
        "",
        f"- latency {design.latency_s / MILLI:.4g} ms, energy {design.energy_j / MILLI:.4g} mJ an inference, "
        f"die {design.area_m2 * MM2_PER_M2:.4g} mm²",
        f"- footprint {design.embodied_kg + design.operational_kg:.4g} kgCO2e a device: "
        f"{design.embodied_kg:.4g} made, {design.operational_kg:.4g} used",
        f"- {sentence(facts.scenario)}",
        "",
        "Modelled, not measured: 8-bit arithmetic on a templated accelerator.",
    ]
    return "\n".join(lines)


def _limits(facts: Facts) -> str:
    lines = [
        "## Limits",
        "",
        "- Judged on the task above only; nothing is known of other data, languages or groups of people.",
        "- Pruning removes parts by their importance on calibration data; what these lack may be lost.",
        f"- What `{facts.base}` gets wrong, and its biases, are likely to be here too, perhaps more so.",
    ]
    if facts.training is None and facts.trial is not None:
        lines.append("- The proxy's few steps rank models; `catransformers train` trains one to the end.")
    return "\n".join(lines)
