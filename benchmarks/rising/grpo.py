"""verl's GRPO update in plain PyTorch: clipped policy loss, KL loss, token mean, AdamW. One trainer is one stage."""

from collections.abc import Sequence

import torch
from fast_model import Ids, Weights, copied, log_probs

from verl_rzero.settings import Challenger, Solver

EPSILON = 1e-6
MICRO_TOKENS = 4096
DUAL_CLIP, GRADIENT_NORM = 3.0, 1.0  # verl's defaults


def advantages(rewards_B: Sequence[float], group: int) -> torch.Tensor:
    """GRPO's, float32[B]: a reward less its group's mean, over the group's standard deviation."""
    reward_QN = torch.tensor(rewards_B, dtype=torch.float32).view(-1, group)
    return ((reward_QN - reward_QN.mean(1, True)) / (reward_QN.std(1, keepdim=True) + EPSILON)).flatten()


class Trainer:
    """Trains a copy of `start`, held near `reference` by the KL loss."""

    def __init__(self, start: Weights, reference: Weights, job: Challenger | Solver) -> None:
        self.weights, self.reference, self.job = copied(start, trained=True), reference, job
        self.optimizer = torch.optim.AdamW(self.weights.values(), job.lr, weight_decay=job.weight_decay, fused=True)

    def step(self, prompts: Sequence[Ids], responses: Sequence[Ids], advantage_B: torch.Tensor) -> None:
        """One GRPO step: an update for each minibatch, in the order of the rows."""
        size = self.job.minibatch_size * self.job.rollouts
        minibatches = torch.arange(len(prompts)).split(size)
        with torch.no_grad():
            old = [self._of(self.weights, prompts, responses, rows) for rows in minibatches]
            reference = [self._of(self.reference, prompts, responses, rows) for rows in minibatches]
        for rows, *before in zip(minibatches, old, reference, strict=True):
            self._update(prompts, responses, advantage_B, rows, *before)

    def _update(
        self,
        prompts: Sequence[Ids],
        responses: Sequence[Ids],
        advantage_B: torch.Tensor,
        rows: torch.Tensor,
        old: dict[int, torch.Tensor],
        reference: dict[int, torch.Tensor],
    ) -> None:
        tokens = sum(len(responses[i]) for i in rows)
        for micro in _micro_batches(prompts, responses, rows):
            new_BR = log_probs(self.weights, [prompts[i] for i in micro], [responses[i] for i in micro])
            old_BR, reference_BR = (_padded([each[i] for i in micro], new_BR.shape[1]) for each in (old, reference))
            mask_BR = _padded([torch.ones(len(responses[i])) for i in micro], new_BR.shape[1])
            loss_BR = self._policy_loss(new_BR, old_BR, advantage_B[micro, None])
            loss_BR = loss_BR + self.job.kl_weight * _divergence(new_BR, reference_BR)
            ((loss_BR * mask_BR).sum() / tokens).backward()
        torch.nn.utils.clip_grad_norm_(self.weights.values(), GRADIENT_NORM)
        self.optimizer.step()
        self.optimizer.zero_grad()

    def _policy_loss(self, new_BR: torch.Tensor, old_BR: torch.Tensor, advantage_B1: torch.Tensor) -> torch.Tensor:
        ratio_BR = (new_BR - old_BR).clamp(-20, 20).exp()
        clipped_BR = ratio_BR.clamp(1 - self.job.clip_low, 1 + self.job.clip_high)
        loss_BR = torch.maximum(-advantage_B1 * ratio_BR, -advantage_B1 * clipped_BR)
        return torch.where(advantage_B1 < 0, torch.minimum(loss_BR, -advantage_B1 * DUAL_CLIP), loss_BR)

    def _of(
        self, weights: Weights, prompts: Sequence[Ids], responses: Sequence[Ids], rows: torch.Tensor
    ) -> dict[int, torch.Tensor]:
        """Log-probabilities of each row's response."""
        found = {}
        for micro in _micro_batches(prompts, responses, rows):
            log_BR = log_probs(weights, [prompts[i] for i in micro], [responses[i] for i in micro])
            found |= {i: row[: len(responses[i])] for i, row in zip(micro, log_BR, strict=True)}
        return found


def _micro_batches(prompts: Sequence[Ids], responses: Sequence[Ids], rows: torch.Tensor) -> list[list[int]]:
    """Rows of similar length, of at most MICRO_TOKENS in all with their padding."""
    groups: list[list[int]] = [[]]
    for i in sorted(rows.tolist(), key=lambda i: len(prompts[i]) + len(responses[i])):
        if (len(groups[-1]) + 1) * (len(prompts[i]) + len(responses[i])) > MICRO_TOKENS:
            groups.append([])
        groups[-1].append(i)
    return groups


def _padded(rows: Sequence[torch.Tensor], length: int) -> torch.Tensor:
    padded = torch.zeros(len(rows), length)
    for line, row in zip(padded, rows, strict=True):
        line[: len(row)] = row
    return padded


def _divergence(new_BR: torch.Tensor, reference_BR: torch.Tensor) -> torch.Tensor:
    """Schulman's low-variance estimate of KL(policy || reference) (http://joschu.net/blog/kl-approx.html), in verl's
    bounds.
    """
    less_BR = (reference_BR - new_BR).clamp(-20, 20)
    return (less_BR.exp() - less_BR - 1).clamp(-10, 10)
