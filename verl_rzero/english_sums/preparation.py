"""Makes a chat model ready for R-Zero: it learns the two forms of text, and no arithmetic. Loads torch.

The Solver's form it learns from itself: questions are asked with worked examples as earlier turns, and those of its
greedy replies that have the form are kept, right or wrong. No truth is looked at. Then it is trained to give its
own reply without the examples. The Challenger's form it learns from questions of the grammar, which hold no answers. No
question whose numbers are held out is among either.
"""

import contextlib
import copy
import json
import math
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import torch
import torch.nn.functional as F
from transformers import AutoModelForCausalLM, AutoTokenizer

from verl_rzero.english_sums import grammar, measure
from verl_rzero.english_sums.measure import Asked
from verl_rzero.english_sums.replies import Reply, replies
from verl_rzero.rules.prompts import Messages, render

EXAMPLES = (
    ("What is 3 + 5?", r"3 + 5 = 8. \boxed{8}"),
    ("Ann has 9 pens. She loses 3 of them. How many pens does Ann have left?", r"9 - 3 = 6. \boxed{6}"),
    ("Multiply 4 by 2.", r"4 x 2 = 8. \boxed{8}"),
)
ASKED, SHOWN = 48, 48  # questions of each kind: asked of the Solver, and shown to the Challenger
MAX_REPLY_TOKENS = 24
EPOCHS = 1
ROWS_PER_STEP = 8
LEARNING_RATE = 1e-4
WARMUP_STEPS = 5
THREADS = 2
PARTS = 5  # measured, replied, trained, measured, saved
_FORM = re.compile(r"[^\\\n]+\\boxed\{-?[0-9]+\}")

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Row:
    """Token ids: what the model is given, and what it learns to write after it, the end token included."""

    prompt: list[int]
    response: list[int]


def prepare(
    source: Path | str,
    out_dir: Path | str,
    challenger: Messages,
    solver: Asked,
    seed: int,
    progress: Progress,
    measured: tuple[int, int] = (8, 2),
) -> dict[str, Any]:
    """Writes the prepared model to `out_dir`, whole or not at all; `out_dir` must not exist.

    Args:
        source: directory or hub name of a chat model.
        challenger, solver: the prompts that the run will use, as messages.
        progress: called with parts done, parts in all, and a note.
        measured: held-out questions of each kind, and sampled answers to each.

    Returns:
        rows of both roles, seconds of the training, loss, and what the model did before (with the worked examples, as
        there is no form without them) and after (without them): see `measure`. Also in `out_dir`/build.json.
    """
    out_dir = Path(out_dir)
    if out_dir.exists():
        raise FileExistsError(f"{out_dir} exists: remove it, or name another directory")
    tokenizer = AutoTokenizer.from_pretrained(source)
    model = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32)
    n, k = measured
    shown_solver, shown_challenger = with_examples(solver), asked_before(challenger)
    with _threads(THREADS), torch.random.fork_rng():
        writer = in_bfloat16(model)
        progress(0, PARTS, "measuring the model with worked examples")
        before = {
            "solver": measure.solver(writer, tokenizer, shown_solver, n, k, seed),
            "challenger": measure.challenger(writer, tokenizer, shown_challenger, n * k, seed),
        }
        progress(1, PARTS, "writing its own replies")
        rng = Random(f"preparation {seed}")
        torch.manual_seed(seed)
        own = solver_rows(writer, tokenizer, solver, rng)
        rows = own + challenger_rows(tokenizer, challenger, rng)
        progress(2, PARTS, f"training on {len(rows)} texts")
        started = time.monotonic()
        loss = train(model, tokenizer, rows, rng)
        seconds = round(time.monotonic() - started, 1)
        progress(3, PARTS, "measuring what came out")
        writer = in_bfloat16(model)
        after = {
            "solver": measure.solver(writer, tokenizer, solver, n, k, seed),
            "challenger": measure.challenger(writer, tokenizer, challenger, n * k, seed),
        }
    progress(4, PARTS, "saving")
    numbers = {
        "solver_rows": len(own),
        "challenger_rows": len(rows) - len(own),
        "seconds": seconds,
        "loss": loss,
        "before": before,
        "after": after,
    }
    save(model, tokenizer, numbers, out_dir)
    progress(5, PARTS, "")
    return numbers


def in_bfloat16(model: Any) -> Any:
    """A copy that writes: with half of the bytes to read for each token, a processor is up to twice as fast."""
    return copy.deepcopy(model).to(torch.bfloat16)


def with_examples(solver: Asked) -> Asked:
    """The same question after the worked examples, as earlier turns."""

    def asked(question: str) -> Messages:
        *system, user = solver(question)
        turns = [
            turn for shown, reply in EXAMPLES for turn in (solver(shown)[-1], {"role": "assistant", "content": reply})
        ]
        return [*system, *turns, user]

    return asked


