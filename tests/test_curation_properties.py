"""Curation on random votes: nothing lost, nothing changed, and wider bands keep more."""

import copy

from hypothesis import given
from hypothesis import strategies as st

from verl_rzero.data.records import VotedQuestion
from verl_rzero.rules.curation import curate
from verl_rzero.rules.voting import vote

lists_of_answers = st.lists(st.lists(st.none() | st.sampled_from("abc"), min_size=1, max_size=10), max_size=10)
questions = st.lists(st.sampled_from(["1+1", "1 + 1", "2+2", "3+3"]), min_size=10, max_size=10)
twentieths = st.integers(0, 20)
rules = st.fixed_dictionaries(
    {
        "band": st.tuples(twentieths, twentieths).map(lambda two: (min(two) / 20, max(two) / 20)),
        "min_answered": st.integers(1, 6),
        "min_margin": st.integers(0, 10).map(lambda tenths: tenths / 10),
        "duplicates": st.sampled_from(["keep", "drop"]),
    }
)


def voted(lists, texts):
    """One record for each list of answers."""
    records = []
    for number, (answers, text) in enumerate(zip(lists, texts, strict=False)):
        result = vote(answers, same=lambda a, b: a == b)
        records.append(
            VotedQuestion(
                id=number,
                round=1,
                question=text,
                raws=[""] * len(answers),
                answers=list(answers),
                seed=0,
                model="m",
                classes=list(result.classes),
                label=result.label,
                agreement=result.agreement,
                margin=result.margin,
                answered=result.answered,
            )  # fmt: skip
        )
    return records


@given(lists_of_answers, questions, rules)
def test_every_question_is_kept_or_has_one_reason(lists, texts, rules):
    votes = voted(lists, texts)
    curated = curate(votes, **rules)
    assert [question for question, why in zip(votes, curated.reasons, strict=True) if why is None] == curated.kept
    for name, count in curated.rejected.items():
        assert curated.reasons.count(name) == count
    assert len(curated.kept) + sum(curated.rejected.values()) == len(votes)


@given(lists_of_answers, questions, rules)
def test_what_is_kept_keeps_every_rule(lists, texts, rules):
    kept = curate(voted(lists, texts), **rules).kept
    for question in kept:
        sizes = sorted((question.classes.count(c) for c in set(question.classes) - {-1}), reverse=True) + [0]
        m = len(question.answers)
        assert rules["band"][0] * m - 1e-9 <= sizes[0] <= rules["band"][1] * m + 1e-9
        assert sizes[0] - sizes[1] >= rules["min_margin"] * m - 1e-9
        assert sum(sizes) >= rules["min_answered"]
    if rules["duplicates"] == "drop":
        assert len({question.question for question in kept}) == len(kept)


@given(lists_of_answers, questions, rules)
def test_it_is_a_pure_function_of_the_votes(lists, texts, rules):
    votes = voted(lists, texts)
    before = copy.deepcopy(votes)
    first, second = curate(votes, **rules), curate(votes, **rules)
    assert votes == before
    assert first == second


@given(lists_of_answers, questions, rules)
def test_curating_again_takes_nothing_more(lists, texts, rules):
    kept = curate(voted(lists, texts), **rules).kept
    assert curate(kept, **rules).kept == kept


@given(lists_of_answers, questions, rules, twentieths, twentieths)
def test_a_wider_band_keeps_at_least_as_much(lists, texts, rules, down, up):
    votes, (low, high) = voted(lists, texts), rules["band"]
    rules = rules | {"duplicates": "keep"}  # a question more may make a later one a duplicate
    wider = (round(max(0.0, low - down / 20), 2), round(min(1.0, high + up / 20), 2))
    narrow = {question.id for question in curate(votes, **rules).kept}
    assert narrow <= {question.id for question in curate(votes, **(rules | {"band": wider})).kept}


@given(lists_of_answers, questions, rules, st.randoms(use_true_random=False))
def test_the_order_decides_about_duplicates_only(lists, texts, rules, random):
    votes = voted(lists, texts)
    rules = rules | {"duplicates": "keep"}
    shuffled = curate(random.sample(votes, len(votes)), **rules)
    assert {question.id for question in shuffled.kept} == {question.id for question in curate(votes, **rules).kept}
