"""The processes of a run: known by an environment variable, ended without a trace."""

import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from verl_rzero.base.errors import UserError

RUN_VARIABLE = "VERL_RZERO_RUN"
"""In the environment of every process of a run, wherever it was started from: the run's absolute directory."""

GRACE_S = 5.0
KILLED_S = 30.0
"""How long a killed process may take to go; one that waits in the kernel, for a driver or a disk, may never."""

LOOK_AGAIN_S = 0.05

_INTERRUPTS = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}


@contextmanager
def nothing_left(run: Path, keep: frozenset[int] = frozenset()) -> Iterator[None]:
    """On leaving, in whatever way, the processes of the run end; a second Ctrl-C waits until they have.

    Raises UserError when some cannot be ended; where the block has failed by itself that is only printed.
    """
    try:
        yield
    except BaseException:
        try:
            _end_uninterrupted(run, keep)
        except UserError as left:
            print(f"warning: {left}", file=sys.stderr, flush=True)
        raise
    _end_uninterrupted(run, keep)


def end_processes(run: Path, keep: frozenset[int] = frozenset()) -> int:
    """End every process of the run but this one, its ancestors and `keep`: SIGTERM, and SIGKILL 5 s later. Python's
    resource trackers go last, by themselves, when they have deleted what the others have left in shared memory.

    Found by the run's directory in the environment they were started with, so that also those are found which an
    earlier, killed process left behind, and no process of anybody else. Returns how many there were. Raises UserError
    when some are still there 30 s after SIGKILL.
    """
    me = psutil.Process()
    spared = {me.pid, *(parent.pid for parent in me.parents()), *keep}
    ended: set[psutil.Process] = set()
    kill_at = time.monotonic() + GRACE_S
    only_trackers = False
    while found := [process for process in processes_of(run) if process.pid not in spared]:
        now = time.monotonic()
        others = [process for process in found if not _is_tracker(process)]
        if not others and not only_trackers:
            only_trackers, kill_at = True, now + GRACE_S
        if now > kill_at + KILLED_S:
            raise _still_there(found)
        for process in others or found:
            if now > kill_at or process not in ended:
                _send(process, kill=now > kill_at)
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


def _is_tracker(process: psutil.Process) -> bool:
    """Python's `multiprocessing.resource_tracker`, which takes no SIGTERM and ends with the last that it works for."""
    try:
        return any("multiprocessing.resource_tracker" in word for word in process.cmdline())
    except psutil.Error:
        return False


def _send(process: psutil.Process, kill: bool) -> None:
    try:
        process.send_signal(signal.SIGKILL if kill else signal.SIGTERM)
    except psutil.NoSuchProcess:
        return


def _end_uninterrupted(run: Path, keep: frozenset[int]) -> None:
    """End them all; what would interrupt that is heard afterwards.

    Blocking the signals would not do: another thread of this process (TensorBoard's writer has one) takes them, and
    Python then calls their handler in the main thread all the same.
    """
    came: list[int] = []
    before = {}
    if threading.current_thread() is threading.main_thread():  # only there are handlers called, and may they be set
        before = {each: handler for each in _INTERRUPTS if (handler := signal.getsignal(each)) is not None}
    for each in before:
        signal.signal(each, lambda number, _frame: came.append(number))
    try:
        end_processes(run, keep)
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
        if came:
            signal.raise_signal(came[0])


def _still_there(left: list[psutil.Process]) -> UserError:
    pids = ",".join(str(process.pid) for process in left)
    names = ", ".join(f"{process.pid} ({_name(process)})" for process in left)
    return UserError(
        f"these processes of the run are still there {KILLED_S:g} s after SIGKILL: {names}. They wait in the kernel, "
        f"for a driver or a network disk, and may hold GPU memory. See `ps -o pid,stat,wchan:32,args -p {pids}`; when "
        "they are gone, after a restart of the machine if need be, run the same command again: what is done stays."
    )


def _name(process: psutil.Process) -> str:
    try:
        return str(process.name())
    except psutil.NoSuchProcess:
        return "gone by now"
