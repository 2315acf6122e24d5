"""One Solver on benchmarks: replies and their grades."""

import asyncio
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from verl_rzero import settings
from verl_rzero.base.progress import Progress
from verl_rzero.data import records
from verl_rzero.data.parts import Parts
from verl_rzero.data.records import Answered
from verl_rzero.engine.asking import Reply, answered, sample_seed
from verl_rzero.evaluation import function_tests, graders, judge, programs
from verl_rzero.evaluation.scores import Same, score
from verl_rzero.grading.grader import Grader, Tally
from verl_rzero.rules.prompts import render, solver_messages
from verl_rzero.settings import Settings
from verl_rzero.settings.benchmarks import Item, LoadedBenchmark

if TYPE_CHECKING:
    from verl_rzero.engine.engines import Engine

_NO_JUDGE = ("choice", "program", "tests")
"""Graders after which nothing is left to judge."""

FILE = "answers.parquet"
CHUNK = 1024
"""Questions that are asked at once where an interrupted evaluation can be continued."""


async def evaluate_in_stage(
    asked: Settings, engine: "Engine", benchmarks: Sequence[LoadedBenchmark], stage_dir: Path, model: str
) -> dict[str, dict[str, Any]]:
    """Scores per benchmark (see `score`), after every reply has gone to `<stage>/answers.parquet`. Questions that the
    model (a hash) has answered in an attempt before are not asked again.
    """
    parts = Parts(stage_dir, Answered, model)
    progress = Progress(stage_dir, sum(answers_to_give(asked, each) for each in benchmarks), "answer")
    scores: dict[str, dict[str, Any]] = {}
    kept: list[Answered] = []
    before = 0
    grader = Grader(asked.grading.timeout_s)
    for each in benchmarks:
        tally = Tally(grader)
        rows = await answered_rows(asked, engine, each, ProgressPart(progress, before), tally, parts)
        before += answers_to_give(asked, each)
        rows = await asyncio.to_thread(judged, asked.evaluation.judge, each, rows)
        scores[each.name] = score(rows, _same(each, tally)) | about(asked, each) | {"grading": tally.counts.as_dict()}
        kept += rows
    grader.close()
    records.write(stage_dir / FILE, kept, Answered)
    return scores


async def answered_rows(
    asked: Settings,
    engine: "Engine",
    benchmark: LoadedBenchmark,
    progress: "ProgressPart",
    tally: Tally,
    parts: Parts[Answered],
) -> list[Answered]:
    """The graded replies to all questions, kept lot by lot; what an attempt before has kept is taken up."""
    rows = given_before(asked, benchmark, parts.before())
    for first in range(len(rows), len(benchmark.items), CHUNK):
        items = benchmark.items[first : first + CHUNK]
        at = progress.behind(first * (1 + asked.evaluation.k_of(benchmark.name)))
        new = await ask_and_grade(asked, engine, benchmark, items, at, tally, first)
        parts.add(new)
        parts.write()
        rows += new
    return rows


def given_before(asked: Settings, benchmark: LoadedBenchmark, rows: Iterable[Answered]) -> list[Answered]:
    """The rows of a benchmark's first questions that are among `rows`, as far as they are answers to these."""
    own = [row for row in rows if row.benchmark == benchmark.name]
    replies = 1 + asked.evaluation.k_of(benchmark.name)
    same = [
        (row.question, row.answer, len(row.replies)) == (item.question, item.answer, replies)
        for row, item in zip(own, benchmark.items, strict=False)
    ]
    return own[: same.index(False)] if False in same else own[: len(same)]


class ProgressPart(Progress):
    """A part of a stage's progress, behind the `before` units of the parts before it."""

    def __init__(self, whole: Progress, before: int) -> None:
        self._whole, self._before = whole, before

    def update(self, done: int, note: str = "") -> None:
        self._whole.update(self._before + done, note)

    def behind(self, more: int) -> "ProgressPart":
        """The part that follows `more` units of this one."""
        return ProgressPart(self._whole, self._before + more)


def answers_to_give(asked: Settings, benchmark: LoadedBenchmark) -> int:
    """Replies to all questions: a greedy one and k sampled ones each."""
    return len(benchmark.items) * (1 + asked.evaluation.k_of(benchmark.name))


async def ask_and_grade(
    asked: Settings,
    engine: "Engine",
    benchmark: LoadedBenchmark,
    items: Sequence[Item],
    progress: ProgressPart,
    tally: Tally,
    first: int = 0,
) -> list[Answered]:
    """The Solver's graded replies to `items`, the questions of the benchmark from number `first` on.

    A question whose prompt leaves no room for an answer is not asked; its replies are empty and count as cut off.
    """
    asked = with_prompts(asked, benchmark)
    texts = [item.question for item in items]
    fitting = [i for i, text in enumerate(texts) if _fits(asked, engine, text)]
    k, length = asked.evaluation.k_of(benchmark.name), asked.model.answer_tokens
    replies: list[list[Reply]] = [[Reply("", False)] * (1 + k) for _ in items]

    async def ask(n: int, temperature: float, seeds: list[int] | None, where: int, progress: ProgressPart) -> None:
        sampling = {"temperature": temperature, "max_tokens": length}
        given = answered(asked, engine, [texts[i] for i in fitting], n, sampling, seeds, progress)
        async for place, some in given:
            replies[fitting[place]][where : where + n] = some

    await ask(1, 0.0, None, 0, progress)
    if k:
        seeds = [sample_seed(asked.seed, "evaluation", benchmark.name, first + i) for i in fitting]
        await ask(k, temperature(asked, benchmark.name), seeds, 1, progress.behind(len(items)))
    return await asyncio.to_thread(_graded, asked, benchmark, items, replies, tally)


