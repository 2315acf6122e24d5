"""How different questions are, by hand."""

from verl_rzero.rules.diversity import FIRST, distinct_2, numbers


def test_distinct_2_counts_pairs_within_a_text():
    # 7+3+7 has 7+ +3 3+ +7, 7+3 has 7+ +3: 4 different ones of 6
    assert distinct_2([["7", "+", "3", "+", "7"], ["7", "+", "3"]]) == 4 / 6
    assert distinct_2([["7"], []]) is None


def test_the_numbers_of_a_few_questions():
    # tokens: 12 + 3 (3), 12 + 3 (3), What is 4 ? (4)
    assert numbers(["12+3", "12+3", "What is 4?"]) == {
        "distinct": 2, "distinct_2": 5 / 7, "tokens_mean": 10 / 3,
    }  # fmt: skip
    assert numbers([]) == {"distinct": 0, "distinct_2": None, "tokens_mean": None}


def test_distinct_2_does_not_depend_on_how_many_questions_were_asked():
    many = [f"{i}+{i}" for i in range(FIRST)]
    assert numbers(many + ["1+1"] * 1000)["distinct_2"] == numbers(many)["distinct_2"] == 1.0
