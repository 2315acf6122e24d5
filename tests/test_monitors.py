"""Which alarms a report raises: by single numbers, on an ordinary run and on one that has collapsed."""

import dataclasses
import json
from copy import deepcopy
from pathlib import Path

import pytest

from verl_rzero.settings import load
from verl_rzero.watch import monitors

DATA = Path(__file__).with_name("data")
THRESHOLDS = load(["model=small"]).monitors
STEP = {
    "well_formed_share": 0.9, "answered_share": 0.9, "largest_cluster_share": 0.1, "agreement_mean": 0.5, "kl": 0.1,
    "entropy": 0.5, "response_tokens_mean": 100.0, "response_cut_off_share": 0.0,
}  # fmt: skip
SCORES = {"greedy": 0.5, "mean_at_k": 0.5, "answered_share": 1.0, "cut_off_share": 0.0}
ROUND = {
    "round": 1,
    "challenger": {"steps": [STEP] * 4},
    "questions": {"generated": 100, "well_formed": 90, "distinct": 80, "distinct_2": 0.3, "tokens_mean": 40.0},
    "votes": {"mean_agreement": 0.5, "answered_share": 0.9},
    "curation": {"kept": 50, "rejected": {"below_band": 30, "above_band": 20}, "kept_agreement": 0.5},
    "solver": {"steps": [{key: STEP[key] for key in ("answered_share", "kl", "entropy", "response_tokens_mean")}] * 4},
    "evaluation": {"math": SCORES},
}
HEALTHY = {"base": {"evaluation": {"math": SCORES}}, "rounds": [ROUND, {**deepcopy(ROUND), "round": 2}]}


def changed(path: str, value: object) -> dict:
    """HEALTHY with one number of round 2 changed; of training, in every step but the first."""
    report = deepcopy(HEALTHY)
    kind, _, key = path.partition(".")
    part = report["rounds"][1][kind]
    if "steps" in part:
        part["steps"][1:] = [{**step, key: value} for step in part["steps"][1:]]
    elif kind == "evaluation":
        part["math"][key] = value
    else:
        part[key] = value
    return report


def names(report: dict, thresholds=THRESHOLDS) -> list[tuple[str, str]]:
    return [(alarm["stage"], alarm["name"]) for alarm in monitors.raised(report, thresholds)]


def test_nothing_is_wrong_with_a_healthy_report():
    assert names(HEALTHY) == []


CASES = [
    ("challenger.well_formed_share", 0.4, "malformed", 0.4),
    ("questions.well_formed", 40, "malformed", 0.4),
    ("challenger.answered_share", 0.4, "unanswered", 0.4),
    ("votes.answered_share", 0.4, "unanswered", 0.4),
    ("solver.answered_share", 0.4, "unanswered", 0.4),
    ("evaluation.answered_share", 0.4, "unanswered", 0.4),
    ("solver.well_formed_share", 0.4, "few_valid", 0.4),
    ("solver.learnability", 0.01, "nothing_to_learn", 0.01),
    ("challenger.response_cut_off_share", 0.4, "cut_off", 0.4),
    ("evaluation.cut_off_share", 0.4, "cut_off", 0.4),
    ("challenger.largest_cluster_share", 0.4, "one_cluster", 0.4),
    ("questions.distinct", 8, "repeating", 8 / 90),
    ("questions.distinct_2", 0.01, "few_pairs", 0.01),
    ("challenger.agreement_mean", 0.9, "too_easy", 0.4),
    ("votes.mean_agreement", 0.9, "too_easy", 0.4),
    ("challenger.agreement_mean", 0.1, "too_hard", 0.4),
    ("votes.mean_agreement", 0.1, "too_hard", 0.4),
    ("challenger.response_tokens_mean", 400.0, "length", 4.0),
    ("solver.response_tokens_mean", 25.0, "length", 4.0),
    ("questions.tokens_mean", 10.0, "length", 4.0),
    ("challenger.kl", 2.0, "kl", 2.0),
    ("solver.kl", 2.0, "kl", 2.0),
    ("challenger.entropy", 0.01, "entropy", 0.01),
    ("solver.entropy", 0.01, "entropy", 0.01),
    ("curation.kept", 5, "few_kept", 5 / 55),
    ("curation.kept_agreement", 0.2, "weak_labels", 0.2),
    ("evaluation.greedy", 0.4, "worse", 0.1),
]
"""A path into round 2, its bad value, the alarm, the value that the alarm says."""


@pytest.mark.parametrize(("path", "value", "name", "seen"), CASES)
def test_one_bad_number_raises_one_alarm(path, value, name, seen):
    (alarm,) = monitors.raised(changed(path, value), THRESHOLDS)
    assert (alarm["stage"], alarm["name"]) == (f"round_2/{path.partition('.')[0]}", name)
    assert (alarm["round"], alarm["value"]) == (2, pytest.approx(seen))


