"""A zygote (`zygote`) as its parent has it: started, asked within limits, ended."""

import json
import os
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import IO, Literal, NamedTuple

from verl_rzero.executor import result
from verl_rzero.executor.limits import Limits
from verl_rzero.executor.result import Failure, Result
from verl_rzero.executor.runner import WORLDS, Request
from verl_rzero.executor.zygote import COMMON, ENDED, OUT_OF_TIME, RARE, REPLY, SIZE

Isolation = Literal["full", "process"]
"""full: all promises, by the kernel. process: a process, its limits and its end; files, network and other processes are
open to programs."""

_ZYGOTE = Path(__file__).with_name("zygote.py")
_START_TIMEOUT_S = 60.0
_GRACE_S = 30.0


class IsolationError(RuntimeError):
    """This machine doesn't confine programs as asked."""


class Gone(Exception):
    """The zygote ended, or doesn't answer; the message is what it said."""


class Kind(NamedTuple):
    """Of a zygote: which of the `WORLDS` it is in, and whether it holds the modules that few programs name."""

    world: int
    rare: bool


class Zygote:
    """One zygote of one kind. Made ready on construction; used by one thread at a time.

    Raises:
        IsolationError: the kernel doesn't do what `isolation` promises.
        RuntimeError: it did not start.
    """

    def __init__(self, limits: Limits, isolation: Isolation, kind: Kind) -> None:
        self._answer_s = limits.wall_s + _GRACE_S
        modules = f"{COMMON} {RARE}" if kind.rare else COMMON
        settings = json.dumps({**asdict(limits), "isolation": isolation, "modules": modules})
        self._process = subprocess.Popen(
            [sys.executable, "-S", "-s", "-P", "-B", _ZYGOTE, settings],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            cwd="/",
            env=WORLDS[kind.world],
            start_new_session=True,  # Ctrl-C is the parent's to handle
        )
        os.set_blocking(self._pipe(0), False)
        try:
            self.walls = self._ready()
        except BaseException:
            self.kill()
            raise

    def ask(self, request: Request) -> Result:
        """What comes of a program; the value is the list of its cases' values.

        Raises:
            Gone: the zygote is to be replaced.
        """
        data = request.data()
        deadline = time.monotonic() + self._answer_s
        self._write(SIZE.pack(len(data)) + data, deadline)
        status, end, cpu_us, size = REPLY.unpack(self._read(REPLY.size, deadline))
        return _judged(status, end, cpu_us / 1e6, self._read(size, deadline), len(request.cases))

    def stop(self) -> None:
        """End the process, from any thread; one that waits for its answer comes to `Gone`."""
        self._process.kill()

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()

    def _ready(self) -> list[str]:
        deadline, line = time.monotonic() + _START_TIMEOUT_S, b""
        try:
            while not line.endswith(b"\n"):
                line += self._read(1, deadline)
        except Gone as error:
            raise RuntimeError(f"the executor did not start ({_ZYGOTE.name}): {error}") from error
        hello = json.loads(line)
        if "refused" in hello:
            raise IsolationError(
                f"programs can't be confined on this machine: {hello['refused']}. What isolation='full' needs is in "
                "docs/executor.md; isolation='process' runs them with limits but without walls"
            )
        walls: list[str] = hello["walls"]
        return walls

    def _pipe(self, which: int) -> int:
        pipe: IO[bytes] | None = (self._process.stdin, self._process.stdout, self._process.stderr)[which]
        assert pipe is not None
        return pipe.fileno()

    def _write(self, data: bytes, deadline: float) -> None:
        fd = self._pipe(0)
        try:
            while data:
                self._wait(fd, select.POLLOUT, deadline)
                data = data[os.write(fd, data) :]
        except BrokenPipeError as error:
            raise self._gone("") from error

    def _read(self, size: int, deadline: float) -> bytes:
        received, fd = bytearray(), self._pipe(1)
        while len(received) < size:
            self._wait(fd, select.POLLIN, deadline)
            chunk = os.read(fd, size - len(received))
            if not chunk:
                raise self._gone("")
            received += chunk
        return bytes(received)

    def _wait(self, fd: int, event: int, deadline: float) -> None:
        poll = select.poll()
        poll.register(fd, event)
        if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
            raise self._gone("nothing in time")

    def _gone(self, said: str) -> Gone:
        fd = self._pipe(2)
        os.set_blocking(fd, False)
        with suppress(BlockingIOError):
            said += os.read(fd, 1 << 16)[-2000:].decode(errors="replace")
        return Gone(said or "nothing")


def _judged(status: int, end: int, cpu_s: float, message: bytes, cases: int) -> Result:
    """What came of a program: by how its process ended, seen from outside, and if that is as it should, its message."""
    exit_code = os.waitstatus_to_exitcode(status)
    if end == OUT_OF_TIME or -exit_code in (signal.SIGPROF, signal.SIGXCPU):
        return Result(failure=Failure.TIME, cpu_s=cpu_s)
    if end != ENDED:
        return Result(failure=Failure.FORGED, detail="more bytes than our code writes", cpu_s=cpu_s)
    if exit_code < 0:
        return Result(failure=Failure.KILLED, detail=f"by signal {-exit_code}", cpu_s=cpu_s)
    if exit_code != 0 or not message:
        return Result(failure=Failure.KILLED, detail=f"ended with {exit_code}, without a result", cpu_s=cpu_s)
    return result.read(message, cases, cpu_s)
