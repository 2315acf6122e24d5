"""Rows of a stage that isn't done, kept on disk as they come: what its next attempt need not ask a model again.

    <stage>/parts/<of>/000000.parquet, 000001.parquet, ...

`of` says what they were made from, a model's hash; a row's own columns say the rest, and whoever takes it up checks it.
"""

import shutil
import time
from pathlib import Path
from typing import Generic

from verl_rzero.data import records
from verl_rzero.data.records import Record

DIRECTORY = "parts"
WRITE_EVERY_S = 20.0


class Parts(Generic[Record]):
    """Rows that are written in small files, every `WRITE_EVERY_S` seconds, when more come.

    Attributes:
        before: the rows of attempts before, of the same `of`; those of another are deleted. A file that can't be read
            counts as absent.
    """

    def __init__(self, stage_dir: Path, kind: type[Record], of: str) -> None:
        here = stage_dir / DIRECTORY
        self._kind: type[Record] = kind
        self._dir = here / of.replace("/", "--")
        for other in here.iterdir() if here.is_dir() else ():
            if other != self._dir:
                shutil.rmtree(other) if other.is_dir() else other.unlink()
        self._dir.mkdir(parents=True, exist_ok=True)
        self.before: list[Record] = []
        self._files = 0
        for path in sorted(self._dir.glob("*.parquet")):
            self.before += _read(path, kind)
            self._files = int(path.stem) + 1
        self._waiting: list[Record] = []
        self._written_at = time.monotonic()

    def add(self, rows: list[Record]) -> None:
        self._waiting += rows
        if time.monotonic() - self._written_at >= WRITE_EVERY_S:
            self.write()

    def write(self) -> None:
        """Write what waits."""
        if self._waiting:
            records.write(self._dir / f"{self._files:06}.parquet", self._waiting, self._kind)
            self._files += 1
        self._waiting, self._written_at = [], time.monotonic()


def _read(path: Path, kind: type[Record]) -> list[Record]:
    import pyarrow as pa

    try:
        return records.read(path, kind)
    except (OSError, ValueError, pa.ArrowException):
        return []
