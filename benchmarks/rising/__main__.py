"""Ideas against the decay of pseudo-labels, on the tiny world, in minutes each.

    python benchmarks/rising <directory> [--ideas paper ...] [--seeds 0 3 4] [--rounds 6] [--at-once 2]
                             [key=value ...]

Runs what is not there yet, one thread each, and prints a table; --table prints it alone. Ideas and their reasons:
ideas.py, docs/keeps_rising.md. A base model is built once for each seed, under <directory>/bases. key=value are
settings of all runs in the directory: take another one for others.
"""

import argparse
import shutil
import statistics
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import ideas
from loop import rounds_of

from verl_rzero.tiny_world import base_model

CHOOSING = [0, 3, 4]
"""Seeds on which ideas are chosen; those of the report are others."""


def base_of(directory: Path, seed: int) -> Path:
    """The base model of a seed, built where it is missing."""
    base = directory / "bases" / str(seed)
    if not base.exists():
        base.parent.mkdir(parents=True, exist_ok=True)
        base_model.build(base, seed, base_model.STEPS, lambda *_: None)
    return base


def one(directory: Path, idea: str, seed: int, rounds: int, overrides: Sequence[str]) -> None:
    """One run in this process, whole or not at all."""
    import torch

    torch.set_num_threads(1)
    part = directory / f"{idea}_{seed}.part"
    shutil.rmtree(part, ignore_errors=True)
    ideas.ALL[idea](base_of(directory, seed), seed, part, overrides).run(rounds)
    part.rename(directory / f"{idea}_{seed}")


def table(directory: Path, names: Sequence[str], seeds: Sequence[int]) -> str:
    """A row for each idea: means over its seeds, each round's sampled accuracy, and the labels of the last."""
    lines = [
        "| idea | seeds | sampled: base, rounds | greedy: best, last | falls by | right labels, of the kept | kept "
        "| answers |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name in names:
        runs = [run for seed in seeds if (run := rounds_of(directory, name, seed))]
        if not runs:
            continue
        length = min(map(len, runs))

        def mean(key: str, at: int, runs: list[list[dict[str, Any]]] = runs) -> float:
            return statistics.mean(run[at].get(key) or 0.0 for run in runs)

        best = statistics.mean(max(line["greedy"] for line in run[:length]) for run in runs)
        falls = max(max(line["greedy"] for line in run[:length]) - run[length - 1]["greedy"] for run in runs)
        answers = statistics.mean(sum(line.get("answers", 0) for line in run[:length]) for run in runs)
        right = " ".join(
            f"{mean('labels_right', at):.2f}/{mean('kept_labels_right', at):.2f}" for at in range(1, length)
        )
        lines.append(
            f"| {name} | {len(runs)} | {' '.join(_short(mean('sampled', at)) for at in range(length))} | "
            f"{_short(best)} {_short(mean('greedy', length - 1))} | {_short(falls)} | {right} | "
            f"{mean('kept_share', length - 1):.2f} | {answers / 1000:.0f}k |"
        )
    return "\n".join(lines)


def _short(value: float) -> str:
    return f"{value:.3f}".removeprefix("0")


def main() -> None:
    """Do what is missing, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--ideas", nargs="+", default=list(ideas.ALL), choices=list(ideas.ALL), metavar="idea")
    parser.add_argument("--seeds", nargs="+", type=int, default=CHOOSING)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--at-once", type=int, default=2)
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    args = parser.parse_intermixed_args()
    if args.one:
        one(args.directory, args.ideas[0], args.seeds[0], args.rounds, args.overrides)
        return
    if not args.table:
        asked = [(idea, seed) for seed in args.seeds for idea in args.ideas]
        missing = [each for each in asked if not rounds_of(args.directory, *each)]
        for seed in args.seeds:
            base_of(args.directory, seed)

        def run(asked: tuple[str, int]) -> None:
            idea, seed = asked
            words = ["--one", "--ideas", idea, "--seeds", str(seed), "--rounds", str(args.rounds), *args.overrides]
            with (args.directory / f"{idea}_{seed}.log").open("w") as log:
                code = subprocess.call([sys.executable, __file__, str(args.directory), *words], stdout=log, stderr=log)
            print(f"{idea}, seed {seed}: exit code {code}", flush=True)

        with ThreadPoolExecutor(args.at_once) as pool:
            list(pool.map(run, missing))
    print(table(args.directory, args.ideas, args.seeds))


if __name__ == "__main__":
    main()
