"""Everything that can be set in a fine-tuning, from config/sft.yaml, a run and the command line, in this order."""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from verl_rzero import settings
from verl_rzero.base.errors import UserError, refusal
from verl_rzero.data import run_dir
from verl_rzero.data.outputs import solver_of
from verl_rzero.settings import Hardware, compose, schema
from verl_rzero.settings import rules as settings_rules
from verl_rzero.settings.schema import doc

GROUPS = ("hardware",)


@dataclass(frozen=True)
class SolverPrompt:
    solver_system: str | None = field(metadata=doc("system turn; null for none"))
    solver_user: str = field(metadata=doc("user turn; {question} stands for the question"))


@dataclass(frozen=True)
class Sft:
    run: str | None = field(
        metadata=doc("directory of an R-Zero run: its last Solver, prompts and token limits, where they aren't given")
    )
    model: str | None = field(metadata=doc("Hugging Face directory or hub name of the model to start from"))
    data: str | None = field(
        metadata=doc("parquet or jsonl file with the columns question and answer, and solution or working if there is")
    )
    to: str | None = field(metadata=doc("directory of the trained model, which must not be there yet"))
    epochs: int = field(metadata=doc("how often each labelled question is seen", at_least=1))
    batch_size: int = field(metadata=doc("questions in one optimizer update", at_least=1))
    lr: float = field(metadata=doc("learning rate at its peak", above=0))
    weight_decay: float = field(metadata=doc("AdamW's weight decay", at_least=0))
    schedule: str = field(
        metadata=doc("learning rate after the warm-up: falls by a cosine, or stays", choices=("cosine", "constant"))
    )
    warmup: float = field(metadata=doc("share of the updates in which the learning rate rises", at_least=0, at_most=1))
    max_tokens: int = field(metadata=doc("longest prompt and solution together; longer ones are refused", at_least=2))
    seed: int = field(metadata=doc("seed of the order of the questions", at_least=0))
    logger: tuple[str, ...] = field(metadata=doc("where verl logs to: console, tensorboard, wandb, ..."))
    prompts: SolverPrompt
    hardware: Hardware
    verl: dict[str, Any] = field(metadata=doc("any key of verl's own SFT configuration"))


def load(overrides: list[str]) -> Sft:
    """Settings from words as on the command line, checked against each other and the disk; raises UserError."""
    data = compose.from_files("sft", overrides, GROUPS)
    if data["run"] is not None:
        _fill_in(data, Path(data["run"]).expanduser(), overrides)
    if isinstance(data["model"], str) and Path(data["model"]).expanduser().is_dir():
        data["model"] = str(Path(data["model"]).expanduser().resolve())
    asked = schema.build(Sft, data)
    for error in _problems(asked):
        raise error
    return asked


def as_dict(asked: Sft) -> dict[str, Any]:
    """The settings as nested dicts, lists and plain values, as in JSON."""
    return {key: list(value) if isinstance(value, tuple) else value for key, value in dataclasses.asdict(asked).items()}


def _fill_in(data: dict[str, Any], run: Path, overrides: list[str]) -> None:
    """Take the run's last Solver, prompts and token limits where the overrides say nothing of them."""
    if not (run / run_dir.SETTINGS).is_file():
        why = f"there is no {run_dir.SETTINGS} in it"
        raise refusal("run", run, why, "Write the directory of a run of recipes/run_rzero.sh, or model= without run=.")
    of_run = settings.read(run / run_dir.SETTINGS)
    if compose.chosen(overrides, "model") is None:
        data["model"] = str(_last_solver(run, of_run.rounds))
    for name in ("solver_system", "solver_user"):
        if compose.chosen(overrides, f"prompts.{name}") is None:
            data["prompts"][name] = getattr(of_run.prompts, name)
    if compose.chosen(overrides, "max_tokens") is None:
        model = of_run.model
        data["max_tokens"] = model.prompt_tokens + model.question_tokens + model.answer_tokens


def _last_solver(run: Path, rounds: int) -> Path | str:
    """The Solver of the last round that the run has finished it in."""
    done = [t for t in range(1, rounds + 1) if run_dir.is_done(run / f"round_{t}/solver")]
    if not done:
        raise refusal("run", run, "it has no trained Solver yet", "Let it finish a round, or write model= too.")
    return solver_of(run, done[-1])


def _problems(asked: Sft) -> Iterator[UserError]:
    """What is missing, what doesn't fit together, and what isn't on the disk."""
    if asked.model is None:
        yield UserError("model= or run= is missing: what to start from. Write a Hugging Face directory or owner/name.")
        return
    local = Path(asked.model)
    if not local.is_dir() and not settings_rules.may_be_hub_name(asked.model):
        why = "there is no such directory, and it can't be a hub name either"
        yield refusal("model", asked.model, why, "Write a Hugging Face model directory or owner/name.")
    if local.is_dir() and not (local / "config.json").is_file():
        why = "there is no config.json in it, so it isn't a Hugging Face model"
        yield refusal("model", asked.model, why, "In a run, models are <run>/round_<t>/solver/model.")
    if asked.data is None:
        yield UserError("data= is missing: the labelled questions, a parquet or jsonl file.")
    if asked.to is None:
        yield UserError("to= is missing: the directory to write the trained model to.")
    if "{question}" not in asked.prompts.solver_user:
        why = "without {question} the model would not see the question"
        yield refusal("prompts.solver_user", asked.prompts.solver_user, why, "Put {question} where it belongs.")
    hardware = asked.hardware
    if hardware.nodes > 1:
        yield refusal("hardware.nodes", hardware.nodes, "this runs on one machine", "Write hardware.nodes=1.")
    if hardware.verl:
        why = "these are keys of the GRPO jobs"
        yield refusal("hardware.verl", hardware.verl, why, "Write verl.<key>= for keys of verl's SFT trainer.")
    if asked.batch_size % hardware.gpus_per_node:
        why = f"an update can't be shared out evenly among {hardware.gpus_per_node} GPUs"
        yield refusal("batch_size", asked.batch_size, why, f"Write a multiple of {hardware.gpus_per_node}.")
