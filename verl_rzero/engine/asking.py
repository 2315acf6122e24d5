"""Questions of the Challenger and votes of the Solver, through engines that are fed with everything at once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from verl_rzero.base.progress import Progress
from verl_rzero.data import anchors
from verl_rzero.data.records import Question, VotedQuestion
from verl_rzero.grading.grader import Grader, GradingCounts, Tally
from verl_rzero.rules.answers import is_ill_posed, last_boxed, question_block
from verl_rzero.rules.prompts import challenger_messages, render, voter_messages
from verl_rzero.rules.voting import Denominator, vote
from verl_rzero.settings import SamplingOf, Settings

if TYPE_CHECKING:
    from verl_rzero.engine.engines import Engine

Truth = Callable[[str], str | None]


@dataclass(frozen=True)
class Reply:
    """One reply of the Solver."""

    text: str
    finished: bool  # not cut off at the token limit

    @property
    def answer(self) -> str | None:
        """What is boxed; None where nothing is, or the reply was cut off."""
        return last_boxed(self.text) if self.finished else None


async def questions(
    settings: Settings,
    engine: "Engine",
    model: str,
    round_: int,
    progress: Progress,
    human: Sequence[anchors.Anchor] = (),
) -> list[Question]:
    """N candidates of the Challenger, well-formed or not, in the order of their ids."""
    examples = [
        tuple(anchors.shown(human, settings.anchors.in_prompt, settings.seed, round_, i))
        for i in range(settings.candidates)
    ]
    rendered = {each: render(engine.tokenizer, challenger_messages(settings.prompts, each)) for each in {*examples}}
    prompts = [rendered[each] for each in examples]
    seeds = [sample_seed(settings.seed, "question", round_, i) for i in range(settings.candidates)]
    sampling = parameters(settings.sampling.questions, settings.model.question_tokens)
    texts = [""] * settings.candidates
    done = 0
    async for ended in engine.sample(prompts, sampling, seeds):
        for sample in ended:
            texts[sample.prompt] = engine.text(sample)
        done += len(ended)
        progress.update(done)
    boxed = settings.question_box != "optional"
    return [
        question(i, round_, text, seed, model, boxed) for i, (text, seed) in enumerate(zip(texts, seeds, strict=True))
    ]


def question(number: int, round_: int, raw: str, seed: int, model: str, needs_box: bool = False) -> Question:
    """The record of one text of the Challenger. It is well-formed when it holds a question, and where asked for the
    Challenger's own answer.
    """
    asked, claimed = question_block(raw), last_boxed(raw)
    well_formed = asked is not None and (claimed is not None or not needs_box)
    return Question(number, round_, raw, asked, claimed, well_formed, seed, model)


async def votes(
    settings: Settings, engine: "Engine", model: str, asked: Sequence[Question], truth: Truth | None, progress: Progress
) -> tuple[list[VotedQuestion], GradingCounts]:
    """m replies to each well-formed question, grouped into classes of equal answers; and what the grouping cost."""
    valid = [(item, item.question) for item in asked if item.well_formed and item.question is not None]
    may_refuse, m = settings.curation.ill_posed_share is not None, settings.votes_of_dataset
    seeds = [sample_seed(settings.seed, "vote", item.round, item.id) for item, _ in valid]
    sampling = parameters(settings.sampling.votes, settings.model.answer_tokens)
    texts = [text for _, text in valid]
    replies = await solve(settings, engine, texts, m, sampling, seeds, progress, may_refuse)
    denominator: Denominator = "all" if settings.unanswered == "all" else "answered"
    result = []
    grader, counts = Grader(settings.grading.timeout_s), GradingCounts()
    for (item, text), seed, given in zip(valid, seeds, replies, strict=True):
        answers = [reply.answer for reply in given]
        tally = Tally(grader, patience=m)
        voted = vote(ballots(answers, may_refuse), tally.same, denominator=denominator)
        counts += tally.counts
        known = truth(text) if truth else None
        result.append(
            VotedQuestion(
                id=item.id,
                round=item.round,
                question=text,
                raws=[reply.text for reply in given],
                answers=answers,
                classes=list(voted.classes),
                label=voted.label,
                agreement=voted.agreement,
                margin=voted.margin,
                answered=voted.answered,
                seed=seed,
                model=model,
                truth=known,
            )
        )
    grader.close()
    return result, counts


def ballots(answers: Sequence[str | None], may_refuse: bool) -> list[str | None]:
    """What is voted on: where a Solver may call the question ill-posed, such an answer is no class of its own."""
    return [None if may_refuse and answer is not None and is_ill_posed(answer) else answer for answer in answers]


async def solve(
    settings: Settings,
    engine: "Engine",
    texts_Q: Sequence[str],
    n: int,
    sampling: dict[str, Any],
    seeds_Q: Sequence[int] | None,
    progress: Progress | None,
    may_refuse: bool = False,
) -> list[list[Reply]]:
    """n replies of the Solver to each question; the j-th reply to a question with seed s is sampled with seed s+j."""
    prompts_Q = [render(engine.tokenizer, voter_messages(settings.prompts, text, may_refuse)) for text in texts_Q]
    requests = [ids for ids in prompts_Q for _ in range(n)]
    seeds = [seed + j for seed in seeds_Q for j in range(n)] if seeds_Q else None
    replies: list[list[Reply]] = [[Reply("", False)] * n for _ in texts_Q]
    done = 0
    async for ended in engine.sample(requests, sampling, seeds):
        for sample in ended:
            replies[sample.prompt // n][sample.prompt % n] = Reply(engine.text(sample), sample.finished)
        done += len(ended)
        if progress is not None:
            progress.update(done)
    return replies


def parameters(sampling: SamplingOf, max_tokens: int) -> dict[str, Any]:
    """vLLM's sampling parameters."""
    return {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": sampling.top_k,
        "max_tokens": max_tokens,
    }


def sample_seed(*parts: object) -> int:
    """A seed below 2^30 from the run's seed and what it is for; the same parts always give the same seed."""
    return int.from_bytes(sha256(repr(parts).encode()).digest()[:4], "big") >> 2
