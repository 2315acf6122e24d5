"""Whether replies are right and proposals are valid, for measuring the base model: nothing that a model wrote is run.

Programs are read by the grammar. A reply whose Python isn't the grammar's counts as wrong here, or as not valid,
whatever it would do: the shares are at most a little low.
"""

import re

from verl_rzero.code_world import grammar
from verl_rzero.code_world.prompts import INDUCTION_INPUTS
from verl_rzero.rules.code_tasks import Kind, Task, proposal, solution

_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]{0,8})")


def is_right(task: Task, reply: str) -> bool:
    """Whether a reply solves the task."""
    answer = solution(task.kind, reply, think=False)
    if answer is None:
        return False
    if task.kind == "deduction":
        return answer == task.outputs[0]
    tried = task.program if task.kind == "abduction" else answer
    given = (answer,) if task.kind == "abduction" else task.inputs
    return all(output(tried, each) == made for each, made in zip(given, task.outputs, strict=True))


def is_valid(kind: Kind, reply: str, given_program: str = "") -> bool:
    """Whether a reply proposes a task: it has the form, and its program takes its inputs."""
    made = proposal(kind, reply, given_program, INDUCTION_INPUTS, think=False)
    return made is not None and all(output(made.program, each) is not None for each in made.inputs)


def output(program: str, given: str) -> str | None:
    """What a program returns on a number; None for other texts, and where it would raise."""
    lines = grammar.parse(program)
    if lines is None or not _NUMBER.fullmatch(given):
        return None
    returned = grammar.run(lines, int(given))
    return None if returned is None else str(returned)
