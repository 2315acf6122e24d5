"""Questions and votes from an engine's samples; the engine is a fake that answers from a table."""

import asyncio
from collections.abc import AsyncIterator

from verl_rzero import settings
from verl_rzero.base.progress import Progress
from verl_rzero.data.records import Question
from verl_rzero.engine.asking import question, questions, sample_seed, votes
from verl_rzero.grading.grader import GradingCounts

SETTINGS = settings.load(["candidates=3", "votes=4", "model.build_steps=1"])


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

    async def sample(self, prompts_Q, sampling, seeds_Q) -> AsyncIterator[list[Sample]]:
        self.prompts += ["".join(map(chr, ids)) for ids in prompts_Q]
        self.seeds += seeds_Q
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
    asyncio.run(questions(SETTINGS, engine, "hash", 1, Progress(tmp_path, 3, "question")))
    assert len(engine.prompts) == 3
    assert engine.tokenizer.calls == 1


def test_questions_keep_the_order_of_their_ids_and_malformed_texts(tmp_path):
    engine = Engine(["<question>1+2</question> \\boxed{3}", "nonsense", "<question>4+5</question>"])
    asked = asyncio.run(questions(SETTINGS, engine, "hash", 2, Progress(tmp_path, 3, "question")))
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
    engine = Engine(["\\boxed{3}", "\\boxed{4}", "no answer", "\\boxed{4}"])
    work = votes(SETTINGS, engine, "s", asked, lambda text: "3", Progress(tmp_path, 4, "answer"))
    (voted,), grading = asyncio.run(work)
    assert engine.prompts == ["<|solve|>1+2"] * 4
    # answers 3, 4, none, 4: the majority is 4 with 2 of 4, although the truth is 3; margin (2-1)/4
    assert (voted.id, voted.label, voted.agreement, voted.margin, voted.answered) == (1, "4", 0.5, 0.25, 3)
    assert voted.answers == ["3", "4", None, "4"]
    assert voted.classes == [0, 1, -1, 1]
    assert voted.truth == "3"
    assert grading == GradingCounts(comparisons=1, by_notation=1)  # 4 with the class of 3; the other 4 is known
    assert voted.raws[2] == "no answer"
    assert engine.seeds == [voted.seed + j for j in range(4)]


def test_a_reply_that_was_cut_off_is_unanswered_though_it_holds_a_box(tmp_path):
    engine = Engine(["\\boxed{3} and so ...", "\\boxed{4}", "\\boxed{3} and ...", "\\boxed{4}"])
    asked = [question(1, 1, "<question>1+2</question>", 0, "c")]
    (voted,), _ = asyncio.run(votes(SETTINGS, engine, "s", asked, None, Progress(tmp_path, 4, "answer")))
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
