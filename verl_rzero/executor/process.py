"""A zygote (`zygote`) as its parent has it: started, asked within limits, ended."""

import json
import os
import select
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any, Literal

from verl_rzero.executor import border, result
from verl_rzero.executor.limits import Limits
from verl_rzero.executor.result import Failure, Result
from verl_rzero.executor.zygote import ENDED, OUT_OF_TIME, REPLY, SIZE

Isolation = Literal["full", "process"]
"""full: all promises, by the kernel. process: a process, its limits and its end; files, network and other processes are
open to programs."""

WORLDS = ({"PYTHONHASHSEED": "1", "TZ": "AAA24"}, {"PYTHONHASHSEED": "2", "TZ": "BBB-24"})
"""The whole environments of two processes: what depends on the order of sets, on addresses, on random numbers or on the
date in local time (it differs by two days) comes out differently."""

_ZYGOTE = Path(__file__).with_name("zygote.py")
_START_TIMEOUT_S = 60.0
_GRACE_S = 30.0


class IsolationError(RuntimeError):
    """This machine doesn't confine programs as asked."""


class Gone(Exception):
    """The zygote ended, or doesn't answer."""


class Zygote:
    """One zygote of one world. Made ready on construction; used by one thread at a time.

    Raises:
        IsolationError: the kernel doesn't do what `isolation` promises.
        RuntimeError: it did not start.
    """

    def __init__(self, limits: Limits, isolation: Isolation, world: int) -> None:
        self._answer_s = limits.wall_s + _GRACE_S
        self._process = subprocess.Popen(
            [sys.executable, "-S", "-s", "-P", "-B", _ZYGOTE, json.dumps({**asdict(limits), "isolation": isolation})],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            cwd="/",
            env=WORLDS[world],
            start_new_session=True,  # Ctrl-C is the parent's to handle
        )
        try:
            self.walls = self._ready()
        except BaseException:
            self.kill()
            raise

    def ask(self, program: str, arguments: list[Any]) -> Result:
        """What comes of a program; `arguments` are trees (`border.tree_of`).

        Raises:
            Gone: the zygote is to be replaced.
        """
        request = border.dumps({"program": program, "arguments": arguments})
        deadline = time.monotonic() + self._answer_s
        try:
            _write(self._pipe(0), SIZE.pack(len(request)) + request)
        except BrokenPipeError as error:
            raise Gone from error
        status, end, cpu_us, size = REPLY.unpack(self._read(REPLY.size, deadline))
        return _judged(status, end, cpu_us / 1e6, self._read(size, deadline))

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
            self._process.kill()
            said = self._process.stderr.read().decode(errors="replace") if self._process.stderr else ""
            raise RuntimeError(f"the executor did not start ({_ZYGOTE.name}): {said[-2000:]}") from error
        hello = json.loads(line)
        if "refused" in hello:
            raise IsolationError(
                f"programs can't be confined on this machine: {hello['refused']}. What isolation='full' needs is in "
                "docs/executor.md; isolation='process' runs them with limits but without walls"
            )
        walls: list[str] = hello["walls"]
        return walls

    def _pipe(self, which: int) -> int:
        pipe: IO[bytes] | None = (self._process.stdin, self._process.stdout)[which]
        assert pipe is not None
        return pipe.fileno()

    def _read(self, size: int, deadline: float) -> bytes:
        received, out = bytearray(), self._pipe(1)
        poll = select.poll()
        poll.register(out, select.POLLIN)
        while len(received) < size:
            left_s = deadline - time.monotonic()
            if left_s <= 0 or not poll.poll(left_s * 1000):
                raise Gone
            chunk = os.read(out, size - len(received))
            if not chunk:
                raise Gone
            received += chunk
        return bytes(received)


def _judged(status: int, end: int, cpu_s: float, message: bytes) -> Result:
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
    return result.read(message, cpu_s)


def _write(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]
