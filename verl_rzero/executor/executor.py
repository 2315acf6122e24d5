"""Programs run in parallel, each in a process of its own."""

import os
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any, Self

from verl_rzero.executor import border, values
from verl_rzero.executor.limits import Limits
from verl_rzero.executor.process import WORLDS, Gone, Isolation, Zygote
from verl_rzero.executor.result import Failure, Result

MAX_PROGRAM_CHARS = 65_536


@dataclass(frozen=True, slots=True)
class Task:
    """`program` defines `f`; `inputs` are its positional arguments as literals (`values.arguments`).

    twice: run in two processes that differ in what programs should not depend on; values that differ are a failure.
    """

    program: str
    inputs: str
    twice: bool = False


class Executor:
    """Runs programs, in `workers` processes at the same time (one more than cores by default). Thread-safe.

    A context manager; or `close` it. Its processes start with the first programs that need them.

    Raises:
        IsolationError: this machine doesn't confine programs as `isolation` says.
    """

    def __init__(
        self, limits: Limits | None = None, *, isolation: Isolation = "full", workers: int | None = None
    ) -> None:
        self.limits, self.isolation = limits or Limits(), isolation
        self.workers = workers or len(os.sched_getaffinity(0)) + 1
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._closed = False
        self._zygotes: list[Zygote] = []
        self._idle: tuple[deque[Zygote], ...] = tuple(deque() for _ in WORLDS)
        self._threads = ThreadPoolExecutor(self.workers, thread_name_prefix="executor")
        first = self._take(0)
        self.walls = first.walls
        self._idle[0].append(first)

    def run(self, program: str, inputs: str, *, twice: bool = False) -> Result:
        """What comes of one program; see `Task`."""
        return self.submit(Task(program, inputs, twice)).result()

    def run_many(self, tasks: Iterable[Task]) -> Iterator[tuple[int, Result]]:
        """Each task's index and result, as soon as it is there. Tasks are taken as they are needed."""
        waiting: dict[Future[Result], int] = {}
        try:
            for index, task in enumerate(tasks):
                waiting[self.submit(task)] = index
                if len(waiting) >= 4 * self.workers:
                    yield from _done(waiting)
            while waiting:
                yield from _done(waiting)
        finally:
            for future in waiting:
                future.cancel()

    def submit(self, task: Task) -> Future[Result]:
        if os.getpid() != self._pid:
            raise RuntimeError("an Executor belongs to the process that made it; make one after the fork")
        return self._threads.submit(self._result, task)

    def close(self) -> None:
        """End the processes, also of programs that run; their results are `killed`."""
        with self._lock:
            self._closed = True
            zygotes, self._zygotes = self._zygotes, []
        for zygote in zygotes:
            zygote.stop()
        self._threads.shutdown(cancel_futures=True)
        for zygote in zygotes:
            zygote.kill()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _result(self, task: Task) -> Result:
        if len(task.program) > MAX_PROGRAM_CHARS:
            return Result(failure=Failure.SYNTAX, detail=f"longer than {MAX_PROGRAM_CHARS} characters")
        try:
            arguments = [border.tree_of(each, 4 * values.MAX_CHARS) for each in values.arguments(task.inputs)]
        except (values.NotLiterals, border.NotData, border.TooLarge) as error:
            return Result(failure=Failure.INPUTS, detail=str(error))
        first = self._ask(0, task.program, arguments)
        return _agreed(first, self._ask(1, task.program, arguments)) if task.twice and first.ok else first

    def _ask(self, world: int, program: str, arguments: list[Any]) -> Result:
        zygote = self._take(world)
        try:
            answer = zygote.ask(program, arguments)
        except Gone:
            self._forget(zygote)
            return Result(failure=Failure.KILLED, detail="with the process that it was forked from")
        except BaseException:
            self._forget(zygote)
            raise
        self._idle[world].append(zygote)
        return answer

    def _take(self, world: int) -> Zygote:
        """An idle zygote or a new one: there are as many of a world as threads asked it at the same time."""
        try:
            return self._idle[world].pop()
        except IndexError:
            zygote = Zygote(self.limits, self.isolation, world)
        with self._lock:
            if not self._closed:
                self._zygotes.append(zygote)
                return zygote
        zygote.kill()
        raise RuntimeError("the Executor is closed")

    def _forget(self, zygote: Zygote) -> None:
        with self._lock:
            if zygote in self._zygotes:
                self._zygotes.remove(zygote)
        zygote.kill()


def _agreed(first: Result, second: Result) -> Result:
    """One result of two runs. At a limit or killed, the second says nothing of what the program computes."""
    cpu_s = first.cpu_s + second.cpu_s
    if second.failure in (Failure.TIME, Failure.MEMORY, Failure.KILLED):
        return Result(failure=second.failure, detail=second.detail, cpu_s=cpu_s)
    if not second.ok or not values.equal(first.value, second.value):
        return Result(failure=Failure.NONDETERMINISTIC, cpu_s=cpu_s)
    return Result(first.value, cpu_s=cpu_s)


def _done(waiting: dict[Future[Result], int]) -> Iterator[tuple[int, Result]]:
    for future in wait(waiting, return_when=FIRST_COMPLETED).done:
        yield waiting.pop(future), future.result()
