"""What running programs says of proposals and of solutions (Absolute Zero, arXiv 2505.03335, sections 3.3.3, 3.3.4).

Programs are run by the executor, many at a time; values are compared here, out of their reach.
"""

from collections.abc import Collection, Sequence
from typing import Any

from verl_rzero.base.errors import UserError, refusal
from verl_rzero.executor import (
    Executor,
    IsolationError,
    Limits,
    NotLiterals,
    Result,
    Runner,
    SandboxFusion,
    ServerError,
    arguments,
    equal,
    show,
)
from verl_rzero.executor import Task as Run
from verl_rzero.rules.code_tasks import Proposal, Task, imported
from verl_rzero.settings import Execution

NO_FORM, BANNED = "form", "banned_import"
"""Why a proposal is no valid task, beside the executor's failures."""


def runner(asked: Execution) -> Runner:
    """What runs programs, as the settings say: a context manager.

    Raises:
        UserError: this machine doesn't confine programs as asked, or the server doesn't run any.
    """
    limits = Limits(asked.cpu_s, asked.wall_s, asked.memory_mb, asked.result_bytes)
    try:
        if asked.sandbox_fusion is not None:
            return SandboxFusion(asked.sandbox_fusion, limits)
        return Executor(limits, isolation=asked.isolation)  # type: ignore[arg-type]
    except IsolationError as error:
        instead = "Write execution.isolation=process to run them all the same, where nothing is to be lost."
        raise refusal("execution.isolation", asked.isolation, str(error), instead) from error
    except ServerError as error:
        raise UserError(f"execution.sandbox_fusion={asked.sandbox_fusion}: {error}.") from error


def validated(proposals: Sequence[Proposal | None], banned: Collection[str], runner: Runner) -> list[Task | str]:
    """Each proposal's task, or why it is none: without form, with a banned import, or by what became of its program on
    its inputs. Programs run in two processes, so that what they return must not differ between such.
    """
    found: list[Task | str] = [NO_FORM] * len(proposals)
    runs: dict[int, Run] = {}
    for i, proposed in enumerate(proposals):
        if proposed is None:
            continue
        if imported(proposed.program) & {*banned}:
            found[i] = BANNED
        else:
            inputs = proposed.inputs if proposed.kind == "induction" else proposed.inputs[0]
            runs[i] = Run(proposed.program, inputs, twice=True)
    places = [*runs]
    for number, result in runner.run_many(runs.values()):
        proposed = proposals[places[number]]
        assert proposed is not None
        found[places[number]] = _task(proposed, result)
    return found


def _task(proposed: Proposal, result: Result) -> Task | str:
    if result.failure is not None:
        return str(result.failure)
    values = result.value if proposed.kind == "induction" else [result.value]
    inputs = (", ".join(map(show, arguments(text))) for text in proposed.inputs)
    return Task(proposed.kind, proposed.program, tuple(inputs), tuple(map(show, values)), proposed.message)


def right(tasks: Sequence[Task], answers: Sequence[str | None], runner: Runner) -> list[bool]:
    """Whether each answer solves its task. Deduction: it is the output. Abduction: the program gives the output on it.
    Induction: the program that it is gives the outputs of all hidden pairs.
    """
    found = [False] * len(tasks)
    runs: dict[int, Run] = {}
    for i, (task, answer) in enumerate(zip(tasks, answers, strict=True)):
        if answer is None:
            continue
        if task.kind == "deduction":
            found[i] = _is_output(answer, task.outputs[0])
        elif task.kind == "abduction":
            runs[i] = Run(task.program, answer)
        else:
            runs[i] = Run(answer, task.inputs[task.shown :])
    places = [*runs]
    for number, result in runner.run_many(runs.values()):
        task = tasks[places[number]]
        if result.failure is None:
            given = [result.value] if task.kind == "abduction" else result.value
            wanted = task.outputs if task.kind == "abduction" else task.outputs[task.shown :]
            found[places[number]] = equal(given, [_value(text) for text in wanted])
    return found


def _is_output(answer: str, output: str) -> bool:
    try:
        given = arguments(answer)
    except NotLiterals:
        return False
    return len(given) == 1 and equal(given[0], _value(output))


def _value(output: str) -> Any:
    """What `show` has written of a task's output, which may be longer than what a model may write."""
    return arguments(output, len(output))[0]
