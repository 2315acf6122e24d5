"""How a step's trajectories come about: which responses are sampled to each prompt, which are trained on, and when.

A sampler is handed the step's prompts and what samples and scores, and returns what is to be stored. One phase or
several: whatever it awaits in between.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from verl_rzero.grading.counts import GradingCounts, as_columns
from verl_rzero.grading.grader import Grader, Tally
from verl_rzero.rules.own_majority import own_majority
from verl_rzero.rules.prompts import Messages
from verl_rzero.rules.voting import Denominator, vote, vote_by_text

if TYPE_CHECKING:
    from verl_rzero.engine.rollouts import Sample


@dataclass(frozen=True)
class Trajectory:
    """One response, on its way to the store.

    `row` is its prompt's number in the step, `result` the reward manager's {"reward_score", "reward_extra_info"}, None
    where the reward is computed later, by verl's own served reward model. Advantages compare the responses of one
    `group`: by default those of the row.
    """

    row: int
    prompt_ids: list[int]
    sample: "Sample"
    result: dict[str, Any] | None
    group: str | None = None


class Ask(Protocol):
    """Sample n responses to each prompt, and score them; in the order of the prompts.

    `prompts` are messages with the number of the step's row that they stand for; by default every row's own. A sampler
    of several phases writes the prompts of a later one from the responses of the one before.
    """

    async def __call__(self, n: int, prompts: Sequence[tuple[int, Messages]] | None = None) -> list[Trajectory]: ...


class Sampler(Protocol):
    """A step's trajectories, as many to each row as the job's rollout.n says."""

    async def __call__(self, ask: Ask) -> list[Trajectory]: ...

    def state(self) -> dict[str, Any]:
        """What an interrupted training needs to go on, as JSON holds it."""
        ...

    def restore(self, state: dict[str, Any]) -> None: ...


class Stateless:
    """A sampler whose steps don't depend on those before."""

    def state(self) -> dict[str, Any]:
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        pass


class WholeBatch(Stateless):
    """n responses to each prompt, all of them trained on."""

    def __init__(self, n: int) -> None:
        self.n = n

    async def __call__(self, ask: Ask) -> list[Trajectory]:
        return await ask(self.n)


class VotesAndTrains(Stateless):
    """`votes` answers to each prompt make its label, the first `trained_on` are rewarded by it and trained on (TTRL).

    Args:
        by_text: answers vote together only where their text is the same, else where they are equal mathematically.
        denominator: of the agreement.
    """

    def __init__(
        self, votes: int, trained_on: int, by_text: bool, denominator: Denominator, grading_timeout_s: float
    ) -> None:
        self.votes, self.trained_on, self.by_text, self.denominator = votes, trained_on, by_text, denominator
        self.grader = Grader(grading_timeout_s)

    async def __call__(self, ask: Ask) -> list[Trajectory]:
        drawn = await ask(self.votes)
        groups = [drawn[first : first + self.votes] for first in range(0, len(drawn), self.votes)]
        settled = [await asyncio.to_thread(self.settled, group) for group in groups]
        return [trajectory for group in settled for trajectory in group]

    def settled(self, group_N: Sequence[Trajectory]) -> list[Trajectory]:
        """The trajectories of one prompt that are trained on, rewarded by the vote of all."""
        answers_N = [_answer(trajectory) for trajectory in group_N]
        tally = Tally(self.grader, patience=len(answers_N))
        voted = (
            vote_by_text(answers_N, denominator=self.denominator)
            if self.by_text
            else vote(answers_N, tally.same, denominator=self.denominator)
        )
        found = own_majority(voted, self.trained_on)
        of_group = {
            "label": voted.label or "",
            "agreement": voted.agreement,
            "group_answered": voted.answered / len(answers_N),
            "distinct": float(found.distinct),
            "vote_entropy": found.entropy,
        }
        cost = [tally.counts, *[GradingCounts()] * (self.trained_on - 1)]  # the vote's is told once
        chosen = zip(group_N, answers_N, strict=True)
        return [
            replace(trajectory, result=_result(answer, reward, {**of_group, **as_columns(counts)}))
            for (trajectory, answer), reward, counts in zip(
                list(chosen)[: self.trained_on], found.rewards_T, cost, strict=True
            )
        ]


def _result(answer: str | None, reward: float, columns: dict[str, Any]) -> dict[str, Any]:
    own = {"answer": answer or "", "right": reward}
    return {"reward_score": reward, "reward_extra_info": {**own, **columns}}


def _answer(trajectory: Trajectory) -> str | None:
    """What the response boxes; None where it boxes nothing, or was cut off."""
    assert trajectory.result is not None, "the answers' reward manager runs beside the rollout"
    answer: str | None = trajectory.result["reward_extra_info"]["answer"]
    return answer if trajectory.sample.finished else None
