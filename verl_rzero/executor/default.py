"""Running programs without an Executor of one's own: one for each limits, kept until the process ends."""

import atexit
import os
import threading
from collections.abc import Iterable, Iterator

from verl_rzero.executor.executor import Executor
from verl_rzero.executor.limits import Limits
from verl_rzero.executor.process import Isolation
from verl_rzero.executor.result import Result
from verl_rzero.executor.runner import Inputs, Task

_LOCK = threading.Lock()
_kept: dict[tuple[int, Limits, Isolation], Executor] = {}


def run(
    program: str, inputs: Inputs, limits: Limits | None = None, *, isolation: Isolation = "full", twice: bool = False
) -> Result:
    """What comes of `f(*inputs)`, where a program defines `f`: a value, or a failure with a name.

    Args:
        inputs: the positional arguments as literals, `[1, 2], 'a'`; of several, the value is a list (`Task`).
        twice: run it in two processes that differ in what it should not depend on (`Task`).

    Raises:
        IsolationError: this machine doesn't confine programs as `isolation` says. Never because of a program.
    """
    return _executor(limits or Limits(), isolation).run(program, inputs, twice=twice)


def run_many(
    tasks: Iterable[Task], limits: Limits | None = None, *, isolation: Isolation = "full"
) -> Iterator[tuple[int, Result]]:
    """Each task's index and result, in parallel over all cores, as soon as it is there.

    Raises:
        IsolationError: as `run`.
    """
    return _executor(limits or Limits(), isolation).run_many(tasks)


def _executor(limits: Limits, isolation: Isolation) -> Executor:
    with _LOCK:
        key = (os.getpid(), limits, isolation)  # in a fork the parent's are not ours
        if key not in _kept:
            _kept[key] = Executor(limits, isolation=isolation)
        return _kept[key]


@atexit.register
def _close_all() -> None:
    for (pid, *_), executor in _kept.items():
        if pid == os.getpid():
            executor.close()
