"""Questions and votes from an engine's samples; the engine is a fake that answers from a table."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from verl_rzero import settings
from verl_rzero.base import progress
from verl_rzero.base.progress import Progress
from verl_rzero.data import records
from verl_rzero.data.parts import Parts
from verl_rzero.data.records import Question, VotedQuestion
from verl_rzero.engine import asking
from verl_rzero.engine.asking import question, questions, sample_seed, votes
from verl_rzero.grading.grader import GradingCounts
from verl_rzero.rules.voting import vote

SETTINGS = settings.load(["candidates=3", "votes=4", "model.build_steps=1"])


def parts(stage_dir, kind=Question):
    return Parts(stage_dir, kind, "hash")


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
    """Answers the i-th request with the i-th text, the last first and two at a time."""

    tokenizer = Tokens()

    def __init__(self, texts: list[str]) -> None:
        self.texts, self.prompts, self.seeds = texts, [], []
        self.waited_for: list[float] = []

    async def sample(self, prompts_Q, sampling, seeds_Q, wait_for=1.0) -> AsyncIterator[list[Sample]]:
        self.prompts += ["".join(map(chr, ids)) for ids in prompts_Q]
        self.seeds += seeds_Q
        self.waited_for.append(wait_for)
        order = list(range(len(prompts_Q)))[::-1]
        for start in range(0, len(order), 2):
            yield [Sample(i, self.texts[i]) for i in order[start : start + 2]]

    def text(self, sample: Sample) -> str:
        return self.tokenizer.decode(sample.ids, True)


def test_a_prompt_that_many_questions_share_is_rendered_once(tmp_path):
    class Counting(Tokens):
        calls = 0

        def apply_chat_template(self, *args, **kwargs):
            self.calls += 1
            return super().apply_chat_template(*args, **kwargs)

    engine = Engine(["a", "b", "c"])
    engine.tokenizer = Counting()
    asyncio.run(questions(SETTINGS, engine, "hash", 1, Progress(tmp_path, 3, "question"), parts(tmp_path)))
    assert len(engine.prompts) == 3
    assert engine.tokenizer.calls == 1


def test_questions_keep_the_order_of_their_ids_and_malformed_texts(tmp_path):
    engine = Engine(["<question>1+2</question> \\boxed{3}", "nonsense", "<question>4+5</question>"])
    asked = asyncio.run(questions(SETTINGS, engine, "hash", 2, Progress(tmp_path, 3, "question"), parts(tmp_path)))
    assert [(q.id, q.question, q.claimed_answer, q.well_formed) for q in asked] == [
        (0, "1+2", "3", True),
        (1, None, None, False),
        (2, "4+5", None, True),
    ]
    assert {q.round for q in asked} == {2}
    assert asked[1].raw == "nonsense"
    assert engine.prompts == ["<|ask|>"] * 3
    assert engine.seeds == [q.seed for q in asked]
    assert len(set(engine.seeds)) == 3


def test_votes_of_malformed_questions_are_never_asked_and_truth_is_only_noted(tmp_path):
    asked = [question(0, 1, "nonsense", 0, "c"), question(1, 1, "<question>1+2</question>", 0, "c")]
    engine, kept = Engine(["\\boxed{3}", "\\boxed{4}", "no answer", "\\boxed{4}"]), parts(tmp_path, VotedQuestion)
    work = votes(SETTINGS, engine, "s", asked, lambda text: "3", Progress(tmp_path, 4, "answer"), kept)
    (voted,), grading = asyncio.run(work)
    assert engine.prompts == ["<|solve|>1+2"] * 4
    # answers 3, 4, none, 4: the majority is 4 with 2 of 4, although the truth is 3; margin (2-1)/4
    assert (voted.id, voted.label, voted.agreement, voted.margin, voted.answered) == (1, "4", 0.5, 0.25, 3)
    assert voted.answers == ["3", "4", None, "4"]
    assert voted.classes == [0, 1, -1, 1]
    assert voted.truth == "3"
    assert grading == GradingCounts(comparisons=1, by_notation=1)  # 4 with the class of 3; the other 4 is known
    assert next(kept.in_order([1])).raws[2] == "no answer"
    assert engine.seeds == [voted.seed + j for j in range(4)]


def test_a_reply_that_was_cut_off_is_unanswered_though_it_holds_a_box(tmp_path):
    engine = Engine(["\\boxed{3} and so ...", "\\boxed{4}", "\\boxed{3} and ...", "\\boxed{4}"])
    asked = [question(1, 1, "<question>1+2</question>", 0, "c")]
    (voted,), _ = asyncio.run(
        votes(SETTINGS, engine, "s", asked, None, Progress(tmp_path, 4, "answer"), parts(tmp_path, VotedQuestion))
    )
    assert voted.answers == [None, "4", None, "4"]
    assert (voted.label, voted.agreement, voted.answered) == ("4", 0.5, 2)


def test_seeds_depend_on_every_part_and_fit_the_engine():
    seeds = {
        sample_seed(s, what, r, i) for s in (0, 1) for what in ("question", "vote") for r in (1, 2) for i in (0, 1)
    }
    assert len(seeds) == 16
    assert all(0 <= seed < 2**30 for seed in seeds)
    assert sample_seed(0, "vote", 1, 2) == sample_seed(0, "vote", 1, 2)


def test_records_of_questions_round_trip(tmp_path):
    from verl_rzero.data import records

    asked = [question(0, 1, "\x00 <question>\ud800</question>".encode("utf-8", "replace").decode(), 5, "m")]
    records.write(tmp_path / "q.parquet", asked, Question)
    assert records.read(tmp_path / "q.parquet", Question) == asked


class Dies(Engine):
    """Ends with an error after some replies."""

    def __init__(self, texts: list[str], after: int) -> None:
        super().__init__(texts)
        self.left = after

    async def sample(self, prompts_Q, sampling, seeds_Q, wait_for=1.0) -> AsyncIterator[list[Sample]]:
        async for batch in super().sample(prompts_Q, sampling, seeds_Q, wait_for):
            if self.left <= 0:
                raise RuntimeError("the engine died")
            self.left -= len(batch)
            yield batch


def test_questions_of_an_attempt_that_died_are_not_asked_again(tmp_path):
    texts = ["<question>1+2</question>", "nonsense", "<question>4+5</question>"]
    with pytest.raises(RuntimeError, match="died"):
        asyncio.run(questions(SETTINGS, Dies(texts, 2), "hash", 1, Progress(tmp_path, 3, "question"), parts(tmp_path)))
    again = Engine(["<question>other</question>"])
    resumed = asyncio.run(questions(SETTINGS, again, "hash", 1, Progress(tmp_path, 3, "question"), parts(tmp_path)))
    assert [item.raw for item in resumed] == ["<question>other</question>", *texts[1:]]
    whole = Engine(texts)
    (tmp_path / "new").mkdir()
    asked = asyncio.run(
        questions(SETTINGS, whole, "hash", 1, Progress(tmp_path / "new", 3, "question"), parts(tmp_path / "new"))
    )
    assert again.seeds == [asked[0].seed]
    assert resumed[1:] == asked[1:]


def test_votes_of_an_attempt_that_died_are_not_asked_again(tmp_path):
    asked = [question(i, 1, f"<question>{i}+2</question>", 0, "c") for i in range(3)]
    texts = [f"\\boxed{{{i}}}" for i in range(12)]

    def work(engine, asked=asked, of="hash"):
        kept = Parts(tmp_path, VotedQuestion, of)
        slim, _ = asyncio.run(votes(SETTINGS, engine, of, asked, None, Progress(tmp_path, 12, "answer"), kept))
        return list(kept.in_order([item.id for item in slim]))

    with pytest.raises(RuntimeError, match="died"):
        work(Dies(texts, 6))  # all four of the last question, two of the one before
    again = Engine(texts[:8])
    resumed = work(again)
    assert [prompt.removeprefix("<|solve|>") for prompt in again.prompts] == ["0+2"] * 4 + ["1+2"] * 4
    assert [item.id for item in resumed] == [0, 1, 2]
    assert [item.raws for item in resumed] == [texts[:4], texts[4:8], texts[8:]]
    assert progress.read(tmp_path).done == 12

    changed = [replace(asked[0], question="9+9"), *asked[1:]]  # another question of the same number is asked
    third = Engine(texts)
    assert [item.question for item in work(third, changed)] == ["9+9", "1+2", "2+2"]
    assert {prompt.removeprefix("<|solve|>") for prompt in third.prompts} == {"9+9"}
    back = Engine(texts[::-1])  # the first attempt's vote on 0+2 is no longer the last one
    assert [item.raws[0] for item in work(back)][:2] == [texts[::-1][0], texts[4]]
    fourth = Engine(texts)
    work(fourth, of="another model")
    assert len(fourth.prompts) == 12


def test_whole_replies_are_read_back_from_the_parts_in_any_order(tmp_path, monkeypatch):
    monkeypatch.setattr(records, "ROWS", 2)
    asked = [question(i, 1, f"<question>{i}+2</question>", 0, "c") for i in range(5)]
    kept = parts(tmp_path, VotedQuestion)
    texts = [f"\\boxed{{{i}}}" for i in range(20)]
    work = votes(SETTINGS, Engine(texts), "s", asked, None, Progress(tmp_path, 20, "answer"), kept)
    slim, _ = asyncio.run(work)
    assert len([*(tmp_path / "parts/hash").iterdir()]) == 3  # two rows each, before any time has passed
    whole = list(kept.in_order([4, 0, 1, 3, 2]))
    assert [item.id for item in whole] == [4, 0, 1, 3, 2]
    assert sorted((item.id, item.raws) for item in whole) == [(i, texts[4 * i : 4 * i + 4]) for i in range(5)]
    assert [replace(item, raws=[]) for item in kept.in_order([0, 1, 2, 3, 4])] == slim
    again = replace(whole[0], raws=["other"])
    kept.add([again])
    kept.write()
    assert list(kept.in_order([4])) == [again]


def test_sampling_waits_where_counting_is_slower(tmp_path, monkeypatch):
    monkeypatch.setattr(asking, "AT_ONCE", 2)
    ahead = []

    class Watched(Engine):
        async def sample(self, prompts_Q, sampling, seeds_Q, wait_for=1.0):
            for i, given in enumerate(self.texts):
                ahead.append(i // 4 - len(counted))
                yield [Sample(i, given)]

    counted = []

    def slow(*args, **kwargs):
        time.sleep(0.05)
        counted.append(1)
        return vote(*args, **kwargs)

    monkeypatch.setattr(asking, "vote", slow)
    asked = [question(i, 1, f"<question>{i}+2</question>", 0, "c") for i in range(8)]
    work = votes(
        SETTINGS, Watched(["\\boxed{1}"] * 32), "s", asked, None, Progress(tmp_path, 32, "answer"),
        parts(tmp_path, VotedQuestion),
    )  # fmt: skip
    asyncio.run(work)
    assert max(ahead) <= 2
    assert len(counted) == 8


def test_a_failure_of_grading_is_no_silent_loss(tmp_path, monkeypatch):
    def fails(*_, **__):
        raise RuntimeError("math-verify is not installed")

    monkeypatch.setattr("verl_rzero.engine.asking.vote", fails)
    asked = [question(i, 1, f"<question>{i}+2</question>", 0, "c") for i in range(3)]
    kept = parts(tmp_path, VotedQuestion)
    with pytest.raises(RuntimeError, match="math-verify"):
        asyncio.run(votes(SETTINGS, Engine(["1"] * 12), "s", asked, None, Progress(tmp_path, 12, "answer"), kept))


def test_a_datasets_replies_are_waited_for_as_the_settings_say(tmp_path):
    wanted = settings.load(["votes=4", "candidates=3", "model.build_steps=1", "sampling.wait_for=0.75"])
    engine = Engine(["\\boxed{1}"] * 12)
    asyncio.run(questions(wanted, engine, "c", 1, Progress(tmp_path, 3, "question"), parts(tmp_path)))
    asked = [question(i, 1, f"<question>{i}+2</question>", 0, "c") for i in range(3)]
    kept = parts(tmp_path, VotedQuestion)
    asyncio.run(votes(wanted, engine, "s", asked, None, Progress(tmp_path, 12, "answer"), kept))
    assert engine.waited_for == [0.75, 0.75]


def test_votes_are_counted_while_others_are_sampled(tmp_path, monkeypatch):
    """All votes but the last are there before the last replies are."""
    asked = [question(i, 1, f"<question>{i}+2</question>", 0, "c") for i in range(4)]
    seen = []

    class Slow(Engine):
        async def sample(self, prompts_Q, sampling, seeds_Q, wait_for=1.0):
            async for batch in super().sample(prompts_Q, sampling, seeds_Q, wait_for):
                await asyncio.sleep(0.1)
                begin = time.monotonic()
                while batch[-1].prompt == 0 and len(added) < 3 and time.monotonic() < begin + 30:
                    await asyncio.sleep(0.05)
                seen.append(len(added))
                yield batch

    added = []
    kept = parts(tmp_path, VotedQuestion)
    monkeypatch.setattr(kept, "add", added.extend)
    work = votes(SETTINGS, Slow(["\\boxed{1}"] * 16), "s", asked, None, Progress(tmp_path, 16, "answer"), kept)
    asyncio.run(work)
    assert seen[0] == 0
    assert seen[-1] == 3
    assert sorted(item.id for item in added) == [0, 1, 2, 3]


def test_parts_that_were_cut_short_or_are_another_models_count_as_absent(tmp_path):
    first = parts(tmp_path)
    rows = [question(i, 1, "x", 0, "c") for i in range(2)]
    for row in rows:
        first.add([row])
        first.write()
    first.add([rows[0]])  # waits, and is lost with the process
    files = sorted((tmp_path / "parts/hash").iterdir())
    assert len(files) == 2
    files[1].write_bytes(files[1].read_bytes()[:50])
    assert list(parts(tmp_path).before()) == rows[:1]
    parts(tmp_path).add([])
    assert list(parts(tmp_path).before()) == rows[:1]
    assert list(Parts(tmp_path, Question, "a/b").before()) == []
    assert list(parts(tmp_path).before()) == []


def test_parts_are_written_as_time_passes(tmp_path, monkeypatch):
    monkeypatch.setattr("verl_rzero.data.parts.WRITE_EVERY_S", 0.05)
    kept = parts(tmp_path)
    kept.add([question(0, 1, "x", 0, "c")])
    assert list(parts(tmp_path).before()) == []
    time.sleep(0.06)
    kept.add([question(1, 1, "x", 0, "c")])
    assert [item.id for item in list(parts(tmp_path).before())] == [0, 1]
