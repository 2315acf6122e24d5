"""Samplers: what is sampled, stored and rewarded. Samples and their scores are made up, the votes are real."""

import asyncio
from collections import Counter
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verl_rzero.engine.batch_rewards import MatchesOwnMajority
from verl_rzero.engine.samplers import Trajectory, VotesAndTrains, WholeBatch
from verl_rzero.grading.counts import COLUMNS

CUT_OFF = "cut off: "
"""Before an answer whose response ran into the token limit."""


def drawn(*groups: list[str | None]) -> list[Trajectory]:
    """What asking gives: to each prompt the answers of one group, as `AnswerManager` reads them."""
    return [
        Trajectory(
            row,
            [row],
            SimpleNamespace(ids=[row, place], finished=not (answer or "").startswith(CUT_OFF)),
            {
                "reward_score": 0.0,
                "reward_extra_info": {"answer": None if answer is None else answer.removeprefix(CUT_OFF)},
            },
        )
        for row, group in enumerate(groups)
        for place, answer in enumerate(group)
    ]


def stored(sampler, trajectories: list[Trajectory]) -> tuple[list[Trajectory], list[int]]:
    """The sampler's trajectories, and how many responses to each prompt it asked for."""
    asked: list[int] = []

    async def ask(n: int) -> list[Trajectory]:
        asked.append(n)
        return trajectories

    return asyncio.run(sampler(ask)), asked


def votes(n: int, trained_on: int, *, by_text: bool = False, denominator: str = "all") -> VotesAndTrains:
    return VotesAndTrains(n, trained_on, by_text, denominator, grading_timeout_s=5.0)


def rewards(trajectories: list[Trajectory]) -> list[float]:
    return [trajectory.result["reward_score"] for trajectory in trajectories]


def column(trajectories: list[Trajectory], name: str) -> list:
    return [trajectory.result["reward_extra_info"][name] for trajectory in trajectories]


def test_a_whole_batch_is_stored_as_it_was_sampled():
    trajectories = drawn(["1", "2"], ["3", None])
    assert stored(WholeBatch(2), trajectories) == (trajectories, [2])


def test_all_vote_and_the_first_are_stored_in_order_with_their_own_reward():
    sampled = drawn(["3", "4", "4.0", "5"], ["7", "8", "7", "9"])
    found, asked = stored(votes(4, 2), sampled)
    assert asked == [4]
    # 4 and 4.0 are two of four, 7 is two of four; only the first two answers to each prompt are trained on
    assert [(each.row, each.sample.ids) for each in found] == [(0, [0, 0]), (0, [0, 1]), (1, [1, 0]), (1, [1, 1])]
    assert [each.sample for each in found] == [sampled[i].sample for i in (0, 1, 4, 5)]
    assert rewards(found) == [0.0, 1.0, 1.0, 0.0]
    assert column(found, "right") == rewards(found)
    assert column(found, "answer") == ["3", "4", "7", "8"]
    assert column(found, "label") == ["4", "4", "7", "7"]
    assert column(found, "agreement") == [0.5] * 4


def test_every_column_that_is_read_later_is_there():
    found, _ = stored(votes(2, 2), drawn(["1", "2"], [None, None]))
    for each in found:
        assert {*each.result["reward_extra_info"]} == {*MatchesOwnMajority.reads, *COLUMNS} - {"index"}


def test_a_missing_or_cut_off_answer_neither_wins_nor_is_rewarded():
    # three say 9, but were cut off; one says 2; one says nothing
    group = [CUT_OFF + "9", CUT_OFF + "9", "2", None, CUT_OFF + "9"]
    found, _ = stored(votes(5, 5), drawn(group))
    assert rewards(found) == [0.0, 0.0, 1.0, 0.0, 0.0]
    assert column(found, "label") == ["2"] * 5
    assert column(found, "answer") == ["", "", "2", "", ""]
    assert column(found, "group_answered") == [0.2] * 5
    assert column(found, "agreement") == [0.2] * 5  # of all five
    for by_text in (False, True):
        found, _ = stored(votes(5, 5, by_text=by_text, denominator="answered"), drawn(group))
        assert column(found, "agreement") == [1.0] * 5  # of the one that answered


def test_a_cut_off_answer_of_the_winning_text_is_not_rewarded():
    found, _ = stored(votes(3, 3), drawn([CUT_OFF + "2", "2", "2"]))
    assert rewards(found) == [0.0, 1.0, 1.0]


