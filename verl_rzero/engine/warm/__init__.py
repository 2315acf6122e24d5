"""Warm start: one process imports the heavy packages once, every other process of a run is forked from it.

A GRPO job on verl is about a dozen Python processes, and each of them spends 4-9 CPU seconds importing torch, Ray,
verl and vLLM before it does anything. `server` imports them once and forks on demand; `client` is a tiny stand-in for
the Python executable that asks the server for a fork and lives exactly as long as it. Ray starts its workers through
the client (`runtime_env["py_executable"]`), multiprocessing's spawn does too (`multiprocessing.set_executable`), and
so does the orchestrator.

The server must never touch a GPU or start threads: it only imports. It serves one machine; on a cluster of several
nodes Ray's ordinary workers are used.
"""

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from verl_rzero.base.display import tail

SOCKET_VARIABLE = "VERL_RZERO_WARM_SOCKET"
EXECUTABLE_VARIABLE = "VERL_RZERO_WARM_PYTHON"


def python_executable(variables: Mapping[str, str] = os.environ) -> str:
    """What to start instead of the Python interpreter: the warm stand-in where `variables` name one, else the
    interpreter itself.
    """
    return variables.get(EXECUTABLE_VARIABLE, sys.executable)


class Server:
    """A warm server, started at once and ready some seconds later.

    Args:
        directory: for its socket, log and stand-in executable. Its path must be short (a socket's may have 107
            characters).
        env: environment of the server; the processes that it forks are found by it in /proc.
    """

    def __init__(self, directory: Path, env: dict[str, str]) -> None:
        self.socket, self.executable = directory / "socket", directory / "python"
        self.executable.write_text(f"#!{sys.executable} -IS\n" + Path(__file__).with_name("client.py").read_text())
        self.executable.chmod(0o755)
        self.log, self._told = directory / "log", False
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-W", "ignore", "-m", "verl_rzero.engine.warm.server", str(self.socket)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=env,
                start_new_session=True,
            )

    def variables(self, wait_s: float = 0.0) -> dict[str, str]:
        """The environment variables that make a process use the server; none while it is not ready, or if it has
        died. That, and being late by more than `wait_s`, is said on stderr, once.
        """
        deadline = time.monotonic() + wait_s
        while not self.socket.exists() and self.process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        code = self.process.poll()
        if code is not None or not self.socket.exists():
            if code is not None or wait_s > 0:
                self._tell(f"is not ready after {wait_s:g} s" if code is None else f"has ended (exit code {code})")
            return {}
        return {SOCKET_VARIABLE: str(self.socket), EXECUTABLE_VARIABLE: str(self.executable)}

    def _tell(self, what: str) -> None:
        if not self._told:
            print(
                f"warning: the warm-start server {what}: processes start without it, each some seconds later. Its log "
                f"ends:\n{tail(self.log)}",
                file=sys.stderr,
                flush=True,
            )
        self._told = True

    def close(self) -> None:
        self.process.terminate()
        self.process.wait()
