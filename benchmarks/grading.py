"""Our verdicts and math-verify's on the tests' corpus of awkward answers.

    python benchmarks/grading.py            # counts
    python benchmarks/grading.py --list     # and every pair on which one of the two is wrong

math-verify is asked as its users ask it, `verify(parse(\\boxed{a}), parse(\\boxed{b}))`, and in both directions: a pair
counts as equal when either says so. The corpus holds to the conventions that `normal_form` states; where math-verify
has others (a pair in brackets is an interval, a degree sign is dropped) a disagreement is no error of either.
"""

import argparse
import logging
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))


def main() -> None:
    """Grade the corpus both ways and print who is right where."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--list", action="store_true", help="print the pairs on which one of the two is wrong")
    arguments = parser.parse_args()

    from answer_corpus import DIFFERENT, SAME, pairs
    from math_verify import parse, verify

    from verl_rzero.grading.grader import Grader

    logging.disable(logging.WARNING)
    grader = Grader(timeout_s=20.0)

    def theirs(a: str, b: str) -> bool:
        left, right = (parse(f"\\boxed{{{text}}}") for text in (a, b))
        return bool(verify(left, right) or verify(right, left))

    ways = {"ours": grader.same, "math-verify": theirs}
    seconds = dict.fromkeys(ways, 0.0)
    wrong: dict[tuple[str, str], list[str]] = {(way, truth): [] for way in ways for truth in ("equal", "different")}
    for truth, rows in (("equal", pairs(SAME)), ("different", pairs(DIFFERENT))):
        for a, b in rows:
            for way, same in ways.items():
                start = time.perf_counter()
                if same(a, b) != (truth == "equal"):
                    wrong[way, truth].append(f"{ascii(a)[1:-1]}   |   {ascii(b)[1:-1]}")
                seconds[way] += time.perf_counter() - start
    print(f"{len(pairs(SAME))} equal and {len(pairs(DIFFERENT))} different pairs")
    for way in ways:
        print(
            f"{way}: {len(wrong[way, 'equal'])} equal pairs called different, {len(wrong[way, 'different'])} different "
            f"ones called equal, {seconds[way]:.1f} s"
        )
    print(f"ours: {grader.counts().as_dict()}")
    grader.close()
    if arguments.list:
        for (way, truth), rows in wrong.items():
            print(f"\n{way}, truth is {truth}:", *rows, sep="\n  ")


if __name__ == "__main__":
    main()
