"""What a person sees of a stage: one line that renews itself in a terminal, a few plain lines in a log."""

import os
import shutil
import sys
import time
from pathlib import Path
from typing import TextIO

from verl_rzero.base.progress import Position
from verl_rzero.base.text import for_terminal

LOG_EVERY_S = 15.0
TAIL_LINES = 25
TAIL_BYTES = 1 << 16
_BAR = 20


class StageLine:
    """Shows one stage from its start to its end, as a context manager: how it is left decides on the last line."""

    def __init__(self, stage_id: str, stream: TextIO | None = None) -> None:
        self._id = stage_id
        self._stream = stream or sys.stdout
        self._terminal = self._stream.isatty()
        self._started = self._shown_at = time.monotonic()
        self._first: Position | None = None
        if not self._terminal:
            self._print(f"{stage_id}: started")

    def watch(self, position: Position | None) -> None:
        """Show where the stage is; `position` is None until the stage has said it."""
        if position is not None and (self._first is None or position.done < self._first.done):
            self._first = position
        if position is not None and self._first is not None and position.unit != self._first.unit:
            self._first = position
        now = time.monotonic()
        if self._terminal:
            width = shutil.get_terminal_size().columns - 1
            self._stream.write("\r\x1b[K" + self._line(position)[:width])
            self._stream.flush()
        elif now - self._shown_at >= LOG_EVERY_S:
            self._shown_at = now
            self._print(self._line(position))

    def __enter__(self) -> "StageLine":
        return self

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        interrupted = error is not None and issubclass(error, KeyboardInterrupt)
        word = "done" if error is None else "stopped" if interrupted else "failed"
        if self._terminal:
            self._stream.write("\r\x1b[K")
        self._print(f"{self._id}: {word} in {clock(time.monotonic() - self._started)}")

    def _line(self, position: Position | None) -> str:
        elapsed = clock(time.monotonic() - self._started)
        if position is None:
            return f"{self._id}  starting  {elapsed}"
        parts = [self._id, f"{position.done}/{position.total} {position.unit}", position.note, elapsed]
        if self._terminal:
            filled = _BAR * position.done // max(position.total, 1)
            parts.insert(1, "[" + "#" * filled + "." * (_BAR - filled) + "]")
        if self._first is not None:
            left = seconds_left(self._first, position, time.time())
            parts.append("" if left is None else f"{clock(left)} left")
        return for_terminal("  ".join(part for part in parts if part))

    def _print(self, line: str) -> None:
        self._stream.write((line if self._terminal else f"[{time.strftime('%H:%M:%S')}] {line}") + "\n")
        self._stream.flush()


def seconds_left(first: Position, last: Position, now: float) -> float | None:
    """Seconds to the end at the pace since `first`, the first thing the stage said; None while there is no pace yet.

    The time before `first`, in which engines start, says nothing of the pace. `now` is in seconds since 1970.
    """
    done = last.done - first.done
    if done <= 0:
        return None
    pace_s = (last.time - first.time) / done
    return max(0.0, pace_s * (last.total - last.done) - (now - last.time))


def clock(seconds: float) -> str:
    """1:05 for 65 seconds, 1:01:05 for an hour more."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def tail(log: Path) -> str:
    """The last lines of a log file, in which models and libraries may have written anything, as a terminal may show
    them.
    """
    return "\n".join(for_terminal(line) for line in end_of(log).splitlines()[-TAIL_LINES:])


def end_of(path: Path) -> str:
    """The last 64 KiB of a file that may be large and is being written to."""
    with path.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL_BYTES))
        return file.read().decode(errors="replace")


def say(line: str) -> None:
    print(for_terminal(line), flush=True)
