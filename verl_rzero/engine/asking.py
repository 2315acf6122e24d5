"""Questions of the Challenger and votes of the Solver, through engines that are fed with everything at once."""

import asyncio
import os
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from verl_rzero.base.progress import Progress
from verl_rzero.data import anchors
from verl_rzero.data.parts import Parts
from verl_rzero.data.records import Question, VotedQuestion
from verl_rzero.grading.grader import Grader, GradingCounts, Tally
from verl_rzero.rules.answers import is_ill_posed, last_boxed, question_block
from verl_rzero.rules.prompts import challenger_messages, render, voter_messages
from verl_rzero.rules.voting import Denominator, vote
from verl_rzero.settings import SamplingOf, Settings

if TYPE_CHECKING:
    from verl_rzero.engine.engines import Engine

Truth = Callable[[str], str | None]

AT_ONCE = 256
"""Questions whose votes are counted, or wait for it, while others are sampled."""


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
    parts: Parts[Question],
    human: Sequence[anchors.Anchor] = (),
) -> list[Question]:
    """N candidates of the Challenger, well-formed or not, in the order of their ids. Those of an attempt before are
    not asked for again.
    """
    seeds = [sample_seed(settings.seed, "question", round_, i) for i in range(settings.candidates)]
    found = {item.id: item for item in parts.before() if item.id < len(seeds) and item.seed == seeds[item.id]}
    missing = [i for i in range(settings.candidates) if i not in found]
    examples = [tuple(anchors.shown(human, settings.anchors.in_prompt, settings.seed, round_, i)) for i in missing]
    rendered = {each: render(engine.tokenizer, challenger_messages(settings.prompts, each)) for each in {*examples}}
    prompts = [rendered[each] for each in examples]
    sampling = parameters(settings.sampling.questions, settings.model.question_tokens)
    needs_box = settings.question_box != "optional"
    progress.update(len(found))
    try:
        async for ended in engine.sample(prompts, sampling, [seeds[i] for i in missing], settings.sampling.wait_for):
            new = [
                question(number, round_, engine.text(sample), seeds[number], model, needs_box)
                for sample in ended
                for number in [missing[sample.prompt]]
            ]
            parts.add(new)
            found |= {item.id: item for item in new}
            progress.update(len(found))
    finally:
        parts.write()
    return [found[i] for i in range(settings.candidates)]


def question(number: int, round_: int, raw: str, seed: int, model: str, needs_box: bool = False) -> Question:
    """The record of one text of the Challenger. It is well-formed when it holds a question, and where asked for the
    Challenger's own answer.
    """
    asked, claimed = question_block(raw), last_boxed(raw)
    well_formed = asked is not None and (claimed is not None or not needs_box)
    return Question(number, round_, raw, asked, claimed, well_formed, seed, model)


