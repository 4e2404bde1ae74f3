"""What a study found, in plain sentences: the headline, who is owed what, what is unfinished, what to doubt.

The terminal and the page say the same words.
"""

from __future__ import annotations

from dataclasses import dataclass

from catransformers.designs.quantities import QUANTITIES
from catransformers.errors import InfeasibleError, present
from catransformers.reports.study.summary import StudySummary, ValueWithError, saving, tolerated_loss
from catransformers.reports.wording import NBSP, amount, duration, less_or_more, percent, plain, plural, points, score
from catransformers.reports.wording import saving as saving_words
from catransformers.units import round_down

#: A standard error above this is too large for a loss to be called small, or absent.
UNSURE = 0.03


@dataclass(frozen=True, slots=True)
class Step:
    """One line of the attribution: what was changed, the cost, and the saving against two references.

    Args:
        what: what is run on what.
        label: which change this is, or an empty text for the starting point.
        cost: the study's objective, SI.
        against_fastest: fraction saved against the base on its fastest accelerator.
        against_best: fraction saved against the base on its own best accelerator; None where that makes no sense.
    """

    what: str
    label: str
    cost: float
    against_fastest: float
    against_best: float | None


def state(summary: StudySummary) -> str:
    """`40 of 40 trials (1 failed)`, with the time left where there is some."""
    text = f"{len(summary.trials)} of {plural(summary.planned, 'trial')}"
    if summary.adopted:
        text += f", {summary.adopted} of them adopted from another study"
    if summary.failed:
        text += f", {summary.failed} failed"
    if summary.untrained:
        text += f", {summary.untrained} not trained (no accelerator within the limits)"
    if summary.left and summary.seconds_left is not None:
        text += f", about {duration(summary.seconds_left)} left"
    return text


def unfinished(summary: StudySummary) -> str:
    """What is still to do, or an empty text."""
    if not summary.searched:
        return (
            f"This study is not finished: {state(summary)}. All figures are those of the trials so far and may change; "
            "the same search command goes on where it stopped."
        )
    if not summary.tested:
        return (
            "The test set has not been used yet: accuracies are those on the validation set, which the search has seen "
            "and which therefore flatter the front. The same search command finishes the evaluation."
        )
    return ""


def shown(summary: StudySummary) -> str:
    """How many designs of the front are shown, or an empty text where all of them are."""
    if len(summary.members) == len(summary.front):
        return ""
    return (
        f"The front has {plural(len(summary.members), 'design')}, of which {len(summary.front)} are shown; front.csv "
        "and front.json of the report have all."
    )


def headline(summary: StudySummary) -> str:
    """The main result in one sentence."""
    base, best = summary.base, summary.best
    quantity = summary.objective
    so_far = "" if summary.searched else " so far"
    if best is None:
        if not any(trial.accuracy for trial in summary.trials):
            return "No trial has been completed yet."
        if not summary.front and (missed := below_floor(summary)):
            return f"No model found{so_far} {missed}."
        return (
            f"No design found{so_far} has less {quantity} than the unpruned base on its own best accelerator "
            f"({amount(quantity, base.cost.objective)})."
        )
    less = saving(best.cost.objective, base.cost.objective)
    lost = best.validation_loss
    nearest = ""
    most = tolerated_loss(base)
    if lost is not None and lost.value > most:
        allowed = f"{points(most, None)} points on validation data"
        nearest = f"No design found{so_far} with less {quantity} than the base loses at most {allowed}. The nearest: "
    sentence = (
        f"{nearest}{'d' if nearest else 'D'}esign {best.name} {saving_words(quantity, less)} "
        "than the unpruned base on its own best accelerator "
        f"({amount(quantity, best.cost.objective)} against {amount(quantity, base.cost.objective)}{_further(summary)}"
        f"{f'; {quantity} at the 95th percentile of its range' if summary.is_high(quantity) else ''})"
    )
    if best.loss is not None:
        sentence += f", {_loss(best.loss, summary.metric)} on the {best.loss_pool} set"
    return sentence + "."


