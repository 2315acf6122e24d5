"""Which questions are kept, and the reason for each that is not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verl_rzero.data.records import VotedQuestion
from verl_rzero.rules.curation import REASONS, curate
from verl_rzero.rules.voting import vote


def voted(answers, question="1+1", number=0, denominator="all"):
    result = vote(answers, same=lambda a, b: a == b, denominator=denominator)
    return VotedQuestion(
        id=number, round=1, question=question, raws=[""] * len(answers), answers=list(answers), seed=0, model="m",
        classes=list(result.classes), label=result.label, agreement=result.agreement, margin=result.margin,
        answered=result.answered,
    )  # fmt: skip


def with_matches(matches, of=10, label="a", **more):
    """`matches` answers agree, every other answer is alone."""
    return voted([label] * matches + [f"b{i}" for i in range(of - matches)], **more)


def test_the_papers_band_keeps_3_to_7_of_10():
    # |p - 1/2| <= 1/4 with p = k/10: k = 3, 4, 5, 6, 7
    votes = [with_matches(k, number=k) for k in range(1, 11)]
    curated = curate(votes)
    assert [kept.id for kept in curated.kept] == [3, 4, 5, 6, 7]
    assert curated.reasons == ["below_band"] * 2 + [None] * 5 + ["above_band"] * 3
    assert curated.rejected["below_band"] == 2
    assert curated.rejected["above_band"] == 3


@pytest.mark.parametrize(
    ("band", "of", "kept"),
    [
        ((0.3, 0.8), 10, [3, 4, 5, 6, 7, 8]),  # ends belong to the band
        ((0.3, 0.8), 9, [3, 4, 5, 6, 7]),  # 3/9 = .33 .. 7/9 = .78
        ((0.25, 0.75), 9, [3, 4, 5, 6]),
        ((0.7, 0.7), 10, [7]),  # 0.7 as a float is less than 7/10
        ((0.1, 0.3), 30, [3, 4, 5, 6, 7, 8, 9]),
        ((0, 1), 4, [1, 2, 3, 4]),
    ],
)
def test_bounds_are_compared_with_counts_not_with_rounded_numbers(band, of, kept):
    votes = [with_matches(k, of=of, number=k) for k in range(1, of + 1)]
    assert [question.id for question in curate(votes, band=band).kept] == kept


def test_every_reason_in_its_order():
    votes = [
        voted([None] * 10, number=1),  # nobody answered
        voted(["a"] * 5 + [None] * 5, number=2),  # p = .5, but 5 answered
        voted(["a"] * 2 + [f"b{i}" for i in range(8)], number=3),  # p = .2
        voted(["a"] * 9 + ["b"], number=4),  # p = .9
        voted(["a"] * 5 + ["b"] * 5, number=5),  # p = .5, margin 0
        with_matches(5, number=6, question="What is  2+2?"),  # kept
        with_matches(6, number=7, question="what is 2+2?"),  # the same question
        with_matches(6, number=8, question="What is 3+3?"),  # kept
    ]
    votes += [
        voted(["ILL-POSED"] * 4 + ["a"] * 4 + ["b"] * 2, number=9),  # 4 of 10 call it ill-posed
        with_matches(5, number=10, question="?"),  # too short
        with_matches(5, number=11, question="What is in the Box?"),
        with_matches(5, number=12, question="Where are they?", label="\\text{here}"),
        voted(["a"] * 3 + [f"b{i}" for i in range(7)], number=13),  # the least agreement that gets this far
        voted(["a"] * 7 + [f"b{i}" for i in range(3)], number=14),  # the most
    ]
    curated = curate(
        votes,
        min_answered=6,
        min_margin=0.1,
        duplicates="drop",
        ill_posed_share=0.4,
        question_chars=(2, 40),
        drop_questions_with=["box"],
        drop_labels_with=["text"],
        rank_band=(0.4, 0.9),
    )
    # for the rank: p = .2 .9 .5 .5 .6 .6 .3 .7 are let through; .2 -> 1/16, .3 -> 3/16, .5 -> 6/16 ...
    # so .5 has percentile .375 and .6 .625, .7 .8125, .9 .9375
    assert curated.reasons == [
        "no_answer", "few_answers", "below_band", "above_band", "below_rank", "below_rank", None, None,
        "ill_posed", "length", "dropped_text", "dropped_text", "below_rank", None,
    ]  # fmt: skip
    assert list(curated.rejected) == list(REASONS)
    assert sum(curated.rejected.values()) == 11


def test_small_margins_and_duplicates_come_last():
    votes = [
        voted(["a"] * 5 + ["b"] * 5, number=5),  # p = .5, margin 0
        with_matches(5, number=6, question="What is  2+2?"),  # kept
        with_matches(6, number=7, question="what is 2+2?"),  # the same question
        with_matches(6, number=8, question="What is 3+3?"),  # kept
    ]
    curated = curate(votes, min_margin=0.1, duplicates="drop")
    assert curated.reasons == ["small_margin", None, "duplicate", None]
    # asked in an earlier round
    across = curate(votes, duplicates="drop_across_rounds", earlier=["WHAT is 3+3?"])
    assert across.reasons == [None, None, "duplicate", "duplicate"]


@pytest.mark.parametrize(
    ("votes", "kept"),
    # the label's lead as a ratio: 5:3 = 1.67, 4:3 = 1.33, 8:5 = 1.6 exactly, 3:0 (no runner-up)
    [("aaaaabbbcd", True), ("aaaabbbcde", False), ("aaaaaaaabbbbb", True), ("aaa.......", True)],
)
def test_the_margin_as_a_ratio(votes, kept):
    answers = [None if vote == "." else vote for vote in votes]
    assert bool(curate([voted(answers)], band=(0, 1), min_margin_ratio=1.6).kept) == kept


def test_a_rank_band_is_the_middle_of_what_the_rules_before_the_band_let_pass():
    votes = [with_matches(k, number=k) for k in range(1, 11)]
    # percentiles .05, .15, ... .95: from .3 to .7 are p = .4 .5 .6 .7
    assert [item.id for item in curate(votes, band=(0, 1), rank_band=(0.3, 0.7)).kept] == [4, 5, 6, 7]
    # questions of one agreement have one percentile, 1/2
    same = [with_matches(9, number=k) for k in range(4)]
    assert len(curate(same, band=(0, 1), rank_band=(0.5, 0.5)).kept) == 4
    assert len(curate(same, band=(0, 1), rank_band=(0.0, 0.4)).kept) == 0


def test_the_paper_keeps_duplicates_and_ties():
    votes = [with_matches(5), with_matches(5), voted(["a", "b", "c", "a", "b", "c"])]
    assert len(curate(votes).kept) == 3


def test_a_rejected_question_does_not_make_a_duplicate():
    votes = [with_matches(9, number=1), with_matches(5, number=2)]
    assert [kept.id for kept in curate(votes, duplicates="drop").kept] == [2]


def test_votes_of_the_answered_only():
    # 5 of 6 answers agree; 4 more unanswered: 5/10 by all, 5/6 = .83 by answered
    answers = ["a"] * 5 + ["b"] + [None] * 4
    assert curate([voted(answers)]).reasons == [None]
    assert curate([voted(answers, denominator="answered")], denominator="answered").reasons == ["above_band"]


def test_votes_made_with_another_denominator_are_refused():
    answers = ["a"] * 5 + ["b"] + [None] * 4
    with pytest.raises(ValueError, match="denominator"):
        curate([voted(answers, denominator="answered")])


@pytest.mark.parametrize("band", [(0.7, 0.3), (-0.1, 0.5), (0.5, 1.1)])
def test_an_impossible_band_is_refused(band):
    with pytest.raises(ValueError, match="band"):
        curate([], band=band)


def test_an_unknown_way_with_duplicates_is_refused():
    with pytest.raises(ValueError, match="duplicates"):
        curate([], duplicates="maybe")


def test_nothing_in_nothing_out():
    assert curate([]).kept == []
    assert curate([]).rejected == dict.fromkeys(REASONS, 0)


answer_lists = st.lists(st.none() | st.sampled_from("abc"), min_size=1, max_size=12)


@given(st.lists(answer_lists, max_size=8), st.sampled_from([(0.25, 0.75), (0.3, 0.8), (0.0, 1.0)]))
def test_every_question_is_kept_or_counted_once(lists, band):
    votes = [voted(answers, number=i) for i, answers in enumerate(lists)]
    curated = curate(votes, band=band)
    assert len(curated.kept) + sum(curated.rejected.values()) == len(votes)
    assert curated.kept == [q for q, reason in zip(votes, curated.reasons, strict=True) if reason is None]
    for kept in curated.kept:
        assert kept.label is not None
        assert band[0] - 1e-9 <= kept.agreement <= band[1] + 1e-9


@given(st.lists(answer_lists, max_size=8))
def test_curating_the_kept_ones_again_changes_nothing(lists):
    kept = curate([voted(answers, number=i) for i, answers in enumerate(lists)], duplicates="drop").kept
    assert curate(kept, duplicates="drop").kept == kept
