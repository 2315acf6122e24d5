"""The GRPO job of a stage that trains: its rows, its configuration, the model that comes out of it."""

import math
import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from verl_rzero.base.errors import UserError
from verl_rzero.data import records, run_dir
from verl_rzero.data.outputs import model_of
from verl_rzero.engine.checkpoints import add_adapter, make_portable, towards
from verl_rzero.methods.inputs import StageInputs
from verl_rzero.methods.policies import BASE, leaves_engines
from verl_rzero.rules.prompts import Messages
from verl_rzero.settings import Settings

if TYPE_CHECKING:
    from verl_rzero.engine.batch_rewards import BatchReward
    from verl_rzero.engine.samplers import Sampler


def as_it_was(stage: StageInputs, role: str) -> dict[str, Any]:
    """The result of a stage that doesn't train its role; of the run's own model the path from the stage's directory."""
    model = stage.model(role)
    inside = isinstance(model, Path) and model.is_relative_to(stage.run)
    return {"model": os.path.relpath(model, stage.dir) if inside else str(model), "steps": []}


def prompt_rows(source: str, prompts: Sequence[Messages]) -> list[records.PromptRow]:
    """A row to each prompt; `source` is a name for verl's metrics."""
    unlabelled: dict[str, str | None] = {"style": "rule", "ground_truth": None}
    return [records.PromptRow(source, messages, source, unlabelled, {"index": i}) for i, messages in enumerate(prompts)]


def train(
    stage: StageInputs, asked: Settings, role: str, data: Path, sampler: "Sampler", batch_reward: "BatchReward"
) -> dict[str, Any]:
    """One GRPO job of a role, from its model as it is, on the prompts in `data`."""
    from verl_rzero.engine import grpo, jobs

    os.environ["VERL_FILE_LOGGER_PATH"] = str(stage.dir / jobs.VERL_METRICS)  # where verl's logger `file` is asked for
    start, base = stage.model(role), model_of(stage.run / BASE)
    frozen_solver = stage.model("solver") if role == "challenger" else None
    config = jobs.verl_config(
        asked, role, model=start, train_file=data, stage_dir=stage.dir, solver=frozen_solver, base=base
    )
    trainer = grpo.run(config, sampler, batch_reward, stage.engines.take_over())
    trained, steps = grpo.trained_model(config), trainer.records
    if asked.lora.rank:
        trained = add_adapter(trained, start, config)
    share = asked.solver.towards_start if role == "solver" else 0.0
    if share:
        trained = towards(start, trained, share)
    make_portable(trained, start)
    trained.rename(stage.dir / "model")
    if leaves_engines(asked, role):  # for the stages that follow in this process
        stage.engines.leave(trainer.end)
        stage.engines.keep(stage.dir / "model", trainer.rollout_servers(), trainer.tokenizer)
        if frozen_solver is not None:
            stage.engines.keep(frozen_solver, trainer.solver_servers(), trainer.tokenizer, trainer.give_way_to_solver)
    if list(config.actor_rollout_ref.actor.checkpoint.save_contents) == jobs.saved(asked):
        shutil.rmtree(stage.dir / run_dir.CHECKPOINTS)
    return {"model": "model", "steps": steps}


def fitting(asked: Settings, role: str, rows: int) -> Settings:
    """`asked` with the batch made small enough for its data, where too_few=shrink allows that; else a UserError."""
    job = getattr(asked, role)
    if rows >= job.batch_size:
        return asked
    if asked.too_few != "shrink":
        raise UserError(
            f"{rows} questions are fewer than one batch ({role}.batch_size={job.batch_size}). Take a smaller batch, or "
            "write too_few=shrink (smaller batches) or too_few=repeat (questions come several times in a batch)."
        )
    gpus = asked.hardware.train_gpus(role)
    even = gpus // math.gcd(gpus, job.rollouts)  # an update's sequences are shared out evenly among the GPUs
    minibatch = min(job.minibatch_size, rows - rows % even)
    if not minibatch:
        raise UserError(
            f"{rows} questions are too few to be shared out among {gpus} GPUs. Take fewer GPUs, or more questions: a "
            "larger candidates, or with TTRL more in data."
        )
    return replace(asked, **{role: replace(job, batch_size=rows - rows % minibatch, minibatch_size=minibatch)})
