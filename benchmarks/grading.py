"""Our verdicts and math-verify's.

    python benchmarks/grading.py            # on pairs that were made for this alone (`answer_pairs`)
    python benchmarks/grading.py --list     # and every pair on which one of the two is wrong
    python benchmarks/grading.py --corpus   # on the tests' corpus, which ours is written against

math-verify is asked as its users ask it, `verify(parse(\\boxed{a}), parse(\\boxed{b}))`, and in both directions: a pair
counts as equal when either says so. The tests' corpus holds to the conventions that `normal_form` states; where
math-verify has others (a pair in brackets is an interval, a degree sign is dropped), no side is wrong.
"""

import argparse
import logging
import resource
import sys
from collections.abc import Callable
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1] / "tests"), str(Path(__file__).parent)]

Row = tuple[str, str, bool, str]


def main() -> None:
    """Grade the pairs each way and print who is right where."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--list", action="store_true", help="print the pairs on which one of the two is wrong")
    parser.add_argument("--corpus", action="store_true", help="the tests' corpus instead")
    parser.add_argument("--seed", type=int, default=0, help="of the pairs that are made")
    arguments = parser.parse_args()

    rows = corpus() if arguments.corpus else made(arguments.seed)
    print(f"{sum(row[2] for row in rows)} equal and {sum(not row[2] for row in rows)} different pairs")
    logging.disable(logging.WARNING)
    grade(rows, arguments.list)


def corpus() -> list[Row]:
    from answer_corpus import DIFFERENT, SAME, pairs

    return [(a, b, text is SAME, "corpus") for text in (SAME, DIFFERENT) for a, b in pairs(text)]


def made(seed: int) -> list[Row]:
    from answer_pairs import pairs

    return [(pair.a, pair.b, pair.equal, pair.family) for pair in pairs(seed)]


def grade(rows: list[Row], listed: bool) -> None:
    """Print how many of the pairs ours and math-verify alone judge rightly, and which not where `listed`."""
    from verl_rzero.grading.grader import Grader

    for way in ("ours", "math-verify"):
        grader = Grader(timeout_s=20.0)
        same = grader.same if way == "ours" else theirs()
        grader.same("|x+1|", "|x+2|")  # a worker has started
        before, cpu_s = grader.counts(), processor_s()
        wrong = [row for row in rows if same(row[0], row[1]) != row[2]]
        grader.close()  # now its worker's seconds count
        cpu_s = processor_s() - cpu_s
        missed, mixed_up = ([row for row in wrong if row[2] is truth] for truth in (True, False))
        asked = grader.counts().by_worker - before.by_worker
        print(
            f"{way}: {100 * (1 - len(wrong) / len(rows)):.1f} % right; {len(missed)} equal pairs called different, "
            f"{len(mixed_up)} different ones called equal; {asked} asked of a worker; {cpu_s:.1f} s of processor time"
        )
        if listed:
            for a, b, equal, family in wrong:
                print(f"    {ascii(a)[1:-1]}   |   {ascii(b)[1:-1]}   {'equal' if equal else 'different'}, {family}")


def theirs() -> Callable[[str, str], bool]:
    from math_verify import parse, verify

    def same(a: str, b: str) -> bool:
        left, right = (parse(f"\\boxed{{{text}}}") for text in (a, b))
        return bool(verify(left, right) or verify(right, left))

    return same


def processor_s() -> float:
    """Of this process and of the workers that have ended."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


if __name__ == "__main__":
    main()
