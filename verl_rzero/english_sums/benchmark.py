"""Held-out benchmarks, one of each kind.

Held out are numbers: the preparation of the model never sees a question of the kind with the same ones, in whatever
order and wording. A Challenger is free to ask them later; that is for the loop to count.
"""

from collections.abc import Collection
from pathlib import Path
from random import Random

from verl_rzero.base.errors import UserError
from verl_rzero.english_sums import grammar

TRIES = 2000  # draws in a row that give nothing new: then there is nothing new


def draw(kind: str, n: int, seed: int, without: Collection[str] = ()) -> list[str]:
    """n distinct held-out questions of the kind, none of those in `without`. Raises UserError where few are left."""
    if kind not in grammar.KINDS:
        raise UserError(
            f"evaluation.benchmarks.{kind}: this world has no questions of that name. Write one of "
            f"{', '.join(grammar.KINDS)}, or the path of a file."
        )
    rng, used = Random(f"benchmark {kind} {seed}"), frozenset(without)
    drawn: dict[str, None] = {}
    in_vain = 0
    while len(drawn) < n:
        question = grammar.draw_held_out(kind, rng, held_out=True)
        if question in used or question in drawn:
            in_vain += 1
        else:
            drawn[question], in_vain = None, 0
        if in_vain == TRIES:
            few = f"there are about {len(drawn)} such questions. Write fewer."
            raise UserError(f"evaluation.benchmarks.{kind}.n={n}: {few}")
    return list(drawn)


def write(path: Path | str, kind: str, n: int, seed: int, without: Collection[str] = ()) -> list[str]:
    """Writes a parquet file with the columns question, answer and kind. Returns its questions."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    questions = draw(kind, n, seed, without)
    answers = [grammar.truth(question) for question in questions]
    pq.write_table(pa.table({"question": questions, "answer": answers, "kind": [kind] * n}), path)
    return questions
