"""The benchmarks that are known by name: where each lies, how its rows are read, asked and graded.

docs/evaluation.md says what was verified about each source, and how.
"""

import json
import string
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Literal

from verl_rzero.base.errors import UserError
from verl_rzero.settings.evalplus import FunctionTests, NoTests, as_text, human_eval, mbpp

GraderName = Literal["math", "choice", "bbeh", "program", "tests"]


def _text(value: Any) -> str:
    """An answer as text; a whole number that its file holds as a float loses its `.0`."""
    return str(int(value) if isinstance(value, float) and value.is_integer() else value).strip()


def _after_hashes(value: Any) -> str:
    """GSM8K's answers are worked solutions that end with `#### <answer>`; its thousands have commas."""
    _, hashes, final = str(value).rpartition("####")
    return final.strip().replace(",", "") if hashes else ""


def _first(value: Any) -> str:
    """OlympiadBench's answers are lists; of several the first one counts, as in R-Zero's evaluation."""
    return _text(value[0]) if isinstance(value, Sequence) and not isinstance(value, str) and len(value) else ""


@dataclass(frozen=True)
class Source:
    """One row of the table: a dataset and the protocol it is evaluated under.

    `size` is the number of questions that the split is known to have, `options` the column of choices, `k` how many
    sampled answers are taken for mean@k unless the settings say otherwise (None: evaluation.k; 0: greedy only).
    `functions` reads a row whose replies are programs: question, reference solution, tests.
    """

    hub: str | None
    split: str
    size: int | None
    subset: str | None = None
    question: str = "question"
    answer: str = "answer"
    read_answer: Callable[[Any], str] = _text
    options: str | None = None
    grader: GraderName = "math"
    k: int | None = None
    functions: Callable[[Mapping[str, Any]], tuple[str, str, FunctionTests]] | None = None


TABLE: dict[str, Source] = {
    "math500": Source("HuggingFaceH4/MATH-500", "test", 500, question="problem", k=4),
    "gsm8k": Source("openai/gsm8k", "test", 1319, subset="main", read_answer=_after_hashes, k=4),
    "amc23": Source("zwhe99/amc23", "test", 40, k=32),
    "minerva": Source("zwhe99/simplerl-minerva-math", "test", 272, question="problem", k=4),
    "olympiad": Source(
        "zwhe99/simplerl-OlympiadBench", "test", 675, answer="final_answer", read_answer=_first, k=4
    ),
    "aime24": Source("HuggingFaceH4/aime_2024", "train", 30, question="problem", k=32),
    "aime25": Source("yentinglin/aime_2025", "train", 30, subset="default", question="problem", k=32),
    "mmlu_pro": Source("TIGER-Lab/MMLU-Pro", "test", 12032, options="options", grader="choice", k=0),
    "supergpqa": Source(
        "m-a-p/SuperGPQA", "train", 26529, answer="answer_letter", options="options", grader="choice", k=0
    ),
    "bbeh": Source("MrLight/bbeh-eval", "train", 4520, grader="bbeh", k=0),
    "humanevalplus": Source(
        "evalplus/humanevalplus", "test", 164, question="prompt", answer="test", grader="tests", k=0,
        functions=human_eval,
    ),
    "mbppplus": Source(
        "evalplus/mbppplus", "test", 378, question="prompt", answer="test", grader="tests", k=0, functions=mbpp
    ),
}  # fmt: skip

LOCAL = Source(None, "test", None)
"""Any file of one's own: columns `question` and `answer`, graded mathematically."""

GRADER = "grader"
"""A column of a file of one's own that says `program` in every row where replies are judged by running programs; an
answer is a task then, as JSON (evaluation/programs.py)."""


@dataclass(frozen=True)
class Item:
    """One question as the model gets it, with its true answer; `options` is the number of choices, 0 without; `tests`
    what a function is tested by (settings/evalplus.py), the answer being a reference solution then.
    """

    question: str
    answer: str
    options: int = 0
    tests: str = ""


@dataclass(frozen=True)
class LoadedBenchmark:
    """A loaded benchmark."""

    name: str
    grader: GraderName
    items: list[Item]

    @property
    def content(self) -> str:
        """Sixteen hex digits that differ when a question or an answer does."""
        rows = [
            [item.question, item.answer, item.options, *([item.tests] if item.tests else [])] for item in self.items
        ]
        return sha256(json.dumps(rows).encode()).hexdigest()[:16]


def source(name: str) -> Source:
    """The table's row, or that of a file of one's own."""
    return TABLE.get(name, LOCAL)


def benchmark(name: str, rows: Sequence[Mapping[str, Any]]) -> LoadedBenchmark:
    """The rows of a dataset as questions with answers.

    Raises:
        UserError: no rows, a column is missing, a row has no answer, or its answer is none of its options.
    """
    known = source(name)
    if not rows:
        raise UserError(
            f"benchmark {name}: there is no row in it. Look at its file, or at evaluation.benchmarks.{name}."
        )
    needed = [known.question, known.answer, *([known.options] if known.options else [])]
    missing = [column for column in needed if column not in rows[0]]
    if missing:
        raise UserError(
            f"benchmark {name}: it has columns {list(rows[0])}, but no {' and no '.join(missing)}. "
            f"Rename its columns to {', '.join(needed)}."
        )
    grader: GraderName = "program" if name not in TABLE and rows[0].get(GRADER) == "program" else known.grader
    return LoadedBenchmark(name, grader, [_item(name, number, known, row) for number, row in enumerate(rows)])


def _item(name: str, number: int, known: Source, row: Mapping[str, Any]) -> Item:
    if known.functions is not None:
        try:
            asked, reference, tests = known.functions(row)
        except (NoTests, KeyError, TypeError) as error:
            raise UserError(
                f"benchmark {name}: row {number} can't be read as a row of {known.hub} ({error!r}). Take the file as "
                "its authors publish it."
            ) from error
        return Item(asked, reference, tests=as_text(tests))
    text, gold = str(row[known.question]).strip(), row[known.answer]
    answer = "" if gold is None else known.read_answer(gold)
    if not answer or not text:
        raise UserError(f"benchmark {name}: row {number} has no {'answer' if text else 'question'}. Take it out.")
    if known.options is None:
        return Item(text, answer)
    options = [str(option) for option in row[known.options]]
    if answer not in letters(len(options)):
        raise UserError(f"benchmark {name}: row {number} has {len(options)} options, its answer is {answer!r}. Fix it.")
    return Item(with_options(text, options), answer, len(options))


def letters(count: int) -> str:
    """The letters of that many options, `ABCD` for 4."""
    return string.ascii_uppercase[:count]


def with_options(question: str, options: Sequence[str]) -> str:
    """A multiple-choice question as the Solver gets it."""
    listed = "\n".join(f"({letter}) {option}" for letter, option in zip(letters(len(options)), options, strict=True))
    return (
        f"{question}\n\nOptions:\n{listed}\n\n"
        "Exactly one option is right. Think it through, then put the letter of that option, and nothing else, "
        "within \\boxed{}."
    )
