"""What the answers to one question make of each other, on votes worked by hand."""

import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verl_rzero.rules.own_majority import own_majority
from verl_rzero.rules.voting import vote_by_text

ANSWERS = st.lists(st.sampled_from(["1", "2", "3", None]), min_size=1, max_size=12)


def test_the_first_answers_are_rewarded_by_the_vote_of_all():
    # 3 has three of six; of the five that answered the shares are 3/5, 1/5, 1/5
    found = own_majority(vote_by_text(["4", "3", None, "3", "5", "3"]), 4)
    assert found.rewards_T == (0.0, 1.0, 0.0, 1.0)
    assert found.distinct == 3
    # 0.6 ln(5/3) + 0.4 ln 5 = 0.30650 + 0.64378
    assert found.entropy == pytest.approx(0.95027, abs=1e-5)


def test_of_classes_of_one_size_the_first_seen_wins():
    assert own_majority(vote_by_text(["4", "3", "3", "4"]), 4).rewards_T == (1.0, 0.0, 0.0, 1.0)
    assert own_majority(vote_by_text([None, "3", "4"]), 3).rewards_T == (0.0, 1.0, 0.0)


def test_where_nobody_answered_nobody_is_rewarded():
    found = own_majority(vote_by_text([None, None, None]), 2)
    assert (found.rewards_T, found.distinct, found.entropy) == ((0.0, 0.0), 0, 0.0)


def test_one_class_has_an_entropy_of_plain_zero():
    entropy = own_majority(vote_by_text(["7", "7"]), 1).entropy
    assert (entropy, math.copysign(1, entropy)) == (0.0, 1.0)


@pytest.mark.parametrize("trained_on", [0, -1, 4])
def test_only_answers_that_are_there_can_be_trained_on(trained_on):
    with pytest.raises(ValueError, match=f"{trained_on} of 3 answers can't be trained on"):
        own_majority(vote_by_text(["1", "2", "3"]), trained_on)


@given(ANSWERS)
def test_as_many_are_rewarded_as_the_largest_class_holds(answers):
    sizes = Counter(answer for answer in answers if answer is not None)
    found = own_majority(vote_by_text(answers), len(answers))
    assert sum(found.rewards_T) == max(sizes.values(), default=0)
    assert found.distinct == len(sizes)
    assert 0.0 <= found.entropy <= math.log(max(1, len(sizes))) + 1e-9


@given(ANSWERS, st.data())
def test_fewer_trained_on_are_the_first_of_more(answers, data):
    voted = vote_by_text(answers)
    trained_on = data.draw(st.integers(1, len(answers)))
    assert own_majority(voted, trained_on).rewards_T == own_majority(voted, len(answers)).rewards_T[:trained_on]
