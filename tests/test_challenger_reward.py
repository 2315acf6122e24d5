"""The Challenger's reward against hand-worked numbers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from verl_rzero.rules.reward import challenger_reward
from verl_rzero.rules.uncertainty import FORMS, uncertainty_reward


@pytest.mark.parametrize(
    ("form", "p", "reward"),
    [
        # 1 - 2|p - 1/2|
        ("paper", 0.0, 0.0), ("paper", 0.3, 0.6), ("paper", 0.5, 1.0), ("paper", 0.9, 0.2), ("paper", 1.0, 0.0),
        # min(p, 1 - p)
        ("released", 0.0, 0.0), ("released", 0.3, 0.3), ("released", 0.5, 0.5), ("released", 0.9, 0.1),
        # 4p(1 - p): 4 * 0.3 * 0.7 = 0.84
        ("variance", 0.3, 0.84), ("variance", 0.5, 1.0), ("variance", 1.0, 0.0),
        # 1 - p, 0 at both ends
        ("learnability", 0.0, 0.0), ("learnability", 0.1, 0.9), ("learnability", 0.9, 0.1), ("learnability", 1.0, 0.0),
        # 1 where |p - 1/2| <= 1/4
        ("band", 0.2, 0.0), ("band", 0.25, 1.0), ("band", 0.6, 1.0), ("band", 0.75, 1.0), ("band", 0.8, 0.0),
    ],
)  # fmt: skip
def test_uncertainty_forms(form, p, reward):
    assert uncertainty_reward(p, form) == pytest.approx(reward, abs=1e-12)


def test_the_papers_form_is_the_default():
    assert uncertainty_reward(0.4) == pytest.approx(0.8)
    assert isinstance(uncertainty_reward(0.4), float)


@pytest.mark.parametrize("form", FORMS)
@given(p=st.floats(0, 1))
def test_an_array_gives_what_its_numbers_give(form, p):
    assert uncertainty_reward(np.array([p, 0.5]), form)[0] == uncertainty_reward(p, form)
    assert 0.0 <= uncertainty_reward(p, form) <= 1.0


@pytest.mark.parametrize("p", [-0.1, 1.1, float("nan")])
def test_an_agreement_outside_its_range_is_refused(p):
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        uncertainty_reward(p)


def test_an_unknown_form_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="paper, released"):
        uncertainty_reward(0.5, "papr")


def test_reward_worked_by_hand():
    # p = .5, share 1/8:  1 - .125 = .875          p = .9, share 3/8: .2 - .375 < 0 -> 0
    # malformed: 0, whatever stands beside it      p = .3, share 1/8: .6 - .125 = .475
    rewards = challenger_reward([0.5, 0.9, np.nan, 0.3], [1 / 8, 3 / 8, np.nan, 1 / 8], [True, True, False, True])
    assert rewards.dtype == np.float64
    np.testing.assert_allclose(rewards, [0.875, 0.0, 0.0, 0.475])


def test_switches_worked_by_hand():
    # min(.9, .1) - 2 * 3/8 = .1 - .75 = -.65, no floor; malformed -1
    rewards = challenger_reward(
        [0.9, 0.5],
        [3 / 8, 1 / 8],
        [True, False],
        form="released",
        repetition_weight=2.0,
        invalid_reward=-1.0,
        floor=None,
    )
    np.testing.assert_allclose(rewards, [-0.65, -1.0])


def test_a_floor_bounds_well_formed_questions_only():
    rewards = challenger_reward([1.0, 0.0], [1.0, 0.0], [True, False], invalid_reward=-2.0, floor=-0.25)
    np.testing.assert_allclose(rewards, [-0.25, -2.0])


def test_an_empty_batch():
    assert challenger_reward([], [], []).shape == (0,)


@pytest.mark.parametrize(
    ("agreements", "shares", "well_formed"),
    [
        ([0.5], [0.1, 0.1], [True]),
        ([0.5, 0.5], [0.1, 0.1], [True]),
        ([[0.5]], [[0.1]], [[True]]),
        ([0.5], [0.1], [1]),  # not a boolean
        ([1.5], [0.1], [True]),
        ([0.5], [1.1], [True]),
        ([float("nan")], [0.1], [True]),
        ([0.5], [float("nan")], [True]),
    ],
)
def test_nonsense_is_refused(agreements, shares, well_formed):
    with pytest.raises(ValueError):  # noqa: PT011
        challenger_reward(agreements, shares, well_formed)


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1), st.booleans()), min_size=1))
def test_the_papers_reward_is_between_zero_and_one_and_falls_with_repetition(rows):
    p, share, valid = map(np.array, zip(*rows, strict=True))
    rewards = challenger_reward(p, share, valid)
    assert np.all((rewards >= 0) & (rewards <= 1))
    assert np.all(rewards <= challenger_reward(p, share / 2, valid))
