"""Labelled questions from a file, and the token ids that they are trained on."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from verl_rzero.base.errors import UserError, refusal
from verl_rzero.base.rows import Row, check_columns, read_rows
from verl_rzero.grading.grader import Grader
from verl_rzero.rules.answers import last_boxed
from verl_rzero.rules.prompts import Messages, render

SOLUTION_COLUMNS = ("solution", "working")
TRAIN_COLUMNS = ("prompt_ids", "response_ids")
"""Of the file that verl's trainer reads (`dataset.LabelledDataset`)."""


@dataclass(frozen=True)
class Labelled:
    """One question with the text that the model shall learn to write, which ends in the boxed answer."""

    question: str
    response: str


@dataclass(frozen=True)
class Tokens:
    """Token ids of one labelled question. The response ends with the tokenizer's end token; only it is learned."""

    prompt_ids: list[int]
    response_ids: list[int]


def read(path: Path) -> list[Labelled]:
    """The labelled questions of a parquet or jsonl file, in order.

    A response is the row's solution; where it boxes nothing, and where there is none, `\\boxed{answer}` is put at its
    end.

    Raises:
        UserError: no such file, another kind of file, no rows, a missing column, a row without question or answer, a
            solution that boxes another answer than the row's.
    """
    rows = _rows(path)
    if not rows:
        raise refusal("data", path, "there is no row in it", "Write a file with labelled questions.")
    for name in ("question", "answer"):
        if not any(name in row for row in rows):
            why = f"it has the columns {', '.join(sorted(rows[0]))}, but no {name}"
            raise refusal("data", path, why, "Rename the column, or write another file.")
    given = [name for name in SOLUTION_COLUMNS if any(name in row for row in rows)]
    if len(given) > 1:
        why = f"it has both columns {' and '.join(given)}"
        raise refusal("data", path, why, "Leave the one that shall be learned.")
    check_columns(rows, ("question", "answer"), f"data={path}", first=1)
    grader = Grader()
    try:
        return [_labelled(path, i, row, row.get(given[0]) if given else None, grader) for i, row in enumerate(rows, 1)]
    finally:
        grader.close()


def tokens(tokenizer: Any, messages: Messages, response: str) -> Tokens:
    """Token ids of one labelled question: the prompt as the Solver is given it elsewhere, then response and end."""
    ids = tokenizer(response, add_special_tokens=False)["input_ids"]
    return Tokens(render(tokenizer, messages), [*ids, tokenizer.eos_token_id])


def check_lengths(path: str, rows: Sequence[Tokens], max_tokens: int) -> None:
    """Raises UserError when a row has more than `max_tokens` tokens: a cut solution would teach to stop early."""
    lengths = [len(row.prompt_ids) + len(row.response_ids) for row in rows]
    too_long = [i for i, length in enumerate(lengths, 1) if length > max_tokens]
    if too_long:
        why = (
            f"{len(too_long)} of its {len(rows)} rows have more than max_tokens={max_tokens} tokens, row {too_long[0]} "
            "is the first"
        )
        raise refusal("data", path, why, f"Write max_tokens={max(lengths)}, or take these rows out.")


def write(path: Path, rows: Sequence[Tokens], seed: int) -> None:
    """The training file, its rows in an order that `seed` decides: verl's own sampler has one seed for all."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    shuffled = Random(f"sft {seed}").sample(rows, len(rows))
    columns = {name: [getattr(row, name) for row in shuffled] for name in TRAIN_COLUMNS}
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    pq.write_table(pa.table(columns, schema=pa.schema([(name, pa.list_(pa.int64())) for name in columns])), partial)
    partial.replace(path)


def _rows(path: Path) -> list[Row]:
    if not path.is_file():
        raise refusal("data", path, "there is no such file", "Write the path of a parquet or jsonl file.")
    if path.suffix not in (".parquet", ".jsonl"):
        raise refusal("data", path, "it ends neither in .parquet nor in .jsonl", "Convert it to one of these.")
    return read_rows(path, f"data={path}", only=("question", "answer", *SOLUTION_COLUMNS))


def _labelled(path: Path, number: int, row: Row, solution: Any, grader: Grader) -> Labelled:
    """A checked row; `number` counts from 1."""
    question, answer = str(row["question"]), str(row["answer"])
    text = "" if solution is None else str(solution).rstrip()
    boxed = last_boxed(text)
    if boxed is None:
        return Labelled(question, f"{text}\n\n\\boxed{{{answer}}}".lstrip())
    if not grader.same(boxed, answer):
        why = f"row {number}'s solution boxes {boxed}, its answer is {answer}"
        raise UserError(f"data={path}: {why}. Put that row right, or take it out.")
    return Labelled(question, text)
