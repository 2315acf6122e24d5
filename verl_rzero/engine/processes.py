"""Processes of stages: started in their own session, followed until they have a result."""

import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from verl_rzero.base import progress
from verl_rzero.base.errors import StageFailed, StageStalled
from verl_rzero.base.processes import RUN_VARIABLE, nothing_left
from verl_rzero.data import run_dir
from verl_rzero.engine import warm

POLL_S = 0.2

GRACE_S = 120
"""How long a process may take to end its engines after the result of its last stage."""


def stage_command(run: Path, stage_ids: Sequence[str], variables: Mapping[str, str]) -> list[str]:
    """The command that does one stage, or several in turn, from a warm process where its `variables` name one."""
    return [warm.python_executable(variables), "-m", "verl_rzero.run.stage", str(run), *stage_ids]


@contextmanager
def running(
    command: list[str],
    run: Path,
    log: Path,
    variables: Mapping[str, str] | None = None,
    keep: frozenset[int] = frozenset(),
) -> Iterator[subprocess.Popen[bytes]]:
    """The process of one or several stages; what it prints goes to the end of `log`, `variables` into its environment.

    When the block is left, however that happens, every process of the run ends but this one, its ancestors and `keep`.
    """
    with log.open("ab") as output, nothing_left(run, keep):
        yield subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, **(variables or {}), RUN_VARIABLE: str(run), "PYTHONUNBUFFERED": "1"},
        )


def follow(
    process: subprocess.Popen[bytes],
    stage_id: str,
    stage_dir: Path,
    watch: Callable[[progress.Position | None], None],
    last: bool = True,
    stalled_after_s: float | None = None,
) -> None:
    """Return when the stage has its result and, if it is the `last` of the process, the process has ended.

    The result is the last that a stage writes. Engines that end badly after it, or not within `GRACE_S`, take nothing
    from it; that is noted in the stage's log, and no failure. `watch` is called several times a second with what the
    stage says of its progress. Raises StageFailed, which the stage's directory then tells too; StageStalled where it
    says nothing for too long.
    """
    result, log, began = stage_dir / run_dir.RESULT, stage_dir / run_dir.LOG, time.time()
    while not result.is_file() or (last and time.time() - result.stat().st_mtime < GRACE_S):
        if _ended(process):
            break
        position = progress.read(stage_dir)
        watch(position)
        silent_s = time.time() - max(began, position.time if position else 0.0)
        if stalled_after_s is not None and silent_s > stalled_after_s and not result.is_file():
            stalled = StageStalled(stage_id, silent_s, log)
            run_dir.fail_stage(stage_dir, str(stalled))
            raise stalled
    if process.poll() is not None and not result.is_file():
        failed = StageFailed(stage_id, process.returncode, log)
        run_dir.fail_stage(stage_dir, str(failed))
        raise failed
    if process.returncode:
        _note(log, f"{stage_id} was done; its process ended with exit code {process.returncode} after that.")
    elif last and process.returncode is None:
        _note(log, f"{stage_id} was done; its process had not ended {GRACE_S} s after that, and is ended.")


def _note(log: Path, sentence: str) -> None:
    with log.open("a", encoding="utf-8") as file:
        file.write(f"\n{sentence}\n")


def _ended(process: subprocess.Popen[bytes]) -> bool:
    """Whether the process has ended, after waiting a moment for it."""
    try:
        process.wait(POLL_S)
    except subprocess.TimeoutExpired:
        return False
    return True
