"""Questions that a run is given to train on, without labels."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from verl_rzero.base.errors import UserError


@dataclass(frozen=True)
class GivenQuestion:
    """`answer` is the true one where it is known; only ever read to measure."""

    question: str
    answer: str | None


def read_given(path: Path) -> list[GivenQuestion]:
    """The rows of a parquet or JSONL file with a column question, and answer where there is one.

    Raises:
        UserError: it can't be read, holds no rows, or one without a question.
    """
    rows = _rows(path)
    if not rows:
        raise UserError(f"data={path}: it holds no rows.")
    for number, row in enumerate(rows):
        if not str(row.get("question") or "").strip():
            raise UserError(f"data={path}: row {number} has no question, but {sorted(row)}. Each row needs a question.")
    return [
        GivenQuestion(
            str(row["question"]).strip(), None if row.get("answer") in (None, "") else str(row["answer"]).strip()
        )
        for row in rows
    ]


def _rows(path: Path) -> list[dict[str, Any]]:
    try:
        if path.suffix == ".parquet":
            import pyarrow.parquet as pq

            rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
            return rows
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line.strip()]
    except (OSError, ValueError) as error:  # pyarrow's errors are ValueErrors
        raise UserError(f"data={path}: it can't be read ({error}). Write a parquet or JSONL file.") from error
    if not all(isinstance(row, dict) for row in rows):
        raise UserError(f"data={path}: a line is no JSON object. Write one object with a question a line.")
    return rows
