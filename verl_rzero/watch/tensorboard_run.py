"""The run for TensorBoard: `<run>/tensorboard`, one event file for each stage.

A stage that is done anew loses the file of the attempt before and so its points: no reader sees them twice. File names
begin with the time in ns, because TensorBoard reads the files of a directory in the order of their names.
"""

import time
from pathlib import Path
from typing import IO

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

from verl_rzero.methods.kinds import Stage
from verl_rzero.watch.points import Point

DIRECTORY = "tensorboard"


class TensorBoard:
    """A backend of tracking.Tracker; readers see each point as soon as it is added."""

    def __init__(self, run: Path) -> None:
        self.directory = run / DIRECTORY
        self.directory.mkdir(exist_ok=True)
        self._file: IO[bytes] | None = None

    def start(self, stage: Stage) -> None:
        self.close()
        name = stage.id.replace("/", ".")
        for path in self.directory.glob(f"events.out.tfevents.*.{name}"):
            path.unlink()
        self._file = (self.directory / f"events.out.tfevents.{time.time_ns()}.{name}").open("wb")
        self._write(Event(wall_time=time.time(), file_version="brain.Event:2"))

    def add(self, stage: Stage, points: list[Point]) -> None:
        for point in points:
            values = [Summary.Value(tag=tag, simple_value=value) for tag, value in point.values.items()]
            self._write(Event(wall_time=point.time, step=point.step, summary=Summary(value=values)))

    def finish(self, stage: Stage) -> None:
        self.close()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _write(self, event: Event) -> None:
        assert self._file is not None
        RecordWriter(self._file).write(event.SerializeToString())
        self._file.flush()