async def votes(
    settings: Settings,
    engine: "Engine",
    model: str,
    asked: Sequence[Question],
    truth: Truth | None,
    progress: Progress,
    parts: Parts[VotedQuestion],
) -> tuple[list[VotedQuestion], GradingCounts]:
    """m replies to each well-formed question, grouped into classes of equal answers while others are still sampled; and
    what the grouping cost. Questions that an attempt before has voted on are not asked again. The whole replies are in
    `parts` alone: `raws` is empty here.
    """
    m, may_refuse = settings.votes_of_dataset, settings.curation.ill_posed_share is not None
    texts = {item.id: item.question for item in asked if item.well_formed and item.question is not None}
    seeds = {item.id: sample_seed(settings.seed, "vote", item.round, item.id) for item in asked}
    found: dict[int, VotedQuestion] = {}
    for item in parts.before():  # as `in_order` does: of several on one question the last counts
        found.pop(item.id, None)
        if item.question == texts.get(item.id) and item.seed == seeds[item.id] and len(item.raws) == m:
            found[item.id] = replace(item, raws=[])
    missing = [item for item in asked if item.id in texts and item.id not in found]
    sampling = parameters(settings.sampling.votes, settings.model.answer_tokens)
    grader, costs = Grader(settings.grading.timeout_s, max_workers=len(os.sched_getaffinity(0))), [GradingCounts()]

    async def vote_on(item: Question, replies: Sequence[Reply]) -> None:
        tally = Tally(grader, patience=m)
        made = await asyncio.to_thread(voted, settings, item, replies, seeds[item.id], model, tally, truth)
        costs.append(tally.counts)
        found[item.id] = replace(made, raws=[])
        parts.add([made])

    answers = answered(
        settings,
        engine,
        [texts[item.id] for item in missing],
        m,
        sampling,
        [seeds[item.id] for item in missing],
        progress,
        may_refuse,
        before=m * len(found),
        wait_for=settings.sampling.wait_for,
    )
    voting: set[asyncio.Task[None]] = set()
    try:
        async for number, replies in answers:
            voting.add(asyncio.create_task(vote_on(missing[number], replies)))
            full = len(voting) >= AT_ONCE
            ended, voting = await asyncio.wait(voting, timeout=None if full else 0, return_when="FIRST_COMPLETED")
            for task in ended:
                task.result()
    finally:  # what is answered is kept also where the engine has died, or a vote couldn't be counted
        try:
            await asyncio.gather(*voting)
        finally:
            parts.write()
            grader.close()
    return [found[number] for number in texts], sum(costs[1:], costs[0])


def voted(
    settings: Settings,
    item: Question,
    replies: Sequence[Reply],
    seed: int,
    model: str,
    tally: Tally,
    truth: Truth | None,
) -> VotedQuestion:
    """The vote on one well-formed question."""
    assert item.question is not None
    may_refuse = settings.curation.ill_posed_share is not None
    denominator: Denominator = "all" if settings.unanswered == "all" else "answered"
    answers = [reply.answer for reply in replies]
    counted = vote(ballots(answers, may_refuse), tally.same, denominator=denominator)
    return VotedQuestion(
        id=item.id,
        round=item.round,
        question=item.question,
        raws=[reply.text for reply in replies],
        answers=answers,
        classes=list(counted.classes),
        label=counted.label,
        agreement=counted.agreement,
        margin=counted.margin,
        answered=counted.answered,
        seed=seed,
        model=model,
        truth=truth(item.question) if truth else None,
    )


def ballots(answers: Sequence[str | None], may_refuse: bool) -> list[str | None]:
    """What is voted on: where a Solver may call the question ill-posed, such an answer is no class of its own."""
    return [None if may_refuse and answer is not None and is_ill_posed(answer) else answer for answer in answers]


async def answered(
    settings: Settings,
    engine: "Engine",
    texts_Q: Sequence[str],
    n: int,
    sampling: dict[str, Any],
    seeds_Q: Sequence[int] | None,
    progress: Progress | None,
    may_refuse: bool = False,
    before: int = 0,
    wait_for: float = 1.0,
) -> AsyncIterator[tuple[int, list[Reply]]]:
    """Each question's place and n replies of the Solver, as soon as all of them are there. The j-th reply to a question
    with seed s is sampled with seed s+j; `before` replies count as given in `progress`. `wait_for`: `rollouts.stream`.
    """
    prompts_Q = [render(engine.tokenizer, voter_messages(settings.prompts, text, may_refuse)) for text in texts_Q]
    requests = [ids for ids in prompts_Q for _ in range(n)]
    seeds = [seed + j for seed in seeds_Q for j in range(n)] if seeds_Q is not None else None
    given: dict[int, dict[int, Reply]] = defaultdict(dict)
    done = before
    if progress is not None:
        progress.update(done)
    async for ended in engine.sample(requests, sampling, seeds, wait_for):
        done += len(ended)
        if progress is not None:
            progress.update(done)
        for sample in ended:
            number, place = divmod(sample.prompt, n)
            given[number][place] = Reply(engine.text(sample), sample.finished)
            if len(given[number]) == n:
                replies = given.pop(number)
                yield number, [replies[j] for j in range(n)]


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
