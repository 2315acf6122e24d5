"""Makes the base model of the code world: trained from scratch on its corpus, saved for Hugging Face. Loads torch."""

import warnings
from pathlib import Path
from random import Random
from typing import Any

from verl_rzero.code_world import corpus, gate
from verl_rzero.code_world.shape import SHAPE
from verl_rzero.code_world.tokenizer import make_tokenizer
from verl_rzero.tiny_world.training import Progress, batches, new_model, one_thread, save, train

STEPS = 2000
TOKENS_PER_STEP = 768  # padding included


def build(out_dir: Path | str, seed: int, steps: int, progress: Progress) -> dict[str, Any]:
    """Trains a base model and writes it to `out_dir`, whole or not at all; `out_dir` must not exist.

    One thread, so that the same seed gives the same weights whatever the machine is doing and however many cores it
    has. Seeds differ in first weights, corpus and confused lines.

    Args:
        progress: called with steps done, steps in all, and a note.

    Returns:
        steps, tokens (learned), seconds (training only), loss, and the numbers of `gate.Gate`; also in
        `out_dir`/build.json. A base that fails the gate is written all the same, and a warning is issued.
    """
    out_dir = Path(out_dir)
    if out_dir.exists():
        raise FileExistsError(f"{out_dir} exists: remove it, or name another directory")
    tokenizer = make_tokenizer()
    with one_thread():
        model = new_model(tokenizer, SHAPE, seed)
        rng = Random(f"corpus {seed}")
        stream = batches(tokenizer, corpus.documents(corpus.confused_lines(seed), rng), rng, TOKENS_PER_STEP)
        numbers = train(model, stream, steps, progress)
        measured = gate.measure(model, tokenizer, seed)
    if not measured.passed:
        warnings.warn(f"the base model is not fit for self-play: {measured}; try another seed", stacklevel=2)
    numbers |= measured.numbers()
    save(model, tokenizer, numbers, out_dir)
    return numbers
