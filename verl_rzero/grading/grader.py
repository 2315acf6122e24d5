"""Mathematical equality of two answers, which can never hang or crash the caller.

Notation alone decides the common cases (`normal_form`). The rest is asked of math-verify in worker processes
(`process`) that end at a limit of processor time or memory and are replaced. Only what a worker said is remembered:
at a limit two answers are not equal this time. `same_answer` blocks; call it from a thread in asynchronous code.
"""

import os
import threading
import time
import weakref
from collections import OrderedDict
from dataclasses import dataclass

from verl_rzero.grading.counts import GradingCounts
from verl_rzero.grading.equality import equal
from verl_rzero.grading.normal_form import normal_form, parse
from verl_rzero.grading.process import Died, OutOfMemory, OutOfTime, Verdict, Worker

__all__ = ["Grader", "GradingCounts", "Tally", "normal_form", "same_answer"]

WALL_PER_CPU = 20.0
"""Of the limit of processor time: after so many times that by the clock a worker is killed, as it hangs (or the machine
gives it less than a twentieth of a core)."""


def same_answer(a: str, b: str) -> bool:
    """Whether two answers are mathematically equal, by a default `Grader` of this process."""
    return _default_grader().same(a, b)


class Grader:
    """Compares answers; thread-safe, cheap to make (workers start with the first symbolic question), fork-safe.

    Args:
        timeout_s: processor time for one call of `same`, without the start of a worker: a busy machine takes longer and
            says the same. A pair that exceeds it is not equal. Verdicts given before are charged what they cost then.
        memory_mb: memory that a worker may use beyond its start.
        max_workers: workers at the same time, so that a stuck pair does not hold up other threads.
        cache_size: verdicts kept, least recently used ones go first.
    """

    def __init__(
        self, timeout_s: float = 5.0, *, memory_mb: int = 1024, max_workers: int = 2, cache_size: int = 65_536
    ) -> None:
        if timeout_s <= 0 or memory_mb < 1 or max_workers < 1 or cache_size < 0:
            raise ValueError("a Grader needs timeout_s > 0, memory_mb >= 1, max_workers >= 1 and cache_size >= 0")
        self.timeout_s, self.memory_mb, self.max_workers, self.cache_size = (
            timeout_s,
            memory_mb,
            max_workers,
            cache_size,
        )
        self._totals = GradingCounts()
        self._verdicts: OrderedDict[tuple[str, str], Verdict] = OrderedDict()
        self._reset()

    def same(self, a: str, b: str) -> bool:
        """Whether two answers are mathematically equal.

        Raises:
            RuntimeError: the workers cannot start (math-verify is not installed); never because of an answer.
        """
        return self.compare(a, b)[0]

    def compare(self, a: str, b: str) -> tuple[bool, GradingCounts]:
        """The verdict of `same` and what this comparison cost.

        Raises:
            RuntimeError: as `same`.
        """
        if os.getpid() != self._pid:  # forked: the workers and the lock belong to the parent
            self._reset()
        call = _Call(self.timeout_s, time.monotonic() + WALL_PER_CPU * self.timeout_s)
        verdict = a == b or equal(parse(a), parse(b), lambda left, right: self._ask(left, right, call))
        counts = call.counts()
        with self._lock:
            self._totals += counts
        return verdict, counts

    def counts(self) -> GradingCounts:
        """What all comparisons so far cost."""
        return self._totals

    def close(self) -> None:
        """End the workers. The grader may be used again."""
        self._finalizer()
        self._reset()

    def _reset(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.Condition()
        self._idle: list[Worker] = []
        self._busy = 0
        self._finalizer = weakref.finalize(self, _close_all, self._idle, self._pid)

    def _ask(self, left: str, right: str, call: "_Call") -> bool:
        call.timed_out |= call.cpu_left_s <= 0
        if call.timed_out:
            return False
        pair = (left, right) if left <= right else (right, left)
        with self._lock:
            verdict = self._verdicts.get(pair)
            if verdict is not None:
                call.cached += 1
                self._verdicts.move_to_end(pair)
        if verdict is None:
            call.asked += 1
            verdict = self._ask_worker(pair, call) or self._ask_worker(pair, call, fresh=True)
            if verdict is None:
                return False
            with self._lock:
                self._verdicts[pair] = verdict
                while len(self._verdicts) > self.cache_size:
                    self._verdicts.popitem(last=False)
        call.cpu_left_s -= verdict.cpu_s
        call.errors += verdict.error
        return verdict.same

    def _ask_worker(self, pair: tuple[str, str], call: "_Call", *, fresh: bool = False) -> Verdict | None:
        """What a worker says; None where it came to a limit or died. Out of time nobody is asked."""
        if call.timed_out:
            return None
        before = time.monotonic()
        worker = self._take_worker(fresh)
        call.deadline += time.monotonic() - before
        healthy = False
        try:
            verdict = worker.ask(pair, call.cpu_left_s, call.deadline)
            healthy = True
            return verdict
        except OutOfTime:
            call.timed_out = True
            call.killed_time += 1
        except OutOfMemory:
            call.killed_memory += 1
        except Died:
            call.died += 1
        finally:
            self._give_back(worker, healthy)
        return None

    def _take_worker(self, fresh: bool) -> Worker:
        """A worker, idle or new; a fresh one has answered nothing: what others left in its memory can't matter."""
        with self._lock:
            while not self._idle and self._busy >= self.max_workers:
                self._lock.wait()
            self._busy += 1
            worker = self._idle.pop() if self._idle else None
        if worker is not None and worker.alive() and not fresh:
            return worker
        try:
            if worker is not None:
                worker.kill()
            return Worker(self.memory_mb)
        except BaseException:
            with self._lock:
                self._busy -= 1
                self._lock.notify()
            raise

    def _give_back(self, worker: Worker, healthy: bool) -> None:
        if not healthy:
            worker.kill()
        with self._lock:
            self._busy -= 1
            if healthy:
                self._idle.append(worker)
            self._lock.notify()


class Tally:
    """One caller's comparisons by a `Grader` that it may share with others, and what they cost. For one thread.

    Args:
        patience: after so many comparisons at the time limit only notation decides, and what it can't is one more of
            them. Of m answers that are all too much for the engine a vote would else wait for m (m - 1) / 2 limits.
    """

    def __init__(self, grader: Grader, patience: int | None = None) -> None:
        self.grader, self.patience, self.counts = grader, patience, GradingCounts()

    def same(self, a: str, b: str) -> bool:
        """As `Grader.same`."""
        out_of_patience = self.patience is not None and self.counts.timeouts >= self.patience
        verdict, counts = _by_notation(a, b) if out_of_patience else self.grader.compare(a, b)
        self.counts += counts
        return verdict


def _by_notation(a: str, b: str) -> tuple[bool, GradingCounts]:
    """What notation alone says of two answers; what it would ask the engine counts as timed out, and as not equal."""
    asked = 0

    def nobody(_left: str, _right: str) -> bool:
        nonlocal asked
        asked += 1
        return False

    verdict = a == b or equal(parse(a), parse(b), nobody)
    return verdict, GradingCounts(comparisons=1, by_notation=1, timeouts=int(asked > 0))


@dataclass
class _Call:
    """One call of `Grader.same`: an answer of many parts asks many questions within one limit."""

    cpu_left_s: float
    deadline: float
    timed_out: bool = False
    cached: int = 0
    asked: int = 0
    errors: int = 0
    killed_time: int = 0
    killed_memory: int = 0
    died: int = 0

    def counts(self) -> GradingCounts:
        by_worker, by_cache = int(self.asked > 0), int(self.cached > 0 and not self.asked)
        return GradingCounts(
            comparisons=1,
            by_notation=1 - by_worker - by_cache,
            by_cache=by_cache,
            by_worker=by_worker,
            timeouts=int(self.timed_out),
            errors=int(self.errors > 0),
            killed_time=self.killed_time,
            killed_memory=self.killed_memory,
            died=self.died,
        )


def _close_all(idle: list[Worker], pid: int) -> None:
    while idle and os.getpid() == pid:
        idle.pop().kill()


_DEFAULT_LOCK = threading.Lock()
_default: Grader | None = None


def _default_grader() -> Grader:
    global _default
    with _DEFAULT_LOCK:
        if _default is None:
            _default = Grader()
        return _default
