from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest
from made_up_studies import MACHINES, SummaryOf, made_up_cost

from catransformers.carbon.scenario import scenario_from_mapping
from catransformers.reports import assumptions
from catransformers.reports.study import narrative
from catransformers.reports.study.summary import (
    HEADLINE_LOSS,
    Design,
    StudySummary,
    ValueWithError,
    choose_headline,
    tolerated_loss,
)
from catransformers.reports.wording import breakable


def design(like: Design, name: str, scale: float, loss: float) -> Design:
    return replace(
        like,
        name=name,
        trial=1,
        cost=made_up_cost(scale, MACHINES[0]),
        validation_loss=ValueWithError(loss, 0.01),
        test_loss=None,
    )


def test_the_headline_is_the_cheapest_within_the_allowed_loss(summary: StudySummary) -> None:
    base = summary.base
    front = tuple(design(base, n, s, loss) for n, s, loss in [("1", 0.3, 0.2), ("2", 0.5, 0.029), ("3", 0.8, 0.001)])
    assert choose_headline(front, base) == 1


def test_the_headline_falls_back_to_the_least_loss(summary: StudySummary) -> None:
    base = summary.base
    front = tuple(design(base, n, s, loss) for n, s, loss in [("1", 0.3, 0.2), ("2", 0.5, 0.1)])
    assert choose_headline(front, base) == 1


def test_no_headline_when_nothing_is_cheaper_than_the_base(summary: StudySummary) -> None:
    base = summary.base
    assert choose_headline((design(base, "1", 1.0, 0.0),), base) is None
    assert choose_headline((), base) is None


def test_the_test_set_has_no_say_in_the_headline(summary: StudySummary) -> None:
    better = tuple(replace(d, test_loss=ValueWithError(0.0, 0.01)) for d in summary.front)
    assert choose_headline(better, summary.base) == summary.headline


def test_counts_and_time_left(summary_of: SummaryOf) -> None:
    part = summary_of(9, tested=False, failing=(3,))
    assert (part.planned, part.left, part.failed, part.searched, part.finished) == (40, 31, 1, False, False)
    mean = sum(trial.seconds for trial in part.trials) / 9
    assert part.seconds_left == pytest.approx(16 * mean)  # 31 trials by 2 workers: 16 rounds
    assert summary_of(0, tested=False).seconds_left is None
    assert summary_of(40, tested=False).searched
    assert not summary_of(40, tested=False).finished


def test_kept_is_the_mean_over_the_front_in_rising_order(summary: StudySummary) -> None:
    kept = summary.kept
    assert list(kept.values()) == sorted(kept.values())
    mean = sum(d.dimensions["vision.layers"] / 6 for d in summary.front) / len(summary.front)
    assert kept["vision.layers"] == pytest.approx(mean)


def with_best(summary: StudySummary, cost: float, loss: ValueWithError, validation: float = 0.02) -> StudySummary:
    """The study with base 1 kg and a headline design of `cost` kg that loses `validation` where the search looks."""
    position = summary.headline
    assert position is not None
    front = list(summary.front)
    old = front[position]
    front[position] = replace(
        old, cost=replace(old.cost, objective=cost), test_loss=loss, validation_loss=ValueWithError(validation, 0.008)
    )
    base = replace(summary.base, cost=replace(summary.base.cost, objective=1.0))
    return replace(summary, base=base, front=tuple(front))


def test_the_headline_in_words(summary: StudySummary) -> None:
    text = breakable(narrative.headline(with_best(summary, 0.69, ValueWithError(0.021, 0.008))))
    name = summary.front[summary.headline or 0].name
    assert text == (
        f"Design {name} emits 31 % less carbon than the unpruned base on its own best accelerator "
        "(690 g CO₂e against 1.00 kg CO₂e), at an accuracy loss of 2.1 ± 0.8 points of recall@1 on the test set."
    )


def test_a_headline_that_must_settle_for_more_loss_says_so(summary: StudySummary) -> None:
    text = breakable(narrative.headline(with_best(summary, 0.1, ValueWithError(0.4, 0.01), validation=0.41)))
    assert text.startswith(
        "No design found with less carbon than the base loses at most 3.0 points on validation data. The nearest"
    )
    assert "40.0 ± 1.0 points" in text


