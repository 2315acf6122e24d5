"""One TensorBoard run, and one W&B run, over all stages and rounds of a run.

The stages write their numbers to files; the orchestrator alone passes them on, so that nothing is lost or written
twice when a stage or the orchestrator is killed. Axes: `challenger/...` and `solver/...` at (round - 1) * steps + step,
verl's own numbers beside them as `challenger_verl/...` and `solver_verl/...`; `round/...` at the round, 0 for the base.
"""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from verl_rzero.base.errors import refusal
from verl_rzero.base.files import read_json, write_json
from verl_rzero.base.progress import Position
from verl_rzero.data import run_dir
from verl_rzero.engine import jobs
from verl_rzero.methods.kinds import Stage
from verl_rzero.settings import Settings
from verl_rzero.settings.schema import flat
from verl_rzero.watch import monitors
from verl_rzero.watch.points import Backend, Point

METRICS = "metrics.jsonl"
STAGES = "stages.json"
_PACKAGES = {"tensorboard": "tensorboard", "wandb": "wandb"}


class Tracker:
    """Passes each stage's points on to the backends, while it works and once more in full order when it is done."""

    def __init__(self, run: Path, settings: Settings, backends: list[Backend]) -> None:
        self._run, self._settings, self._backends = run, settings, backends
        self._lines: list[_Lines] = []
        self._times: dict[int, float] = {}

    def start(self, stage: Stage) -> None:
        self._open(stage, self._backends)

    def follow(self, stage: Stage) -> None:
        """Pass on what the stage has written since the last call."""
        self._send(stage, self._new_points(stage), self._backends)

    def watching(self, stage: Stage, watch: Callable[[Position | None], None]) -> Callable[[Position | None], None]:
        """`watch`, with `follow` before each call."""

        def both(position: Position | None) -> None:
            self.follow(stage)
            watch(position)

        return both

    def finish(self, stage: Stage, report: dict[str, Any]) -> None:
        """The stage is done and in `report`: the rest of its points, and those of its round."""
        self.follow(stage)
        self._complete(stage, report, self._backends)

    def catch_up(self, stages: list[Stage], report: dict[str, Any]) -> None:
        """Pass on the stages that were done before, to the backends that don't have them: one that was not asked for
        then, or that was killed in between.
        """
        for stage in stages:
            behind = [backend for backend in self._backends if stage.id not in _complete_in(backend)]
            if not behind:
                continue
            self._open(stage, behind)
            self._send(stage, self._new_points(stage), behind)
            self._complete(stage, report, behind)

    def _open(self, stage: Stage, backends: list[Backend]) -> None:
        for backend in backends:
            _declare(backend, [each for each in _complete_in(backend) if each != stage.id])
            backend.start(stage)
        here = stage.directory(self._run)
        self._lines = [_Lines(here / METRICS), _Lines(here / jobs.VERL_METRICS)]
        self._times = {}

    def _complete(self, stage: Stage, report: dict[str, Any], backends: list[Backend]) -> None:
        values = round_values(stage, report)
        when = (stage.directory(self._run) / run_dir.RESULT).stat().st_mtime
        self._send(stage, [Point("round", stage.round, when, values)], backends)
        for backend in backends:
            backend.finish(stage)
            _declare(backend, [*_complete_in(backend), stage.id])

    def _send(self, stage: Stage, points: list[Point], backends: list[Backend]) -> None:
        for backend in backends:
            if points:
                backend.add(stage, points)

    def _new_points(self, stage: Stage) -> list[Point]:
        if not stage.kind.trains or not self._backends:
            return []
        role = stage.kind.name
        before = (stage.round - 1) * getattr(self._settings, role).steps_in_all
        ours, verls = self._lines
        points = []
        for row in ours.new():
            step, self._times[row["step"]] = row["step"], row["time"]
            values = {f"{role}/{key}": value for key, value in row.items() if key not in ("step", "time")}
            points.append(Point(role, before + step, row["time"], _finite(values)))
        for row in verls.new():
            when = self._times.get(row["step"], time.time())
            # What we add to verl's numbers stands among ours already.
            values = {f"{role}_verl/{key}": v for key, v in row["data"].items() if not key.startswith("rzero/")}
            points.append(Point(role, before + row["step"], when, _finite(values)))
        return points


def round_values(stage: Stage, report: dict[str, Any]) -> dict[str, float]:
    """The single numbers of a done stage, its monitors' readings, its seconds and its number of alarms."""
    part = report["rounds"][stage.round - 1] if stage.round else report["base"]
    numbers = {**flat(part[stage.kind.name]), **monitors.all_readings(report).get(stage.id, {})}
    values = {f"round/{stage.kind.name}/{key.replace('.', '/')}": value for key, value in numbers.items()}
    values[f"round/seconds/{stage.kind.name}"] = part["seconds"][stage.kind.name]
    values[f"round/alarms/{stage.kind.name}"] = sum(alarm["stage"] == stage.id for alarm in report["alarms"])
    return _finite(values)


def _finite(values: dict[str, Any]) -> dict[str, float]:
    """Only the numbers: not texts, lists, or the null that stands for NaN."""
    return {k: float(v) for k, v in values.items() if isinstance(v, int | float) and not isinstance(v, bool)}


def _complete_in(backend: Backend) -> list[str]:
    """The ids of the stages whose points the backend has in full."""
    path = backend.directory / STAGES
    ids: list[str] = read_json(path) if path.exists() else []
    return ids


def _declare(backend: Backend, ids: list[str]) -> None:
    write_json(backend.directory / STAGES, ids)


class _Lines:
    """The objects of a file of JSON lines that is being written, each once, as soon as its line is whole."""

    def __init__(self, path: Path) -> None:
        self._path, self._read = path, 0

    def new(self) -> Iterator[dict[str, Any]]:
        if not self._path.exists() or self._path.stat().st_size <= self._read:
            return
        with self._path.open("rb") as file:
            file.seek(self._read)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                self._read += len(line)
                yield json.loads(line)


def check(settings: Settings) -> None:
    """Raises UserError for a logger whose package is not installed, before anything is computed."""
    for name, package in _PACKAGES.items():
        if name in settings.logger and find_spec(package) is None:
            why = f"the package {package} is not installed"
            raise refusal("logger", settings.logger, why, f"pip install {package}, or leave {name} out.")


@contextmanager
def tracker(run: Path, settings: Settings) -> Iterator[Tracker]:
    """A tracker with the backends that `logger` asks for, closed at the end. Raises UserError."""
    with ExitStack() as stack:
        backends: list[Backend] = []
        if "tensorboard" in settings.logger:
            from verl_rzero.watch.tensorboard_run import TensorBoard

            backends.append(TensorBoard(run))
        if "wandb" in settings.logger:
            from verl_rzero.watch.wandb_run import WandB

            backends.append(WandB(run, settings))
        for backend in backends:
            stack.callback(backend.close)
        yield Tracker(run, settings, backends)
