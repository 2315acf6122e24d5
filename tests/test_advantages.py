"""Absolute Zero's two ways to normalise within a role and kind of task."""

import numpy as np
import pytest
import torch
from verl.trainer.ppo.core_algos import compute_grpo_outcome_advantage, get_adv_estimator_fn

from verl_rzero.engine.advantages import token_weighted
from verl_rzero.engine.jobs import TOKEN_WEIGHTED

REWARDS = [1.0, 0.0, 1.0, -0.5]
LENGTHS = [1, 3, 2, 2]
GROUPS = np.array(["solve deduction", "solve deduction", "propose deduction", "propose deduction"], dtype=object)


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    """Rewards on the last tokens, and the mask of the responses."""
    rewards, mask = torch.zeros(4, 3), torch.zeros(4, 3)
    for row, (reward, length) in enumerate(zip(REWARDS, LENGTHS, strict=True)):
        rewards[row, length - 1], mask[row, :length] = reward, 1
    return rewards, mask


def test_per_response_each_counts_once():
    """Equation 8: of rewards 1 and 0 the mean is 1/2 and the deviation .7071 (of a sample), so +-.7071, as long as the
    responses may be."""
    rewards, mask = batch()
    advantages, _ = compute_grpo_outcome_advantage(rewards, mask, GROUPS, norm_adv_by_std_in_grpo=True)
    assert advantages[:, 0].tolist() == pytest.approx([0.7071, -0.7071, 0.7071, -0.7071], abs=1e-4)


def test_per_token_longer_responses_count_more():
    """Of the first group's four tokens one has 1 and three 0: mean 1/4, variance 1/4 (of a sample), so 1.5 and -.5. The
    second group's two and two tokens of 1 and -.5: mean .25, variance .75, so +-.8660."""
    rewards, mask = batch()
    advantages, returns = token_weighted(rewards, mask, GROUPS)
    assert advantages[:, 0].tolist() == pytest.approx([1.5, -0.5, 0.8660, -0.8660], abs=1e-4)
    assert torch.equal(advantages == 0, mask == 0)
    assert returns[1].tolist() == [0, 0, 0]
    assert returns[3].tolist() == [-0.5, -0.5, 0]


def test_verl_knows_it():
    assert get_adv_estimator_fn(TOKEN_WEIGHTED) is token_weighted
