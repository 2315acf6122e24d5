"""What is made of a step's batch, row by row."""

import functools
import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from verl_rzero import settings
from verl_rzero.engine.batch_rewards import MatchesLabel, MatchesOwnMajority, UncertaintyLessRepetition

LONE = "4+5+6+7+8"
ROWS = {
    "question": ["1+2", "1+2", "", LONE],
    "agreement": [0.5, 0.75, math.nan, 0.25],
    "answered": [1.0, 0.75, 0.0, 0.5],
    "well_formed": [1.0, 1.0, 0.0, 1.0],
}
"""Two questions alike, a malformed text, one of its own kind: uncertainty 1, 1/2, -, 1/2; shares 2/4, 2/4, 1/4, 1/4."""


@functools.cache
def judge(*overrides: str, seed: int = 0, memory: tuple[str, ...] = ()) -> UncertaintyLessRepetition:
    """With the paper's rules, and tokens of sums that have no spaces."""
    words = ["challenger.repetition_tokens=math", *(f"challenger.{word}" for word in overrides)]
    return UncertaintyLessRepetition(settings.load(words).challenger, seed, memory)


def test_each_row_has_its_uncertainty_less_its_own_clusters_share():
    judged = judge()(ROWS, 1)
    # 1 - 2/4; 1/2 - 2/4; 0 without a question; 1/2 - 1/4
    assert judged.reward_B.tolist() == [0.5, 0.0, 0.0, 0.25]
    assert judged.numbers == {
        "uncertainty_mean": pytest.approx(2 / 3),  # of the three well-formed, like the next four
        "repetition_mean": pytest.approx(5 / 12),
        "memory_mean": 0.0,
        "agreement_mean": 0.5,
        "answered_share": 0.75,
        "well_formed_share": 0.75,
        "distinct_share": 0.5,  # two different questions from four rows
        "largest_cluster_share": 0.5,
    }


@given(st.permutations(range(12)))
def test_rewards_do_not_depend_on_the_order_of_the_batch(order):
    """verl sorts a batch by the length of its rows, and equal lengths by names that are drawn at random."""
    questions = ["1+1", "1+2", "2+1", "2+2", "1+1+1", "1+2+1", "2+1+1", "1+1+2", "3+1", "1+3", "3+3", "1+3+1"]
    rows = {"question": questions, "agreement": [0.5] * 12, "answered": [1.0] * 12, "well_formed": [1.0] * 12}
    shuffled = rows | {"question": [questions[i] for i in order]}
    np.testing.assert_array_equal(judge()(shuffled, 1).reward_B, judge()(rows, 1).reward_B[list(order)])


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["repetition_weight=0.5"], [0.75, 0.25, 0.0, 0.375]),
        (["repetition_weight=0"], [1.0, 0.5, 0.0, 0.5]),
        (["repetition_weight=2", "floor=null"], [0.0, -0.5, 0.0, 0.0]),
        (["repetition_weight=2", "floor=-0.25"], [0.0, -0.25, 0.0, 0.0]),
        (["floor=0.3"], [0.5, 0.3, 0.0, 0.3]),
        (["invalid_reward=-1"], [0.5, 0.0, -1.0, 0.25]),
        (["repetition_on_invalid=true"], [0.5, 0.0, -0.25, 0.25]),
        (
            ["repetition_on_invalid=true", "invalid_reward=-1", "repetition_weight=2", "floor=null"],
            [0.0, -0.5, -1.5, 0.0],
        ),
        (["uncertainty=released", "repetition_weight=0"], [0.5, 0.25, 0.0, 0.25]),
        (["uncertainty=band", "uncertainty_band=[0.7,0.8]"], [0.0, 0.5, 0.0, 0.0]),
        # p / 0.75 is 2/3, 1, 1/3
        (["uncertainty=zpd", "uncertainty_peak=0.75"], [2 / 3 - 1 / 2, 0.5, 0.0, 1 / 3 - 1 / 4]),
        # nothing is nearer than 0: no clusters, every share is 1/4
        (["repetition_threshold=0"], [0.75, 0.25, 0.0, 0.25]),
        # a text without spaces is one token, for which BLEU lacks three orders: alike ones are 0.82 apart
        (["repetition_tokens=whitespace"], [0.75, 0.25, 0.0, 0.25]),
        (["repetition_tokens=whitespace", "repetition_threshold=0.85"], [0.5, 0.0, 0.0, 0.25]),
    ],
)
def test_each_setting_reaches_its_rule(overrides, expected):
    assert judge(*overrides)(ROWS, 1).reward_B.tolist() == pytest.approx(expected)


