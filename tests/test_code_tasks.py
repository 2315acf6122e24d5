"""Absolute Zero's pure rules: what a reply says, what a prompt shows, what is earned, what is remembered."""

from random import Random

import pytest

from verl_rzero import settings
from verl_rzero.base.errors import UserError
from verl_rzero.rules import code_tasks
from verl_rzero.rules.code_rewards import learnability, proposer_reward, solver_reward
from verl_rzero.rules.code_tasks import Proposal, Task, identity, proposal, propose_messages, solution, solve_messages
from verl_rzero.rules.task_buffers import TaskBuffers
from verl_rzero.settings.self_play import KINDS

PROGRAM = "def f(a):\n    return a + 1"
PROPOSED = f"Let me see.\n```python\n{PROGRAM}\n```\nand\n```input\n[1,\n2]\n```"
THOUGHT = f"<think>hard\n```input\n9\n```</think>\n <answer>\n{PROPOSED}\n</answer>"
TASK = Task("deduction", PROGRAM, ("41",), ("42",))
INDUCTION = Task("induction", PROGRAM, ("1", "2", "3", "4"), ("2", "3", "4", "5"), "A {program} that counts.")


def test_the_settings_name_the_same_kinds():
    assert KINDS == code_tasks.KINDS


def test_a_proposal_is_the_last_program_and_the_last_input():
    assert proposal("deduction", PROPOSED, "", 10, think=False) == Proposal("deduction", PROGRAM, ("[1,\n2]",))
    again = "```python\ndraft\n```\n```input\n0\n```\n" + PROPOSED
    assert proposal("abduction", again, "", 10, think=False) == Proposal("abduction", PROGRAM, ("[1,\n2]",))


@pytest.mark.parametrize(
    "reply",
    [
        "",
        f"```python\n{PROGRAM}\n```",  # no input
        "```input\n1\n```",  # no program
        f"```python\n{PROGRAM}\n```\n```input\n1",  # never closed
        "```python\n\n```\n```input\n1\n```",  # nothing in it
        f"```py\n{PROGRAM}\n```\n```input\n1\n```",
    ],
)
def test_no_proposal(reply):
    assert proposal("deduction", reply, "", 10, think=False) is None


def test_an_induction_proposal_has_the_number_of_inputs_that_was_asked_for():
    reply = "```input\n1\n```\n```input\n'a'\n```\n```message\nIt counts.\n```"
    assert proposal("induction", reply, PROGRAM, 2, think=False) == Proposal(
        "induction", PROGRAM, ("1", "'a'"), "It counts."
    )
    assert proposal("induction", reply, PROGRAM, 3, think=False) is None
    assert proposal("induction", reply.split("```message")[0], PROGRAM, 2, think=False) is None


def test_with_thinking_only_the_answer_is_read():
    assert proposal("deduction", THOUGHT, "", 10, think=True) == Proposal("deduction", PROGRAM, ("[1,\n2]",))
    assert proposal("deduction", PROPOSED, "", 10, think=True) is None
    assert solution("deduction", "<think>```output\n1\n```</think><answer>42</answer>", think=True) is None
    assert solution("deduction", "<think></think><answer>```output\n42\n```</answer>", think=True) == "42"
    assert solution("deduction", "<think></think> so <answer>```output\n42\n```</answer>", think=True) is None


def test_a_solution_is_the_last_block_of_its_kind():
    reply = "```output\n1\n```\n```output\n2\n```\n```input\n3\n```\n```python\n4\n```"
    assert [solution(kind, reply, think=False) for kind in code_tasks.KINDS] == ["2", "3", "4"]
    assert solution("deduction", "42", think=False) is None


def test_imports_are_found_wherever_they_stand():
    program = "import os.path, re as r\ndef f(a):\n    from collections.abc import Set\n    return a"
    assert code_tasks.imported(program) == {"os.path", "os", "re", "collections.abc", "collections"}
    assert code_tasks.imported("x = 1; import sys") == {"sys"}
    assert code_tasks.imported("def important(a): return a") == set()


def test_a_solver_never_sees_what_it_is_to_find():
    prompts = settings.load([]).self_play.prompts
    deduction = solve_messages(prompts, TASK)[-1]["content"]
    assert "41" in deduction
    assert PROGRAM in deduction
    assert "42" not in deduction
    abduction = solve_messages(prompts, Task("abduction", PROGRAM, ("41",), ("42",)))[-1]["content"]
    assert "42" in abduction
    assert PROGRAM in abduction
    assert "41" not in abduction
    induction = solve_messages(prompts, INDUCTION)[-1]["content"]
    assert "```input\n2\n```\n```output\n3\n```" in induction
    assert PROGRAM not in induction
    assert "```input\n3\n```" not in induction
    assert "```output\n5\n```" not in induction
    assert INDUCTION.message in induction  # its braces are no place that something else is put into