def with_prompts(asked: Settings, benchmark: LoadedBenchmark) -> Settings:
    """The settings with the prompts that a benchmark is asked by: a function's question is the whole user turn, as the
    Solver's prompts ask for a boxed answer.
    """
    if benchmark.grader != "tests":
        return asked
    return replace(asked, prompts=replace(asked.prompts, solver_system=None, solver_user="{question}"))


def temperature(asked: Settings, name: str) -> float:
    """Of the sampled answers to a benchmark."""
    own = asked.evaluation.benchmarks[name].temperature
    return asked.evaluation.temperature if own is None else own


def _fits(asked: Settings, engine: "Engine", text: str) -> bool:
    """Whether the engine, whose sequences hold so many tokens, can take the prompt and a whole answer."""
    room = asked.model.prompt_tokens + asked.model.question_tokens
    return len(render(engine.tokenizer, solver_messages(asked.prompts, text))) <= room


def _graded(
    asked: Settings,
    benchmark: LoadedBenchmark,
    items: Sequence[Item],
    replies: Sequence[Sequence[Reply]],
    tally: Tally,
) -> list[Answered]:
    answers_QN = [
        [
            graders.final_answer(benchmark.grader, reply.text, item.options) if reply.finished else None
            for reply in given
        ]
        for item, given in zip(items, replies, strict=True)
    ]
    if benchmark.grader == "tests":
        right_QN = function_tests.rights(asked.execution, [item.tests for item in items], answers_QN)
    elif benchmark.grader == "program":
        right_QN = programs.rights(asked.execution, [item.answer for item in items], answers_QN)
    else:
        right_QN = [
            [graders.right(benchmark.grader, each, item.answer, tally.same) for each in answers]
            for item, answers in zip(items, answers_QN, strict=True)
        ]
    rows = []
    for item, given, answers, right in zip(items, replies, answers_QN, right_QN, strict=True):
        texts, finished = [reply.text for reply in given], [reply.finished for reply in given]
        nobody: list[str | None] = [None] * len(given)
        rows.append(Answered(benchmark.name, item.question, item.answer, texts, finished, answers, right, nobody))
    return rows


def judged(asked: settings.Judge, benchmark: LoadedBenchmark, rows: Sequence[Answered]) -> list[Answered]:
    """The rows with the judge's verdicts on every answer that the rules call wrong and that has none yet.

    Letters and programs need no judge, and where there is no answer there is nothing to judge.
    """
    if asked.url is None or benchmark.grader in _NO_JUDGE:
        return list(rows)
    cases = [
        judge.Case(row.question, row.answer, given)
        for row in rows
        for given, fine, known in zip(row.answers, row.right, row.judged, strict=True)
        if given is not None and not fine and known in (None, "failed")
    ]
    found = judge.verdicts(asked, cases)

    def word(row: Answered, given: str | None, known: str | None) -> str | None:
        said = found.get(judge.Case(row.question, row.answer, given)) if given is not None else None
        if said is None:
            return known
        return "failed" if isinstance(said, judge.JudgeFailed) else "right" if said else "wrong"

    return [
        replace(
            row,
            judged=[
                known if fine else word(row, given, known)
                for given, fine, known in zip(row.answers, row.right, row.judged, strict=True)
            ],
        )
        for row in rows
    ]


def _same(benchmark: LoadedBenchmark, tally: Tally) -> Same | None:
    """What lets sampled answers vote together: mathematical equality, or for letters and words the same text."""
    return tally.same if benchmark.grader == "math" else None


def about(asked: Settings, benchmark: LoadedBenchmark) -> dict[str, Any]:
    """Under which protocol, on which questions, and by which judge a score came about."""
    return {
        "protocol": protocol(asked, benchmark),
        "content": benchmark.content,
        "judge": None if benchmark.grader in _NO_JUDGE else asked.evaluation.judge.model,
    }


def protocol(asked: Settings, benchmark: LoadedBenchmark) -> str:
    """Hash of all that a benchmark's replies and grades depend on beside the model: scores of one hash compare.

    A judge is not among it: its verdicts stand beside the grades.
    """
    prompts = with_prompts(asked, benchmark).prompts
    given = {
        "benchmark": benchmark.content,
        "grader": [
            benchmark.grader,
            graders.VERSION,
            asdict(asked.execution if benchmark.grader in ("program", "tests") else asked.grading),
        ],
        "prompts": [prompts.solver_system, prompts.solver_user],
        "tokens": [asked.model.prompt_tokens, asked.model.question_tokens, asked.model.answer_tokens],
        "k": asked.evaluation.k_of(benchmark.name),
        "temperature": temperature(asked, benchmark.name),
        "seed": asked.seed,
        "name": benchmark.name,  # of which the samples' seeds are made
    }
    return sha256(json.dumps(given, sort_keys=True).encode()).hexdigest()[:16]
