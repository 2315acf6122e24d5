"""Which final answer a reply gives, and whether it is right."""

import pytest

from verl_rzero.evaluation.graders import bbeh_answer, bbeh_same, chosen_letter, final_answer, right


def same(a: str, b: str) -> bool:
    return float(a) == float(b)


@pytest.mark.parametrize(
    ("reply", "letter"),
    [
        (r"so \boxed{B}", "B"),
        (r"\boxed{b}", "B"),
        (r"\boxed{(C)}", "C"),
        (r"\boxed{\text{D}}", "D"),
        (r"\boxed{\textbf{(A)}}", "A"),
        (r"\boxed{$C$}", "C"),
        (r"\boxed{B. Paris}", "B"),
        (r"\boxed{B) Paris}", "B"),
        (r"\boxed{(B) Paris}", "B"),
        (r"\boxed{Answer: D}", "D"),  # R-Zero's evaluation takes the first letter A to J in the box: A
        (r"\boxed{Option C}", "C"),
        (r"first \boxed{A}, no: \boxed{C}", "C"),
        ("The answer is (B).", "B"),
        ("the final answer is: C", "C"),
        ("**Answer:** D", "D"),
        ("Answer: **D**", "D"),
        ("The answer is (A). No, the answer is (D).", "D"),
        (r"\boxed{Paris}, so the answer is (B)", "B"),  # the box names no option, the sentence does
        (r"\boxed{E}", None),  # there are four options
        (r"\boxed{Paris}", None),
        (r"\boxed{A and B}", None),
        (r"\boxed{A, B}", None),
        ("The answer is a number.", None),
        ("The answer is A number.", None),
        ("I'd say B", None),  # nothing is drawn at random
        ("", None),
    ],
)  # fmt: skip
def test_the_letter_of_a_reply(reply, letter):
    assert chosen_letter(reply, 4) == letter


def test_a_letter_is_right_only_as_itself():
    assert right("choice", "B", "B", same)
    assert not right("choice", "A", "B", same)
    assert not right("choice", None, "B", same)


def test_mathematical_answers_are_compared_as_such_and_the_last_box_counts():
    assert final_answer("math", r"\boxed{1} then \boxed{2.0}", 0) == "2.0"
    assert right("math", "2.0", "2", same)
    assert not right("math", None, "2", same)


@pytest.mark.parametrize(
    ("reply", "given"),
    [
        (r"so \boxed{Yes}", "yes"),
        (r"\boxed{\text{unknown}}", "unknown"),
        ("The answer is: 42.", "42"),
        ("I think the final answer is: (A).", "(a)"),
        ("The answer is 1. Wrong. The answer is 2.", "2"),
        ("The answer is **x, y**\nbecause", "x,y"),
        ("The answer is $7$", "7"),
        (r"The answer is: 3, but \boxed{4}", "4"),
        ("Perhaps 42", None),
        ("The answer is: ", None),
    ],
)
def test_the_final_answer_to_bbeh(reply, given):
    assert bbeh_answer(reply) == given


@pytest.mark.parametrize(
    ("given", "gold", "expected"),
    [
        ("yes", "Yes", True),
        ("x,y", "x, y", True),
        ("(a)", "A", True),
        ("a", "(A)", True),
        ("(b)", "A", False),
        ("2.0", "2", True),
        ("2", "3", False),
        ("isnt", "isn't", True),
        ("[1,2]", "1, 2", True),
        ("1,2", "[1, 2]", True),
        ("who?", "who", True),
        ("who", "who?", False),
        ("nothing", "no", False),
    ],
)
def test_the_published_rules_of_bbeh(given, gold, expected):
    assert bbeh_same(given, gold) is expected
