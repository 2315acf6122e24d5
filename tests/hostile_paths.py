"""The ways that a text of a model takes through a run, each as a function that must come to its end and never raise.

A path that stands for several texts at once (a vote, a batch, a file) is in `OF_MANY`.
"""

import contextlib
import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import get_type_hints

from verl_rzero import settings
from verl_rzero.base.rows import read_rows
from verl_rzero.base.text import all_encodable, encodable, for_terminal
from verl_rzero.data import records
from verl_rzero.engine.asking import question
from verl_rzero.engine.code_checks import _is_output
from verl_rzero.evaluation import graders, judge
from verl_rzero.executor import NotLiterals, arguments, equal, show
from verl_rzero.grading.equality import equal as equal_forms
from verl_rzero.grading.normal_form import parse
from verl_rzero.publish import markdown
from verl_rzero.rules import answers, code_tasks, curation, diversity, prompts, repetition, solver_data
from verl_rzero.rules.own_majority import own_majority
from verl_rzero.rules.voting import vote, vote_by_text
from verl_rzero.watch.web.text import cut, escaped

SETTINGS = settings.load(["hardware=cpu", "curation.ill_posed_share=0.5", "curation.duplicates=drop"])
GRADERS = ("math", "choice", "bbeh", "program", "tests")


def by_notation(a: str, b: str) -> bool:
    """Equality as far as no engine is needed."""
    return a == b or equal_forms(parse(a), parse(b), lambda left, right: False)


def read_as_a_reply(text: str) -> None:
    boxed, asked = answers.last_boxed(text), answers.question_block(text)
    answers.is_ill_posed(text)
    made = question(0, 1, text, 0, "m")
    assert (made.question, made.claimed_answer, made.well_formed) == (asked, boxed, asked is not None)
    if asked is not None:
        prompts.solver_messages(SETTINGS.prompts, asked)


def read_as_code(text: str) -> None:
    for think in (False, True):
        for kind in code_tasks.KINDS:
            code_tasks.solution(kind, text, think)
            made = code_tasks.proposal(kind, text, "def f(a):\n    return a", 2, think)
            if made is not None:
                code_tasks.imported(made.program)
    code_tasks.imported(text)
    task = code_tasks.Task("induction", text, (text, text), (text, text), text)
    code_tasks.solve_messages(SETTINGS.self_play.prompts, task)
    code_tasks.propose_messages(SETTINGS.self_play.prompts, "deduction", [task], text, 2)


def read_as_literals(text: str) -> None:
    _is_output(text, "[1, 'a']")
    try:
        values = arguments(text)
    except NotLiterals:
        return
    assert equal(arguments(", ".join(map(show, values)), 10**9), values)


def read_as_an_answer(text: str) -> None:
    assert by_notation(text, text)
    assert by_notation(text, text[:-1]) == by_notation(text[:-1], text)


def graded(text: str) -> None:
    for grader in GRADERS:
        final = graders.final_answer(grader, text, 4)
        if grader in GRADERS[:3]:
            graders.right(grader, final, "B", by_notation)
            graders.right(grader, text, "B", by_notation)


def judged(text: str) -> None:
    for read, given in ((judge.verdict, text), (judge._content, text.encode(errors="replace"))):
        with contextlib.suppress(judge.JudgeFailed):
            read(given)


def shown(text: str) -> None:
    """In a page, a card and a terminal."""
    assert not set(escaped(text)) & set("<>\"'")
    cut(text, 2000)
    line = markdown.cell(text)
    assert "\n" not in line
    fence, *inside, end = markdown.fenced("text", text).split("\n")
    assert set(end) == {"`"}
    assert fence == f"{end}text"
    assert not any(line.strip() == end for line in inside)
    assert not acts(for_terminal(text))


def acts(text: str) -> set[str]:
    """The characters with which a terminal does something, newline and tab aside."""
    return {c for c in text if ord(c) < 32 and c not in "\n\t" or 0x7F <= ord(c) < 0xA0 or 0xD800 <= ord(c) < 0xE000}


