"""Votes on LLM-like answers: ours against grading each answer with each class, both ways, in a thread with a limit.

    python benchmarks/voting.py                      # 1000 questions with 10 answers each
    python benchmarks/voting.py --questions 8000     # a round's candidates

Both use math-verify; ours only for what notation cannot decide. Seconds are processor seconds, the workers'
included, and cold: a new grader, no verdicts, the start of its worker counted. Memory is the peak of the process and of
its largest worker; `right` counts the questions whose classes are the true ones.
"""

import argparse
import json
import logging
import random
import resource
import subprocess
import sys
import threading
from fractions import Fraction

TIMEOUT_S = 10.0


def integer(rng: random.Random) -> list[list[str]]:
    value = rng.choice([rng.randint(0, 100), rng.randint(-50, 50), rng.randint(1000, 99999)])
    return [[f"{v}", f"{v}.0", f"${v}$", f"{v:,}", f"x = {v}", rf"{v}\text{{ cm}}"] for v in near(rng, value)]


def fraction(rng: random.Random) -> list[list[str]]:
    classes = []
    bottom = rng.choice([2, 4, 5, 8, 10, 20])
    for top in near(rng, rng.randint(1, 30)):
        value = Fraction(top, bottom)
        forms = [rf"\frac{{{value.numerator}}}{{{value.denominator}}}", f"{value.numerator}/{value.denominator}"]
        classes.append([*forms, forms[0].replace(r"\frac", r"\dfrac"), f"{float(value)}", rf"{float(value * 100)}\%"])
    return classes


def surd(rng: random.Random) -> list[list[str]]:
    root = rng.choice([2, 3, 5, 7])
    return [
        [rf"{k}\sqrt{{{root}}}", rf"\sqrt{{{k * k * root}}}", rf"{k} \sqrt {root}", rf"\sqrt{{{root}}} \cdot {k}"]
        for k in near(rng, rng.randint(3, 9))
    ]


def with_pi(rng: random.Random) -> list[list[str]]:
    return [
        [rf"{k}\pi", f"{k}π", rf"\pi \cdot {k}", rf"\frac{{{2 * k}\pi}}{{2}}"] for k in near(rng, rng.randint(2, 30))
    ]


def polynomial(rng: random.Random) -> list[list[str]]:
    return [
        [f"x^2+{k + 1}x+{k}", f"(x+1)(x+{k})", f"(x+{k})(x+1)", f"{k} + {k + 1}x + x^2"]
        for k in near(rng, rng.randint(2, 9))
    ]


def pair(rng: random.Random) -> list[list[str]]:
    return [[f"({k}, {k + 1})", rf"\left({k},{k + 1}\right)", f"({k}.0,{k + 1})"] for k in near(rng, rng.randint(0, 9))]


def roots(rng: random.Random) -> list[list[str]]:
    return [
        [rf"\{{{k}, {-k}\}}", f"{-k}, {k}", rf"\pm {k}", f"x = {k} or x = {-k}"] for k in near(rng, rng.randint(4, 9))
    ]


def word(rng: random.Random) -> list[list[str]]:
    return [
        [w, rf"\text{{{w}}}", w.capitalize()] for w in rng.sample(["yes", "no", "even", "odd", "none", "isosceles"], 5)
    ]


def letter(rng: random.Random) -> list[list[str]]:
    return [[c, f"({c})", rf"\text{{{c}}}", rf"\textbf{{({c})}}"] for c in rng.sample("ABCDE", 5)]


def near(rng: random.Random, value: int) -> list[int]:
    """The value, then four other ones near it."""
    return [value, *rng.sample([value + d for d in (-3, -2, 2, 3, 10, 11)], 4)]


def beyond_algebra(rng: random.Random) -> list[list[str]]:
    kind = rng.randrange(3)
    return [
        (
            [rf"\ln {k * k}", rf"2\ln {k}", rf"2 \ln({k})"],
            [rf"x > {k}", rf"({k}, \infty)", rf"{k} < x"],
            [rf"\frac{{\sqrt[3]{{{8 * k}}}}}{{2}}", rf"\sqrt[3]{{{k}}}"],
        )[kind]
        for k in near(rng, rng.randint(5, 30))
    ]


