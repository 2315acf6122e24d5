"""Hostile texts in number and at length on every way through a run: what hangs, what breaks, what takes longest.

    python benchmarks/hostile.py                      # 10,000 generated texts, every monster at 1 MB, some at 10 MB
    python benchmarks/hostile.py --texts 500 --length 200000 --longest 1000000 --seed 3

The ways and the texts are those of the tests (`tests/hostile.py`, `tests/hostile_paths.py`); here the engine of
equality and the executor of programs are asked too. Seconds are by the clock, so that a busy machine shows.
"""

import argparse
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from hostile import BOMBS, MONSTERS, texts
from hostile_paths import OF_MANY, OF_ONE
from hypothesis import HealthCheck, Phase, given, seed, settings

from verl_rzero.engine.code_checks import right, validated
from verl_rzero.executor import Executor, Limits
from verl_rzero.grading.grader import Grader
from verl_rzero.rules.answers import last_boxed
from verl_rzero.rules.code_tasks import Proposal, Task
from verl_rzero.watch.web.text import cut

TOGETHER = 32
"""Texts of a vote, a batch, a file."""
TEN_MB = (
    "one line", "newlines", "boxes that never close", "boxes in boxes", "questions that never close", "opening braces",
    "fences that never close", "imports behind marks", "an answer, then blanks", "dressed letters in the box",
    "lone surrogates", "NUL", "scripts", "colours", "nines",
)  # fmt: skip
"""Monsters that are as long as the longest line."""
TOO_LONG = {"literals"}
"""Ways that long texts don't take: literals are refused above a length."""


class Hung(Exception):
    pass


@dataclass
class Way:
    """What happened on one way."""

    name: str
    done: int = 0
    worst_s: float = 0.0
    worst: str = ""
    hung: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)

    def take(self, act: Callable[[Any], object], given: Any, called: str, limit_s: float) -> None:
        begin = time.monotonic()
        try:
            with at_most(limit_s):
                act(given)
        except Hung:
            self.hung.append(called)
        except Exception as error:
            self.broken.append(f"{called}: {error!r:.200}")
        spent_s = time.monotonic() - begin
        self.done += 1
        if spent_s > self.worst_s:
            self.worst_s, self.worst = spent_s, called

    def told(self) -> str:
        counts = f"{self.done:7}  {len(self.hung):5}  {len(self.broken):6}  {self.worst_s:8.3f}"
        return "\n    ".join([f"{self.name:<22} {counts}  {self.worst}", *self.hung[:5], *self.broken[:5]])


@contextmanager
def at_most(limit_s: float) -> Iterator[None]:
    def ring(*_: object) -> None:
        raise Hung

    signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, limit_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def generated(count: int, of: int) -> list[str]:
    found: list[str] = []

    @seed(of)
    @settings(
        max_examples=count, phases=[Phase.generate], database=None, deadline=None, suppress_health_check=[*HealthCheck]
    )
    @given(texts())
    def collect(text: str) -> None:
        found.append(text)

    collect()
    return found[:count]


def shown(text: str) -> str:
    return f"{len(text)} characters, {ascii(text[:50])}"


def short(found: list[str], limit_s: float) -> Iterator[Way]:
    """Each generated text on every way; by the engines, as answers and as programs."""
    for name, act in OF_ONE.items():
        way = Way(name)
        for text in found:
            way.take(act, text, shown(text), limit_s)
        yield way
    parts = [found[first : first + TOGETHER] for first in range(0, len(found), TOGETHER)]
    for name, many in OF_MANY.items():
        way = Way(f"{name} of {TOGETHER}")
        for part in parts:
            way.take(many, part, shown(max(part, key=len)), limit_s)
        yield way
    yield from engines(found, limit_s)


def engines(found: list[str], limit_s: float) -> Iterator[Way]:
    grader, way = Grader(timeout_s=0.3, memory_mb=512), Way("engine of equality")
    answers = [last_boxed(text) or cut(text, 400)[0] for text in found]
    for one, other in zip(answers, [*answers[1:], answers[0]], strict=True):
        way.take(lambda pair: grader.same(*pair), (one, other), shown(one), limit_s)
    grader.close()
    yield way
    print(f"    {grader.counts()}", flush=True)
    way = Way("executor, 64 at once")
    with Executor(Limits(cpu_s=0.5, wall_s=5.0, memory_mb=128), isolation="full") as programs:
        for first in range(0, len(found), 64):
            part = found[first : first + 64]

            def act(part: list[str]) -> None:
                validated([Proposal("deduction", text, (text,)) for text in part], (), programs)
                task = Task("abduction", "def f(a):\n    return a", ("1",), ("1",))
                right([task] * len(part), part, programs)

            way.take(act, part, shown(part[0]), 60 * limit_s)
    yield way


def long(names: Sequence[str], length: int, limit_s: float) -> Iterator[Way]:
    """Monsters at a length on every way that such a text can take."""
    acts = {name: act for name, act in OF_ONE.items() if name not in TOO_LONG}
    acts |= {name: lambda text, many=OF_MANY[name]: many([text]) for name in ("vote", "curation", "files")}
    for name, act in acts.items():
        way = Way(f"{name}, {length / 1e6:g} MB")
        for called in names:
            way.take(act, MONSTERS[called](length), called, limit_s)
        yield way


def main() -> int:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--texts", type=int, default=10_000)
    words.add_argument("--length", type=int, default=1_000_000)
    words.add_argument("--longest", type=int, default=10_000_000)
    words.add_argument("--seed", type=int, default=0)
    words.add_argument(
        "--limit_s", type=float, default=10.0, help="for one text on one way; 6 times that for long ones"
    )
    asked = words.parse_args()
    found = BOMBS + generated(asked.texts, asked.seed)
    print(f"{len(found)} texts, seed {asked.seed}, {len({*found})} of them different")
    print(f"{'way':<22} {'done':>7}  {'hung':>5}  {'broken':>6}  {'worst, s':>8}  by")
    failed = 0
    for ways in (
        short(found, asked.limit_s),
        long([*MONSTERS], asked.length, 6 * asked.limit_s),
        long(TEN_MB, asked.longest, 6 * asked.limit_s),
    ):
        for way in ways:
            print(way.told(), flush=True)
            failed += len(way.hung) + len(way.broken)
    print(f"{failed} hung or broken")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
