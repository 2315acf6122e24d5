"""The held-out benchmarks of the code world, one of each kind of task.

Held out are programs: none of them is in the corpus, in a prompt or a reply. Its lines are, and its first and its last
ones. A proposer is free to propose a held-out program later; that is for the loop to count.
"""

import json
from collections.abc import Collection
from pathlib import Path
from random import Random

from verl_rzero.base.errors import UserError
from verl_rzero.code_world import corpus, grammar
from verl_rzero.code_world.grammar import HELD_OUT_LEVELS
from verl_rzero.code_world.prompts import solving
from verl_rzero.rules.code_tasks import KINDS, Kind, Task

TRIES = 2000  # draws in a row that give nothing new: then there is nothing new


def draw(kind: Kind, n: int, seed: int, without: Collection[str] = ()) -> list[Task]:
    """n distinct tasks of held-out programs in random order; levels differ in number by one at most.

    Args:
        without: questions that no task may have.

    Raises:
        UserError: there are fewer.
    """
    rng, used = Random(f"benchmark {kind} {seed}"), frozenset(without)
    drawn: dict[str, Task] = {}
    in_vain = 0
    while len(drawn) < n:
        program = grammar.draw_program(HELD_OUT_LEVELS[len(drawn) % len(HELD_OUT_LEVELS)], rng, held_out=True)
        found = corpus.task(kind, program, rng)
        question = solving(found)
        if question in used or question in drawn:
            in_vain += 1
        else:
            drawn[question], in_vain = found, 0
        if in_vain == TRIES:
            few = f"after {len(drawn)} tasks there is no new one of level {len(program)}. Write fewer."
            raise UserError(f"evaluation.benchmarks.{kind}.n={n}: {few}")
    tasks = list(drawn.values())
    rng.shuffle(tasks)
    return tasks


def write(path: Path | str, name: str, n: int, seed: int, without: Collection[str] = ()) -> list[str]:
    """Writes a parquet file with the columns question (the whole user turn), answer, grader, kind and level.

    answer is a JSON object with the kind, program, inputs and outputs of the task: all that a reply can be judged by.

    Args:
        name: deduction, abduction or induction.

    Returns:
        Its questions, none of which is in `without`.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = [kind for kind in KINDS if kind == name]
    if not kinds:
        why = "this world has no tasks of that name"
        raise UserError(f"evaluation.benchmarks.{name}: {why}. Write one of {', '.join(KINDS)}, or the path of a file.")
    tasks = draw(kinds[0], n, seed, without)
    questions = [solving(task) for task in tasks]
    columns = {
        "question": questions,
        "answer": [_answer(task) for task in tasks],
        "grader": ["program"] * len(tasks),
        "kind": [task.kind for task in tasks],
        "level": [level(task) for task in tasks],
    }
    pq.write_table(pa.table(columns), path)
    return questions


def level(task: Task) -> int:
    """The number of lines of a task's program, which must be the grammar's."""
    program = grammar.parse(task.program)
    assert program is not None
    return len(program)


def _answer(task: Task) -> str:
    fields = {"kind": task.kind, "program": task.program, "inputs": task.inputs, "outputs": task.outputs}
    return json.dumps(fields)
