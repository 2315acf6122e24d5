"""Mathematical equality of two answers, which can never hang or crash the caller.

Notation alone decides the common cases (`normal_form`). The rest is asked of math-verify in worker processes
(`worker`) that are killed at a time or memory limit and replaced. `same_answer` blocks for at most about the
time limit; call it from a thread in asynchronous code.
"""

import json
import os
import select
import subprocess
import sys
import threading
import time
import weakref
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from verl_rzero.grading.counts import GradingCounts
from verl_rzero.grading.equality import equal
from verl_rzero.grading.normal_form import normal_form, parse

__all__ = ["Grader", "GradingCounts", "Tally", "normal_form", "same_answer"]

_WORKER = Path(__file__).with_name("worker.py")
_START_TIMEOUT_S = 120.0
_MAX_REQUEST_BYTES = 60_000  # a request must fit into the pipe, so that writing it never blocks


def same_answer(a: str, b: str) -> bool:
    """Whether two answers are mathematically equal, by a default `Grader` of this process."""
    return _default_grader().same(a, b)


class Grader:
    """Compares answers; thread-safe, cheap to make (workers start with the first symbolic question), fork-safe.

    Args:
        timeout_s: limit for one call of `same`, without the start of a worker. A pair that exceeds it is not equal.
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
        self._verdicts: OrderedDict[tuple[str, str], bool] = OrderedDict()
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
        call = _Call(time.monotonic() + self.timeout_s)
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
        self._idle: list[_Worker] = []
        self._busy = 0
        self._finalizer = weakref.finalize(self, _close_all, self._idle, self._pid)

    def _ask(self, left: str, right: str, call: "_Call") -> bool:
        if call.timed_out:
            return False
        pair = (left, right) if left <= right else (right, left)
        with self._lock:
            if pair in self._verdicts:
                call.cached += 1
                self._verdicts.move_to_end(pair)
                return self._verdicts[pair]
        call.asked += 1
        verdict = self._ask_worker(pair, call)
        with self._lock:
            self._verdicts[pair] = verdict
            while len(self._verdicts) > self.cache_size:
                self._verdicts.popitem(last=False)
        return verdict

    def _ask_worker(self, pair: tuple[str, str], call: "_Call") -> bool:
        before = time.monotonic()
        worker = self._take_worker()
        call.deadline += time.monotonic() - before
        healthy = False
        try:
            reply = worker.ask(pair, call.deadline)
            healthy = "same" in reply
            call.killed_memory += not healthy
            return bool(reply.get("same", False))
        except _TimedOut:
            call.timed_out = True
            return False
        except _Died:
            call.died += 1
            return False
        finally:
            self._give_back(worker, healthy)

    def _take_worker(self) -> "_Worker":
        with self._lock:
            while not self._idle and self._busy >= self.max_workers:
                self._lock.wait()
            self._busy += 1
            worker = self._idle.pop() if self._idle else None
        if worker is not None and worker.alive():
            return worker
        try:
            if worker is not None:
                worker.kill()
            return _Worker(self.memory_mb)
        except BaseException:
            with self._lock:
                self._busy -= 1
                self._lock.notify()
            raise

    def _give_back(self, worker: "_Worker", healthy: bool) -> None:
        if not healthy:
            worker.kill()
        with self._lock:
            self._busy -= 1
            if healthy:
                self._idle.append(worker)
            self._lock.notify()


class Tally:
    """One caller's comparisons by a `Grader` that it may share with others, and what they cost. For one thread."""

    def __init__(self, grader: Grader) -> None:
        self.grader, self.counts = grader, GradingCounts()

    def same(self, a: str, b: str) -> bool:
        """As `Grader.same`."""
        verdict, counts = self.grader.compare(a, b)
        self.counts += counts
        return verdict


@dataclass
class _Call:
    """One call of `Grader.same`: an answer of many parts asks many questions within one limit."""

    deadline: float
    timed_out: bool = False
    cached: int = 0
    asked: int = 0
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
            killed_time=int(self.timed_out),  # the first question that has no answer in time ends the call
            killed_memory=self.killed_memory,
            died=self.died,
        )


class _TimedOut(Exception):
    """No reply before the deadline."""


class _Died(Exception):
    """The worker ended without a reply."""


class _Worker:
    """One worker process. Made ready on construction; used by one thread at a time."""

    def __init__(self, memory_mb: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(_WORKER), str(memory_mb)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
        )
        try:
            hello = self._read(time.monotonic() + _START_TIMEOUT_S)
        except (_TimedOut, _Died) as error:
            self.kill()
            raise RuntimeError(f"a grading worker did not start ({_WORKER.name}: {type(error).__name__})") from error
        if not hello.get("ready"):
            self.kill()
            raise RuntimeError(f"a grading worker cannot import its engine: {hello.get('error')}; install math-verify")

    def ask(self, pair: tuple[str, str], deadline: float) -> dict[str, Any]:
        """The worker's reply; raises _TimedOut or _Died."""
        left_s = deadline - time.monotonic()
        if left_s <= 0:
            raise _TimedOut
        request = json.dumps({"a": pair[0], "b": pair[1], "timeout_s": left_s}).encode("ascii") + b"\n"
        if len(request) > _MAX_REQUEST_BYTES:
            return {"same": False}
        try:
            self._stdin().write(request)
        except BrokenPipeError as error:
            raise _Died from error
        return self._read(deadline)

    def alive(self) -> bool:
        return self._process.poll() is None

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        self._stdin().close()
        self._stdout().close()

    def _stdin(self) -> IO[bytes]:
        assert self._process.stdin is not None
        return self._process.stdin

    def _stdout(self) -> IO[bytes]:
        assert self._process.stdout is not None
        return self._process.stdout

    def _read(self, deadline: float) -> dict[str, Any]:
        received = b""
        poll = select.poll()
        poll.register(self._stdout().fileno(), select.POLLIN)
        while not received.endswith(b"\n"):
            left_s = deadline - time.monotonic()
            if left_s <= 0 or not poll.poll(left_s * 1000):
                raise _TimedOut
            chunk = os.read(self._stdout().fileno(), 65_536)
            if not chunk:
                raise _Died
            received += chunk
        reply: dict[str, Any] = json.loads(received)
        return reply


def _close_all(idle: list[_Worker], pid: int) -> None:
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
