"""Benchmarks of code tasks: replies are judged by running programs, as self-play's are."""

import json
from collections.abc import Sequence
from dataclasses import asdict

from verl_rzero.base.errors import UserError
from verl_rzero.engine.code_checks import right, runner
from verl_rzero.executor import arguments
from verl_rzero.rules.code_tasks import KINDS, Task, solution
from verl_rzero.settings import Execution


def as_answer(task: Task) -> str:
    """A task as a benchmark's answer."""
    return json.dumps(asdict(task))


def task_of(answer: str) -> Task:
    """Raises UserError for an answer that isn't `as_answer`'s."""
    try:
        found = Task.of(json.loads(answer))
        if found.kind not in KINDS or not found.inputs or len(found.inputs) != len(found.outputs):
            raise ValueError(f"a task of kind {found.kind} with {len(found.inputs)} inputs")
        for text in found.outputs:
            (_,) = arguments(text)  # one literal each
        return found
    except (ValueError, TypeError, KeyError) as error:
        raise UserError(
            f"an answer of a benchmark of programs can't be read ({error!r}): it is JSON with kind, program, inputs, "
            "outputs and message, as verl_rzero.evaluation.programs.as_answer writes it."
        ) from error


def rights(asked: Execution, answers: Sequence[str], given_QN: Sequence[Sequence[str | None]]) -> list[list[bool]]:
    """Whether each of the answers (blocks) given to each question solves its task."""
    pairs = [(task_of(answer), given) for answer, row in zip(answers, given_QN, strict=True) for given in row]
    blocks = [None if given is None else solution(each.kind, given, think=False) for each, given in pairs]
    with runner(asked) as programs:
        found = iter(right([each for each, _ in pairs], blocks, programs))
    return [[next(found) for _ in row] for row in given_QN]
