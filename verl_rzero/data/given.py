"""Questions that a run is given to train on, without labels."""

from dataclasses import dataclass
from pathlib import Path

from verl_rzero.base.errors import UserError, refusal
from verl_rzero.base.rows import check_columns, read_rows
from verl_rzero.settings import Settings


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


def check(settings: Settings) -> None:
    """Says which questions a run is given; raises UserError when their file can't be read or holds too few."""
    data, job = settings.data, settings.solver
    if data is None or data in settings.evaluation.benchmarks:
        return
    found = read_given(Path(data).expanduser())
    if len(found) < job.batch_size and settings.too_few == "stop":
        why = f"{data} holds only {len(found)}"
        instead = f"Write solver.batch_size={len(found)} or less, too_few=shrink, or too_few=repeat."
        raise refusal("solver.batch_size", job.batch_size, why, instead)
    known = sum(item.answer is not None for item in found)
    print(f"Questions without labels: {len(found)} from {data}; {known} answers are known, to measure by.", flush=True)
