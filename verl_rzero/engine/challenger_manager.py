"""The Challenger's reward manager: asks the frozen Solver, served by verl as the reward model, for m answers to each
question.

Runs in verl's reward workers, once per rollout and concurrently, so that voting overlaps with generation. It gives the
Solver's agreement; the repetition penalty needs the whole batch, so the trainer makes the reward. A malformed question
costs no Solver call.
"""

import asyncio
import math
import time
from collections.abc import Coroutine
from typing import Any

import aiohttp
from verl import DataProto
from verl.experimental.reward_loop.reward_manager.base import RewardManagerBase

from verl_rzero.base.text import encodable
from verl_rzero.engine.asking import ballots
from verl_rzero.engine.responses import response_text
from verl_rzero.grading.counts import as_columns
from verl_rzero.grading.grader import Grader, GradingCounts, Tally
from verl_rzero.rules.answers import last_boxed, question_block
from verl_rzero.rules.prompts import render, voter_messages
from verl_rzero.rules.voting import vote
from verl_rzero.settings import Prompts

TRIES = 3
PAUSE_S = 2.0
SILENCE_S = 1800.0
"""A question may wait long for its votes, behind those of a whole batch; but not while nobody's votes arrive. A served
model writes its longest reply in minutes, and starting it is over before it is asked.
"""


def asks_the_solver(*_: Any, **__: Any) -> float:
    """verl wants a reward function named beside a generative reward model, though it is the manager that does the
    work.
    """
    raise RuntimeError("the Challenger's reward is computed by ChallengerRewardManager, not by a reward function")


class ChallengerRewardManager(RewardManagerBase):
    """`reward.reward_manager` of the Challenger's job."""

    def __init__(
        self,
        config: Any,
        tokenizer: Any,
        compute_score: Any = None,
        reward_router_address: str | None = None,
        reward_model_tokenizer: Any = None,
    ) -> None:
        super().__init__(config, tokenizer, compute_score)
        ours = config.verl_rzero
        self.url = f"http://{reward_router_address}/v1/completions"
        self.solver_tokenizer = reward_model_tokenizer
        self.prompts = Prompts(**ours.prompts)
        self.needs_box, self.may_refuse = ours.question_box == "always", ours.ill_posed_share is not None
        self.denominator = ours.unanswered
        self.request = {
            "model": config.reward.reward_model.model_path,
            "n": ours.votes,
            "max_tokens": ours.answer_tokens,
            "temperature": ours.sampling.temperature,
            "top_p": ours.sampling.top_p,
            "top_k": ours.sampling.top_k,
        }
        self.grader = Grader(ours.grading_timeout_s)
        self.session: aiohttp.ClientSession | None = None
        self.heard = time.monotonic()  # when votes were last asked for, or arrived

    async def run_single(self, data: DataProto) -> dict[str, Any]:
        """One rollout -> {"reward_score", "reward_extra_info": {question, well_formed, ...}}; agreement is NaN
        where malformed.
        """
        text = response_text(self.tokenizer, data[0])
        question = question_block(text)
        if question is None or (self.needs_box and last_boxed(text) is None):
            return _result("", math.nan, 0.0, GradingCounts())
        answers = ballots(await self._within_limit(self._ask(question)), self.may_refuse)
        tally = Tally(self.grader, patience=len(answers))
        votes = await asyncio.to_thread(vote, answers, tally.same, denominator=self.denominator)
        return _result(question, votes.agreement, votes.answered / len(answers), tally.counts)

    async def _within_limit(self, asking: Coroutine[Any, Any, list[str | None]]) -> list[str | None]:
        """What `asking` returns. Raises RuntimeError when no question of this worker has got votes for SILENCE_S."""
        self.heard = time.monotonic()
        task = asyncio.create_task(asking)
        try:
            while not task.done():
                left_s = self.heard + SILENCE_S - time.monotonic()
                if left_s <= 0:
                    raise RuntimeError(
                        f"the frozen Solver at {self.url} has not answered any question for {SILENCE_S:g} s, so there "
                        "is no reward. Its server hangs, or is far too slow for replies of model.answer_tokens; what "
                        "it last said is in the stage's log. The same command starts the stage anew."
                    )
                await asyncio.wait({task}, timeout=left_s)
        finally:
            task.cancel()
        answers = task.result()
        self.heard = time.monotonic()
        return answers

    async def _ask(self, question: str) -> list[str | None]:
        """m answers of the frozen Solver; None where nothing is boxed, or the reply was cut off.

        Raises:
            RuntimeError: the served Solver could not be reached or failed in several tries, or did not give m replies.
        """
        if self.session is None:
            self.session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None, sock_connect=60))
        ids = render(self.solver_tokenizer, voter_messages(self.prompts, question, self.may_refuse))
        for left in reversed(range(TRIES)):
            try:
                return self._answers(await self._post({**self.request, "prompt": ids}))
            except (aiohttp.ClientError, TimeoutError) as error:
                if not left:
                    raise RuntimeError(
                        f"the frozen Solver at {self.url} gave no votes in {TRIES} tries, so there is no reward: "
                        f"{type(error).__name__}: {error}. Why it failed is in the stage's log, above this."
                    ) from error
                await asyncio.sleep(PAUSE_S)
        raise AssertionError("unreachable")

    async def _post(self, request: dict[str, Any]) -> dict[str, Any]:
        assert self.session is not None
        async with self.session.post(self.url, json=request) as response:
            response.raise_for_status()
            return dict(await response.json())

    def _answers(self, reply: dict[str, Any]) -> list[str | None]:
        """The boxed answers in one reply of the server. Votes that are missing or were broken off are no refusals."""
        choices = reply.get("choices", [])
        ends = [choice["finish_reason"] for choice in choices]
        if len(ends) != self.request["n"] or {*ends} - {"stop", "length"}:
            raise RuntimeError(
                f"the frozen Solver at {self.url} was asked for {self.request['n']} votes and gave {len(ends)}, which "
                f"ended with {sorted({str(end) for end in ends})}, so there is no reward. It said: {str(reply)[:500]}"
            )
        return [
            None if choice["finish_reason"] == "length" else last_boxed(encodable(choice["text"])) for choice in choices
        ]


def _result(question: str, agreement: float, answered: float, counts: GradingCounts) -> dict[str, Any]:
    well_formed = not math.isnan(agreement)
    voted = {"question": question, "well_formed": float(well_formed), "agreement": agreement, "answered": answered}
    extra = {**voted, **as_columns(counts)}
    return {
        "reward_score": agreement if well_formed else 0.0,  # the trainer makes the reward of it
        "reward_extra_info": extra,
    }
