"""Scores from replies; the engine is a fake that answers from a table, the judge a real HTTP server."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest
from judge_server import endpoint, knowing

from verl_rzero import settings
from verl_rzero.base import progress
from verl_rzero.base.errors import UserError
from verl_rzero.base.files import read_json
from verl_rzero.data import records
from verl_rzero.data.records import Answered
from verl_rzero.evaluation import command, run, store, work
from verl_rzero.grading.grader import same_answer
from verl_rzero.methods import plan
from verl_rzero.settings.benchmarks import benchmark

BASE = settings.load([])


class Tokens:
    """A tokenizer of which every character is a token."""

    def apply_chat_template(self, messages, add_generation_prompt, tokenize):
        return [ord(c) for message in messages for c in message["content"]]

    def decode(self, ids, skip_special_tokens):
        return "".join(map(chr, ids))


class Sample:
    def __init__(self, prompt: int, text: str) -> None:
        self.prompt, self.ids, self.finished = prompt, [ord(c) for c in text], not text.endswith("...")


class Engine:
    """Replies with what `says` gives for a question, a temperature and a seed, the last request first."""

    tokenizer = Tokens()

    def __init__(self, says: Callable[[str, float, int | None], str]) -> None:
        self.says, self.asked = says, []

    async def sample(self, prompts_Q, sampling, seeds_Q, wait_for) -> AsyncIterator[list[Sample]]:
        assert wait_for == 1.0  # an evaluation waits for all, whatever the settings say
        for i in range(len(prompts_Q))[::-1]:
            question = "".join(map(chr, prompts_Q[i])).removeprefix("<|solve|>")
            seed = seeds_Q[i] if seeds_Q else None
            self.asked.append((question, sampling["temperature"], seed))
            yield [Sample(i, self.says(question, sampling["temperature"], seed))]

    def text(self, sample: Sample) -> str:
        return self.tokenizer.decode(sample.ids, True)


def configured(**changes: object) -> settings.Settings:
    """k=2; benchmarks `sums`, and `mmlu_pro` with its own k=1 and temperature."""
    benchmarks = {
        "sums": settings.Benchmark(str(Path(__file__))),
        "mmlu_pro": settings.Benchmark(None, k=1, temperature=0.5),
    }
    evaluation = replace(BASE.evaluation, **{"benchmarks": benchmarks, "k": 2} | changes)
    return settings.with_parts(BASE, evaluation=evaluation, model=replace(BASE.model, prompt_tokens=300))


SUMS = benchmark("sums", [{"question": q, "answer": a} for q, a in (("1+1", "2"), ("1+2", "3"), ("1+3", "4"))])


def test_scores_of_a_table_of_replies(tmp_path):
    # greedy: right, cut off, wrong; sampled: right and unanswered, both right, both wrong
    greedy = {"1+1": r"\boxed{2.0}", "1+2": r"\boxed{3}...", "1+3": r"\boxed{5}"}
    sampled = {"1+1": [r"\boxed{2}", "none"], "1+2": [r"\boxed{3}"] * 2, "1+3": [r"\boxed{1}"] * 2}
    letters = benchmark("mmlu_pro", [{"question": "L", "options": ["x", "y"], "answer": "B"}])

    def says(question: str, temperature: float, seed: int | None) -> str:
        if question not in greedy:
            return r"\boxed{B}" if temperature else r"\boxed{A}"
        return sampled[question].pop(0) if temperature else greedy[question]

    engine = Engine(says)
    scores = asyncio.run(run.evaluate_in_stage(configured(), engine, [SUMS, letters], tmp_path, "hash"))
    sums = scores["sums"]
    assert (sums["greedy"], sums["mean_at_k"], sums["k"], sums["n"]) == (1 / 3, 0.5, 2, 3)  # (1/2 + 1 + 0) / 3
    assert sums["answered_share"] == 7 / 9  # not: the greedy 1+2, one sampled 1+1
    assert sums["cut_off_share"] == 1 / 9
    assert sums["greedy_interval"] == pytest.approx([0.0615, 0.7923], abs=1e-4)  # Wilson of 1 in 3
    assert sums["mean_at_k_interval"][0] < 0.5 < sums["mean_at_k_interval"][1]
    assert "judge_greedy" not in sums
    assert (scores["mmlu_pro"]["greedy"], scores["mmlu_pro"]["mean_at_k"], scores["mmlu_pro"]["k"]) == (0.0, 1.0, 1)
    assert {t for q, t, _ in engine.asked if q in greedy} == {0.0, BASE.evaluation.temperature}
    assert {t for q, t, _ in engine.asked if q not in greedy} == {0.0, 0.5}
    kept = records.read(tmp_path / "answers.parquet", Answered)
    assert [row.benchmark for row in kept] == ["sums"] * 3 + ["mmlu_pro"]
    assert kept[1].answers == [None, "3", "3"]
    assert kept[1].right == [False, True, True]
    assert kept[1].finished == [False, True, True]
    last = progress.read(tmp_path)
    assert (last.done, last.total) == (11, 11)  # 3 x 3 + 1 x 2


def test_an_evaluation_that_died_goes_on_behind_its_last_lot(tmp_path, monkeypatch):
    monkeypatch.setattr(run, "CHUNK", 2)
    whole = Engine(lambda question, temperature, seed: rf"\boxed{{{len(question)}}}")
    expected = asyncio.run(run.evaluate_in_stage(configured(), whole, [SUMS], tmp_path, "hash"))
    here = tmp_path / "again"
    here.mkdir()

    def dies(question: str, temperature: float, seed: int | None) -> str:
        if question == "1+3":
            raise RuntimeError("died")
        return rf"\boxed{{{len(question)}}}"

    with pytest.raises(RuntimeError, match="died"):
        asyncio.run(run.evaluate_in_stage(configured(), Engine(dies), [SUMS], here, "hash"))
    again = Engine(whole.says)
    scores = asyncio.run(run.evaluate_in_stage(configured(), again, [SUMS], here, "hash"))
    assert {question for question, _, _ in again.asked} == {"1+3"}
    assert sorted(again.asked) == sorted(item for item in whole.asked if item[0] == "1+3")
    assert scores["sums"] | {"grading": None} == expected["sums"] | {"grading": None}
    assert records.read(here / "answers.parquet", Answered) == records.read(tmp_path / "answers.parquet", Answered)
    other = benchmark("sums", [{"question": q, "answer": "2"} for q in ("1+1", "9+9", "1+3")])
    changed = Engine(whole.says)
    asyncio.run(run.evaluate_in_stage(configured(), changed, [other], here, "hash"))
    assert {question for question, _, _ in changed.asked} == {"9+9", "1+3"}


def test_every_sampled_answer_has_a_seed_of_its_own(tmp_path):
    engine = Engine(lambda question, temperature, seed: r"\boxed{2}")
    asyncio.run(run.evaluate_in_stage(configured(), engine, [SUMS], tmp_path, "hash"))
    seeds = [seed for _, temperature, seed in engine.asked if temperature]
    assert len(set(seeds)) == len(seeds) == 6


def test_greedy_only(tmp_path):
    asked = configured()
    greedy = replace(asked.evaluation.benchmarks["sums"], k=0)
    asked = replace(asked, evaluation=replace(asked.evaluation, benchmarks={"sums": greedy}))
    engine = Engine(lambda question, temperature, seed: r"\boxed{2}")
    scores = asyncio.run(run.evaluate_in_stage(asked, engine, [SUMS], tmp_path, "hash"))["sums"]
    assert (scores["k"], scores["mean_at_k"], scores["mean_at_k_interval"], len(engine.asked)) == (0, None, None, 3)


def test_a_prompt_without_room_for_an_answer_is_not_asked_and_not_right(tmp_path):
    room = 300 + BASE.model.question_tokens - len("<|solve|>")
    rows = [{"question": "x" * room, "answer": "2"}, {"question": "x" * (room + 1), "answer": "2"}]
    engine = Engine(lambda question, temperature, seed: r"\boxed{2}")
    scores = asyncio.run(run.evaluate_in_stage(configured(), engine, [benchmark("sums", rows)], tmp_path, "hash"))[
        "sums"
    ]
    assert (scores["greedy"], scores["cut_off_share"], len(engine.asked)) == (0.5, 0.5, 3)


def row(answers: list[str | None], right: list[bool], judged: list[str | None], question: str = "q") -> Answered:
    n = len(answers)
    return Answered("sums", question, "half past three", [""] * n, [True] * n, answers, right, judged)


def test_a_judge_is_asked_about_wrong_answers_only_and_both_numbers_are_shown():
    rows = [
        row(["15:30", None, "half past three"], [False, False, True], [None] * 3, "a"),
        row(["16:30", "15:30", "16:30"], [False] * 3, [None] * 3, "b"),
    ]
    truths = {"a": "half past three", "b": "half past three"}
    with endpoint(knowing(truths, {"a": "15:30", "b": "15:30"})) as server:
        judge = replace(BASE.evaluation.judge, url=server.url, model="m")
        rows = run.judged(judge, SUMS, rows)
    assert [each.judged for each in rows] == [["right", None, None], ["wrong", "right", "wrong"]]
    assert len(server.bodies) == 3  # "16:30" of question b once
    scores = run.score(rows, None)
    assert (scores["greedy"], scores["judge_greedy"]) == (0.0, 0.5)
    assert (scores["mean_at_k"], scores["judge_mean_at_k"]) == (0.25, 0.5)
    assert (scores["judge_asked"], scores["judge_failures"]) == (4, 0)


def test_a_judge_that_fails_says_neither_yes_nor_no():
    with endpoint(lambda number, body: (200, "I can't say")) as server:
        judge = replace(BASE.evaluation.judge, url=server.url, model="m", attempts=1)
        rows = run.judged(
            judge, SUMS, [row(["a", "b"], [False, True], [None] * 2), row(["c", "d"], [True, False], [None] * 2)]
        )
    assert [each.judged for each in rows] == [["failed", None], [None, "failed"]]
    scores = run.score(rows, None)
    assert (scores["greedy"], scores["judge_greedy"], scores["judge_greedy_bounds"]) == (0.5, None, [0.5, 1.0])
    assert scores["judge_failures"] == 2
    # Asked again later, only where it failed.
    with endpoint(lambda number, body: (200, "yes")) as server:
        rows = run.judged(replace(judge, url=server.url), SUMS, [*rows, row(["e"] * 2, [False] * 2, ["wrong"] * 2)])
    assert [each.judged for each in rows] == [["right", None], [None, "right"], ["wrong", "wrong"]]


def test_any_and_the_majority_of_the_sampled_answers():
    rows = [
        row(["9", "0.5", "1/2", "7", None], [False, True, True, False, False], [None] * 5),  # 1/2 twice: right
        row(["1", "7", "7", "1", None], [True, False, False, True, False], [None] * 5),  # 7 twice: wrong, 1 is there
        row(["1", None, None, None, None], [True] + [False] * 4, [None] * 5),  # nobody's majority, none right
        row(["1", None, None, None, "1"], [True] + [False] * 3 + [True], [None] * 5),  # one answer is the majority
    ]
    scores = run.score(rows, same_answer)
    assert (scores["pass_at_k"], scores["maj_at_k"]) == (3 / 4, 2 / 4)
    assert run.score(rows, None)["maj_at_k"] == 2 / 4  # of equal counts the first, which is right too
    assert run.score([row(["1"], [True], [None])], same_answer)["maj_at_k"] is None


def test_letters_are_never_judged():
    judge = replace(BASE.evaluation.judge, url="http://localhost:1/v1", model="m", attempts=1)
    rows = [row(["A"], [False], [None])]
    assert run.judged(judge, replace_grader("choice"), rows) == rows


def replace_grader(grader):
    return replace(SUMS, grader=grader)


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({}, True),
        ({"k": 3}, False),
        ({"temperature": 0.7}, False),
        ({"judge": settings.Judge("http://x/v1", "m", None, 1, 1.0, 1)}, True),  # its verdicts stand beside the grades
    ],
)
def test_the_protocol_is_what_replies_and_grades_depend_on(change, same):
    assert (run.protocol(configured(**change), SUMS) == run.protocol(configured(), SUMS)) is same


def test_the_protocol_follows_prompts_lengths_seed_and_content():
    asked = configured()
    others = [
        replace(asked, seed=1),
        replace(asked, prompts=replace(asked.prompts, solver_user="{question}!")),
        replace(asked, model=replace(asked.model, answer_tokens=5)),
        replace(asked, grading=replace(asked.grading, timeout_s=1.0)),
    ]
    hashes = {run.protocol(each, SUMS) for each in (asked, *others)}
    hashes |= {run.protocol(asked, replace(SUMS, items=SUMS.items[:2])), run.protocol(asked, replace_grader("bbeh"))}
    assert len(hashes) == 7
    assert run.protocol(replace(asked, model=replace(asked.model, name="other")), SUMS) in hashes


# The standalone command


def model_directory(where: Path) -> Path:
    where.mkdir()
    (where / "model.safetensors").write_bytes(b"weights")
    (where / "config.json").write_text("{}")
    return where


def test_a_model_is_known_by_weights_and_by_what_changes_its_prompts(tmp_path):
    model = model_directory(tmp_path / "m")
    keys = [store.model_key(model)]
    (model / "notes.txt").write_text("nothing")
    assert store.model_key(model) == keys[0]
    for name, content in (("model.safetensors", "weightz"), ("chat_template.jinja", "x"), ("tokenizer.json", "{}")):
        (model / name).write_text(content)
        keys.append(store.model_key(model))
    assert len(set(keys)) == 4
    assert store.model_key("Qwen/Qwen3-4B-Base") == "Qwen--Qwen3-4B-Base"


def asked_of(tmp_path: Path, *more: str) -> tuple[settings.Settings, Path]:
    model = tmp_path / "m"
    if not model.is_dir():
        model_directory(model)
    rows = [json.dumps({"question": f"1+{i}", "answer": i + 1}) for i in range(5)]
    (tmp_path / "my sums.jsonl").write_text("\n".join(rows))
    words = [f"model={model}", "recipe=tiny", f"benchmarks=[{tmp_path}/my sums.jsonl]", f"to={tmp_path}/out"]
    return command.request([*words, "hardware=cpu", "evaluation.k=1", *more])


def test_the_command_s_words_become_settings(tmp_path):
    asked, to = asked_of(tmp_path, "evaluation.benchmarks.my_sums.n=3", "seed=4")
    assert asked.model.path == str(tmp_path / "m")
    assert (asked.model.build, asked.prompts.solver_user, asked.seed) == (None, "<|solve|>{question}", 4)
    assert to == tmp_path / "out"
    assert asked.evaluation.benchmarks == {"my_sums": settings.Benchmark(str(tmp_path / "my sums.jsonl"), 3)}
    asked, _ = command.request([f"model={tmp_path}/m", "benchmarks=[math500,aime24]", "hardware=cpu"])
    assert list(asked.evaluation.benchmarks) == ["math500", "aime24"]
    assert [asked.evaluation.k_of(name) for name in ("math500", "aime24")] == [4, 32]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["benchmarks=[math500]"], "model= is missing"),
        (["model=a/b"], "benchmarks= is missing"),
        (["model=a/b", "benchmarks=[unheard]"], "unheard.path=null: nothing makes this benchmark"),
        (["model=/nowhere", "benchmarks=[math500]"], "no such directory"),
        (["model=a/b", "benchmarks=[/nowhere/x.jsonl]"], "no such file"),
        (["model=a/b", "benchmarks=[/a/x.jsonl,/b/x.jsonl]"], "two of them are called x"),
        (["model=a/b", "benchmarks=[math500]", "evaluation.kk=3"], "no such key"),
    ],
)
def test_words_that_cannot_be_meant_are_refused(words, message):
    with pytest.raises(UserError, match=message):
        command.request([*words, "hardware=cpu"])


class Stopped(Exception):
    """What a kill looks like from inside."""


def test_an_evaluation_goes_on_where_it_stopped_and_is_never_redone(tmp_path, monkeypatch):
    monkeypatch.setattr(run, "CHUNK", 2)
    asked, to = asked_of(tmp_path)
    (loaded,) = [command.load(name, each.path, each.n) for name, each in asked.evaluation.benchmarks.items()]
    here = to / store.model_key(asked.model.path)
    (place,) = store.prepare(asked, asked.model.path, [loaded], here)

    def says(question: str, temperature: float, seed: int | None) -> str:
        if question == "1+3":
            raise Stopped
        return r"\boxed{1}"

    def engine(says) -> Engine:
        engines.append(Engine(says))
        return engines[-1]

    engines: list[Engine] = []

    async def dying(*_):
        return engine(says)

    async def living(*_):
        return engine(lambda question, temperature, seed: r"\boxed{1}")

    with pytest.raises(Stopped):
        asyncio.run(work.work(here, dying))
    assert not place.answered
    store.prepare(asked, asked.model.path, [loaded], here)
    asyncio.run(work.work(here, living))
    assert {question for question, *_ in engines[1].asked} == {"1+2", "1+3", "1+4"}  # the first two are kept
    seeds = [seed for one in engines for question, t, seed in one.asked if t and question != "1+3"]
    assert len(set(seeds)) == 4
    assert place.answered
    scores = command.evaluate_model(asked, to)  # no process is started: everything is there
    assert scores["my_sums"]["greedy"] == 0.2  # 1+0
    assert read_json(place.dir / "result.json") == scores["my_sums"]
    table = command.table(scores)
    assert "pass@k" in table
    assert "maj@k" in table
    assert "0.200 [0.036, 0.624]" in table  # Wilson of 1 in 5
    assert store.prepare(asked, asked.model.path, [loaded], here)[0].answered
    assert read_json(here / store.WORK)["places"] == []


def test_a_judge_that_comes_later_needs_no_new_replies_and_failures_are_asked_again(tmp_path):
    asked, to = asked_of(tmp_path)
    (loaded,) = [command.load(name, each.path, each.n) for name, each in asked.evaluation.benchmarks.items()]
    here = to / store.model_key(asked.model.path)
    store.prepare(asked, asked.model.path, [loaded], here)

    async def start(*_):
        return Engine(lambda question, temperature, seed: r"\boxed{unity}")

    asyncio.run(work.work(here, start))
    assert command.evaluate_model(asked, to)["my_sums"]["greedy"] == 0.0
    replies = [(200, "hm"), (200, "no"), (200, "no"), (200, "no"), (200, "no"), (200, "yes")]
    with endpoint(lambda number, body: replies[number]) as server:
        words = (f"evaluation.judge.url={server.url}", "evaluation.judge.model=m", "evaluation.judge.concurrency=1")
        judged, _ = asked_of(tmp_path, *words)
        first = command.evaluate_model(judged, to)["my_sums"]
        assert (first["judge_greedy"], first["judge_greedy_bounds"], first["judge_failures"]) == (None, [0.0, 0.2], 2)
        assert "failed 2 of 10 times" in command.table({"my_sums": first})
        second = command.evaluate_model(judged, to)["my_sums"]
        assert (second["greedy"], second["judge_greedy"], second["judge_failures"]) == (0.0, 0.2, 0)
        assert command.evaluate_model(judged, to)["my_sums"] == second
        assert len(server.bodies) == 6
    assert "judge_greedy" not in command.evaluate_model(asked, to)["my_sums"]


def test_the_plan_says_how_much_is_to_be_answered():
    asked = settings.load(["model=small", "evaluation.benchmarks.aime24={}", "evaluation.benchmarks.math500.n=50"])
    assert plan.plan(asked)[1].size == "aime24: 30 questions x 33 answers, math500: 50 questions x 5 answers"
