"""Numbers on their way to TensorBoard and W&B, and what takes them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from verl_rzero.methods.kinds import Stage


@dataclass(frozen=True)
class Point:
    """Numbers at one step of one axis ("challenger", "solver" or "round"); `time` in seconds since 1970."""

    axis: str
    step: int
    time: float
    values: dict[str, float]


class Backend(Protocol):
    """Where points go: tensorboard_run.py, wandb_run.py. Its `directory` also holds the list of the stages it has."""

    directory: Path

    def start(self, stage: Stage) -> None:
        """The stage is done from the beginning; what an attempt before has left is forgotten."""

    def add(self, stage: Stage, points: list[Point]) -> None:
        """Points of a stage that is at work."""

    def finish(self, stage: Stage) -> None:
        """The stage is done and its points are complete."""

    def close(self) -> None: ...
