"""Programs run by a SandboxFusion server (https://github.com/bytedance/SandboxFusion, POST /run_code).

The walls are the server's: what it lets programs do, they may. Values come back and are compared as of an `Executor`.
"""

import http.client
import json
import secrets
import signal
import time
import urllib.error
import urllib.request
from dataclasses import asdict
from pathlib import Path
from typing import Any

from verl_rzero.executor import result
from verl_rzero.executor.limits import Limits
from verl_rzero.executor.result import Failure, Result
from verl_rzero.executor.runner import WORLDS, Request, Runner
from verl_rzero.executor.zygote import ROOM

RETRY_AFTER_S = (1.0, 3.0, 10.0)
"""A request that the server didn't serve is sent again after each of these, and then no more."""

_READ_AGAIN = 2
"""How often a program is run again that ended well without a result, or with half of one. Servers until July 2026 send
what they have read when a process ends, which may be less than it wrote; but a program can also end itself so.
"""

_QUEUE_S = 120.0
"""How long a request may wait for its turn, beside its time."""

_MAX_ANSWER_BYTES = 1 << 25
"""A server sends 1 MiB of standard output and of standard error at most, each byte as six at most."""

_SENT = ("border", "program", "remote")
"""The files whose texts are sent."""

_FIRST = Request("def f(a):\n    return hash(a)", (b'["x"]',))


class ServerError(RuntimeError):
    """The server can't be reached or does not do its work. Never because of what a program computes."""


class _Unserved(Exception):
    """A request that may be served when it is sent again; the message says why it wasn't."""


class SandboxFusion(Runner):
    """Sends programs to a server, `workers` at the same time. Thread-safe. A context manager; or `close` it.

    Of the limits, the server keeps `wall_s`; the others are set within the process, for programs that don't undo them.

    Args:
        address: `http://host:8080`; /run_code may stand behind it.

    Raises:
        ServerError: two first programs don't run there as they should.
    """

    def __init__(self, address: str, limits: Limits | None = None, *, workers: int = 32) -> None:
        if not address.startswith(("http://", "https://")):
            raise ValueError(f"{address!r} is no address of a server; write it as http://host:8080")
        super().__init__(limits or Limits(), workers)
        self.url = address.rstrip("/").removesuffix("/run_code") + "/run_code"
        self._codes = [_code(self.limits, world) for world in WORLDS]
        self._prove()

    def ask(self, world: int, request: Request) -> Result:
        """As `Runner`; the result has no `cpu_s`, which the server doesn't tell.

        Raises:
            ServerError: the server did not serve it, nor when it was sent again.
        """
        return self._asked(world, request)[0]

    def _prove(self) -> None:
        """That programs run there, and the worlds differ."""
        hashes = []
        for world in range(len(WORLDS)):
            came, said = self._asked(world, _FIRST)
            if not came.ok:
                raise self._error(f"a first program did not run ({came.failure}: {came.detail}); it said {said!r}")
            hashes.append(came.value)
        if hashes[0] == hashes[1]:
            raise self._error("a program can't be run with another PYTHONHASHSEED")

    def _asked(self, world: int, request: Request) -> tuple[Result, str]:
        """The result, and the end of what the process wrote to standard error before the program had it."""
        marker = secrets.token_hex(16)
        stdin = f"{marker}\n{request.data().decode('ascii')}"
        for _ in range(1 + _READ_AGAIN):
            ran = self._served({"code": self._codes[world], "stdin": stdin})
            if not _lost(ran, marker):
                break
        return _judged(ran, marker, self.limits.result_bytes, len(request.cases)), (ran.get("stderr") or "")[-500:]

    def _served(self, body: dict[str, str]) -> dict[str, Any]:
        """`run_result` of the server's answer."""
        data = json.dumps({**body, "language": "python", "run_timeout": self.limits.wall_s}).encode("ascii")
        for after_s in (*RETRY_AFTER_S, None):
            try:
                return _run_result(self._answer(data))
            except _Unserved as error:
                if after_s is None:
                    raise self._error(f"{error} ({len(RETRY_AFTER_S) + 1} times)") from error
                time.sleep(after_s)
        raise AssertionError

    def _answer(self, data: bytes) -> bytes:
        request = urllib.request.Request(self.url, data, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=self.limits.wall_s + _QUEUE_S) as reply:
                answer: bytes = reply.read(_MAX_ANSWER_BYTES)
                return answer
        except urllib.error.HTTPError as error:
            said = f"HTTP {error.code} {error.reason}"
            if error.code >= 500 or error.code == http.client.TOO_MANY_REQUESTS:
                raise _Unserved(said) from error
            raise self._error(said) from error
        except (OSError, http.client.HTTPException) as error:
            raise _Unserved(f"{type(error).__name__}: {error}") from error

    def _error(self, why: str) -> ServerError:
        return ServerError(
            f"SandboxFusion at {self.url}: {why}. Is the server up, and can it be reached from here? docs/executor.md "
            "says how to start one; without an address, programs are run on this machine"
        )


def _code(limits: Limits, world: dict[str, str]) -> str:
    """Source that runs the program which stands in its standard input."""
    text = {name: Path(__file__).with_name(f"{name}.py").read_text(encoding="utf-8") for name in _SENT}
    main = text.pop("remote")
    setup = json.dumps({"world": world, "sources": text, "limits": asdict(limits)})
    return f"{main}\n\nmain(json.loads({setup!r}))\n"


def _run_result(answer: bytes) -> dict[str, Any]:
    """What a server says of the process, of the API's form.

    Raises:
        _Unserved: it says that it couldn't run it, or something of another form.
    """
    try:
        said = json.loads(answer)
    except ValueError as error:
        raise _Unserved(f"no JSON: {answer[:200]!r}") from error
    match said:
        case {"run_result": {"status": "Finished" | "TimeLimitExceeded"} as ran}:
            return {**ran}
    raise _Unserved(f"it says {answer[:500]!r}")


def _lost(ran: dict[str, Any], marker: str) -> bool:
    return ran["status"] == "Finished" and not ran.get("return_code") and (ran.get("stdout") or "").count(marker) < 2


def _judged(ran: dict[str, Any], marker: str, result_bytes: int, cases: int) -> Result:
    """What came of a program: by how its process ended, and if that is as it should, by its message."""
    exit_code = ran.get("return_code") or 0
    ended_by = -exit_code if exit_code < 0 else exit_code - 128  # the latter where a shell waited for it
    if ran["status"] == "TimeLimitExceeded" or ended_by in (signal.SIGPROF, signal.SIGXCPU):
        return Result(failure=Failure.TIME)
    _, *messages = (ran.get("stdout") or "").split(marker)
    if exit_code != 0 or not messages:
        return Result(failure=Failure.KILLED, detail=f"ended with {exit_code}, without a result")
    if len(messages) != 2 or len(messages[0]) > result_bytes + ROOM:
        return Result(failure=Failure.FORGED, detail="not one message of our code's form")
    return result.read(messages[0].encode("utf-8", "replace"), cases, 0.0)
