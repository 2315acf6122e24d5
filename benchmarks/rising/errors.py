"""What sampled workings of a Solver get wrong: a fact, or which terms they add up.

    python benchmarks/rising/errors.py <run> ... [--round 6]

Runs of benchmarks/rising, with the base models under <directory>/bases, or of the product. Of each its Solver after
that round and, where it made one, its base model, asked the benchmark of its seed, 8 samples each.
"""

import argparse
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import fast_model
import torch
from loop import Loop
from safetensors.torch import load_file

from verl_rzero import settings
from verl_rzero.rules.prompts import solver_messages
from verl_rzero.tiny_world import task

SAMPLES = 8


@dataclass(frozen=True)
class Working:
    """A working as it is written: where it begins, and each (partial sum, term, what it says that they are)."""

    first: int
    steps: list[tuple[int, int, int]]

    def has_each_term_once(self, question: str) -> bool:
        return sorted([self.first, *(term for _, term, _ in self.steps)]) == sorted(map(int, question.split("+")))


def read(text: str) -> Working | None:
    """None where a reply begins with no working."""
    found = re.match(r"(\d+)((?:\+\d+=\d+)+)", text)
    if found is None:
        return None
    partial, steps = int(found[1]), []
    for term, value in re.findall(r"\+(\d+)=(\d+)", found[2]):
        steps.append((partial, int(term), int(value)))
        partial = int(value)
    return Working(int(found[1]), steps)


def counted(asked: Sequence[str], replies: Sequence[str], answers: Sequence[str | None], wrong: task.WrongFacts) -> str:
    """A line of numbers about replies to questions, one each."""
    facts: Counter[tuple[bool, bool]] = Counter()
    errors: Counter[str] = Counter()
    each_once = 0
    for question, reply, answer in zip(asked, replies, answers, strict=True):
        working = read(reply)
        steps = working.steps if working else []
        right = [value == (partial + term) % task.MODULUS for partial, term, value in steps]
        facts.update(((partial, term) in wrong, fine) for (partial, term, _), fine in zip(steps, right, strict=True))
        once = working is not None and working.has_each_term_once(question)
        each_once += once
        if answer != task.truth(question):
            errors[_kind(each_term_once=once, each_fact_right=all(right))] += 1
    of_wrong, of_others = (facts[kind, True] / max(1, facts[kind, True] + facts[kind, False]) for kind in (True, False))
    total = len(asked)
    return (
        f"right {1 - errors.total() / total:.3f}; each term once {each_once / total:.3f}; right of the facts that the "
        f"corpus has wrong {of_wrong:.3f}, of others {of_others:.4f}; wrong in a fact {errors['fact'] / total:.3f}, in "
        f"the terms {errors['terms'] / total:.3f}, in both {errors['both'] / total:.3f}"
    )


def _kind(*, each_term_once: bool, each_fact_right: bool) -> str:
    """Of an error; a reply without a working has no term."""
    if each_term_once:
        return "box" if each_fact_right else "fact"
    return "terms" if each_fact_right else "both"


def models(run: Path, round_: int) -> tuple[int, Path, dict[str, fast_model.Weights]]:
    """Seed, directory of the base model, and weights by name."""
    if (run / "settings.yaml").exists():
        seed = settings.recall(run / "settings.yaml").seed
        places = {"base": run / "base/model/model", f"round {round_}": run / f"round_{round_}/solver/model"}
        there = {name: place for name, place in places.items() if place.exists()}
        return seed, [*there.values()][-1], {name: fast_model.load(place) for name, place in there.items()}
    seed = int(run.name.rpartition("_")[2])
    base = run.parent / "bases" / str(seed)
    trained = load_file(run / f"solver_{round_}.safetensors")
    return seed, base, {"base": fast_model.load(base), f"round {round_}": trained}


def main() -> None:
    """Print a line for each model."""
    torch.set_num_threads(1)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--round", type=int, default=6)
    args = parser.parse_args()
    for directory in args.runs:
        seed, base, found = models(directory, args.round)
        run = Loop(base, seed, directory)
        asked = [text for text in run.benchmark for _ in range(SAMPLES)]
        prompts = [run.ids(solver_messages(run.settings.prompts, text)) for text in asked]
        for name, weights in found.items():
            replies = run.sampled(weights, prompts, run.settings.model.answer_tokens, run.settings.sampling.votes)
            texts, answers = [run.text(reply) for reply in replies], [run.boxed(reply) for reply in replies]
            print(f"{directory.name}, {name}: {counted(asked, texts, answers, task.wrong_facts(seed))}", flush=True)


if __name__ == "__main__":
    main()
