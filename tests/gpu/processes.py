"""A command in a process group of its own, that has a limit of time."""

import os
import signal
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from verl_rzero.base.processes import RUN_VARIABLE, nothing_left

GRACE_S = 15.0
"""For a run, which ends its own processes when it is told to end."""


def ended(command: list[str], run: Path, log: Path, env: Mapping[str, str], limit_s: float) -> int | None:
    """The exit code of a command, None where it was over its limit; what it prints goes to the end of `log`.

    Nothing of it is left behind, however this ends: neither what is in its process group nor what has `run` in its
    environment, as Ray's processes have.
    """
    with log.open("ab") as output, nothing_left(run):
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**env, RUN_VARIABLE: str(run)},
        )
        try:
            return process.wait(limit_s)
        except subprocess.TimeoutExpired:
            return None
        finally:
            end_group(process)


def end_group(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM to the group that the process leads, SIGKILL to what is left of it GRACE_S after that."""
    for signum in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signum)
        with suppress(subprocess.TimeoutExpired):
            process.wait(GRACE_S)
