"""What the preparation of SmolLM2 changes: each kind of question before and after it, more of them than a run asks.

    python benchmarks/smollm2_preparation.py --out prepared --questions 64 --samples 8

Before: with worked examples as earlier turns. After: the prompt alone. The model is written to `--out` as in a run.
"""

import argparse

from verl_rzero import settings
from verl_rzero.english_sums import preparation, source
from verl_rzero.rules.prompts import challenger_messages, solver_messages


def main() -> None:
    """Prepare the model and print what that changed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", required=True)
    parser.add_argument("--source", help="directory or hub name; left out: the package")
    parser.add_argument("--questions", type=int, default=64, help="of each kind")
    parser.add_argument("--samples", type=int, default=8, help="sampled answers to each question")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    prompts = settings.load(["model=smollm2"]).prompts
    numbers = preparation.prepare(
        asked.source or source.smollm2(),
        asked.out,
        challenger_messages(prompts),
        lambda question: solver_messages(prompts, question),
        asked.seed,
        lambda done, total, note: print(f"{done}/{total} {note}", flush=True),
        (asked.questions, asked.samples),
    )
    texts = f"{numbers['solver_rows']} + {numbers['challenger_rows']} texts"
    print(f"{texts}, {numbers['seconds']} s, loss {numbers['loss']:.3f}")
    print("| kind | greedy | sampled | boxed |\n|---|---|---|---|")
    for kind, before in numbers["before"]["solver"].items():
        after = numbers["after"]["solver"][kind]
        print(f"| {kind} | " + " | ".join(f"{before[name]:.2f}, {after[name]:.2f}" for name in before) + " |")
    for when in ("before", "after"):
        print(f"Challenger {when}: {numbers[when]['challenger']}")


if __name__ == "__main__":
    main()
