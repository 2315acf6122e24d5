"""The Solver's reward managers.

On pseudo-labels: 1 if the boxed answer equals the label, else 0 (R-Zero, arXiv 2508.05004, Solver training); a response
that was cut off has no answer, as in votes and benchmarks. With a format weight w, as in the authors' scripts,
(1 - w) x that + w x a format of their own.
"""

import asyncio
from typing import Any

from verl import DataProto
from verl.experimental.reward_loop.reward_manager.base import RewardManagerBase

from verl_rzero.engine.responses import response_text
from verl_rzero.grading.counts import as_columns
from verl_rzero.grading.grader import Grader, Tally
from verl_rzero.rules.answers import last_boxed


class SolverRewardManager(RewardManagerBase):
    """`reward.reward_manager` of the Solver's job. Grading can be stopped at its time limit, so no answer can hang
    the trainer.
    """

    def __init__(self, config: Any, tokenizer: Any, compute_score: Any = None, **_: Any) -> None:
        super().__init__(config, tokenizer, compute_score)
        self.grader = Grader(config.verl_rzero.grading_timeout_s)
        self.format_weight = float(config.verl_rzero.format_weight)

    async def run_single(self, data: DataProto) -> dict[str, Any]:
        """One rollout -> {"reward_score": in [0, 1], "reward_extra_info": {answered, right, grading_...}}."""
        item = data[0]
        text = response_text(self.tokenizer, item)
        answer = last_boxed(text) if item.non_tensor_batch["finished"] else None
        label = item.non_tensor_batch["reward_model"]["ground_truth"]
        tally = Tally(self.grader)
        right = answer is not None and await asyncio.to_thread(tally.same, answer, label)
        w = self.format_weight
        reward = float(right) if w == 0 else (1 - w) * right + w * has_format(text)
        extra = {"answered": float(answer is not None), "right": float(right), **as_columns(tally.counts)}
        return {"reward_score": reward, "reward_extra_info": extra}


class AnswerManager(RewardManagerBase):
    """`reward.reward_manager` of a job whose sampler rewards a group's answers: it only reads the answer."""

    def __init__(self, config: Any, tokenizer: Any, compute_score: Any = None, **_: Any) -> None:
        super().__init__(config, tokenizer, compute_score)

    async def run_single(self, data: DataProto) -> dict[str, Any]:
        """One rollout -> {"reward_score": 0.0, "reward_extra_info": {answer: text or None}}; then the group votes."""
        text = response_text(self.tokenizer, data[0])
        return {"reward_score": 0.0, "reward_extra_info": {"answer": last_boxed(text)}}


class ReplyManager(RewardManagerBase):
    """`reward.reward_manager` of a job whose sampler reads and rewards whole replies."""

    def __init__(self, config: Any, tokenizer: Any, compute_score: Any = None, **_: Any) -> None:
        super().__init__(config, tokenizer, compute_score)

    async def run_single(self, data: DataProto) -> dict[str, Any]:
        """One rollout -> {"reward_score": 0.0, "reward_extra_info": {text}}."""
        return {"reward_score": 0.0, "reward_extra_info": {"text": response_text(self.tokenizer, data[0])}}


def has_format(text: str) -> bool:
    """Whether a reply thinks in <think>...</think> and boxes something after it."""
    closed = text.find("</think>", max(0, text.find("<think>")))
    boxed = text.find("\\boxed{", closed)
    return "<think>" in text and closed >= 0 and boxed >= 0 and text.find("}", boxed) >= 0