def voted(texts: Sequence[str]) -> None:
    """As whole answers, and as what is boxed in them."""
    for given in (list(texts), [answers.last_boxed(text) for text in texts]):
        for made in (vote([*given, "", "5", None], by_notation), vote_by_text([*given, "", "5", None])):
            assert made.classes[-3] == made.classes[-1] == -1 < made.classes[-2]
            own_majority(made, len(given) + 1)


def compared(texts: Sequence[str]) -> None:
    """As a batch of the Challenger's questions."""
    for tokens in ("whitespace", "math"):
        distances = repetition.bleu_distances(texts, tokens)
        assert ((distances >= -1e-12) & (distances <= 1)).all()
        repetition.shares_with_memory(texts, texts[:1], tokens=tokens)
    diversity.numbers(texts)


def voted_questions(texts: Sequence[str]) -> list[records.VotedQuestion]:
    """Each text as a question, and all as the answers to it."""
    won = vote(list(texts), lambda a, b: a == b)
    return [
        records.VotedQuestion(
            i, 1, text, list(texts), list(texts), list(won.classes), won.label, won.agreement, won.margin,
            won.answered, 0, "m", text,
        )
        for i, text in enumerate(texts)
    ]  # fmt: skip


def curated(texts: Sequence[str]) -> None:
    voted = voted_questions(texts)
    rules = {**curation.rules(SETTINGS), "band": (0.0, 1.0), "drop_questions_with": ("owned",)}
    made = curation.curate(voted, **rules, earlier=texts[:1])
    assert len(made.kept) + sum(made.rejected.values()) == len(texts)
    solver_data.kept_rows(SETTINGS, made.kept)


def rows_of(kind: type, texts: Sequence[str]) -> list:
    """A record for each text, which stands wherever a text can."""
    made = []
    for number, text in enumerate(texts):
        by_type = {
            "int": number, "float": 0.5, "bool": True, "str": text, "str | None": text, "float | None": None,
            "list[str]": [text, ""], "list[str | None]": [text, None], "list[int]": [0, -1],
            "list[bool]": [True, False],
            "list[dict[str, str]]": [{"role": "user", "content": text}],
            "dict[str, str]": {"style": "rule", "ground_truth": text},
            "dict[str, str | None]": {"style": "rule", "ground_truth": None}, "dict[str, int]": {"index": number},
            "dict[str, typing.Any]": {"index": 0, "id": number, "round": 1, "agreement": 0.5},
        }  # fmt: skip
        hints = get_type_hints(kind).values()
        made.append(kind(*(by_type[hint.__name__ if hint in (int, float, bool, str) else str(hint)] for hint in hints)))
    return made


KINDS = (
    records.Question, records.VotedQuestion, records.Decision, records.SolverRow, records.PromptRow, records.Answered,
    records.ProposedTask, records.BufferedTask,
)  # fmt: skip


def stored(texts: Sequence[str]) -> None:
    """In the file of each kind of record, and in files that people bring."""
    with tempfile.TemporaryDirectory() as here:
        for kind in KINDS:
            made = rows_of(kind, texts)
            records.write(Path(here, "rows.parquet"), made, kind)
            back = records.read(Path(here, "rows.parquet"), kind)
            assert [asdict(row) for row in back] == [all_encodable(asdict(row)) for row in made]
        brought = Path(here, "rows.jsonl")
        brought.write_text("".join(json.dumps({"question": text}) + "\n" for text in texts))
        assert [row["question"] for row in read_rows(brought, "data")] == [
            encodable(json.loads(json.dumps(text))) for text in texts
        ]


OF_ONE: dict[str, Callable[[str], None]] = {
    "reply": read_as_a_reply,
    "code": read_as_code,
    "literals": read_as_literals,
    "answer": read_as_an_answer,
    "graders": graded,
    "judge": judged,
    "shown": shown,
}
OF_MANY: dict[str, Callable[[Sequence[str]], None]] = {
    "vote": voted,
    "batch": compared,
    "curation": curated,
    "files": stored,
}
