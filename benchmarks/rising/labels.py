"""Where labels of a run are wrong, and what could have told so without the truth.

    python benchmarks/rising/labels.py <directory>/paper_10 ...

A run of benchmarks/rising for each argument, its base model under <directory>/bases. Of each round's questions inside
the paper's band: the share of right labels, apart by what can be known without the truth.
"""

import math
import statistics
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import ideas
import torch
from safetensors.torch import load_file

from verl_rzero.data import records
from verl_rzero.data.records import VotedQuestion
from verl_rzero.rules.voting import vote
from verl_rzero.tiny_world import task

Questions = Sequence[VotedQuestion]
Split = Callable[[Questions], list[str]]
"""Of each question a word for the group it is in."""


def share_of_orders_that_meet(question: str, wrong: task.WrongFacts) -> float | None:
    """Of all orders of a sum's terms, the share in which a right working meets a fact that the corpus has wrong; None
    for a text without a truth.
    """
    if task.truth(question) is None:
        return None
    terms = [int(term) for term in question.split("+")]
    everything = 2 ** len(terms) - 1
    orders = [0] * (everything + 1)  # of each set of terms, those that have met none
    for done in range(1, everything):
        so_far = [term for i, term in enumerate(terms) if done >> i & 1]
        if len(so_far) == 1:
            orders[done] = 1
        for i, term in enumerate(terms):
            if not done >> i & 1 and (sum(so_far) % task.MODULUS, term) not in wrong:
                orders[done | 1 << i] += orders[done]
    return 1 - orders[everything] / math.factorial(len(terms))


def splits(run: ideas.Typical, round_: int) -> dict[str, Split]:
    """What a filter could go by."""

    def other(weights: dict[str, torch.Tensor], turned: bool = False) -> Split:
        def groups(asked: Questions) -> list[str]:
            texts = ["+".join(reversed(item.question.split("+"))) if turned else item.question for item in asked]
            labels = [vote(answers).label for answers in run.answered(weights, texts, 10)]
            return ["same" if label == item.label else "other" for label, item in zip(labels, asked, strict=True)]

        return groups

    wrong = task.wrong_facts(run.seed)

    def met(asked: Questions) -> list[str]:
        shares = [share_of_orders_that_meet(item.question, wrong) for item in asked]
        places = ["inside" if task.in_grammar(item.question) else "outside" for item in asked]
        return [f"{place} {_some(share)}" for place, share in zip(places, shares, strict=True)]

    def least_likely(asked: Questions) -> list[str]:
        shares = run.least_likely([item.question for item in asked])
        return [f"{share // 0.02 * 0.02:.2f}" for share in shares]

    return {
        "agreement": lambda asked: [f"{item.agreement:.1f}" for item in asked],
        "lead": lambda asked: [f"{item.margin:.1f}" for item in asked],
        "answered": lambda asked: ["all" if item.answered == len(item.answers) else "not all" for item in asked],
        "grammar": lambda asked: ["inside" if task.in_grammar(item.question) else "outside" for item in asked],
        "additions": lambda asked: [str(item.question.count("+")) for item in asked],
        "of the grammar or not, and how many orders meet a wrong fact": met,
        "the base's probability of the least likely token, from": least_likely,
        "base's majority": other(run.base),
        "majority one round before": other(run.solvers[max(0, round_ - 2)]),
        "its own, terms the other way round": other(run.solvers[round_ - 1], turned=True),
        "its own, asked again": other(run.solvers[round_ - 1]),
    }


def _some(share: float | None) -> str:
    if share is None:
        return "no truth"
    return "none" if share == 0 else "all" if share == 1 else "under half" if share < 0.5 else "half or more"


def right(asked: Iterable[VotedQuestion]) -> str:
    """Share of right labels, and of how many; a question without a truth has no right label."""
    found = [item.truth is not None and item.label == item.truth for item in asked]
    return f"{statistics.mean(found):.2f} of {len(found)}" if found else "-"


def main(directory: Path) -> None:
    """Print what is known of each round of one run."""
    name, seed = directory.name.rsplit("_", 1)
    run = ideas.Typical(directory.parent / "bases" / seed, int(seed), directory, ["band=[0.25,0.75]"])
    paths = sorted(directory.glob("solver_*.safetensors"), key=lambda path: int(path.stem.removeprefix("solver_")))
    run.judge = run.base
    run.solvers = [run.base, *map(load_file, paths)]
    print(f"## {name}, seed {seed}")
    for round_ in range(1, len(run.solvers)):
        votes = records.read(directory / f"votes_{round_}.parquet", records.VotedQuestion)
        kept = [item for item in votes if 0.25 <= item.agreement <= 0.75]
        print(f"round {round_}: all {right(votes)}, kept {right(kept)}")
        for what, split in splits(run, round_).items():
            groups = split(kept)
            parts = [
                f"{word} {right(item for item, each in zip(kept, groups, strict=True) if each == word)}"
                for word in sorted({*groups})
            ]
            print(f"  {what}: {'; '.join(parts)}", flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    for argument in sys.argv[1:]:
        main(Path(argument))
