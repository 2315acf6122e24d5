"""Votes: classes, label, agreement, margin."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verl_rzero.rules.voting import Vote, agreement_histogram, vote


def never(a, b):
    raise AssertionError(f"asked about {a!r} and {b!r}")


def test_a_vote_worked_by_hand():
    # 0.5, 1/2, \frac12 are one class of 3; 4 has 2; 7 has 1; 2 of 8 are unanswered.
    answers = ["0.5", "4", None, "1/2", "7", r"\frac12", None, "4.0"]
    # agreement 3/8, margin (3 - 2)/8, answered 6
    assert vote(answers) == Vote("0.5", 3 / 8, 1 / 8, 6, (0, 1, -1, 0, 2, 0, -1, 1))


def test_unanswered_ones_may_be_left_out_of_the_denominator():
    result = vote(["3", None, "3", "4", None, None], denominator="answered")
    assert (result.label, result.agreement, result.margin, result.answered) == ("3", 2 / 3, 1 / 3, 3)


def test_unanswered_is_never_a_class_even_when_it_is_the_most_frequent():
    result = vote([None, None, None, "5"])
    assert (result.label, result.agreement, result.classes) == ("5", 1 / 4, (-1, -1, -1, 0))


@pytest.mark.parametrize("blank", ["", " \n", "$$", r"\text{ }", r"\ ", "\u200b"])
def test_an_answer_that_prints_nothing_is_none(blank):
    # like None: 1 of 3 said 5, and nobody is the runner-up
    assert vote([blank, "5", blank]) == Vote("5", 1 / 3, 1 / 3, 1, (-1, 0, -1))
    assert vote([blank]) == Vote(None, 0.0, 0.0, 0, (-1,))


@pytest.mark.parametrize("denominator", ["all", "answered"])
def test_nobody_answered(denominator):
    assert vote([None, None], denominator=denominator) == Vote(None, 0.0, 0.0, 0, (-1, -1))


def test_of_equal_classes_the_first_seen_wins_and_the_margin_is_zero():
    result = vote(["2", "1", "1", "2"])
    assert (result.label, result.margin) == ("2", 0.0)


def test_the_label_is_the_first_seen_string_of_its_class():
    assert vote(["9", r"\frac{2}{4}", "0.5", "1/2"]).label == r"\frac{2}{4}"


def test_one_class_has_no_runner_up():
    result = vote(["1", "1", None])
    assert result.margin == result.agreement == 2 / 3


def test_same_strings_and_same_notation_are_never_asked_about():
    assert vote(["x+1", "x+1", "  x + 1", "$x+1$"], same=never).agreement == 1.0


def test_a_new_answer_is_asked_about_once_per_class():
    asked = []

    def same(a, b):
        asked.append((a, b))
        return False

    vote(["p+1", "q+1", "p+1", "r+1", "q+1", " r + 1"], same=same)
    assert asked == [("p+1", "q+1"), ("p+1", "r+1"), ("q+1", "r+1")]


def test_a_vote_needs_answers_and_a_known_denominator():
    with pytest.raises(ValueError, match="at least one"):
        vote([])
    with pytest.raises(ValueError, match="denominator"):
        vote(["1"], denominator="some")


def test_symbolic_answers_are_grouped_by_equality():
    result = vote([r"2\sqrt{3}", r"\sqrt{12}", "3.46", r"\sqrt{3}\cdot 2"])
    assert result.classes == (0, 0, 1, 0)


answer_lists = st.lists(st.none() | st.integers(0, 4).map(str), min_size=1, max_size=30)


@given(answer_lists)
def test_counts_hold_for_any_vote(answers):
    result = vote(answers, same=lambda a, b: a == b)
    counts = [answers.count(a) for a in set(answers) - {None}]
    assert result.answered == sum(counts) == sum(c >= 0 for c in result.classes)
    assert math.isclose(result.agreement, max(counts, default=0) / len(answers))
    assert 0 <= result.margin <= result.agreement <= 1
    if result.label is not None:
        assert answers.count(result.label) == max(counts)


@given(answer_lists, st.integers(0, 2**32))
def test_the_order_of_the_answers_changes_no_count(answers, seed):
    shuffled = random.Random(seed).sample(answers, len(answers))
    a, b = vote(answers), vote(shuffled)
    assert (a.agreement, a.margin, a.answered) == (b.agreement, b.margin, b.answered)


@given(answer_lists)
def test_classes_are_numbered_by_first_appearance(answers):
    seen = [c for c in vote(answers).classes if c >= 0]
    assert list(dict.fromkeys(seen)) == list(range(len(set(seen))))


def test_the_histogram_counts_questions_by_agreement():
    # of 10 answers 3, 3, 10 and 0 agree
    assert agreement_histogram([0.3, 0.3, 1.0, 0.0], 10) == [1, 0, 0, 2, 0, 0, 0, 0, 0, 0, 1]


# Answers of which several writings are one value: the class of each is its number.
WRITINGS = {
    "0": ["0.5", "1/2", r"\frac12", r"50\%"],
    "1": ["2", "2.0", "x=2"],
    "2": ["yes", "Yes."],
    "3": [r"\pi", "π"],
}
written = st.sampled_from([(number, text) for number, texts in WRITINGS.items() for text in texts])
ballots = st.lists(st.none() | written, min_size=1, max_size=20)


def texts(ballots):
    return [None if ballot is None else ballot[1] for ballot in ballots]


@given(ballots)
def test_classes_are_the_values_however_they_are_written(ballots):
    numbers = [None if ballot is None else ballot[0] for ballot in ballots]
    classes = vote(texts(ballots)).classes
    assert len(classes) == len(ballots)
    for i, first in enumerate(numbers):
        assert (classes[i] == -1) == (first is None)
        for j, second in enumerate(numbers[:i]):
            if first is not None and second is not None:
                assert (classes[i] == classes[j]) == (first == second)


@given(ballots)
def test_shares_are_whole_numbers_of_votes(ballots):
    m, answered = len(ballots), sum(ballot is not None for ballot in ballots)
    for denominator, votes in (("all", m), ("answered", answered)):
        result = vote(texts(ballots), denominator=denominator)
        sizes = sorted((result.classes.count(c) for c in set(result.classes) - {-1}), reverse=True) + [0, 0]
        assert math.isclose(result.agreement * votes, sizes[0], abs_tol=1e-9)
        assert math.isclose(result.margin * votes, sizes[0] - sizes[1], abs_tol=1e-9)
        assert result.answered == answered == sum(sizes)


@given(ballots)
def test_unanswered_ones_never_win_and_only_lower_the_agreement_with_all(ballots):
    given_ones = [text for text in texts(ballots) if text is not None]
    result = vote(texts(ballots))
    assert (result.label is None) == (not given_ones)
    if given_ones:
        alone = vote(given_ones)
        assert result.label == alone.label
        assert math.isclose(result.agreement, alone.agreement * len(given_ones) / len(ballots))
        assert vote(texts(ballots), denominator="answered").agreement == alone.agreement


@given(ballots, st.randoms(use_true_random=False))
def test_in_any_order_the_same_class_wins_but_for_a_tie(ballots, random):
    shuffled = random.sample(ballots, len(ballots))
    value = {text: number for number, several in WRITINGS.items() for text in several}
    a, b = vote(texts(ballots)), vote(texts(shuffled))
    if a.margin > 0:
        assert value[a.label] == value[b.label]
    for ordered, result in ((ballots, a), (shuffled, b)):
        counts = {number: sum(x is not None and x[0] == number for x in ordered) for number in WRITINGS}
        tied = [x for x in ordered if x is not None and counts[x[0]] == max(counts.values())]
        assert result.label == (tied[0][1] if tied else None)  # of the largest classes the first seen, as first written
