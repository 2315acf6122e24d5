"""The processes of a run: known by an environment variable, ended without a trace."""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

RUN_VARIABLE = "VERL_RZERO_RUN"
"""In the environment of every process of a run, wherever it was started from: the run's absolute directory."""

GRACE_S = 5.0
LOOK_AGAIN_S = 0.05

_INTERRUPTS = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}


@contextmanager
def nothing_left(run: Path, keep: frozenset[int] = frozenset()) -> Iterator[None]:
    """On leaving, in whatever way, the processes of the run end; a second Ctrl-C waits until they have."""
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_BLOCK, _INTERRUPTS)
        try:
            end_processes(run, keep)
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _INTERRUPTS)


def end_processes(run: Path, keep: frozenset[int] = frozenset()) -> int:
    """End every process of the run but this one, its ancestors and `keep`: SIGTERM, and SIGKILL 5 s later.

    Found by the run's directory in the environment they were started with, so that also those are found which an
    earlier, killed process left behind, and no process of anybody else. Returns how many there were.
    """
    me = psutil.Process()
    spared = {me.pid, *(parent.pid for parent in me.parents()), *keep}
    ended: set[psutil.Process] = set()
    deadline = time.monotonic() + GRACE_S
    while found := [process for process in processes_of(run) if process.pid not in spared]:
        kill = time.monotonic() > deadline
        for process in found:
            if kill or process not in ended:
                _send(process, kill)
            ended.add(process)
        time.sleep(LOOK_AGAIN_S)
    return len(ended)


def processes_of(run: Path) -> Iterator[psutil.Process]:
    """The run's processes on this machine, but not the orchestrator, which was started without the variable."""
    for process in psutil.process_iter():
        try:
            if process.environ().get(RUN_VARIABLE) == str(run) and process.status() != psutil.STATUS_ZOMBIE:
                yield process
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue  # gone in the meantime, or another user's


def _send(process: psutil.Process, kill: bool) -> None:
    try:
        process.send_signal(signal.SIGKILL if kill else signal.SIGTERM)
    except psutil.NoSuchProcess:
        return
