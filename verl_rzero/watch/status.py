"""Where a run is, whether it lives or not: `python -m verl_rzero.status <run>`. Only reads, and loads no engine."""

import json
import shutil
import sys
import textwrap
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from verl_rzero import settings
from verl_rzero.base import command_line, progress
from verl_rzero.base import processes as run_processes
from verl_rzero.base.display import TAIL_LINES, clock, end_of, seconds_left
from verl_rzero.base.errors import UserError
from verl_rzero.base.text import for_terminal
from verl_rzero.data import run_dir, run_words
from verl_rzero.methods import plan
from verl_rzero.methods.kinds import Stage
from verl_rzero.settings import Settings
from verl_rzero.watch import monitors, report

USAGE = """\
Where a run is, running or not: its stages, what is next, the latest numbers, the end of a log.

  python -m verl_rzero.status <run> [key=value ...]

  log=round_1/solver    the end of this stage's log, instead of the running or failed one's
  lines=25              how many lines of it
  watch=5               again every 5 seconds, until the run ends or Ctrl-C
"""

SHORT_LINES = 8
QUIET_S = 60.0
"""A running stage that has said nothing for longer is shown with the time of its silence."""

DONE, RUNNING, FAILED, INTERRUPTED, TO_DO, DAMAGED = "done", "running", "failed", "interrupted", "to do", "damaged"


@dataclass(frozen=True)
class StageState:
    """One stage of the plan: its `state` is one of the words above, `text` says more."""

    stage: Stage
    state: str
    text: str


@dataclass(frozen=True)
class Status:
    """A run as it is found. `since`: when the orchestrator that lives started (seconds since 1970), None without one;
    `processes`: how many others of the run there are on this machine.
    """

    run: Path
    settings: Settings
    since: float | None
    processes: int
    stages: list[StageState]

    @property
    def current(self) -> StageState | None:
        """The first stage that isn't done, None when all are."""
        return next((each for each in self.stages if each.state != DONE), None)


def look(run: Path) -> Status:
    """Read where the run is. Raises UserError when its settings can't be read."""
    asked = settings.recall(run / run_dir.SETTINGS)
    since, now = run_dir.locked_since(run), time.time()
    stages: list[StageState] = []
    for stage in plan.plan(asked):
        first = all(each.state == DONE for each in stages)
        stages.append(_state(stage, run, since, now, first))
    return Status(run, asked, since, sum(1 for _ in run_processes.processes_of(run)), stages)


def _state(stage: Stage, run: Path, since: float | None, now: float, first: bool) -> StageState:
    """`first`: all stages before this one are done."""
    here = stage.directory(run)
    if run_dir.is_done(here):
        return _done(stage, here)
    if first and since is not None:
        return StageState(stage, RUNNING, _running(stage, run, since, now))
    if (here / run_dir.FAILED).is_file():
        return StageState(stage, FAILED, _text(here / run_dir.FAILED).strip())
    if first and here.is_dir():
        return StageState(stage, INTERRUPTED, _position(here))
    return StageState(stage, TO_DO, stage.size)


def _done(stage: Stage, here: Path) -> StageState:
    """Done, or damaged when what the report needs of it can't be read."""
    try:
        if not isinstance(run_dir.result(here), dict):
            return StageState(stage, DAMAGED, f"marked as done, but {run_dir.RESULT} holds no numbers")
        return StageState(stage, DONE, f"in {clock(run_dir.manifest(here).seconds)}")
    except (OSError, ValueError, TypeError) as error:
        files = f"{run_dir.RESULT} or {run_dir.MANIFEST}"
        return StageState(stage, DAMAGED, f"marked as done, but {files} can't be read: {error}")


def _running(stage: Stage, run: Path, since: float, now: float) -> str:
    here = stage.directory(run)
    clocked = f"for {clock(now - _started(run, since))}"
    try:
        position = progress.read(here)
    except (ValueError, TypeError) as error:
        return f"{clocked}; {progress.FILE} can't be read: {error}"
    if position is None:
        return f"{clocked}, has not said anything yet"
    parts = [_counted(position), clocked]
    first = progress.Position(0, position.total, position.unit, "", position.began, position.began)
    left = seconds_left(first, position, now)
    if left is not None:
        parts.append(f"{clock(left)} left")
    if now - position.time > QUIET_S:
        parts.append(f"silent for {clock(now - position.time)}")
    return ", ".join(parts)


def _started(run: Path, since: float) -> float:
    """When the running stage began: with the orchestrator, or when the last stage before it was done."""
    before = [_finished(path.parent) for path in run.glob(f"*/*/{run_dir.DONE}")]
    return max([since, *before])


def _finished(stage_dir: Path) -> float:
    try:
        return datetime.fromisoformat(_text(stage_dir / run_dir.DONE).strip()).timestamp()
    except ValueError:
        return 0.0  # an empty or damaged marker is still a marker; its time only shows


