"""What is made of a step's whole batch: its rewards, where they need the batch, and its numbers.

Each is a function of the batch's rows alone, without an engine; the trainer hands the rows over and stores the rewards.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from verl_rzero.grading.grader import Grader
from verl_rzero.rules.repetition import shares_with_memory
from verl_rzero.rules.reward import less_repetition
from verl_rzero.rules.uncertainty import uncertainty_reward
from verl_rzero.settings import Challenger

Rows = Mapping[str, Sequence[Any]]
"""Columns of a batch, each with one entry for each of its B responses."""


@dataclass(frozen=True)
class Judged:
    """`reward_B` takes the place of the reward managers' rewards, None leaves them; `numbers` are the step's."""

    reward_B: NDArray[np.float64] | None
    numbers: dict[str, float]


class BatchReward(Protocol):
    """Rows of a step to rewards and numbers. `reads` are the columns that it wants, as reward managers name them."""

    reads: tuple[str, ...]

    def __call__(self, rows: Rows, step: int) -> Judged: ...


class MatchesLabel:
    """The Solver on pseudo-labels: its reward manager has rewarded each answer by itself."""

    reads: tuple[str, ...] = ("answered", "right")

    def __call__(self, rows: Rows, step: int) -> Judged:
        numbers = {"answered_share": _mean(rows["answered"]), "label_agreement": _mean(rows["right"])}
        return Judged(None, numbers)


class UncertaintyLessRepetition:
    """The Challenger: uncertainty of the Solver, less how much of the batch resembles the question.

    Args:
        asked: the Challenger's settings.
        seed: the run's, for the random form.
        memory: well-formed questions of earlier rounds that repetition is measured against too.
    """

    reads: tuple[str, ...] = ("question", "agreement", "answered", "well_formed")

    def __init__(self, asked: Challenger, seed: int, memory: Sequence[str] = ()) -> None:
        self.asked, self.seed, self.memory = asked, seed, memory

    def __call__(self, rows: Rows, step: int) -> Judged:
        asked = self.asked
        well_formed_B = np.array(rows["well_formed"], dtype=np.bool_)
        agreement_B = np.array(rows["agreement"], dtype=np.float64)
        valid = np.flatnonzero(well_formed_B)
        share_B, memory_B = self._shares(rows["question"], valid)
        uncertainty_B = np.zeros(len(well_formed_B))
        uncertainty_B[valid] = uncertainty_reward(
            agreement_B[valid],
            asked.uncertainty,
            band=asked.uncertainty_band,
            peak=asked.uncertainty_peak,
            rng=np.random.default_rng([self.seed, step]),
        )
        reward_B = less_repetition(
            uncertainty_B,
            share_B,
            well_formed_B,
            repetition_weight=asked.repetition_weight,
            invalid_reward=asked.invalid_reward,
            floor=asked.floor,
            penalise_invalid=asked.repetition_on_invalid,
            memory_shares_B=memory_B,
        )
        numbers = {
            "uncertainty_mean": _mean(uncertainty_B[valid]),
            "repetition_mean": _mean(share_B[valid]),
            "memory_mean": _mean(memory_B[valid]),
            "agreement_mean": _mean(agreement_B[valid]),
            "answered_share": _mean(np.array(rows["answered"])[valid]),
            "well_formed_share": _mean(well_formed_B),
            "distinct_share": len({rows["question"][i] for i in valid}) / len(well_formed_B),
            "largest_cluster_share": float(share_B[valid].max(initial=0.0)),
        }
        return Judged(reward_B, numbers)

    def _shares(self, questions_B: Sequence[str], valid: NDArray[np.int64]) -> tuple[NDArray, NDArray]:
        """Each text's cluster as a share of the batch, and of the remembered questions.

        Ties between clusters and the direction of BLEU depend on the order of the texts, which is verl's (by length)
        and Ray's (by arrival); here they are sorted, so that equal batches have equal rewards.
        """
        valid = np.array(sorted(valid, key=lambda i: questions_B[i]), dtype=np.int64)
        share_B = np.full(len(questions_B), 1 / len(questions_B))  # a malformed text is a cluster of its own
        memory_B = np.zeros(len(questions_B))
        share_B[valid], memory_B[valid] = shares_with_memory(
            [questions_B[i] for i in valid],
            self.memory,
            self.asked.repetition_threshold,
            tokens=self.asked.repetition_tokens,  # type: ignore[arg-type]
            linkage_method=self.asked.repetition_linkage,  # type: ignore[arg-type]
            batch_size=len(questions_B),  # malformed outputs count too
        )
        return share_B, memory_B


class MatchesOwnMajority:
    """TTRL: the sampler has rewarded each answer by its group's vote. Truth is only read here, for numbers.

    Args:
        truths: the true answer of each question, by its index in the data; None where it isn't known.
        grading_timeout_s: limit for one comparison with a true answer.
    """

    reads: tuple[str, ...] = (
        "index",
        "answer",
        "label",
        "right",
        "agreement",
        "group_answered",
        "distinct",
        "vote_entropy",
    )

    def __init__(self, truths: Sequence[str | None], grading_timeout_s: float) -> None:
        self.truths, self.grader = truths, Grader(grading_timeout_s)

    def __call__(self, rows: Rows, step: int) -> Judged:
        numbers = {
            "agreement_mean": _mean(rows["agreement"]),
            "answered_share": _mean(rows["group_answered"]),
            "distinct_answers": _mean(rows["distinct"]),
            "vote_entropy": _mean(rows["vote_entropy"]),
            **self._against_truth(rows),
        }
        return Judged(None, numbers)

    def _against_truth(self, rows: Rows) -> dict[str, float]:
        """How right labels and rewards are (the paper's appendix E), over the rows whose truth is known.

        `reward_accuracy` is the share of rewards that the true answer would give too; `lucky_reward_accuracy` the same
        where the label is wrong: a wrong answer that isn't the label's earns 0, as it should.
        """
        labels, rewards = [], []
        for index, answer, label, right in zip(
            rows["index"], rows["answer"], rows["label"], rows["right"], strict=True
        ):
            truth = self.truths[int(index)]
            if truth is not None:
                labels.append(bool(label) and self.grader.same(label, truth))
                rewards.append((bool(answer) and self.grader.same(answer, truth)) == bool(right))
        if not labels:
            return {}
        lucky = [fine for fine, label in zip(rewards, labels, strict=True) if not label]
        known = {"label_accuracy": _mean(labels), "reward_accuracy": _mean(rewards)}
        return known | ({"lucky_reward_accuracy": _mean(lucky)} if lucky else {})


def _mean(values: Any) -> float:
    """The mean; 0 of nothing."""
    return float(np.mean(values)) if len(values) else 0.0
