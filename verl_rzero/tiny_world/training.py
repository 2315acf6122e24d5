"""How a tiny base model is made from any world's documents: its batches, its training, its files. Loads torch."""

import contextlib
import json
import math
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

import torch
import torch.nn.functional as F
from transformers import GenerationConfig, PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from verl_rzero.tiny_world.muon import Muon
from verl_rzero.tiny_world.task import Document

POOL = 4096  # documents that are sorted by length together
MATRIX_LEARNING_RATE = 1e-2  # Muon: the matrices inside the layers
LEARNING_RATE = 6e-3  # AdamW: embeddings and norms
LAST_SHARE = 0.02  # of the learning rates, at the last step
WARMUP_STEPS = 50
IGNORE = -100  # cross_entropy's label for positions that are not learned

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Batch:
    """One optimizer step, both int64[documents, longest - 1]: inputs, and the token after each or IGNORE."""

    inputs_DT: torch.Tensor
    labels_DT: torch.Tensor


def new_model(tokenizer: PreTrainedTokenizerFast, shape: Mapping[str, Any], seed: int) -> Qwen3ForCausalLM:
    """An untrained Qwen3 of float32 parameters, whose sizes are `shape`, by the names of a config.json."""
    config = Qwen3Config(
        **shape,
        max_position_embeddings=tokenizer.model_max_length,
        initializer_range=0.05,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
        dtype="float32",
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Qwen3ForCausalLM(config)


def batches(
    tokenizer: PreTrainedTokenizerFast, corpus: Iterator[Document], rng: Random, tokens_per_step: int
) -> Iterator[Batch]:
    """Batches of documents of similar length, at most `tokens_per_step` tokens each, without end as the corpus is."""
    while True:
        pool = list(islice(corpus, POOL))
        prompts = tokenizer([document.prompt for document in pool])["input_ids"]
        responses = tokenizer([document.response + tokenizer.eos_token for document in pool])["input_ids"]
        pairs = sorted(zip(prompts, responses, strict=True), key=lambda pair: len(pair[0]) + len(pair[1]))
        groups: list[list[tuple[list[int], list[int]]]] = [[]]
        for prompt, response in pairs:
            if (len(groups[-1]) + 1) * (len(prompt) + len(response)) > tokens_per_step:
                groups.append([])
            groups[-1].append((prompt, response))
        rng.shuffle(groups)
        yield from (_batch(group, tokenizer.pad_token_id) for group in groups)


def _batch(pairs: list[tuple[list[int], list[int]]], pad_id: int) -> Batch:
    """(prompt, response) token ids of some documents -> one batch; padding stands on the right."""
    longest = max(len(prompt) + len(response) for prompt, response in pairs)
    inputs, labels = [], []
    for prompt, response in pairs:
        padding = longest - len(prompt) - len(response)
        inputs.append((prompt + response)[:-1] + [pad_id] * padding)
        labels.append([IGNORE] * (len(prompt) - 1) + response + [IGNORE] * padding)
    return Batch(torch.tensor(inputs), torch.tensor(labels))


def train(model: Qwen3ForCausalLM, stream: Iterator[Batch], steps: int, progress: Progress) -> dict[str, Any]:
    """Trains in place. Returns steps, tokens (learned), seconds, and the loss averaged over about the last 30 steps."""
    matrices = [weight for weight in model.model.layers.parameters() if weight.ndim == 2]
    others = [weight for weight in model.parameters() if not any(weight is matrix for matrix in matrices)]
    optimizers = [
        Muon(matrices, MATRIX_LEARNING_RATE),
        torch.optim.AdamW(others, LEARNING_RATE, betas=(0.9, 0.98), weight_decay=0.01, fused=True),
    ]
    schedules = [
        torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: learning_rate_share(step, steps))
        for optimizer in optimizers
    ]
    started, tokens, loss_average = time.monotonic(), 0, math.nan
    model.train()
    for step, batch in enumerate(islice(stream, steps), start=1):
        # No attention mask: with padding on the right, causal attention never shows it to a token that is learned.
        logits = model(input_ids=batch.inputs_DT, use_cache=False).logits
        loss = F.cross_entropy(logits.flatten(0, 1), batch.labels_DT.flatten(), ignore_index=IGNORE)
        model.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(others, 1.0)  # Muon's steps have one size whatever the gradient's
        for worker in (*optimizers, *schedules):
            worker.step()
        tokens += int((batch.labels_DT != IGNORE).sum())
        loss_average = loss.item() if step == 1 else 0.97 * loss_average + 0.03 * loss.item()
        if step % 20 == 0 or step == steps:
            progress(step, steps, f"loss {loss_average:.3f}")
    model.eval()
    return {"steps": steps, "tokens": tokens, "seconds": round(time.monotonic() - started, 1), "loss": loss_average}


def learning_rate_share(step: int, steps: int) -> float:
    """Share of the peak learning rate at `step` (from 0): linear warm-up, then a cosine down to LAST_SHARE."""
    cosine = 0.5 * (1 + math.cos(math.pi * step / steps))
    return min(1.0, (step + 1) / WARMUP_STEPS) * (LAST_SHARE + (1 - LAST_SHARE) * cosine)


def save(model: Qwen3ForCausalLM, tokenizer: PreTrainedTokenizerFast, numbers: dict[str, Any], out_dir: Path) -> None:
    """Writes a Hugging Face directory with `numbers` as build.json in it; `out_dir` appears when it is complete."""
    partial = out_dir.with_name(out_dir.name + ".partial")
    if partial.exists():
        shutil.rmtree(partial)
    # Sampling parameters are the loop's business: here only where a reply ends.
    model.generation_config = GenerationConfig(eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id)
    model.save_pretrained(partial)
    tokenizer.save_pretrained(partial)
    (partial / "build.json").write_text(json.dumps(numbers, indent=2) + "\n", encoding="utf-8")
    partial.rename(out_dir)


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
