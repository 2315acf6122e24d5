"""What wrong labels cost: the base Solver trained on one round's questions, of whose labels a share is wrong.

    python benchmarks/rising/wrong_labels.py <directory>/paper_4 ... [--shares 0 0.25 0.5 0.75 1] [--steps 45]

Of the first round of each run: the questions that were kept, have a truth, and got a wrong answer too. Right labels are
the truth, wrong ones the wrong answer that was given most often. Greedy and sampled accuracy before and after.
"""

import argparse
import dataclasses
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import torch
from loop import Loop

from verl_rzero.data import records
from verl_rzero.data.records import VotedQuestion


def wrong_answer(item: VotedQuestion) -> str | None:
    """The answer other than the truth that was given most often; None where there is none."""
    counts = Counter(answer for answer in item.answers if answer is not None and answer != item.truth)
    return counts.most_common(1)[0][0] if counts else None


def labelled(asked: Sequence[VotedQuestion], share: float, seed: int) -> list[VotedQuestion]:
    """The questions that have a truth and a wrong answer; a share of them, drawn at random, has the latter as label."""
    fit = [item for item in asked if item.truth is not None and wrong_answer(item) is not None]
    wrong = {item.id for item in random.Random(f"wrong {seed}").sample(fit, round(share * len(fit)))}
    return [dataclasses.replace(item, label=wrong_answer(item) if item.id in wrong else item.truth) for item in fit]


def main() -> None:
    """Print a row for each run and share."""
    torch.set_num_threads(1)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--shares", type=float, nargs="+", default=[0, 0.25, 0.5, 0.75, 1])
    parser.add_argument("--steps", type=int, default=45)
    args = parser.parse_args()
    for directory in args.runs:
        seed = int(directory.name.rpartition("_")[2])
        votes = records.read(directory / "votes_1.parquet", VotedQuestion)
        for share in args.shares:
            run = Loop(directory.parent / "bases" / str(seed), seed, directory, [f"solver.steps={args.steps}"])
            rows = labelled(run.curated(votes), share, seed)
            run.solver = run.trained(run.rows(rows))
            found = run.evaluated()
            print(
                f"seed {seed}: {share:4.0%} of {len(rows)} labels wrong: greedy {found['greedy']:.3f}, "
                f"sampled {found['sampled']:.3f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
