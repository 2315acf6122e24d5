"""A worker process (`worker`) as its parent has it: started, asked within limits, ended."""

import json
import os
import select
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

_WORKER = Path(__file__).with_name("worker.py")
_START_TIMEOUT_S = 120.0
_MAX_REQUEST_BYTES = 60_000  # a request must fit into the pipe, so that writing it never blocks


class OutOfTime(Exception):
    """The question needs more processor time than it has, or no reply came by the deadline."""


class OutOfMemory(Exception):
    """The worker came to its memory limit."""


class Died(Exception):
    """The worker ended without a reply, for a reason that may have nothing to do with the question."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """same: of the engine; False where it raised (`error`). cpu_s: processor time of the question."""

    same: bool
    cpu_s: float = 0.0
    error: bool = False


class Worker:
    """One worker process. Made ready on construction; used by one thread at a time.

    Raises:
        RuntimeError: it did not start, or has no engine.
    """

    def __init__(self, memory_mb: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(_WORKER), str(memory_mb)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            env={**os.environ, "PYTHONHASHSEED": "0"},  # sympy walks through sets: one order in every worker
        )
        try:
            hello = self._read(time.monotonic() + _START_TIMEOUT_S)
        except (OutOfTime, Died) as error:
            self.kill()
            raise RuntimeError(f"a grading worker did not start ({_WORKER.name}: {type(error).__name__})") from error
        if not hello.get("ready"):
            self.kill()
            raise RuntimeError(f"a grading worker cannot import its engine: {hello.get('error')}; install math-verify")

    def ask(self, pair: tuple[str, str], cpu_s: float, deadline: float) -> Verdict:
        """The verdict on a pair, within `cpu_s` of the worker's processor time and until `deadline` (time.monotonic).

        Raises:
            OutOfTime, OutOfMemory, Died: there is none, and the worker is to be replaced.
        """
        request = json.dumps({"a": pair[0], "b": pair[1], "cpu_s": cpu_s}).encode("ascii") + b"\n"
        if len(request) > _MAX_REQUEST_BYTES:
            return Verdict(False)
        try:
            self._stdin().write(request)
        except BrokenPipeError as error:
            raise Died from error
        reply = self._read(deadline)
        if "memory" in reply:
            raise OutOfMemory
        return Verdict(reply["same"], reply["cpu_s"], reply["error"])

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
                raise OutOfTime
            chunk = os.read(self._stdout().fileno(), 65_536)
            if not chunk:
                raise OutOfTime if self._process.wait() == -signal.SIGPROF else Died
            received += chunk
        reply: dict[str, Any] = json.loads(received)
        return reply
