"""Rows of a stage that isn't done, kept on disk as they come: what its next attempt need not ask a model again.

    <stage>/parts/<of>/000000.parquet, 000001.parquet, ...

`of` says what they were made from, a model's hash; a row's own columns say the rest, and whoever takes it up checks it.
"""

import shutil
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Generic

from verl_rzero.data import records
from verl_rzero.data.records import Record, VotedQuestion

DIRECTORY = "parts"
WRITE_EVERY_S = 20.0


class Parts(Generic[Record]):
    """Rows that are written in small files: when there are enough, and every `WRITE_EVERY_S` seconds as more come.

    What attempts before have left of the same `of` is taken up, of another it is deleted. A file that can't be read
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
        self._before = self._written()
        self._files = int(self._before[-1].stem) + 1 if self._before else 0
        self._waiting: list[Record] = []
        self._written_at = time.monotonic()

    def add(self, rows: list[Record]) -> None:
        self._waiting += rows
        if len(self._waiting) >= records.ROWS or time.monotonic() - self._written_at >= WRITE_EVERY_S:
            self.write()

    def write(self) -> None:
        """Write what waits."""
        if self._waiting:
            records.write(self._dir / f"{self._files:06}.parquet", self._waiting, self._kind)
            self._files += 1
        self._waiting, self._written_at = [], time.monotonic()

    def before(self) -> Iterator[Record]:
        """The rows of attempts before, a file after the other."""
        for path in self._before:
            yield from _read(path, self._kind)

    def in_order(self: "Parts[VotedQuestion]", ids: Sequence[int]) -> Iterator[VotedQuestion]:
        """The written rows with these ids, in this order, read back a portion at a time; of several with one id the
        last.
        """
        paths = self._written()
        where = {each: number for number, path in enumerate(paths) for each in _ids(path)}
        for first in range(0, len(ids), records.ROWS):
            portion = ids[first : first + records.ROWS]
            of_file: dict[int, set[int]] = defaultdict(set)
            for each in portion:
                of_file[where[each]].add(each)
            found = {
                row.id: row
                for number, wanted in of_file.items()
                for row in records.stream(paths[number], self._kind)
                if row.id in wanted
            }
            yield from (found[each] for each in portion)

    def _written(self) -> list[Path]:
        return sorted(self._dir.glob("*.parquet"))


def _read(path: Path, kind: type[Record]) -> list[Record]:
    import pyarrow as pa

    try:
        return records.read(path, kind)
    except (OSError, ValueError, pa.ArrowException):
        return []


def _ids(path: Path) -> list[int]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return list(pq.read_table(path, columns=["id"])["id"].to_pylist())
    except (OSError, pa.ArrowException):
        return []
