"""Human anchors: a few questions and answers by people, in the Challenger's prompt and the Solver's data.

R-Few's idea (arXiv 2512.02472): 1 to 5 % of human examples keep self-play from drifting. Off by default: with them a
run is not zero-data, and its report says so.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from verl_rzero import settings
from verl_rzero.base.errors import UserError, refusal


@dataclass(frozen=True)
class Anchor:
    question: str
    answer: str


def load(path: Path) -> list[Anchor]:
    """The rows of a parquet or JSONL file with the columns `question` and `answer`.

    Raises:
        UserError: no rows, or one that lacks a column.
    """
    rows = _rows(path)
    if not rows:
        raise UserError(f"anchors.path={path}: it holds no rows.")
    for number, row in enumerate(rows):
        missing = [name for name in ("question", "answer") if row.get(name) in (None, "")]
        if missing:
            raise UserError(
                f"anchors.path={path}: row {number} has no {' and no '.join(missing)}, but {sorted(row)}. "
                "Each row needs a question and its answer."
            )
    return [Anchor(str(row["question"]), str(row["answer"])) for row in rows]


def check(asked: settings.Anchors) -> None:
    """Says what human examples a run has; raises UserError when they can't be read or are too few."""
    if asked.path is None:
        return
    found = load(Path(asked.path).expanduser())
    if len(found) < asked.in_prompt:
        why = f"{asked.path} holds only {len(found)}"
        raise refusal("anchors.in_prompt", asked.in_prompt, why, f"Write at most {len(found)}.")
    print(f"Human examples: {len(found)} from {asked.path}. This run is not zero-data.", flush=True)


def shown(anchors: Sequence[Anchor], count: int, *seed: object) -> list[str]:
    """`count` questions for one prompt of the Challenger, drawn by `seed`; all of them where there are fewer."""
    drawn = Random(f"anchors {seed}").sample(list(anchors), min(count, len(anchors)))
    return [anchor.question for anchor in drawn]


def _rows(path: Path) -> list[dict[str, Any]]:
    if path.suffix == ".parquet":
        import pyarrow.parquet as pq

        rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
        return rows
    try:
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except ValueError as error:
        raise UserError(f"anchors.path={path}: a line is not JSON ({error}). Write JSONL or parquet.") from error
