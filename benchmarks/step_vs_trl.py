"""One GRPO step on a CPU: this project (verl, Ray, vLLM) beside TRL's GRPOTrainer (Hugging Face generate, 2 threads).

    pip install --no-deps --target build/trl trl==1.16.0
    python benchmarks/step_vs_trl.py <base model> build/trl [--prompts 64] [--rollouts 8] [--tokens 72] [--steps 6]
        [--ask "What is {question}?"] [--trl-dtype float32|bfloat16] [key=value ...]

Both sample from the same model for the same questions, take the same binary reward, keep a reference model for the KL
loss (--kl 0: neither does), and make one optimizer update a step. key=value are settings of ours. TRL has a directory
of its own, because verl looks for an older one where it finds any. The first step is left out on both sides. Run it on
a machine that does nothing else.
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from verl_rzero import settings
from verl_rzero.data import records
from verl_rzero.engine import environment, jobs
from verl_rzero.rules.answers import last_boxed
from verl_rzero.rules.prompts import solver_messages
from verl_rzero.tiny_world import truth

PARTS = ("rollout", "store", "reference", "old_log_prob", "advantage", "update", "weight_sync")


def questions(n: int) -> list[str]:
    rng = random.Random(0)
    return ["+".join(map(str, rng.sample(range(1, 10), rng.randint(3, 8)))) for _ in range(n)]


def asked_for(args: argparse.Namespace) -> settings.Settings:
    """Our settings of the step."""
    words = [
        f"solver.steps={args.steps}",
        f"solver.batch_size={args.prompts}",
        f"solver.minibatch_size={args.prompts}",
        f"solver.rollouts={args.rollouts}",
        f"solver.kl={args.kl}",
        f"model.answer_tokens={args.tokens}",
        "logger=[console]",
        *([f"prompts.solver_user='{args.ask}'"] if args.ask else []),
    ]
    return settings.load([*words, *args.settings])


def ours(args: argparse.Namespace, directory: Path) -> list[dict[str, float]]:
    """Our records of the steps, from a job in a process of its own."""
    asked = asked_for(args)
    rows = [
        records.SolverRow(
            "tiny",
            solver_messages(asked.prompts, question),
            "math",
            {"style": "rule", "ground_truth": str(truth(question))},
            {"index": i, "id": i, "agreement": 0.5},
        )
        for i, question in enumerate(questions(args.prompts))
    ]
    records.write(directory / "train.parquet", rows, records.SolverRow)
    settings.save(asked, directory / "settings.yaml")
    jobs.verl_config(asked, "solver", model=args.model, train_file=directory / "train.parquet", stage_dir=directory)
    command = [sys.executable, __file__, args.model, args.trl, "--job", str(directory)]
    with (directory / "log").open("w") as log:
        subprocess.run(command, env=os.environ | environment.variables(asked), stdout=log, stderr=log, check=True)
    return [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]


def our_job(model: str, directory: Path) -> None:
    from verl_rzero.engine import grpo
    from verl_rzero.engine.batch_rewards import MatchesLabel
    from verl_rzero.engine.samplers import WholeBatch

    asked = settings.read(directory / "settings.yaml")
    train_file = directory / "train.parquet"
    config = jobs.verl_config(asked, "solver", model=model, train_file=train_file, stage_dir=directory)
    grpo.run(config, WholeBatch(asked.solver.rollouts), MatchesLabel())


def trl(args: argparse.Namespace, directory: Path) -> list[float]:
    """Seconds of each of TRL's steps."""
    sys.path.append(args.trl)
    import torch
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
    from trl import GRPOConfig, GRPOTrainer

    torch.set_num_threads(2)
    seconds: list[float] = []

    class Clock(TrainerCallback):
        def on_step_begin(self, *_: Any, **__: Any) -> None:
            self.start = time.perf_counter()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            seconds.append(time.perf_counter() - self.start)

    def reward(completions: list[Any], answer: list[str], **_: Any) -> list[float]:
        texts = [completion[0]["content"] for completion in completions]
        return [float(last_boxed(text) == right) for text, right in zip(texts, answer, strict=True)]

    asked = asked_for(args)
    data = [
        {"prompt": solver_messages(asked.prompts, question), "answer": truth(question)}
        for question in questions(args.prompts)
    ]
    config = GRPOConfig(
        output_dir=str(directory),
        use_cpu=True,
        bf16=args.trl_dtype == "bfloat16",
        per_device_train_batch_size=args.prompts * args.rollouts,
        num_generations=args.rollouts,
        max_completion_length=args.tokens,
        learning_rate=1e-4,
        beta=args.kl,
        max_steps=args.steps,
        save_strategy="no",
        report_to="none",
        gradient_checkpointing=False,
    )
    trainer = GRPOTrainer(
        model=AutoModelForCausalLM.from_pretrained(args.model, dtype=torch.float32),
        processing_class=AutoTokenizer.from_pretrained(args.model),
        reward_funcs=reward,
        args=config,
        train_dataset=Dataset.from_list(data * args.steps),
        callbacks=[Clock()],
    )
    trainer.train()
    return seconds


def main() -> None:
    """Time a step of both and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("trl", help="directory that holds TRL")
    parser.add_argument("--prompts", type=int, default=64)
    parser.add_argument("--rollouts", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=72)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--kl", type=float, default=0.1)
    parser.add_argument("--ask", help="the Solver's prompt, {question} in it")
    parser.add_argument("--trl-dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--only", choices=("trl", "ours"))
    parser.add_argument("--job", type=Path)
    parser.add_argument("settings", nargs="*", metavar="key=value")
    args = parser.parse_intermixed_args()
    if args.job:
        our_job(args.model, args.job)
        return
    print(f"{args.prompts} prompts x {args.rollouts} answers of at most {args.tokens} tokens; median of the steps:")
    if args.only != "ours":
        with tempfile.TemporaryDirectory() as directory:
            plain = statistics.median(trl(args, Path(directory))[1:])
        print(f"TRL        {plain:6.2f} s a step in {args.trl_dtype}", flush=True)
    if args.only != "trl":
        with tempfile.TemporaryDirectory() as directory:
            mine = ours(args, Path(directory))[1:]
        step = statistics.median(row["seconds"] for row in mine)
        ratio = "" if args.only else f", {step / plain:.2f} of TRL's time"
        print(f"verl_rzero {step:6.2f} s a step{ratio}")
        for part in PARTS:
            if f"seconds_{part}" in mine[0]:
                print(f"  {part:<12} {statistics.median(row[f'seconds_{part}'] for row in mine):6.2f} s")


if __name__ == "__main__":
    main()
