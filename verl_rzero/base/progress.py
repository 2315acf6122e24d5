"""How a stage tells where it is, to whoever watches from another process."""

import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path

FILE = "progress.json"
WRITE_EVERY_S = 0.2


@dataclass(frozen=True)
class Position:
    """Where a stage is: `done` of `total` units. `time` is when it said so, `began` when it had done none yet, both in
    seconds since 1970.
    """

    done: int
    total: int
    unit: str
    note: str
    time: float
    began: float


class Progress:
    """Keeps `progress.json` in a stage's directory up to date.

    `total` counts `unit`s ("step", "question"); a stage that does several things in turn makes one Progress for each.
    """

    def __init__(self, stage_dir: Path, total: int, unit: str) -> None:
        self._path = stage_dir / FILE
        self._total = total
        self._unit = unit
        self._written_at = 0.0
        self._began = time.time()
        self.update(0)

    def update(self, done: int, note: str = "") -> None:
        """`done` units are done. Calls in quick succession are dropped, but not the first one and the last."""
        now = time.monotonic()
        if 0 < done < self._total and now - self._written_at < WRITE_EVERY_S:
            return
        self._written_at = now
        position = Position(done, self._total, self._unit, note, time.time(), self._began)
        temporary = self._path.with_name(f".{FILE}.{os.getpid()}")
        temporary.write_text(json.dumps(asdict(position)), encoding="utf-8")
        temporary.replace(self._path)


def read(stage_dir: Path) -> Position | None:
    """What the stage said last, None when it has said nothing yet."""
    path = stage_dir / FILE
    return Position(**json.loads(path.read_text(encoding="utf-8"))) if path.exists() else None
