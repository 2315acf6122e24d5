"""The records that flow between the stages; a record's fields are the columns of its parquet file, in order.

`questions.parquet` holds `Question`, `votes.parquet` `VotedQuestion`, `decisions.parquet` `Decision`,
`solver_train.parquet` `SolverRow`, `prompts.parquet` `PromptRow`, `answers.parquet` `Answered`; of Absolute Zero
`tasks.parquet` `ProposedTask` and `buffers.parquet` `BufferedTask`.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from verl_rzero.base.text import all_encodable

if TYPE_CHECKING:
    import pyarrow


@dataclass(frozen=True)
class Question:
    """One output of the Challenger, well-formed or not."""

    id: int
    round: int
    raw: str  # the whole text of the Challenger
    question: str | None
    claimed_answer: str | None  # what the Challenger boxed; never used as a label
    well_formed: bool
    seed: int
    model: str  # hash or path of the Challenger's weights


@dataclass(frozen=True)
class VotedQuestion:
    """One question with the Solver's m answers and their vote (lists have length m)."""

    id: int  # of the `Question`
    round: int
    question: str
    raws: list[str]  # the whole replies
    answers: list[str | None]  # None: no balanced box
    classes: list[int]  # -1: unanswered
    label: str | None
    agreement: float
    margin: float
    answered: int
    seed: int
    model: str  # hash or path of the Solver's weights
    truth: str | None = None  # known in the tiny world only; for measuring, nothing in the method reads it


@dataclass(frozen=True)
class Decision:
    """What curation said of one voted question."""

    id: int
    decision: str  # "kept" or "rejected"
    reason: str | None  # of `curation.REASONS`; None where kept


@dataclass(frozen=True)
class SolverRow:
    """One training row of the Solver in verl's dataset format."""

    data_source: str
    prompt: list[dict[str, str]]  # messages: {"role", "content"}
    ability: str
    reward_model: dict[str, str]  # {"style": "rule", "ground_truth": the pseudo-label}
    extra_info: dict[str, Any]  # {"index", "id", "round": int, "agreement": float}; round 0 for a human anchor


@dataclass(frozen=True)
class PromptRow:
    """One prompt without a label in verl's dataset format: a Challenger's, or a question whose answers label it."""

    data_source: str
    prompt: list[dict[str, str]]  # messages: {"role", "content"}
    ability: str
    reward_model: dict[str, str | None]  # {"style": "rule", "ground_truth": None}: verl wants the column
    extra_info: dict[str, int]  # {"index": the row's number}


@dataclass(frozen=True)
class Answered:
    """One benchmark question with its replies: the greedy one, then the k sampled ones (lists have length 1 + k)."""

    benchmark: str
    question: str
    answer: str  # the true one
    replies: list[str]  # the whole texts
    finished: list[bool]  # not cut off at the token limit
    answers: list[str | None]  # the final answers; None: the reply gives none, or was cut off
    right: list[bool]  # by the benchmark's rules
    judged: list[str | None]  # "right", "wrong" or "failed" of a judge; None where it wasn't asked


@dataclass(frozen=True)
class ProposedTask:
    """One code task that was proposed in self-play, valid or not (lists: one entry, for induction several)."""

    step: int
    kind: str  # deduction, abduction or induction
    program: str
    inputs: list[str]  # literals; none where the task isn't valid
    outputs: list[str]
    message: str
    valid: bool
    reason: str | None  # why it isn't: form, banned_import, too_long or one of the executor's failures
    solved: (
        float | None
    )  # share of right solutions among those sampled; None where it isn't valid, or nothing depends on it
    reward: float  # 0 where proposals aren't trained on
    raw: str  # the whole reply


@dataclass(frozen=True)
class BufferedTask:
    """One valid code task that self-play remembers; in the order of the file, the oldest of each kind first."""

    kind: str
    program: str
    inputs: list[str]
    outputs: list[str]
    message: str