KINDS = [
    *((integer, 62), (fraction, 13), (surd, 6), (with_pi, 4), (polynomial, 4), (pair, 3), (roots, 3), (word, 2)),
    *((letter, 1), (beyond_algebra, 2)),
]


def questions(count: int, answers: int = 10, seed: int = 0) -> tuple[list[list[str | None]], list[list[int]]]:
    """Answers as a Solver writes them (several notations, 5 % unanswered), and their true classes."""
    rng = random.Random(seed)
    batch, truth = [], []
    for _ in range(count):
        (kind,) = rng.choices([kind for kind, _ in KINDS], [weight for _, weight in KINDS])
        values, right = kind(rng), rng.uniform(0.2, 1.0)
        written: list[str | None] = []
        classes: list[int] = []
        for _ in range(answers):
            value = -1 if rng.random() < 0.05 else 0 if rng.random() < right else rng.randint(1, 4)
            forms = values[value]
            written.append(None if value < 0 else rng.choices(forms, [8, 2, 1, 1, 1, 1][: len(forms)])[0])
            classes.append(value)
        batch.append(written)
        truth.append(numbered(classes))
    return batch, truth


def numbered(classes: list[int]) -> list[int]:
    """Classes numbered by first appearance, -1 for unanswered."""
    number: dict[int, int] = {}
    return [-1 if c < 0 else number.setdefault(c, len(number)) for c in classes]


def ours(batch: list[list[str | None]]) -> list[tuple[int, ...]]:
    from verl_rzero.grading.grader import Grader
    from verl_rzero.rules.voting import vote

    grader = Grader(timeout_s=TIMEOUT_S)
    classes = [vote(answers, grader.same).classes for answers in batch]
    print(grader.counts().as_dict(), file=sys.stderr)
    grader.close()
    return classes


def plain(batch: list[list[str | None]]) -> list[tuple[int, ...]]:
    from math_verify import parse, verify

    def grade(a: str, b: str) -> bool:
        verdict = []

        def work() -> None:
            left, right = (parse(f"\\boxed{{{text}}}", parsing_timeout=None) for text in (a, b))
            verdict.append(verify(left, right, timeout_seconds=None))

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        thread.join(TIMEOUT_S)
        return bool(verdict and verdict[0])

    def classes_of(answers: list[str | None]) -> tuple[int, ...]:
        first: list[str] = []
        classes = []
        for answer in answers:
            if answer is None:
                classes.append(-1)
                continue
            same = (k for k, one in enumerate(first) if one == answer or grade(one, answer) or grade(answer, one))
            found = next(same, len(first))
            if found == len(first):
                first.append(answer)
            classes.append(found)
        return tuple(classes)

    logging.disable(logging.WARNING)
    return [classes_of(answers) for answers in batch]


WAYS = {"ours": ours, "plain": plain}


def processor_seconds() -> float:
    """Of this process and of the children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def measure_here(way: str, count: int) -> None:
    batch, truth = questions(count)
    if way == "plain":
        WAYS[way](batch[:2])  # imports are not what is measured; ours pays for its worker's imports
    start = processor_seconds()
    classes = WAYS[way](batch)
    seconds = processor_seconds() - start
    peak = sum(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) / 1024
    right = sum(list(found) == wanted for found, wanted in zip(classes, truth, strict=True))
    print(json.dumps({"seconds": seconds, "peak_mib": peak, "right": right}))


def measure(way: str, count: int) -> dict:
    command = [sys.executable, __file__, "--here", way, str(count)]
    result: dict = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    return result


def main() -> None:
    """Vote both ways and print seconds and ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--questions", type=int, default=1000)
    parser.add_argument("--here", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.here:
        measure_here(arguments.here[0], int(arguments.here[1]))
        return
    results = {way: measure(way, arguments.questions) for way in WAYS}
    ratio = results["plain"]["seconds"] / results["ours"]["seconds"]
    print(f"{arguments.questions} questions, 10 answers each\n")
    print(f"{'':>6} {'seconds':>8} {'ms/question':>12} {'MiB':>6} {'right':>6}")
    for way, result in results.items():
        per_question = 1000 * result["seconds"] / arguments.questions
        print(
            f"{way:>6} {result['seconds']:>8.2f} {per_question:>12.2f} {result['peak_mib']:>6.0f} {result['right']:>6}"
        )
    print(f"ratio {ratio:.0f}x")


if __name__ == "__main__":
    main()
