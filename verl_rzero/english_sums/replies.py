"""What a model replies to many prompts: Hugging Face's `generate` in batches. Loads torch."""

import copy
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import DynamicCache

CHUNK = 128  # replies that are written together


@dataclass(frozen=True)
class Reply:
    text: str
    tokens: int
    ended: bool


@torch.inference_mode()
def replies(
    model: Any, tokenizer: Any, prompts: Sequence[Sequence[int]], longest: int, temperature: float
) -> list[Reply]:
    """One reply to each prompt (token ids), of at most `longest` tokens. Temperature 0 is greedy.

    What all prompts begin with is read once: worked examples are most of a prompt.
    """
    shared = min(len(os.path.commonprefix([list(prompt) for prompt in prompts])), min(map(len, prompts)) - 1)
    begun = DynamicCache(config=model.config)
    if shared:
        model(input_ids=torch.tensor([prompts[0][:shared]]), past_key_values=begun, use_cache=True, logits_to_keep=1)
    sampling: dict[str, Any] = {"do_sample": False}
    if temperature:
        sampling = {"do_sample": True, "temperature": temperature, "top_k": 0, "top_p": 1.0}
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    found: dict[int, Reply] = {}
    for start in range(0, len(order), CHUNK):
        chunk = order[start : start + CHUNK]
        width = max(len(prompts[i]) for i in chunk)
        ids, mask = [], []
        for i in chunk:
            padding = width - len(prompts[i])
            ids.append([*prompts[i][:shared], *[tokenizer.pad_token_id] * padding, *prompts[i][shared:]])
            mask.append([1] * shared + [0] * padding + [1] * (len(prompts[i]) - shared))
        cache = copy.deepcopy(begun)
        cache.batch_repeat_interleave(len(chunk))
        sequences = model.generate(
            input_ids=torch.tensor(ids),
            attention_mask=torch.tensor(mask),
            past_key_values=cache,
            max_new_tokens=longest,
            **sampling,
        )
        for i, tokens in zip(chunk, sequences[:, width:].tolist(), strict=True):
            found[i] = _reply(tokens, tokenizer)
    return [found[i] for i in range(len(prompts))]


def _reply(tokens: list[int], tokenizer: Any) -> Reply:
    ended = tokenizer.eos_token_id in tokens
    if ended:
        tokens = tokens[: tokens.index(tokenizer.eos_token_id)]
    return Reply(tokenizer.decode(tokens), len(tokens), ended)