def test_a_proposer_sees_earlier_tasks_or_its_program():
    prompts = settings.load([]).self_play.prompts
    asked = propose_messages(prompts, "abduction", [TASK, TASK], "", 10)[-1]["content"]
    assert asked.count(f"```python\n{PROGRAM}\n```\n```input\n41\n```\n```output\n42\n```") == 2
    assert "10 different inputs" in propose_messages(prompts, "induction", [], PROGRAM, 10)[-1]["content"]


def test_learnability():
    """Equation 4: of 8 solutions 2 right is worth .75; all or none nothing."""
    assert [learnability(right / 8) for right in (0, 2, 7, 8)] == [0.0, 0.75, 0.125, 0.0]


@pytest.mark.parametrize(
    ("has_form", "solved", "paper", "released"),
    [
        (False, None, -1, -1),
        (True, None, -0.5, -1),
        (True, 0.0, 0, -0.5),
        (True, 1.0, 0, -0.5),
        (True, 0.25, 0.75, 0.75),
    ],
)
def test_a_proposer_earns(has_form, solved, paper, released):
    assert proposer_reward(has_form, solved) == paper
    assert proposer_reward(has_form, solved, "released") == released


def test_a_solver_earns():
    assert [solver_reward(True, True), solver_reward(True, False), solver_reward(False, False)] == [1, -0.5, -1]


def task(number: int, kind: code_tasks.Kind = "deduction") -> Task:
    return Task(kind, f"def f(a): return {number}", ("0",), (str(number),))


def test_a_buffer_keeps_the_newest_and_comes_back_as_it_was():
    buffers = TaskBuffers(3, [task(number) for number in range(5)])
    assert [each.outputs for each in buffers.tasks()] == [("2",), ("3",), ("4",)]
    assert TaskBuffers(3, buffers.tasks()).tasks() == buffers.tasks()
    assert buffers.size("deduction") == 3
    assert buffers.size("abduction") == 0


def test_references_are_of_the_kind_and_at_the_start_the_identity():
    buffers = TaskBuffers(10, [task(1), task(2), task(3, "abduction")])
    assert sorted(each.outputs[0] for each in buffers.references("deduction", 6, Random(0))) == ["1", "2"]
    assert buffers.references("induction", 6, Random(0)) == [identity("induction", 1)]
    assert buffers.references("induction", 0, Random(0)) == []


def test_programs_for_induction_come_evenly_from_both_buffers():
    buffers = TaskBuffers(10, [task(1), task(2, "abduction"), task(3, "abduction"), task(4, "induction")])
    rng = Random(0)
    drawn = [buffers.program(rng) for _ in range(3000)]
    counts = [drawn.count(f"def f(a): return {number}") for number in (1, 2, 3, 4)]
    assert counts[3] == 0
    assert all(900 < count < 1100 for count in counts[:3])
    assert TaskBuffers(10).program(rng) == "def f(a):\n    return a"


def test_a_batch_is_filled_with_earlier_tasks():
    buffers = TaskBuffers(10, [task(1), task(2)])
    assert sorted(each.outputs[0] for each in buffers.drawn("deduction", 5, Random(0))) in (
        ["1", "1", "1", "2", "2"],
        ["1", "1", "2", "2", "2"],
    )
    assert buffers.drawn("abduction", 5, Random(0)) == []


@pytest.mark.parametrize(
    ("words", "key"),
    [
        (["self_play.kinds=[induction]"], "self_play.kinds"),
        (["self_play.kinds=[deduction,deduction]"], "self_play.kinds"),
        (["self_play.kinds=[]"], "self_play.kinds"),
        (["solver.batch_size=12", "solver.minibatch_size=12"], "solver.batch_size=12"),
        (["self_play.estimates=train", "self_play.solves=previous_step"], "self_play.estimates=train"),
        (["self_play.prompts.solve_abduction=go"], "self_play.prompts.solve_abduction"),
        (["self_play.prompts.propose_induction=go"], "self_play.prompts.propose_induction"),
        (["execution.sandbox_fusion=localhost"], "execution.sandbox_fusion"),
        (["solver.format_weight=0.1"], "solver.format_weight"),
        (["execution.cpu_s=0"], "execution.cpu_s=0"),
    ],
)
def test_refused(words, key):
    asked = ["method=absolute_zero", "model=small", "model.path=owner/name", *words]
    with pytest.raises(UserError, match=key.replace("[", r"\[")):
        settings.load(asked)
