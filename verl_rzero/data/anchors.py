"""Human anchors: a few questions and answers by people, in the Challenger's prompt and the Solver's data.

R-Few's idea (arXiv 2512.02472): 1 to 5 % of human examples keep self-play from drifting. Off by default: with them a
run is not zero-data, and its report says so.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from verl_rzero import settings
from verl_rzero.base.errors import UserError, refusal
from verl_rzero.base.rows import check_columns, read_rows


@dataclass(frozen=True)
class Anchor:
    question: str
    answer: str


def load(path: Path) -> list[Anchor]:
    """The rows of a parquet or JSONL file with the columns `question` and `answer`.

    Raises:
        UserError: it can't be read, holds no rows, or one that lacks a column.
    """
    called = f"anchors.path={path}"
    rows = read_rows(path, called)
    if not rows:
        raise UserError(f"{called}: it holds no rows.")
    check_columns(rows, ("question", "answer"), called, first=0)
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
