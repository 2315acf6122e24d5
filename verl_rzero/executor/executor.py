"""Programs run on this machine, each in a process of its own."""

import os
import re
import threading
from collections import defaultdict, deque

from verl_rzero.executor.limits import Limits
from verl_rzero.executor.process import Gone, Isolation, Kind, Zygote
from verl_rzero.executor.result import Failure, Result
from verl_rzero.executor.runner import Request, Runner
from verl_rzero.executor.zygote import RARE

_NAMES = (name.rpartition(".")[2].strip("_") for name in RARE.split())
_RARE = re.compile(rf"\b_?(?:{'|'.join(_NAMES)})\b")
"""What stands in a program that imports one of these modules, also where Python does it on the way (time.strptime)."""


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
        self._idle: dict[Kind, deque[Zygote]] = defaultdict(deque)
        first = self._started(Kind(0, False))
        self.walls = first.walls
        self._idle[Kind(0, False)].append(first)

    def ask(self, world: int, request: Request) -> Result:
        """As `Runner`. A process that ended while it was idle, or with the program, is replaced.

        Raises:
            RuntimeError: the new one ended too, which no program can do behind walls.
        """
        kind = Kind(world, bool(_RARE.search(request.program)))
        try:
            return self._asked(self._taken(kind), kind, request)
        except Gone:
            if self._closed:
                return Result(failure=Failure.KILLED, detail="with the Executor")
        try:
            return self._asked(self._started(kind), kind, request)
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

    def _asked(self, zygote: Zygote, kind: Kind, request: Request) -> Result:
        try:
            answer = zygote.ask(request)
        except BaseException:
            with self._lock:
                if zygote in self._zygotes:
                    self._zygotes.remove(zygote)
            zygote.kill()
            raise
        self._idle[kind].append(zygote)
        return answer

    def _taken(self, kind: Kind) -> Zygote:
        """An idle zygote or a new one: there are as many of a kind as threads asked it at the same time."""
        try:
            return self._idle[kind].pop()
        except IndexError:
            return self._started(kind)

    def _started(self, kind: Kind) -> Zygote:
        zygote = Zygote(self.limits, self.isolation, kind)
        with self._lock:
            if not self._closed:
                self._zygotes.append(zygote)
                return zygote
        zygote.kill()
        raise RuntimeError("the Executor is closed")
