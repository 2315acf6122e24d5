"""What a tiny model replies to prompts, through Hugging Face's generate. Loads torch."""

from collections.abc import Iterator, Sequence

import torch
from transformers import PreTrainedTokenizerFast, Qwen3ForCausalLM

CHUNK = 20  # prompts that are answered together; cheapest where their lengths are similar


@torch.inference_mode()
def replies(
    model: Qwen3ForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    prompts: Sequence[str],
    tokens: int,
    **sampling: bool | float,
) -> Iterator[list[str]]:
    """Per prompt its replies of at most `tokens` tokens each, in the order of the prompts."""
    for start in range(0, len(prompts), CHUNK):
        chunk = list(prompts[start : start + CHUNK])
        encoded = tokenizer(chunk, padding=True, padding_side="left", return_tensors="pt")
        sequences = model.generate(**encoded, max_new_tokens=tokens, **sampling)
        texts = tokenizer.batch_decode(sequences[:, encoded["input_ids"].shape[1] :], skip_special_tokens=True)
        per_prompt = len(texts) // len(chunk)
        yield from (texts[i : i + per_prompt] for i in range(0, len(texts), per_prompt))
