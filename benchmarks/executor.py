"""Validated programs a second: ours, ours without walls, and the way of the executor released with Absolute Zero.

    python benchmarks/executor.py [--programs 256] [--endless 4] [--released-s 10] [--ours-s 1]

A program is validated when it has run twice and come to one value: here in two processes of different hash seeds, in
the released way twice in one process. The released way, in our words: one worker process, asked for one program after
the other, which executes it in itself under an alarm; the worker is new for each step of 64 programs. `bare` is that
worker's work without any process. All count every program, those without a value too; `right` are those that came out
as they are known to.
"""

import argparse
import os
import random
import signal
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from typing import Any

from verl_rzero.executor import Executor, Failure, Isolation, Limits, Task, arguments

STEP = 64
"""Programs of a step, after which the released way has a new worker."""

VALID = (
    ("def f(a):\n    return sorted(set(a), reverse=True)", "[3, 1, 2, 3]"),
    ("def f(s):\n    return {c: s.count(c) for c in s}", "'mississippi'"),
    ("def f(n):\n    return n if n < 2 else f(n - 1) + f(n - 2)", "15"),
    ("def g(x):\n    return x * x\ndef f(a, b):\n    return [g(x) for x in a if x % b]", "[1, 2, 3, 4], 2"),
    ("from collections import deque\ndef f(graph, start):\n    seen, todo = {start}, deque([start])\n    while todo:\n"
     "        for k in graph.get(todo.popleft(), []):\n            if k not in seen:\n                seen.add(k)\n"
     "                todo.append(k)\n    return sorted(seen)", "{1: [2, 3], 2: [4], 3: [4], 4: []}, 1"),
    ("class Stack:\n    def __init__(self):\n        self.items = []\n    def push(self, x):\n"
     "        self.items.append(x)\n        return self\ndef f(a):\n    s = Stack()\n"
     "    for x in a:\n        s.push(x)\n    return s.items[::-1]", "[1,\n 2,\n 3]"),
    ("import re\ndef f(s):\n    return re.sub(r'(\\d+)', lambda m: str(int(m[1]) * 2), s)", "'a1b22'"),
    ("def f(n):\n    sieve = [True] * n\n    for i in range(2, n):\n        for j in range(2 * i, n, i):\n"
     "            sieve[j] = False\n    return [i for i in range(2, n) if sieve[i]]", "500"),
)  # fmt: skip
OTHER = (
    ("def f(a):\n    return a[10]", "[1]", Failure.RAISED),
    ("def f(a)\n    return a", "1", Failure.SYNTAX),
    ("def f(a):\n    return list(a)", "{'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'}", Failure.NONDETERMINISTIC),
    ("seen = []\ndef f(a):\n    seen.append(a)\n    return len(seen)", "1", None),
)
"""Of 16 programs one is of these. The last is one value for each fresh process."""

ENDLESS = ("def f(a):\n    while True:\n        a += 1", "1", Failure.TIME)


def mix(programs: int, endless: int) -> list[tuple[str, str, Failure | None]]:
    """Programs, inputs and what is to come of them, in a drawn order. No two programs are the same text."""
    rows = [OTHER[k // 16 % len(OTHER)] if k % 16 == 0 else (*VALID[k % len(VALID)], None) for k in range(programs)]
    rows[:endless] = [ENDLESS] * endless
    random.Random(0).shuffle(rows)
    return [(f"# {k}\n{program}", inputs, failure) for k, (program, inputs, failure) in enumerate(rows)]


def in_itself(program: str, inputs: str, seconds: float) -> Failure | None:
    """Twice in one process, under an alarm."""

    def late(*_: Any) -> None:
        raise TimeoutError

    signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        names: dict[str, Any] = {}
        exec(program, names)
        values = [names["f"](*arguments(inputs)) for _ in range(2)]
    except TimeoutError:
        return Failure.TIME
    except SyntaxError:
        return Failure.SYNTAX
    except Exception:
        return Failure.RAISED
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return None if values[0] == values[1] else Failure.NONDETERMINISTIC


def released(rows: list[tuple[str, str, Failure | None]], seconds: float) -> Iterable[tuple[int, Failure | None]]:
    for first in range(0, len(rows), STEP):
        with ProcessPoolExecutor(1) as pool:
            for index, (program, inputs, _) in enumerate(rows[first : first + STEP], first):
                yield index, pool.submit(in_itself, program, inputs, seconds).result()


def bare(rows: list[tuple[str, str, Failure | None]], seconds: float) -> Iterable[tuple[int, Failure | None]]:
    for index, (program, inputs, _) in enumerate(rows):
        yield index, in_itself(program, inputs, seconds)


def ours(
    rows: list[tuple[str, str, Failure | None]], seconds: float, isolation: Isolation, cases: int = 1
) -> Iterable[tuple[int, Failure | None]]:
    with Executor(Limits(cpu_s=seconds), isolation=isolation) as executor:
        list(executor.run_many([Task(*VALID[0], twice=True)] * 20))  # its processes have started
        begin.append(time.perf_counter())
        tasks = (Task(program, (inputs,) * cases, twice=True) for program, inputs, _ in rows)
        for index, result in executor.run_many(tasks):
            yield index, result.failure


begin: list[float] = []


def measure(name: str, rows: list[Any], way: Callable[[], Iterable[tuple[int, Failure | None]]]) -> None:
    begin[:] = [time.perf_counter()]
    right = sum(failure == rows[index][2] for index, failure in way())
    took_s = time.perf_counter() - begin[-1]
    print(f"{name:<34} {len(rows) / took_s:8.0f} programs/s {took_s:8.2f} s   {right}/{len(rows)} right", flush=True)


def main() -> None:
    """Measure each way on one mix of programs, one after the other."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--programs", type=int, default=256)
    parser.add_argument("--endless", type=int, default=4)
    parser.add_argument("--released-s", type=float, default=10.0, help="its time limit; 10 as released")
    parser.add_argument("--ours-s", type=float, default=1.0, help="our limit of processor time; 1 by default")
    words = parser.parse_args()
    rows = mix(words.programs, words.endless)
    print(f"{len(rows)} programs, {words.endless} of them endless; {len(os.sched_getaffinity(0))} cores")
    measure(f"released way, {words.released_s:g} s", rows, lambda: released(rows, words.released_s))
    measure(f"ours, full, {words.ours_s:g} s", rows, lambda: ours(rows, words.ours_s, "full"))
    measure(f"ours, full, {words.ours_s:g} s, 10 inputs each", rows, lambda: ours(rows, words.ours_s, "full", 10))
    measure(f"ours, process, {words.ours_s:g} s", rows, lambda: ours(rows, words.ours_s, "process"))
    measure(f"bare, {words.ours_s:g} s", rows, lambda: bare(rows, words.ours_s))


if __name__ == "__main__":
    main()
