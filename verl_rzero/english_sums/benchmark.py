"""Held-out benchmarks, one of each kind, and questions to learn from without labels.

Held out are numbers: the preparation of the model never sees a question of the kind with the same ones, in whatever
order and wording. A Challenger is free to ask them later; that is for the loop to count.
"""

from collections.abc import Collection
from pathlib import Path
from random import Random

from verl_rzero.base.errors import UserError
from verl_rzero.english_sums import grammar

UNLABELLED = "unlabelled"
"""Questions of all kinds in turn, whose numbers are not held out: for a method that is given its questions."""

TRIES = 2000  # draws in a row that give nothing new: then there is nothing new


def draw(kind: str, n: int, seed: int, without: Collection[str] = ()) -> list[str]:
    """n distinct held-out questions of the kind, none of those in `without`; or of all kinds, `UNLABELLED`.

    Raises:
        UserError: there is no such kind, or it has fewer questions.
    """
    if kind not in (*grammar.KINDS, UNLABELLED):
        raise UserError(
            f"evaluation.benchmarks.{kind}: this world has no questions of that name. Write one of "
            f"{', '.join(grammar.KINDS)}, {UNLABELLED}, or the path of a file."
        )
    rng, used = Random(f"benchmark {kind} {seed}"), frozenset(without)
    drawn: dict[str, None] = {}
    in_vain = 0
    while len(drawn) < n:
        of_kind = grammar.KINDS[len(drawn) % len(grammar.KINDS)] if kind == UNLABELLED else kind
        question = grammar.draw_held_out(of_kind, rng, held_out=kind != UNLABELLED)
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
    kinds = [grammar.kind_of(question) for question in questions]
    pq.write_table(pa.table({"question": questions, "answer": answers, "kind": kinds}), path)
    return questions
