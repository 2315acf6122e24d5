"""How a step on a CPU grows with the answers' length and with the vocabulary, here and with TRL (`step_vs_trl.py`).

    pip install --no-deps --target build/trl trl==1.16.0
    python benchmarks/growth.py build/trl [--tokens 32 128 512] [--vocabularies 49152 98304 151936] [--layers 6]

The models have the width of SmolLM2-135M, fewer layers and random weights: answers are as long as they may be.
8 prompts x 8 answers, no KL loss, one optimizer update a step; TRL computes in bfloat16 where this project does. Run it
on a machine that does nothing else.
"""

import argparse
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from verl_rzero.english_sums import source
from verl_rzero.settings import machine

STEP = Path(__file__).with_name("step_vs_trl.py")
SIZES = ["--prompts", "8", "--rollouts", "8", "--steps", "3", "--kl", "0"]
ASK = r"What is {question}? Put the answer in \boxed{}."


def model(directory: Path, vocabulary: int, layers: int) -> Path:
    """A model with random weights and SmolLM2's tokenizer, whose ids are the first of the vocabulary."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    torch.manual_seed(0)
    known = source.smollm2()
    config = AutoConfig.from_pretrained(known, vocab_size=vocabulary, num_hidden_layers=layers)
    AutoModelForCausalLM.from_config(config).save_pretrained(directory)
    AutoTokenizer.from_pretrained(known).save_pretrained(directory)
    return directory


def step(base: Path, trl: str, tokens: int) -> dict[str, float]:
    """Seconds of a step of TRL's and of ours, and of our parts, by the name in step_vs_trl's table."""
    dtype = "bfloat16" if machine.computes_bfloat16() else "float32"
    command = [sys.executable, str(STEP), str(base), trl, *SIZES, "--tokens", str(tokens), "--ask", ASK]
    printed = subprocess.run([*command, "--trl-dtype", dtype], check=True, capture_output=True, text=True).stdout
    return {name: float(seconds) for name, seconds in re.findall(r"^ *(\w+) +([\d.]+) s", printed, re.MULTILINE)}


def row(name: str, seconds: dict[str, float]) -> str:
    ratio = seconds["verl_rzero"] / seconds["TRL"]
    times = [seconds[part] for part in ("TRL", "verl_rzero", "rollout", "update")]
    return f"| {name} | " + " | ".join(f"{time:.1f}" for time in times) + f" | {ratio:.2f} |"


def table(trl: str, sizes: Sequence[tuple[int, int]], layers: int) -> None:
    """A row for each pair of vocabulary and answer tokens."""
    print("| vocabulary, answer tokens | TRL, s a step | here | rollout | update | ratio |\n|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as directory:
        for vocabulary, tokens in sizes:
            base = Path(directory) / str(vocabulary)
            if not base.exists():
                model(base, vocabulary, layers)
            print(row(f"{vocabulary:,}, {tokens}", step(base, trl, tokens)), flush=True)


def main() -> None:
    """Time every size once."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trl", help="directory that holds TRL")
    parser.add_argument("--tokens", type=int, nargs="+", default=[32, 128, 512])
    parser.add_argument("--vocabularies", type=int, nargs="+", default=[49152, 98304, 151936])
    parser.add_argument("--layers", type=int, default=6)
    args = parser.parse_args()
    first = [(args.vocabularies[0], tokens) for tokens in args.tokens]
    table(args.trl, [*first, *((size, args.tokens[0]) for size in args.vocabularies[1:])], args.layers)


if __name__ == "__main__":
    main()
