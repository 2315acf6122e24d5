"""Benchmarks whose replies are judged by running programs: what is read of a reply and of a file."""

import json

import pytest

from verl_rzero import settings
from verl_rzero.base.errors import UserError
from verl_rzero.evaluation import graders, load, programs
from verl_rzero.rules.code_tasks import Task

ADDS = "def f(a):\n    return a + 1"
DEDUCTION = Task("deduction", ADDS, ("41",), ("42",))
INDUCTION = Task("induction", ADDS, ("1", "2"), ("2", "3"), "It counts.")


def test_the_last_block_is_the_answer_however_it_is_laid_out():
    reply = "```output\n1\n```\nno, ```python   \nx = 1```\nthen\n```output \n\n42```"
    assert graders.last_block(reply) == "```output\n42\n```\n"
    assert graders.last_block("```message\nx\n``` ```output\n1") is None


def test_replies_are_judged_by_running_them():
    answers = [programs.as_answer(DEDUCTION), programs.as_answer(INDUCTION)]
    given = [
        ["```output\n42\n```\n", "```input\n42\n```\n", None],
        [f"```python\n{ADDS}\n```\n", "```python\nx\n```\n"],
    ]
    asked = settings.load([]).execution
    assert programs.rights(asked, answers, given) == [[True, False, False], [True, False]]


@pytest.mark.parametrize(
    "wrong",
    ["5", "{}", {"kind": "seduction"}, {"inputs": []}, {"outputs": ["42", "43"]}, {"outputs": ["f(1)"]}, {"more": 1}],
)
def test_an_answer_that_is_no_task_is_refused_where_the_file_is_loaded(tmp_path, wrong):
    task = json.loads(programs.as_answer(DEDUCTION))
    answer = wrong if isinstance(wrong, str) else json.dumps(task | wrong)
    rows = [{"question": "f?", "answer": text, "grader": "program"} for text in (programs.as_answer(DEDUCTION), answer)]
    (tmp_path / "mine.jsonl").write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(UserError, match="as_answer writes it"):
        load.load("mine", tmp_path / "mine.jsonl", None)
    assert load.load("mine", tmp_path / "mine.jsonl", 1).grader == "program"
