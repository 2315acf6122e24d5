"""What counts as a reply's answer and as a question."""

import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from verl_rzero.rules.answers import last_boxed, question_block


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"so \boxed{42}.", "42"),
        (r"first \boxed{1}, then \boxed{2}", "2"),
        (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"\boxed{ 7 }", "7"),
        (r"\boxed {7}", "7"),
        ("\\boxed\n{7}", "7"),
        (r"\\boxed{7}", "7"),  # doubled backslash
        (r"a \\\boxed{7}", "7"),  # line break, then a box
        (r"\boxed{\{1, 2\}}", r"\{1, 2\}"),
        (r"\boxed{\left\{ 1 \right.}", r"\left\{ 1 \right."),  # escaped brace needs no partner
        (r"\boxed{a \\}", r"a \\"),  # `\\` is a line break, the brace after it closes the box
        (r"\boxed{\boxed{3}}", "3"),
        (r"\boxed{3} and then \boxed{4", "3"),  # cut off: the last balanced one
        (r"{ { \boxed{3}", "3"),  # open braces outside do not matter
        (r"} \boxed{3}", "3"),
        ("\\boxed{北京}", "北京"),
        ("\\boxed{\x00}", "\x00"),
        ("\\boxed{\ud800}", "\ud800"),
    ],
)
def test_last_balanced_box(text, answer):
    assert last_boxed(text) == answer


@pytest.mark.parametrize(
    "text",
    ["", "42", r"\boxed{}", r"\boxed{  }", r"\boxed{42", r"\boxed 42", r"\fbox{42}", r"boxed{42}", r"\boxed{4\}"],
)
def test_no_box(text):
    assert last_boxed(text) is None


def test_an_empty_last_box_is_not_replaced_by_an_earlier_one():
    assert last_boxed(r"\boxed{1} no wait \boxed{}") is None


@pytest.mark.parametrize(
    ("text", "question"),
    [
        ("<question>1+1?</question>", "1+1?"),
        ("<question>\n 1+1? \n</question> \\boxed{2}", "1+1?"),
        ("<question>a</question><question>b</question>", "b"),
        ("<question>a</question> then <question>b", "a"),  # the last one is cut off
        ("<question>a<question>b</question>", "b"),
        ("<question>a</question> </question>", "a"),
        ("</question><question>a</question>", "a"),
        ("<question>a < b</question>", "a < b"),
    ],
)
def test_last_complete_question(text, question):
    assert question_block(text) == question


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a",
        "<question>",
        "</question>",
        "</question>a<question>",
        "<question> </question>",
        "<Question>a</Question>",
    ],
)
def test_no_question(text):
    assert question_block(text) is None


def test_an_empty_last_question_is_not_replaced_by_an_earlier_one():
    assert question_block("<question>a</question><question></question>") is None


balanced = st.recursive(
    st.text(alphabet="ab1 ,+", max_size=5),
    lambda inner: st.lists(inner, max_size=3).map(lambda parts: "".join("{" + part + "}" for part in parts)),
)


@given(st.text(), balanced, st.text(alphabet="xyz .<>"))
@example(before="\\", content="1", after="")
def test_a_balanced_box_is_found_after_anything(before, content, after):
    assert last_boxed(before + r" \boxed{" + content + "}" + after) == (content.strip() or None)


@given(st.text(alphabet="<question>/ab"), st.text(alphabet="ab <>/\\{}", max_size=20))
def test_a_question_is_found_after_anything(before, content):
    assert question_block(before + f"<question>{content}</question>") == (content.strip() or None)


def box_of(pieces):
    """The last box that closes, found the slow way."""
    for start in reversed([i for i, piece in enumerate(pieces) if piece == "\\boxed{"]):
        level = 1
        for end in range(start + 1, len(pieces)):
            level += (pieces[end] in ("{", "\\boxed{")) - (pieces[end] == "}")
            if level == 0:
                return "".join(pieces[start + 1 : end]).strip() or None
    return None


@given(st.lists(st.sampled_from(["\\boxed{", "{", "}", "\\{", "\\}", "\\\\ ", "a", " "]), max_size=25))
def test_the_box_is_the_last_one_that_closes(pieces):
    assert last_boxed("".join(pieces)) == box_of(pieces)


def question_of(pieces):
    """The last opening tag before whose closing tag no other opens, found the slow way."""
    for start in reversed([i for i, piece in enumerate(pieces) if piece == "<question>"]):
        for end in range(start + 1, len(pieces)):
            if pieces[end] == "<question>":
                break
            if pieces[end] == "</question>":
                return "".join(pieces[start + 1 : end]).strip() or None
    return None


@given(st.lists(st.sampled_from(["<question>", "</question>", "a", " ", "<", ">"]), max_size=20))
def test_the_question_is_the_last_complete_one(pieces):
    assert question_block("".join(pieces)) == question_of(pieces)


@given(st.text(alphabet=st.characters(codec=None)))
def test_any_text_is_read_without_an_error(text):
    for read in (last_boxed, question_block):
        result = read(text)
        assert result is None or (result and result in text)


@pytest.mark.parametrize(
    "piece",
    [
        "\\",
        "{",
        "}",
        "\\boxed{",
        "\\boxed",
        "\\boxed   ",
        "\\boxed{}",
        "<question>",
        "</question>",
        "<question",
        "\x00",
    ],
)
def test_a_megabyte_takes_linear_time(piece):
    for read in (last_boxed, question_block):
        small, large = (_seconds(read, piece * (size // len(piece))) for size in (100_000, 1_000_000))
        assert large < 40 * small + 0.5  # ten times the text; quadratic time would be a hundred times


def _seconds(read, text):
    start = time.process_time()
    read(text)
    return time.process_time() - start
