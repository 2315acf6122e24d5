"""A fine-tuning from its words to a Hugging Face directory: `python -m verl_rzero.sft [key=value ...]`."""

import json
import math
import os
import shutil
import sys
import textwrap
import time
from collections.abc import Sequence
from hashlib import file_digest
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from verl_rzero.base import display
from verl_rzero.base.command_line import exit_code
from verl_rzero.base.display import say
from verl_rzero.base.errors import StageFailed, refusal
from verl_rzero.base.files import read_json, write_json
from verl_rzero.base.progress import Position
from verl_rzero.data import run_dir
from verl_rzero.data.outputs import model_hash
from verl_rzero.engine import environment, processes
from verl_rzero.engine.checkpoints import make_portable
from verl_rzero.rules.prompts import solver_messages
from verl_rzero.settings import compose, machine, schema
from verl_rzero.sft import job, labels
from verl_rzero.sft.sft_settings import GROUPS, Sft, as_dict, load

RESULT = "sft.json"
"""Beside the weights: settings, counts, and the numbers of every update."""

HELP = """\
Supervised fine-tuning of a checkpoint on labelled questions, with verl's SFT trainer; after R-Zero, or beside it.

  python -m verl_rzero.sft model=<dir> data=<file> to=<dir> [key=value ...]      or: bash recipes/run_sft.sh ...

  ... run=runs/tiny data=labels.parquet to=runs/tiny_sft      the last Solver of a run, with the run's prompts
  ... verl.optim.clip_grad=0.5                                any key of verl's own SFT configuration
"""