@pytest.mark.parametrize(
    ("linkage", "threshold", "expected"),
    [
        # (3/7)^(1/4) = 0.81 and (1/7)^(1/4) = 0.61: neighbours are 0.19 apart, the outer two 0.39, on average 0.29
        ("single", 0.25, [1 / 3, 1 / 3, 1 / 3]),
        ("average", 0.25, [1 / 3, 1 / 3, 2 / 3]),
        ("average", 0.3, [1 / 3, 1 / 3, 1 / 3]),
        ("complete", 0.3, [1 / 3, 1 / 3, 2 / 3]),
        ("complete", 0.4, [1 / 3, 1 / 3, 1 / 3]),
    ],
)
def test_the_linkage_reaches_the_clusters(linkage, threshold, expected):
    chain = ["1+2+3+4", "1+2+3+5", "6+2+3+5"]
    rows = {"question": chain, "agreement": [0.5] * 3, "answered": [1.0] * 3, "well_formed": [1.0] * 3}
    if expected[-1] == 1 / 3:  # one cluster of three leaves 1 - 3/3
        expected = [0.0] * 3
    found = judge(f"repetition_linkage={linkage}", f"repetition_threshold={threshold}")(rows, 1)
    assert sorted(found.reward_B) == pytest.approx(expected)


def test_questions_of_earlier_rounds_are_repeated_too():
    judged = judge("floor=null", memory=("1+2", "9*9=x", "?", "!"))(ROWS, 1)
    # the first two are alike with one of four remembered: 1 - 2/4 - 1/4; 1/2 - 2/4 - 1/4
    assert judged.reward_B.tolist() == [0.25, -0.25, 0.0, 0.25]
    assert judged.numbers["memory_mean"] == pytest.approx((0.25 + 0.25 + 0.0) / 3)
    assert judged.numbers["repetition_mean"] == pytest.approx(5 / 12)  # of the batch alone


def test_the_random_form_is_drawn_by_seed_and_step():
    def uncertainty(seed: int, step: int) -> list[float]:
        return judge("uncertainty=random", "repetition_weight=0", seed=seed)(ROWS, step).reward_B.tolist()

    first = uncertainty(3, 1)
    drawn = np.random.default_rng([3, 1]).random(3)
    assert first == [drawn[0], drawn[1], 0.0, drawn[2]]
    assert uncertainty(3, 1) == first
    assert uncertainty(3, 2) != first
    assert uncertainty(4, 1) != first


def test_a_batch_without_a_question_has_a_reward_and_numbers():
    rows = {
        "question": ["", ""],
        "agreement": [math.nan, math.nan],
        "answered": [0.0, 0.0],
        "well_formed": [0.0, 0.0],
    }
    judged = judge("invalid_reward=-1", memory=("1+2",))(rows, 1)
    assert judged.reward_B.tolist() == [-1.0, -1.0]
    assert set(judged.numbers.values()) == {0.0}


BATCH = st.lists(
    st.tuples(st.sampled_from(["1+2", LONE, "x", ""]), st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0])),
    min_size=1,
    max_size=12,
)


IDENTICAL = judge("floor=null", "repetition_threshold=0.01")
"""Only identical questions are alike, and no reward is cut at 0."""