def below_floor(summary: StudySummary) -> str:
    """How far the models that keep the limits stay below `min_accuracy`, or an empty text without both."""
    best = best_within_limits(summary)
    if not summary.limits.floor or best is None:
        return ""
    return (
        f"reaches the accuracy of {plain(100 * summary.limits.floor)} % that the study asks for (min_accuracy): "
        f"the best has {points(best, None)} %"
    )


def best_within_limits(summary: StudySummary) -> float | None:
    """The best accuracy of the trained models that keep the limits; None without any."""
    return max((trial.accuracy.value for trial in summary.trials if trial.accuracy and trial.cost), default=None)


def too_inaccurate(floor: float, best: float) -> InfeasibleError:
    """That no trained model reaches the accuracy that a study asks for, of which the best one has `best`."""
    lower = f"lower objectives.min_accuracy to {round_down(best):g} or less" if best > 0 else "leave min_accuracy out"
    return InfeasibleError(
        f"no trained model reaches the accuracy of {plain(100 * floor)} % that the study asks for",
        demand=100 * best,
        bound=100 * floor,
        unit="%",
        levers=[lower, "more trials (search.trials)"],
        reached="the best trained model's",
    )


def _further(summary: StudySummary) -> str:
    """The other quantities of the headline's design and of the base, where several are minimised."""
    if summary.best is None:
        return ""
    values = zip(summary.further, summary.best.cost.further, summary.base.cost.further, strict=True)
    return "".join(f"; {name} {amount(name, own)} against {amount(name, other)}" for name, own, other in values)


def _loss(loss: ValueWithError, metric: str) -> str:
    if loss.error is not None and loss.error > UNSURE:
        return f"at an accuracy loss of {points(loss.value, loss.error)} points of {metric}, too unsure to tell much,"
    if loss.error is not None and abs(loss.value) <= loss.error:
        return f"at no measurable loss of accuracy ({points(loss.value, loss.error)} points of {metric})"
    if loss.value < 0:
        return f"and is more accurate by {points(-loss.value, loss.error)} points of {metric}"
    return f"at an accuracy loss of {points(loss.value, loss.error)} points of {metric}"


def accuracies(summary: StudySummary) -> str:
    """The two accuracies behind the headline's difference, or an empty text."""
    best, base = summary.best, summary.base
    if best is None:
        return ""
    where, own, other, tuned = "test", best.test, base.test, summary.tuned_test
    if own is None or other is None:
        where, own, other, tuned = "validation", best.validation, base.validation, summary.tuned_validation
    if own is None or other is None:
        return ""
    metric = summary.metric[0].upper() + summary.metric[1:]
    after = (
        "" if tuned is None else f" With the fine-tune that every pruned model gets, the base has {_percent(tuned)}."
    )
    return (
        f"{metric} on the {where} set: {_percent(own)} against {_percent(other)}. The error of the difference is "
        f"smaller than theirs together, since both models answer the same questions.{after}"
    )


def _percent(accuracy: ValueWithError) -> str:
    return f"{score(accuracy.value, accuracy.error)}{NBSP}%"


def attribution(summary: StudySummary) -> tuple[Step, ...]:
    """How much is due to hardware alone, to pruning alone, to both: four lines, or none without a headline design."""
    found = summary.attribution
    if found is None:
        return ()
    best = QUANTITIES[summary.objective].least
    reference, own = found.base_fastest.objective, found.base_best.objective
    rows = (
        ("the base on its fastest accelerator", "starting point", found.base_fastest.objective, None),
        (f"the base on its {best} accelerator", "hardware alone", own, None),
        ("the pruned model on that same accelerator", "pruning alone", found.pruned_same.objective, own),
        (f"the pruned model on its own {best} accelerator", "both", found.pruned_best.objective, own),
    )
    return tuple(
        Step(what, label, cost, saving(cost, reference), None if against is None else saving(cost, against))
        for what, label, cost, against in rows
    )


