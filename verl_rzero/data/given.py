"""Questions that a run is given to train on, without labels."""

from dataclasses import dataclass
from pathlib import Path

from verl_rzero.base.errors import UserError
from verl_rzero.base.rows import check_columns, read_rows


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
    rows = read_rows(path, f"data={path}")
    if not rows:
        raise UserError(f"data={path}: it holds no rows.")
    check_columns(rows, ["question"], f"data={path}", first=1)
    return [
        GivenQuestion(
            str(row["question"]).strip(), None if row.get("answer") in (None, "") else str(row["answer"]).strip()
        )
        for row in rows
    ]