def test_a_majority_that_is_weak_at_the_first_step_is_seen_although_it_grows():
    report = deepcopy(HEALTHY)
    steps = report["rounds"][1]["solver"]["steps"]
    for at_start, raised in ((0.2, [("round_2/solver", "weak_majority")]), (0.4, [])):
        for step, agreement in zip(range(4), (at_start, 0.5, 0.8, 0.9), strict=True):
            steps[step] = {**steps[step], "agreement_mean": agreement}
        assert names(report) == raised


def test_every_alarm_and_every_threshold_is_in_use():
    assert {case[2] for case in CASES} | {"weak_majority"} == {alarm.name for alarm in monitors.ALARMS}
    fields = {field.name for field in dataclasses.fields(THRESHOLDS)}
    assert {alarm.threshold for alarm in monitors.ALARMS} == fields - {"on_alarm", "early_stop_rounds"}


def test_an_alarm_says_what_it_saw_and_what_to_try():
    (alarm,) = monitors.raised(changed("solver.kl", 2.0), THRESHOLDS)
    assert alarm == {
        "round": 2, "stage": "round_2/solver", "name": "kl", "value": 2.0, "threshold": 1.0,
        "saw": "the KL from the reference model (the stage's start, with reference=base the base) is 2 "
        "(above monitors.kl=1)",
        "try": "a lower solver.lr, a higher solver.kl or fewer solver.steps",
    }  # fmt: skip
    assert monitors.in_words(alarm).splitlines() == [
        f"ALARM round_2/solver, kl: {alarm['saw']}.",
        f"      Try {alarm['try']}.",
    ]


def test_null_switches_an_alarm_off():
    assert names(changed("solver.kl", 2.0), dataclasses.replace(THRESHOLDS, kl=None)) == []


def test_training_is_judged_by_the_mean_of_its_last_three_steps():
    report = deepcopy(HEALTHY)
    report["rounds"][0]["solver"]["steps"] = [{"kl": kl} for kl in (9.0, 0.9, 1.2, 1.5)]
    (alarm,) = monitors.raised(report, THRESHOLDS)
    assert alarm["value"] == pytest.approx(1.2)


def test_the_drop_is_from_the_best_so_far():
    # .5 (base), .8, .76, then .74: .04 below the best is within the limit of .05, .06 is not
    report = deepcopy(HEALTHY)
    report["rounds"] = [{**deepcopy(ROUND), "round": number} for number in (1, 2, 3)]
    for part, greedy in zip(report["rounds"], (0.8, 0.76, 0.74), strict=True):
        part["evaluation"]["math"]["greedy"] = greedy
    (alarm,) = monitors.raised(report, THRESHOLDS)
    assert (alarm["stage"], alarm["value"]) == ("round_3/evaluation", pytest.approx(0.06))


def test_a_drop_that_may_be_chance_raises_nothing():
    # .5 before, .4 now: with 32 questions the interval of now reaches .56, with 500 only .44
    worse = [("round_2/evaluation", "worse")]
    assert names(changed("evaluation.greedy", 0.4)) == worse
    for highest, expected in ((0.56, []), (0.44, worse)):
        report = changed("evaluation.greedy", 0.4)
        report["rounds"][1]["evaluation"]["math"]["greedy_interval"] = [0.2, highest]
        assert names(report) == expected


def test_an_untrained_challenger_whose_questions_have_become_too_easy():
    """The control: nothing of its training to judge, nearly all questions above the band."""
    report = deepcopy(HEALTHY)
    control = report["rounds"][1]
    control["challenger"] = {"steps": []}
    control["votes"]["mean_agreement"] = 0.97
    control["curation"] |= {"kept": 20, "rejected": {"above_band": 480}}
    assert names(report) == [("round_2/votes", "too_easy"), ("round_2/curation", "few_kept")]


def test_a_stage_that_is_not_done_raises_nothing():
    part = dict.fromkeys(("challenger", "questions", "votes", "curation", "solver", "evaluation"))
    assert names({"base": {"evaluation": None}, "rounds": [{"round": 1, **part}]}) == []


def test_without_a_single_question_only_that_is_said():
    report = changed("challenger.well_formed_share", 0.0)
    for step in report["rounds"][1]["challenger"]["steps"][1:]:
        step |= {"agreement_mean": 0.0, "answered_share": 0.0, "largest_cluster_share": 0.0}
    assert names(report) == [("round_2/challenger", "malformed")]


def tiny_run(name: str) -> list[tuple[str, str]]:
    return names(json.loads((DATA / f"{name}.json").read_text()), load([]).monitors)


def test_an_ordinary_run_of_three_rounds_raises_no_alarm():
    assert tiny_run("ordinary") == []


def test_without_a_repetition_penalty_at_four_times_the_learning_rate_the_collapse_is_seen():
    """Its first round was still healthy; in its second the Challenger asked few questions over and over."""
    assert tiny_run("collapsed") == [("round_2/challenger", "one_cluster"), ("round_2/questions", "repeating")]
