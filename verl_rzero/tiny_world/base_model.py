"""Makes the base model of the tiny world: trained from scratch on its corpus, saved for Hugging Face. Loads torch."""

import warnings
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

from transformers import PreTrainedTokenizerFast, Qwen3ForCausalLM

from verl_rzero.tiny_world import gate, task, training
from verl_rzero.tiny_world.shape import SHAPE
from verl_rzero.tiny_world.tokenizer import make_tokenizer
from verl_rzero.tiny_world.training import Batch, Progress, one_thread, save, train

STEPS = 1200
TOKENS_PER_STEP = 768  # padding included; with larger steps fewer of them fit into the same time, and less is learned


def build(out_dir: Path | str, seed: int, steps: int, progress: Progress) -> dict[str, Any]:
    """Trains a base model and writes it to `out_dir`, whole or not at all; `out_dir` must not exist.

    One thread: nearly as fast as two on a model of this size, and the same seed gives the same weights whatever the
    machine is doing and however many cores it has. Seeds differ in first weights, corpus and wrong facts.

    Args:
        progress: called with steps done, steps in all, and a note.

    Returns:
        steps, tokens (learned), seconds (training only), loss, greedy, sampled, majority, passed (see `gate.Gate`);
        also in `out_dir`/build.json. A base that fails the gate is written all the same, and a warning is issued.
    """
    out_dir = Path(out_dir)
    if out_dir.exists():
        raise FileExistsError(f"{out_dir} exists: remove it, or name another directory")
    tokenizer = make_tokenizer()
    with one_thread():
        model = make_model(tokenizer, seed)
        stream = batches(tokenizer, task.wrong_facts(seed), Random(f"corpus {seed}"))
        numbers = train(model, stream, steps, progress)
        measured = gate.measure(model, tokenizer, seed)
    if not measured.passed:
        warnings.warn(
            f"the base model is not fit for the loop: {measured}; try another seed or more steps", stacklevel=2
        )
    numbers |= measured.numbers()
    save(model, tokenizer, numbers, out_dir)
    return numbers


def make_model(tokenizer: PreTrainedTokenizerFast, seed: int) -> Qwen3ForCausalLM:
    """An untrained Qwen3 of 0.21M float32 parameters."""
    return training.new_model(tokenizer, SHAPE, seed)


def batches(tokenizer: PreTrainedTokenizerFast, wrong: task.WrongFacts, rng: Random) -> Iterator[Batch]:
    """Batches of documents of similar length, at most TOKENS_PER_STEP tokens each, without end."""
    return training.batches(tokenizer, task.documents(wrong, rng), rng, TOKENS_PER_STEP)
