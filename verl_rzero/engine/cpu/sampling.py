"""The next token of a response on a CPU, at the price of one random number.

vLLM draws an exponential number for each token of the vocabulary, and twice where requests have seeds. With 49,152
tokens that was two fifths of an engine's time where requests had seeds (docs/performance.md).
"""

import torch
from vllm.v1.sample.ops.topk_topp_sampler import TopKTopPSampler, apply_top_k_top_p


def install() -> None:
    """Put it in the place of vLLM's in this process, for engines that are still to come."""
    TopKTopPSampler.forward_cpu = forward_cpu


def draw(logits_BV: torch.Tensor, generators: dict[int, torch.Generator]) -> torch.Tensor:
    """A token of each row's softmax, by the inverse of its cumulative distribution; (B,).

    `generators`: row -> the generator of its number, one number a call; other rows take torch's own.
    """
    number_B1 = torch.rand(len(logits_BV), 1)
    for row, generator in generators.items():
        number_B1[row] = torch.rand((), generator=generator)
    reached_BV = logits_BV.softmax(-1, dtype=torch.float32).cumsum_(-1)
    return torch.searchsorted(reached_BV, number_B1 * reached_BV[:, -1:], right=True).squeeze(1)


def forward_cpu(
    sampler: TopKTopPSampler,
    logits: torch.Tensor,
    generators: dict[int, torch.Generator],
    k: torch.Tensor | None,
    p: torch.Tensor | None,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """vLLM's, with `draw`: a token for each row, and where asked for what it was drawn from."""
    logits = apply_top_k_top_p(logits, k, p)
    returned = None
    if sampler.logprobs_mode == "processed_logits":
        returned = logits
    elif sampler.logprobs_mode == "processed_logprobs":
        returned = logits.log_softmax(dim=-1, dtype=torch.float32)
    return draw(logits, generators), returned