@pytest.mark.parametrize(
    ("by_text", "label", "expected", "distinct", "entropy"),
    [
        # by equality 2 sqrt(3) has three of five: 0.6 ln(5/3) + 0.4 ln(5/2) = 0.30650 + 0.36652
        (False, r"2\sqrt{3}", [0.0, 1.0, 1.0, 1.0, 0.0], 2, 0.67301),
        # by text 4 and \sqrt{12} have two each, and 4 was first: 2 x 0.4 ln(5/2) + 0.2 ln 5 = 0.73303 + 0.32189
        (True, "4", [1.0, 0.0, 0.0, 0.0, 1.0], 3, 1.05492),
    ],
)
def test_answers_vote_together_where_equal_or_where_their_text_is(by_text, label, expected, distinct, entropy):
    answers = ["4", r"2\sqrt{3}", r"\sqrt{12}", r"\sqrt{12}", "4"]
    found, _ = stored(votes(5, 5, by_text=by_text), drawn(answers))
    assert column(found, "label") == [label] * 5
    assert rewards(found) == expected
    assert column(found, "distinct") == [float(distinct)] * 5
    assert column(found, "vote_entropy") == pytest.approx([entropy] * 5, abs=1e-5)


def test_of_classes_of_one_size_the_first_seen_wins():
    found, _ = stored(votes(4, 4), drawn(["4", "3", "3", "4"], ["3", "4", "4", "3"]))
    assert column(found, "label") == ["4"] * 4 + ["3"] * 4
    assert rewards(found) == [1.0, 0.0, 0.0, 1.0] * 2


def test_where_nobody_answered_all_rewards_are_0():
    found, _ = stored(votes(3, 2), drawn([None, CUT_OFF + "3", None]))
    assert rewards(found) == [0.0, 0.0]
    for name, value in {"label": "", "agreement": 0.0, "group_answered": 0.0, "distinct": 0.0}.items():
        assert column(found, name) == [value] * 2


def test_what_the_vote_cost_is_told_once():
    sampler = votes(3, 3)
    # |x+1| = |1+x| is asked of a worker, once, by the first group; the second has the verdict from the cache
    found, _ = stored(sampler, drawn(["|x+1|", "|1+x|", "|1+x|"], ["|x+1|", "|1+x|", None]))
    sampler.grader.close()
    assert rewards(found) == [1.0, 1.0, 1.0, 1.0, 1.0, 0.0]
    assert column(found, "grading_asked") == [1.0, 0.0, 0.0, 0.0, 0.0, 0.0]
    assert column(found, "grading_cached") == [0.0, 0.0, 0.0, 1.0, 0.0, 0.0]
    assert column(found, "grading_timeouts") == column(found, "grading_kills") == [0.0] * 6


def test_votes_need_answers_that_a_reward_manager_has_read():
    unread = [Trajectory(0, [0], SimpleNamespace(ids=[1], finished=True), None)] * 2
    with pytest.raises(AssertionError, match="beside the rollout"):
        stored(votes(2, 1), unread)


GROUP = st.lists(st.sampled_from(["1", "2", "2.0", "3", None, CUT_OFF + "1", CUT_OFF + "3"]), min_size=6, max_size=6)


def valid(group: list[str | None]) -> Counter[str]:
    """How many finished answers there are of each value."""
    answers = [answer for answer in group if answer is not None and not answer.startswith(CUT_OFF)]
    return Counter(answer.removesuffix(".0") for answer in answers)


@given(st.lists(GROUP, min_size=1, max_size=3), st.booleans())
def test_as_many_of_all_are_rewarded_as_the_winning_class_holds(groups, by_text):
    found, _ = stored(votes(6, 6, by_text=by_text), drawn(*groups))
    for row, group in enumerate(groups):
        own = [each for each in found if each.row == row]
        finished = Counter(answer for answer in group if answer is not None and not answer.startswith(CUT_OFF))
        sizes = finished if by_text else valid(group)
        assert sum(rewards(own)) == max(sizes.values(), default=0)


@given(GROUP, st.randoms(use_true_random=False))
def test_in_another_order_each_answer_has_its_own_reward_again(group, random):
    top = valid(group).most_common(2)
    tied = len(top) == 2 and top[0][1] == top[1][1]
    order = list(range(len(group)))
    random.shuffle(order)
    here, there = (rewards(stored(votes(6, 6), drawn(g))[0]) for g in (group, [group[i] for i in order]))
    if not tied:
        assert there == [here[i] for i in order]
    assert sum(there) == sum(here)