def _position(here: Path) -> str:
    """How far a stage came that no longer runs."""
    try:
        position = progress.read(here)
    except (ValueError, TypeError) as error:
        return f"{progress.FILE} can't be read: {error}"
    return _counted(position) if position else "before its first word"


def _counted(position: progress.Position) -> str:
    return ", ".join(part for part in (f"{position.done}/{position.total} {position.unit}s", position.note) if part)


def shown(status: Status, log: str, lines: int) -> str:
    """The whole picture as text. `log` names the stage whose log is shown, "" for the one that runs or ended badly."""
    width = max(len(each.stage.id) for each in status.stages)
    table = [f"  {each.stage.id:<{width}}  {each.state:<11}  {each.text}" for each in status.stages]
    parts = [_head(status), "\n".join(table), _next(status), _last_step(status), _numbers(status)]
    return for_terminal("\n\n".join(part for part in [*parts, _log(status, log, lines)] if part))


def _head(status: Status) -> str:
    """The one line that says it all."""
    current = status.current
    if status.since is not None:
        what = f"running {current.stage.id}" if current else "all stages done, the report is being written"
        return f"{status.run}: {what}; up for {clock(time.time() - status.since)}, {_count(status.processes)} here"
    what = f"{current.state} in {current.stage.id}" if current else "finished"
    if current and current.state == TO_DO:
        what = f"stopped before {current.stage.id}"
    left = f"; {_count(status.processes)} left over, which the next start ends" if status.processes else ""
    return f"{status.run}: {what}{left}"


def _count(number: int) -> str:
    return f"{number} process{'' if number == 1 else 'es'}"


def _next(status: Status) -> str:
    """What comes after the running stage, or what would continue the run."""
    rest = [each for each in status.stages if each.state != DONE]
    if any(each.state == DAMAGED for each in rest):
        return "next: put the damaged files back, or delete that stage's directory and those of all stages after it"
    if status.since is not None:
        rest = rest[1:]
    if not rest:
        return ""
    words = f"{rest[0].stage.id} ({rest[0].stage.size}), {len(rest)} to go"
    return f"next: {words}" if status.since is not None else f"next: {words}; the command that began the run continues"


def _last_step(status: Status) -> str:
    """The numbers of the last step that the current stage wrote down."""
    if status.current is None:
        return ""
    path = status.current.stage.directory(status.run) / "metrics.jsonl"
    whole = [line for line in end_of(path).splitlines(keepends=True) if line.endswith("\n")] if path.is_file() else []
    if not whole:
        return ""
    try:
        numbers: dict[str, Any] = json.loads(whole[-1])
        given = [f"{key} {value:.4g}" for key, value in numbers.items() if _is_shown(key)]
        text = f"step {numbers['step']}: {', '.join(given)}"
    except (ValueError, TypeError, KeyError) as error:
        text = f"metrics.jsonl can't be read: {error!r}"
    return textwrap.fill(text, shutil.get_terminal_size((120, 1)).columns - 1, subsequent_indent="  ")


def _is_shown(key: str) -> bool:
    return key not in ("time", "step") and not key.startswith("seconds_")


def _numbers(status: Status) -> str:
    if any(each.state == DAMAGED for each in status.stages):
        return ""
    if not any(each.state == DONE for each in status.stages):
        return ""
    content = report.build(status.run, status.settings)
    return "\n\n".join([report.table(content), *(monitors.in_words(alarm) for alarm in content["alarms"])])


def _log(status: Status, asked: str, lines: int) -> str:
    """The end of the log asked for, or of the current stage's, under its path."""
    current = status.current
    if not asked and (current is None or current.state == TO_DO):
        return ""
    name = asked or (current.stage.id if current else "")
    path = status.run / name / run_dir.LOG
    if not path.is_file():
        if not asked:
            return ""
        have = [each.stage.id for each in status.stages if (each.stage.directory(status.run) / run_dir.LOG).is_file()]
        raise UserError(f"log={asked}: there is no such log. There is one of: {', '.join(have) or 'no stage'}.")
    last = [for_terminal(line) for line in end_of(path).splitlines()[-lines:]]
    if sys.stdout.isatty():
        last = [line[: shutil.get_terminal_size().columns - 3] for line in last]
    return "\n".join([f"{path}:", *(f"  {line}" for line in last)])


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")


def main(words: Sequence[str]) -> None:
    """The command line; raises UserError."""
    run, options = run_words.run_and_options(words, ("log", "lines", "watch"))
    log = options.get("log", "").strip("/")
    lines = command_line.whole_number("lines", options.get("lines", str(TAIL_LINES if log else SHORT_LINES)))
    if "watch" not in options:
        print(shown(look(run), log, lines))
        return
    pause_s = command_line.number("watch", options["watch"])
    terminal = sys.stdout.isatty()
    while True:
        status = look(run)
        print(("\x1b[H\x1b[2J" if terminal else "") + shown(status, log, lines), flush=True)
        if status.since is None:
            return
        time.sleep(pause_s)
        if not terminal:
            print()
