"""The run on Weights & Biases: one run id for all stages and rounds, taken up again by each start of the command.

W&B cannot take points back, so a training stage's points are sent when it is done: a stage that was killed leaves none.
TensorBoard shows them live. Whatever W&B reads from the environment holds (WANDB_MODE=offline, WANDB_PROJECT, ...).
"""

import os
import secrets
from pathlib import Path
from typing import Any

from verl_rzero.base.errors import UserError
from verl_rzero.base.files import write_atomically
from verl_rzero.methods.kinds import Stage
from verl_rzero.settings import Settings, as_dict
from verl_rzero.watch.points import Point

DIRECTORY = "wandb"
PROJECT = "verl_rzero"
AXES = ("challenger", "solver", "round")


class WandB:
    """A backend of tracking.Tracker. Raises UserError when W&B lets nobody in (no account and not offline)."""

    def __init__(self, run: Path, settings: Settings) -> None:
        import wandb

        self.directory = run / DIRECTORY
        self.directory.mkdir(exist_ok=True)
        try:
            self._run: Any = wandb.init(
                id=run_id(run),
                resume="allow",
                project=os.environ.get("WANDB_PROJECT", PROJECT),
                name=os.environ.get("WANDB_NAME", run.name),
                dir=str(run),
                config=as_dict(settings),
                settings=wandb.Settings(console="off"),
            )
        except wandb.Error as error:
            raise UserError(
                f"logger={list(settings.logger)}: W&B says: {error} Log in with `wandb login`, set "
                "WANDB_MODE=offline, or leave wandb out."
            ) from error
        for axis in AXES:
            self._run.define_metric(_axis(axis), hidden=True)
            self._run.define_metric(f"{axis}/*", step_metric=_axis(axis))
            self._run.define_metric(f"{axis}_verl/*", step_metric=_axis(axis))
        self._held: list[Point] = []

    def start(self, stage: Stage) -> None:
        self._held = []

    def add(self, stage: Stage, points: list[Point]) -> None:
        self._held += points

    def finish(self, stage: Stage) -> None:
        for point in self._held:
            self._run.log({**point.values, _axis(point.axis): point.step})

    def close(self) -> None:
        self._run.finish()


def run_id(run: Path) -> str:
    """The run's id at W&B, made at its first start and kept in its directory, so that it moves along with it."""
    path = run / DIRECTORY / "id"
    if not path.exists():
        write_atomically(path, f"{_allowed(run.name)}-{secrets.token_hex(4)}\n")
    return path.read_text(encoding="utf-8").strip()


def _allowed(name: str) -> str:
    """W&B takes letters, digits, - and _ in an id, at most 64 of them."""
    return "".join(c if c.isascii() and (c.isalnum() or c in "-_") else "_" for c in name)[:48]


def _axis(name: str) -> str:
    return f"{name}_step"