def attribution_sentence(summary: StudySummary) -> str:
    """The attribution in words, or an empty text."""
    steps = attribution(summary)
    if not steps:
        return ""
    start, hardware, pruning, both = steps
    quantity = summary.objective
    if quantity == "latency":
        first = "By definition the base's fastest accelerator is its best one here, so hardware alone saves nothing. "
    else:
        first = (
            f"Hardware alone: choosing the base's accelerator for {quantity} instead of speed "
            f"{_takes(hardware.against_fastest)} ({amount(quantity, start.cost)} → {amount(quantity, hardware.cost)}). "
        )
    best, fastest = present(both.against_best), both.against_fastest  # only the first two have none
    if summary.is_high(quantity):
        first = f"Here {quantity} is at the 95th percentile of its range. {first}"
    return (
        f"{first}Pruning alone: the pruned model on that same accelerator {_takes(present(pruning.against_best))} "
        f"({amount(quantity, hardware.cost)} → {amount(quantity, pruning.cost)}). Both: with an accelerator chosen for "
        f"the pruned model it is {amount(quantity, both.cost)}, {less_or_more(best)} than the base "
        f"on its best accelerator and {less_or_more(fastest)} than on its fastest."
    )


def _takes(fraction: float) -> str:
    return f"{'saves' if fraction >= 0 else 'adds'} {percent(abs(fraction))}"


def base_beyond_limits(summary: StudySummary) -> str:
    """That the base keeps the limits nowhere, or an empty text where it does."""
    if summary.base_feasible:
        return ""
    return (
        "The unpruned base breaks a limit of this study on every accelerator; it is shown without the limits, for "
        "comparison only."
    )


def doubts(summary: StudySummary) -> tuple[str, ...]:
    """What a reader should keep in mind before using these figures, most important first."""
    accuracy = summary.config.accuracy
    scenario = summary.base.estimate.scenario
    lines = [
        "Latency, energy and area come from an analytical model of the accelerators, not from silicon or a simulation "
        "of it; differences between designs are more trustworthy than absolute values.",
        "Carbon ranges (5th to 95th percentile) cover the uncertainty of electricity, manufacture and yield, and of "
        "area and energy as far as it is common to all designs; they do not cover the scenario's choices. All designs "
        "meet the same draws, so one can be surely better than another although their ranges overlap.",
        "Between inferences the chip is taken to sleep at room temperature: the buffer that holds the weights leaks a "
        "few percent of what it leaks at work, a DRAM refreshes itself. The rarer the inferences, the more it matters.",
        f"Every accuracy is that of a short fine-tune ({plural(accuracy.steps, 'step')}): a proxy that ranks models. "
        "Trained longer, pruned models would recover further, and some would change places.",
        f"The front was chosen by validation accuracy among {plural(len(summary.trials), 'trial')}, so its validation "
        "accuracies are somewhat too good. The test accuracies had no say in the choice.",
        f"The figures hold for this task ({accuracy.task}) and this scenario ({scenario.name}). Another grid, lifetime "
        "or rate of use can reorder the designs.",
    ]
    if not summary.base_feasible:
        lines.insert(0, base_beyond_limits(summary))
    if summary.adopted:
        lines.append(
            f"{plural(summary.adopted, 'trial')} of other studies were adopted: same model, training and accuracy as "
            "here. What they took was spent there, and is not part of what this search took."
        )
    if summary.failed:
        lines.append(
            f"{plural(summary.failed, 'trial')} failed: in the table of trials with the reason, but in no figure."
        )
    if summary.untrained:
        lines.append(
            f"{plural(summary.untrained, 'trial')} came to models that no accelerator keeps the limits with; they were "
            "not trained. The table of trials says which limit, and by how much."
        )
    return (*summary.warnings, *lines)