@pytest.mark.parametrize(
    ("loss", "words"),
    [
        (ValueWithError(0.0, 0.065), "at an accuracy loss of 0.0 ± 6.5 points of recall@1, too unsure to tell much,"),
        (ValueWithError(0.004, 0.008), "at no measurable loss of accuracy (0.4 ± 0.8 points of recall@1)"),
        (ValueWithError(-0.02, 0.008), "and is more accurate by 2.0 ± 0.8 points of recall@1"),
    ],
)
def test_small_and_negative_losses(summary: StudySummary, loss: ValueWithError, words: str) -> None:
    assert words in breakable(narrative.headline(with_best(summary, 0.69, loss)))


def test_the_attribution_adds_up(summary: StudySummary) -> None:
    start, hardware, pruning, both = narrative.attribution(summary)
    assert hardware.against_fastest == pytest.approx(1 - hardware.cost / start.cost)
    assert pruning.against_best == pytest.approx(1 - pruning.cost / hardware.cost)
    assert both.against_best == pytest.approx(1 - both.cost / summary.base.cost.objective)
    assert (start.against_best, hardware.against_best) == (None, None)
    assert (
        "Hardware alone: choosing the base's accelerator for carbon instead of speed"
        in narrative.attribution_sentence(summary)
    )


def test_the_base_with_the_same_fine_tune_is_told(summary: StudySummary) -> None:
    tuned = replace(summary, tuned_test=ValueWithError(0.713, 0.014), tuned_validation=ValueWithError(0.9, 0.014))
    text = breakable(narrative.accuracies(tuned))
    assert "With the fine-tune that every pruned model gets, the base has 71.3 ± 1.4 %." in text
    assert "fine-tune" not in narrative.accuracies(summary)


def test_a_base_beyond_the_limits_is_told(summary: StudySummary) -> None:
    assert narrative.base_beyond_limits(summary) == ""
    told = narrative.base_beyond_limits(replace(summary, base_feasible=False))
    assert "breaks a limit of this study on every accelerator" in told


def test_a_study_without_a_saving_says_so(summary_of: SummaryOf) -> None:
    alone = summary_of(1, failing=())
    assert alone.best is None
    assert "No design found so far has less carbon" in narrative.headline(alone)
    assert narrative.attribution(alone) == ()
    assert narrative.headline(summary_of(0, tested=False)) == "No trial has been completed yet."


def test_an_unfinished_study_says_so(summary_of: SummaryOf) -> None:
    assert "9 of 40 trials" in narrative.unfinished(summary_of(9, tested=False))
    assert "test set has not been used" in narrative.unfinished(summary_of(40, tested=False))
    assert narrative.unfinished(summary_of(40)) == ""


def test_doubts_name_what_is_wrong_with_this_study(summary: StudySummary) -> None:
    assert any("1 trial failed" in line for line in narrative.doubts(summary))
    assert any("scenario (always-on)" in line for line in narrative.doubts(summary))
    assert "breaks a limit" in narrative.doubts(replace(summary, base_feasible=False))[0]


def test_every_assumption_is_told() -> None:
    scenario = scenario_from_mapping("default", {"use_intensity_change_per_year": -0.05, "pue": 1.2}, "test")
    rows = {what: breakable(f"{value} {note}") for what, value, note in assumptions.assumptions(scenario)}
    assert list(rows)[5:7] == ["Electricity in use", "Grid of use changes by"]
    assert "\N{MINUS SIGN}5.0 % a year" in rows["Grid of use changes by"]
    assert rows["Power usage effectiveness"].startswith("1.2")
    assert "basis: unstated" in rows["Electricity in use"]
    assert "source:" in rows["Electricity of the fab"]
    assert "runs one inference a second for 3 years (94.6 million in all)" in assumptions.sentence(scenario)


def test_of_a_base_with_a_small_accuracy_a_tenth_may_go() -> None:
    base = SimpleNamespace(validation=ValueWithError(0.03, 0.001))
    assert tolerated_loss(base) == pytest.approx(0.003)
    assert tolerated_loss(SimpleNamespace(validation=ValueWithError(0.9, 0.001))) == HEADLINE_LOSS
    assert tolerated_loss(SimpleNamespace(validation=None)) == HEADLINE_LOSS
