"""The Challenger's reward manager: asks the frozen Solver, served by verl as the reward model, for m answers to each
question.

Runs in verl's reward workers, once per rollout and concurrently, so that voting overlaps with generation. It gives the
Solver's agreement; the repetition penalty needs the whole batch, so the trainer makes the reward. A malformed question
costs no Solver call.
"""

import asyncio
import math
from typing import Any

import aiohttp
from verl import DataProto
from verl.experimental.reward_loop.reward_manager.base import RewardManagerBase

from verl_rzero.engine.asking import ballots
from verl_rzero.grading.counts import as_columns
from verl_rzero.grading.grader import Grader, GradingCounts, Tally
from verl_rzero.rules.answers import last_boxed, question_block
from verl_rzero.rules.prompts import render, voter_messages
from verl_rzero.rules.voting import vote
from verl_rzero.settings import Prompts

RETRIES = 3


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

    async def run_single(self, data: DataProto) -> dict[str, Any]:
        """One rollout -> {"reward_score", "reward_extra_info": {question, well_formed, ...}}; agreement is NaN
        where malformed.
        """
        item = data[0]
        responses = item.batch["responses"]
        length = int(item.batch["attention_mask"][-responses.shape[-1] :].sum())
        text = self.tokenizer.decode(responses[:length], skip_special_tokens=True)
        question = question_block(text)
        if question is None or (self.needs_box and last_boxed(text) is None):
            return _result("", math.nan, 0.0, GradingCounts())
        answers = ballots(await self._ask(question), self.may_refuse)
        tally = Tally(self.grader)
        votes = await asyncio.to_thread(vote, answers, tally.same, denominator=self.denominator)
        return _result(question, votes.agreement, votes.answered / len(answers), tally.counts)

    async def _ask(self, question: str) -> list[str | None]:
        """m answers of the frozen Solver; None where nothing is boxed, or the reply was cut off.

        Raises:
            aiohttp.ClientError: the served Solver could not be reached in several tries.
        """
        if self.session is None:
            self.session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None))
        ids = render(self.solver_tokenizer, voter_messages(self.prompts, question, self.may_refuse))
        for left in reversed(range(RETRIES)):
            try:
                async with self.session.post(self.url, json={**self.request, "prompt": ids}) as response:
                    response.raise_for_status()
                    choices = (await response.json())["choices"]
                    return [None if c["finish_reason"] == "length" else last_boxed(c["text"]) for c in choices]
            except aiohttp.ClientConnectionError:
                if not left:
                    raise
                await asyncio.sleep(1)
        raise AssertionError("unreachable")


def _result(question: str, agreement: float, answered: float, counts: GradingCounts) -> dict[str, Any]:
    well_formed = not math.isnan(agreement)
    voted = {"question": question, "well_formed": float(well_formed), "agreement": agreement, "answered": answered}
    extra = {**voted, **as_columns(counts)}
    return {
        "reward_score": agreement if well_formed else 0.0,  # the trainer makes the reward of it
        "reward_extra_info": extra,
    }
