"""A prompt once for all of its responses: the packed row of a micro-batch without what stands in it twice.

A group of GRPO has one prompt and many responses; with short responses most tokens of a batch are prompts. Each
response attends to its prompt and to itself as before (`attention.py`), so log-probabilities and gradients stay what
they were, while everything but attention is computed for fewer tokens.
"""

import itertools
import math
from collections.abc import Sequence

import torch
from tensordict import TensorDict
from verl.utils.seqlen_balancing import get_group_balanced_partitions


def without_repeats(micro_batch: TensorDict) -> tuple[torch.Tensor, torch.Tensor]:
    """Which tokens of the packed row are computed, and where each token's values are found then.

    Returns:
        kept, int64[C]: places in the packed row, a prompt's first sequence whole and of the others the response.
        found, int64[T]: of every token in the packed row, the place among the kept ones of itself or its equal.
    """
    starts = micro_batch["input_ids"].offsets().tolist()
    prompts = _rows(micro_batch["prompts"])
    sequences_of: dict[tuple[int, ...], list[int]] = {}
    for number, prompt in enumerate(prompts):
        sequences_of.setdefault(prompt, []).append(number)
    kept: list[int] = []
    found = torch.empty(starts[-1], dtype=torch.int64)
    for prompt, sequences in sequences_of.items():
        stem = torch.arange(len(kept), len(kept) + len(prompt))
        for number in sequences:
            start, end = starts[number], starts[number + 1]
            if number != sequences[0]:
                found[start : start + len(prompt)] = stem
                start += len(prompt)
            found[start:end] = torch.arange(len(kept), len(kept) + end - start)
            kept.extend(range(start, end))
    return torch.tensor(kept), found


def rows_together(data: TensorDict, most_tokens: int) -> int:
    """How many consecutive rows always have one prompt: those stay in one micro-batch. 1 without prompts, or where two
    of these groups have more than `most_tokens` tokens.
    """
    if "prompts" not in data:
        return 1
    tokens = data["input_ids"].offsets().diff()
    of_one_prompt = math.gcd(*(len([*run]) for _, run in itertools.groupby(_rows(data["prompts"]))))
    for rows in range(of_one_prompt, 1, -1):
        if of_one_prompt % rows == 0 and 2 * int(tokens.view(-1, rows).sum(1).max()) <= most_tokens:
            return rows
    return 1


def order_by_prompt(uids: Sequence[str], lengths: Sequence[int], ranks: int) -> list[int]:
    """Row numbers in an order that keeps the rows of a prompt (its uid) together and on one rank, with as even a load
    as that allows. The order as it is where prompts have different numbers of rows or can't be dealt out evenly.
    """
    rows_of: dict[str, list[int]] = {}
    for row, uid in enumerate(uids):
        rows_of.setdefault(uid, []).append(row)
    if len(rows_of) % ranks or len({len(rows) for rows in rows_of.values()}) != 1:
        return list(range(len(uids)))
    order = [row for rows in rows_of.values() for row in rows]
    shares = get_group_balanced_partitions([lengths[row] for row in order], [uids[row] for row in order], ranks)
    return [order[place] for share in shares for place in share]


def _rows(prompts: torch.Tensor) -> list[tuple[int, ...]]:
    return [tuple(row.tolist()) for row in prompts.unbind()]