@given(BATCH, st.randoms(use_true_random=False))
def test_rewards_belong_to_their_rows_in_any_order(batch, random):
    def rewarded(batch: list[tuple[str, float]]) -> list[float]:
        questions = [question for question, _ in batch]
        rows = {
            "question": questions,
            "agreement": [p if question else math.nan for question, p in batch],
            "answered": [1.0] * len(batch),
            "well_formed": [float(question != "") for question in questions],
        }
        return IDENTICAL(rows, 1).reward_B.tolist()

    often, size = Counter(question for question, _ in batch), len(batch)
    expected = [1 - 2 * abs(p - 0.5) - often[question] / size if question else 0.0 for question, p in batch]
    assert rewarded(batch) == pytest.approx(expected)
    order = list(range(size))
    random.shuffle(order)
    assert rewarded([batch[i] for i in order]) == pytest.approx([expected[i] for i in order])


def test_on_labels_the_rewards_are_the_managers():
    judged = MatchesLabel()({"answered": [1.0, 1.0, 0.0, 1.0], "right": [1.0, 0.0, 0.0, 0.0]}, 1)
    assert judged.reward_B is None
    assert judged.numbers == {"answered_share": 0.75, "label_agreement": 0.25}


TRUTHS = ["3", None, "5"]
OWN = {
    "index": [0, 0, 0, 2, 2, 1],
    "answer": ["3", "4", "6", "5", "", "8"],
    "label": ["4", "4", "4", "5.0", "5.0", "8"],
    "right": [0.0, 1.0, 0.0, 1.0, 0.0, 1.0],
    "answered": [1.0, 1.0, 1.0, 1.0, 0.0, 1.0],
    "agreement": [0.4, 0.4, 0.4, 0.6, 0.6, 0.5],
    "group_answered": [1.0, 1.0, 1.0, 0.7, 0.7, 1.0],
    "distinct": [3.0, 3.0, 3.0, 2.0, 2.0, 2.0],
    "vote_entropy": [1.2, 1.2, 1.2, 0.6, 0.6, 0.6],
}


def own(rows: dict, truths: list[str | None]):
    return MatchesOwnMajority(truths, 5.0)(rows, 1)


def test_labels_and_rewards_are_measured_against_the_truth():
    judged = own(OWN, TRUTHS)
    assert judged.reward_B is None  # the truth only measures
    assert judged.numbers == {
        "agreement_mean": pytest.approx(2.9 / 6),
        "answered_share": pytest.approx(5.4 / 6),
        "distinct_answers": pytest.approx(15 / 6),
        "vote_entropy": pytest.approx(5.4 / 6),
        # The last row's truth isn't known. The labels of the first three are wrong: 4 for 3.
        "label_accuracy": pytest.approx(2 / 5),
        # The truth would give 1 (not 0), 0 (not 1), 0, 1, 0: the last three agree.
        "reward_accuracy": pytest.approx(3 / 5),
        # Of the first three only the 6 has the reward that the truth gives.
        "lucky_reward_accuracy": pytest.approx(1 / 3),
    }


def test_where_all_labels_are_right_none_is_lucky():
    rows = {name: values[3:5] for name, values in OWN.items()}
    numbers = own(rows, TRUTHS).numbers
    assert (numbers["label_accuracy"], numbers["reward_accuracy"]) == (1.0, 1.0)
    assert "lucky_reward_accuracy" not in numbers


def test_where_nobody_answered_the_label_is_wrong_and_no_reward_is_right():
    rows = {**{name: values[:1] for name, values in OWN.items()}, "answer": [""], "label": [""], "right": [0.0]}
    numbers = own(rows, TRUTHS).numbers
    assert [numbers[name] for name in ("label_accuracy", "reward_accuracy", "lucky_reward_accuracy")] == [0, 1, 1]


def test_without_a_known_truth_nothing_is_said_of_it():
    assert set(own(OWN, [None] * 3).numbers) == {
        "agreement_mean",
        "answered_share",
        "distinct_answers",
        "vote_entropy",
    }


@given(st.lists(st.sampled_from(["3", "4", "5", None]), min_size=3, max_size=3))
def test_no_truth_changes_a_reward(truths):
    rows = {name: list(values) for name, values in OWN.items()}
    assert own(rows, truths).reward_B is None
    assert rows == OWN