ROWS, CHARS = 512, 1 << 28
"""Records, and characters of theirs, that are written and read at once: list columns with more than 2 GiB of text can
be written and not read.
"""

Record = TypeVar(
    "Record", Question, VotedQuestion, Decision, SolverRow, PromptRow, Answered, ProposedTask, BufferedTask
)


def columns(kind: type) -> list[str]:
    """Column names of a record's file, in order."""
    return [field.name for field in fields(kind)]


def schema(kind: type) -> "pyarrow.Schema":
    """Arrow schema of a record's file, fixed so that a file without rows or with only nulls reads back the same."""
    import pyarrow as pa

    text, whole, real = pa.string(), pa.int64(), pa.float64()
    types: dict[str, Any] = {
        "id": whole, "round": whole, "seed": whole, "answered": whole, "agreement": real, "margin": real,
        "well_formed": pa.bool_(), "raws": pa.list_(text), "answers": pa.list_(text), "classes": pa.list_(whole),
        "replies": pa.list_(text), "judged": pa.list_(text), "finished": pa.list_(pa.bool_()),
        "right": pa.list_(pa.bool_()), "step": whole, "inputs": pa.list_(text), "outputs": pa.list_(text),
        "valid": pa.bool_(), "solved": real, "reward": real,
        "prompt": pa.list_(pa.struct([("role", text), ("content", text)])),
        "reward_model": pa.struct([("style", text), ("ground_truth", text)]),
        "extra_info": pa.struct([("index", whole), ("id", whole), ("round", whole), ("agreement", real)]),
    }  # fmt: skip
    if kind is PromptRow:
        types["extra_info"] = pa.struct([("index", whole)])
    return pa.schema([(name, types.get(name, text)) for name in columns(kind)])


def write(path: str | os.PathLike, records: Iterable[Record], kind: type[Record]) -> None:
    """Write records to a parquet file, atomically (a reader sees the old file or the whole new one). Only a portion of
    them need be in memory.

    Lone surrogates, which UTF-8 lacks, are written as U+FFFD; all else reads back as it was, NUL too.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    partial = Path(f"{os.fspath(path)}.partial")
    with pq.ParquetWriter(partial, schema(kind)) as file:
        for rows in _portions(records):
            file.write_table(pa.Table.from_pylist(rows, schema=schema(kind)))
    os.replace(partial, path)


def _portions(records: Iterable[Any]) -> Iterator[list[dict[str, Any]]]:
    """The records as rows, of at most ROWS and CHARS (but for one row that has more)."""
    portion: list[dict[str, Any]] = []
    chars = 0
    for record in records:
        row = all_encodable(asdict(record))
        size = _chars(row)
        if portion and (len(portion) == ROWS or chars + size > CHARS):
            yield portion
            portion, chars = [], 0
        portion.append(row)
        chars += size
    yield portion


def _chars(value: Any) -> int:
    match value:
        case str():
            return len(value)
        case list():
            return sum(map(_chars, value))
        case dict():
            return sum(map(_chars, value.values()))
        case _:
            return 0


def read(path: str | os.PathLike, kind: type[Record], without: Sequence[str] = ()) -> list[Record]:
    """Read the records of a parquet file; lists of the columns `without` are left empty, and cost nothing.

    Raises:
        ValueError: the file's columns are not those of `kind`.
    """
    return list(stream(path, kind, without))


def stream(path: str | os.PathLike, kind: type[Record], without: Sequence[str] = ()) -> Iterator[Record]:
    """`read`, a portion at a time."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        names = file.schema_arrow.names
        if names != columns(kind):
            raise ValueError(f"{os.fspath(path)} holds columns {names}, not those of {kind.__name__}: {columns(kind)}")
        wanted = [name for name in names if name not in without]
        empty: dict[str, Any] = {name: [] for name in without}
        for group in range(file.num_row_groups):
            for row in file.read_row_group(group, wanted).to_pylist():
                yield kind(**{**empty, **row})