def asked_before(challenger: Messages) -> Messages:
    """The Challenger's prompt after the examples' questions, each as an earlier answer to it."""
    *system, user = challenger
    turns = [turn for shown, _ in EXAMPLES for turn in (user, {"role": "assistant", "content": block(shown)})]
    return [*system, *turns, user]


def block(question: str) -> str:
    return f"<question>{question}</question>"


def has_form(reply: Reply) -> bool:
    """One line that ends in one boxed whole number, and then the end token; right or wrong."""
    return reply.ended and reply.tokens <= MAX_REPLY_TOKENS and _FORM.fullmatch(reply.text) is not None


def solver_rows(model: Any, tokenizer: Any, solver: Asked, rng: Random) -> list[Row]:
    """The model's own replies to questions asked with examples, behind the prompts without."""
    questions = _questions(ASKED, rng)
    shown = with_examples(solver)
    prompts = [render(tokenizer, shown(question)) for question in questions]
    given = replies(model, tokenizer, prompts, MAX_REPLY_TOKENS + 1, temperature=0)
    return [
        _row(tokenizer, solver(question), reply.text)
        for question, reply in zip(questions, given, strict=True)
        if has_form(reply)
    ]


def challenger_rows(tokenizer: Any, challenger: Messages, rng: Random) -> list[Row]:
    return [_row(tokenizer, challenger, block(question)) for question in _questions(SHOWN, rng)]


def _questions(of_each: int, rng: Random) -> list[str]:
    return [grammar.draw_held_out(kind, rng, held_out=False) for kind in grammar.KINDS for _ in range(of_each)]


def _row(tokenizer: Any, asked: Messages, response: str) -> Row:
    ids = tokenizer(response, add_special_tokens=False)["input_ids"]
    return Row(render(tokenizer, asked), [*ids, tokenizer.eos_token_id])


def train(model: Any, tokenizer: Any, rows: Sequence[Row], rng: Random) -> float:
    """Trains in place, EPOCHS times over the rows in a new order. Returns the mean loss of the last quarter."""
    steps = EPOCHS * math.ceil(len(rows) / ROWS_PER_STEP)
    optimizer = torch.optim.AdamW(model.parameters(), LEARNING_RATE, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: learning_rate_share(step, steps))
    losses: list[float] = []
    model.train()
    for _ in range(EPOCHS):
        order = rng.sample(rows, len(rows))
        for start in range(0, len(order), ROWS_PER_STEP):
            loss = loss_of(model, tokenizer.pad_token_id, order[start : start + ROWS_PER_STEP])
            model.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
    model.eval()
    last = losses[-max(1, steps // 4) :]
    return sum(last) / len(last)


def loss_of(model: Any, padding: int, rows: Sequence[Row]) -> torch.Tensor:
    """Mean cross-entropy of the responses' tokens, the end included; nothing else is learned."""
    longest = max(len(row.prompt) + len(row.response) for row in rows)
    texts = [[*row.prompt, *row.response] for row in rows]
    ids_BT = torch.tensor([text + [padding] * (longest - len(text)) for text in texts])
    learned_BT = torch.zeros_like(ids_BT, dtype=torch.bool)
    for number, row in enumerate(rows):
        learned_BT[number, len(row.prompt) : len(row.prompt) + len(row.response)] = True
    # No attention mask: with padding on the right, causal attention never shows it to a token that is learned.
    with torch.autocast("cpu", torch.bfloat16):
        hidden_BTH = model.model(input_ids=ids_BT[:, :-1], use_cache=False).last_hidden_state
        logits_LV = model.lm_head(hidden_BTH[learned_BT[:, 1:]])
    return F.cross_entropy(logits_LV.float(), ids_BT[learned_BT])


def learning_rate_share(step: int, steps: int) -> float:
    """Share of the peak learning rate at `step` (from 0): linear warm-up, then linearly down to nothing."""
    return min((step + 1) / WARMUP_STEPS, (steps - step) / steps)


def save(model: Any, tokenizer: Any, numbers: dict[str, Any], out_dir: Path) -> None:
    """Writes a Hugging Face directory with `numbers` as build.json in it; `out_dir` appears when it is complete."""
    partial = out_dir.with_name(out_dir.name + ".partial")
    if partial.exists():
        shutil.rmtree(partial)
    model.save_pretrained(partial)
    tokenizer.save_pretrained(partial)
    (partial / "build.json").write_text(json.dumps(numbers, indent=2) + "\n", encoding="utf-8")
    partial.rename(out_dir)


@contextlib.contextmanager
def _threads(most: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(min(most, len(os.sched_getaffinity(0))))
    try:
        yield
    finally:
        torch.set_num_threads(before)
