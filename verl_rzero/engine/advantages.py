"""Advantages that verl has not, put into its registry on import."""

from typing import Any

import torch
from verl.trainer.ppo.core_algos import register_adv_est
from verl.utils.torch_functional import masked_whiten

from verl_rzero.engine.jobs import TOKEN_WEIGHTED


@register_adv_est(TOKEN_WEIGHTED)
def token_weighted(
    token_level_rewards: torch.Tensor, response_mask: torch.Tensor, index: Any, config: Any = None, **_: Any
) -> tuple[torch.Tensor, torch.Tensor]:
    """REINFORCE++ within each group, as Absolute Zero's released code: mean and deviation are over tokens, so that a
    longer response counts more. Equation 8 of arXiv 2505.03335 has them over responses, as verl's GRPO.

    Args:
        token_level_rewards: float32[B, T], the reward on one token of each response.
        response_mask: [B, T].
        index: B names of groups.

    Returns:
        advantages and returns, float32[B, T] each.
    """
    returns = token_level_rewards.sum(-1, keepdim=True) * response_mask
    advantages = torch.zeros_like(returns)
    for name in dict.fromkeys(index):
        rows = torch.tensor([each == name for each in index])
        advantages[rows] = masked_whiten(returns[rows], response_mask[rows]) * response_mask[rows]
    return advantages, returns
