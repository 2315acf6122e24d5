"""Programs run in parallel, wherever that is: what a task is, and how one result is made of one run or of two."""

import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from queue import SimpleQueue
from typing import Self

from verl_rzero.executor import border, literals, values
from verl_rzero.executor.limits import Limits
from verl_rzero.executor.result import Failure, Result

MAX_PROGRAM_CHARS = 65_536

WORLDS = ({"PYTHONHASHSEED": "1", "TZ": "AAA24"}, {"PYTHONHASHSEED": "2", "TZ": "BBB-24"})
"""The whole environments of two processes: what depends on the order of sets, on addresses, on random numbers or on the
date in local time (it differs by two days) comes out differently."""

Inputs = str | tuple[str, ...]
_MOST = 1 << 30
"""Bytes of a request's parts: those are limited by their characters."""


@dataclass(frozen=True, slots=True)
class Task:
    """`program` defines `entry`; `inputs` are its positional arguments as literals (`literals.arguments`).

    inputs: a tuple of such texts is so many cases, at least one: the program is executed anew for each, in one process
        within one set of limits, and the value is the list of their values. The first case that fails is the failure.
    twice: run in two processes that differ in what programs should not depend on; the second takes the cases from the
        last to the first. Values that differ are a failure.
    max_chars: of the inputs of a case; more than the default for inputs that no model wrote.
    """

    program: str
    inputs: Inputs
    twice: bool = False
    entry: str = "f"
    max_chars: int = literals.MAX_CHARS

    def __post_init__(self) -> None:
        if not self.inputs and not isinstance(self.inputs, str):
            raise ValueError("inputs=(): there is a case at least; a program without arguments has the inputs ''")

    @property
    def cases(self) -> tuple[str, ...]:
        return (self.inputs,) if isinstance(self.inputs, str) else self.inputs


@dataclass(frozen=True, slots=True)
class Request:
    """A program, and each case's arguments as `border.encode` writes them."""

    program: str
    cases: tuple[bytes, ...]
    entry: str = "f"

    def data(self) -> bytes:
        """As JSON: what `program.message` takes."""
        program, entry = border.encode(self.program, _MOST), border.encode(self.entry, _MOST)
        return b'{"program":%s,"entry":%s,"cases":[%s]}' % (program, entry, b",".join(self.cases))


class Runner(ABC):
    """Runs programs, `workers` at the same time. Thread-safe. A context manager; or `close` it."""

    def __init__(self, limits: Limits, workers: int) -> None:
        self.limits, self.workers = limits, workers
        self._pid = os.getpid()
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix=type(self).__name__)

    @abstractmethod
    def ask(self, world: int, request: Request) -> Result:
        """Run a program in one of the `WORLDS`; the value is the list of its cases' values."""

    def run(self, program: str, inputs: Inputs, *, twice: bool = False, entry: str = "f") -> Result:
        """What comes of one program; see `Task`."""
        return self.submit(Task(program, inputs, twice, entry)).result()

    def run_many(self, tasks: Iterable[Task]) -> Iterator[tuple[int, Result]]:
        """Each task's index and result, as soon as it is there. Tasks are taken as they are needed."""
        waiting: dict[Future[Result], int] = {}
        finished: SimpleQueue[Future[Result]] = SimpleQueue()

        def most_waiting(most: int) -> Iterator[tuple[int, Result]]:
            while len(waiting) > most:
                future = finished.get()
                yield waiting.pop(future), future.result()

        try:
            for index, task in enumerate(tasks):
                future = self.submit(task)
                waiting[future] = index
                future.add_done_callback(finished.put)
                yield from most_waiting(4 * self.workers)
            yield from most_waiting(0)
        finally:
            for future in waiting:
                future.cancel()

    def submit(self, task: Task) -> Future[Result]:
        if os.getpid() != self._pid:
            raise RuntimeError(f"{type(self).__name__} belongs to the process that made it; make one after the fork")
        return self._threads.submit(self._result, task)

    def close(self) -> None:
        """End it; tasks that wait are cancelled."""
        self._threads.shutdown(cancel_futures=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _result(self, task: Task) -> Result:
        request = _request(task)
        if isinstance(request, Result):
            return request
        result = self.ask(0, request)
        if task.twice and result.ok:
            again = self.ask(1, replace(request, cases=request.cases[::-1]))
            result = _agreed(result, replace(again, value=again.value[::-1]) if again.ok else again)
        return replace(result, value=result.value[0]) if result.ok and isinstance(task.inputs, str) else result


def _request(task: Task) -> Request | Result:
    """What is asked for a task; or its failure, where nothing is to be run."""
    if len(task.program) > MAX_PROGRAM_CHARS:
        return Result(failure=Failure.SYNTAX, detail=f"longer than {MAX_PROGRAM_CHARS} characters")
    try:
        task.program.encode()
    except UnicodeEncodeError:
        return Result(failure=Failure.SYNTAX, detail="a lone surrogate")
    try:
        given = [literals.arguments(text, task.max_chars) for text in task.cases]
        cases = [[border.encode(each, _MOST) for each in case] for case in given]
    except (literals.NotLiterals, border.NotData) as error:
        return Result(failure=Failure.INPUTS, detail=str(error))
    return Request(task.program, tuple(b"[%s]" % b",".join(case) for case in cases), task.entry)


def _agreed(first: Result, second: Result) -> Result:
    """One result of two runs. At a limit or killed, the second says nothing of what the program computes."""
    cpu_s = first.cpu_s + second.cpu_s
    if second.failure in (Failure.TIME, Failure.MEMORY, Failure.KILLED):
        return Result(failure=second.failure, detail=second.detail, cpu_s=cpu_s)
    if not second.ok or not values.equal(first.value, second.value):
        return Result(failure=Failure.NONDETERMINISTIC, cpu_s=cpu_s)
    return Result(first.value, cpu_s=cpu_s)