def fine_tune(asked: Sft) -> dict[str, Any]:
    """Train, and move the model to `asked.to` when it is whole; returns the content of its sft.json.

    A model that the same settings made of the same inputs is left as it is. Raises UserError,
    StageFailed, KeyboardInterrupt.
    """
    to, data = Path(str(asked.to)).expanduser().resolve(), Path(str(asked.data)).expanduser()
    rows = labels.read(data)
    _check_count(asked, len(rows))
    asked_for = json.loads(json.dumps({"settings": as_dict(asked), "inputs": _inputs(asked, data)}))
    if to.exists():
        return _done_before(asked, to, asked_for)
    work = to.with_name(f"{to.name}.partial")
    here = work / "job"
    job.verl_config(asked, here, here)  # so that a wrong key is refused before anything is made
    with run_dir.locked(work):
        run_dir.start_stage(here)
        tokens = _tokens(asked, rows)
        labels.write(here / "train.parquet", tokens, asked.seed)
        OmegaConf.save(job.verl_config(asked, here / "train.parquet", here / "checkpoints"), here / "config.yaml")
        _train(asked, work, here, len(rows) // asked.batch_size * asked.epochs)
        made: dict[str, Any] = asked_for | _result(here, tokens)
        make_portable(_model(here), str(asked.model))
        write_json(_model(here) / RESULT, made)
        _model(here).rename(to)
    shutil.rmtree(work)
    return made


def _inputs(asked: Sft, data: Path) -> dict[str, str]:
    with data.open("rb") as file:
        return {"data": file_digest(file, "sha256").hexdigest()[:16], "model": model_hash(str(asked.model))}


def _done_before(asked: Sft, to: Path, asked_for: dict[str, Any]) -> dict[str, Any]:
    if not (to / RESULT).is_file():
        raise refusal("to", asked.to, "there is something already that this didn't write", "Write another directory.")
    made: dict[str, Any] = read_json(to / RESULT)
    free = ("settings.logger", "settings.hardware", "settings.to")
    before, now = (schema.flat({key: part[key] for key in ("settings", "inputs")}) for part in (made, asked_for))
    differing = [key for key in now if now[key] != before.get(key) and not key.startswith(free)]
    if differing:
        why = f"the model there was made with other {', '.join(differing)}"
        raise refusal("to", asked.to, why, "Write another directory.")
    say(f"{to}: done before")
    return made


def _check_count(asked: Sft, rows: int) -> None:
    """verl drops the rest of an epoch that is no whole batch; with fewer rows than one it would train on nothing."""
    if rows < asked.batch_size:
        why = f"{asked.data} has {rows} rows, fewer than one batch"
        gpus = asked.hardware.gpus_per_node
        instead = f"Write batch_size={rows // gpus * gpus}." if rows >= gpus else "Write a file with more rows."
        raise refusal("batch_size", asked.batch_size, why, instead)


def _tokens(asked: Sft, rows: list[labels.Labelled]) -> list[labels.Tokens]:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(asked.model)
    tokens = [labels.tokens(tokenizer, solver_messages(asked.prompts, row.question), row.response) for row in rows]
    labels.check_lengths(str(asked.data), tokens, asked.max_tokens)
    return tokens


def _train(asked: Sft, work: Path, here: Path, steps: int) -> None:
    """verl's trainer under torchrun, one process for each GPU (on a CPU, one)."""
    metrics, log = here / "metrics.jsonl", here / run_dir.LOG
    torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={asked.hardware.gpus_per_node}"]
    words = [sys.executable, *torchrun, "-m", "verl_rzero.sft.job", str(here / "config.yaml")]
    variables = environment.COMMON | (environment.CPU if asked.hardware.device == "cpu" else {}) | os.environ
    variables |= {"VERL_FILE_LOGGER_PATH": str(metrics)}
    variables.setdefault("TENSORBOARD_DIR", str(here / "tensorboard"))
    began = time.time()
    with processes.running(words, work, log, variables) as process, display.StageLine("sft") as line:
        while process.poll() is None:
            line.watch(_position(metrics, steps, began))
            time.sleep(processes.POLL_S)
        if process.returncode:
            raise StageFailed("sft", process.returncode, log)


def _position(metrics: Path, steps: int, began: float) -> Position | None:
    done = _updates(metrics)
    if not done:
        return None
    return Position(len(done), steps, "update", f"loss {done[-1]['loss']:.3f}", metrics.stat().st_mtime, began)


def _updates(metrics: Path) -> list[dict[str, float]]:
    """Loss, gradient norm and learning rate of the updates that verl has logged so far."""
    lines = metrics.read_text(encoding="utf-8").split("\n")[:-1] if metrics.exists() else []
    logged = [json.loads(line)["data"] for line in lines]
    return [{name: data[f"train/{name}"] for name in ("loss", "grad_norm", "lr")} for data in logged]


def _result(here: Path, tokens: list[labels.Tokens]) -> dict[str, Any]:
    return {
        "rows": len(tokens),
        "learned_tokens": sum(len(row.response_ids) for row in tokens),
        "code_version": run_dir.code_version(),
        "packages": run_dir.package_versions(),
        "finished": run_dir.now(),
        # verl leaves an update out whose gradient isn't finite, and goes on
        "updates": [
            {name: value if math.isfinite(value) else None for name, value in update.items()}
            for update in _updates(here / "metrics.jsonl")
        ],
    }


def _model(here: Path) -> Path:
    checkpoints = here / "checkpoints"
    step = (checkpoints / "latest_checkpointed_iteration.txt").read_text()
    return checkpoints / f"global_step_{step}" / "huggingface"


def help_text(overrides: list[str]) -> str:
    """What the command does and every key with its value and its meaning."""
    values = schema.flat(compose.from_files("sft", overrides, GROUPS))
    groups = [f"  {group}={'|'.join(compose.choices(group))}" for group in GROUPS]
    lines = []
    for key in schema.keys(Sft):
        lines.append(f"  {key.name}={schema.value_of(key.name, values)}")
        lines += textwrap.wrap(f"{key.doc} ({key.type})", 112, initial_indent=" " * 6, subsequent_indent=" " * 6)
    return "\n".join([HELP, "Groups of settings, each a YAML file in recipes/:", *groups, "", "Keys:", *lines])


def main(words: Sequence[str]) -> int:
    """The command line; returns the exit code: 2 for what the user can put right, 1 for a failure, 130 when stopped."""

    def work(words: Sequence[str]) -> None:
        overrides = [word for word in words if word not in ("-h", "--help")]
        overrides, about_hardware = machine.with_hardware(overrides, machine.visible_gpus())
        if {"-h", "--help"} & {*words}:
            say(help_text(overrides))
            return
        asked = load(overrides)
        say(about_hardware)
        made = fine_tune(asked)
        first, last = made["updates"][0]["loss"], made["updates"][-1]["loss"]
        say(f"{made['rows']} rows, {len(made['updates'])} updates, loss {first:.3f} to {last:.3f}")
        say(f"model   {Path(str(asked.to)).expanduser().resolve()}")

    return exit_code(work, usage=None, words=words, again="starts anew")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
