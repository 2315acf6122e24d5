"""Programs run on this machine, each in a process of its own."""

import os
import threading
from collections import deque

from verl_rzero.executor.limits import Limits
from verl_rzero.executor.process import Gone, Isolation, Zygote
from verl_rzero.executor.result import Failure, Result
from verl_rzero.executor.runner import WORLDS, Request, Runner


class Executor(Runner):
    """Runs programs, in `workers` processes at the same time (one more than cores by default). Thread-safe.

    A context manager; or `close` it. Its processes start with the first programs that need them.

    Raises:
        IsolationError: this machine doesn't confine programs as `isolation` says.
    """

    def __init__(
        self, limits: Limits | None = None, *, isolation: Isolation = "full", workers: int | None = None
    ) -> None:
        super().__init__(limits or Limits(), workers or len(os.sched_getaffinity(0)) + 1)
        self.isolation = isolation
        self._lock = threading.Lock()
        self._closed = False
        self._zygotes: list[Zygote] = []
        self._idle: tuple[deque[Zygote], ...] = tuple(deque() for _ in WORLDS)
        first = self._started(0)
        self.walls = first.walls
        self._idle[0].append(first)

    def ask(self, world: int, request: Request) -> Result:
        """As `Runner`. A process that ended while it was idle, or with the program, is replaced.

        Raises:
            RuntimeError: the new one ended too, which no program can do behind walls.
        """
        try:
            return self._asked(self._taken(world), world, request)
        except Gone:
            if self._closed:
                return Result(failure=Failure.KILLED, detail="with the Executor")
        try:
            return self._asked(self._started(world), world, request)
        except Gone as error:
            if self._closed or self.isolation == "process":
                return Result(failure=Failure.KILLED, detail="with the process that it was forked from")
            raise RuntimeError(
                "the process that programs are forked from ended, and so did the one that replaced it; is there memory "
                f"and are there processes left on this machine? It said: {error}"
            ) from error

    def close(self) -> None:
        """End the processes, also of programs that run; their results are `killed`."""
        with self._lock:
            self._closed = True
            zygotes, self._zygotes = self._zygotes, []
        for zygote in zygotes:
            zygote.stop()
        super().close()
        for zygote in zygotes:
            zygote.kill()

    def _asked(self, zygote: Zygote, world: int, request: Request) -> Result:
        try:
            answer = zygote.ask(request)
        except BaseException:
            with self._lock:
                if zygote in self._zygotes:
                    self._zygotes.remove(zygote)
            zygote.kill()
            raise
        self._idle[world].append(zygote)
        return answer

    def _taken(self, world: int) -> Zygote:
        """An idle zygote or a new one: there are as many of a world as threads asked it at the same time."""
        try:
            return self._idle[world].pop()
        except IndexError:
            return self._started(world)

    def _started(self, world: int) -> Zygote:
        zygote = Zygote(self.limits, self.isolation, world)
        with self._lock:
            if not self._closed:
                self._zygotes.append(zygote)
                return zygote
        zygote.kill()
        raise RuntimeError("the Executor is closed")
