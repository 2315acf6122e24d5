"""The two runs that the steps look at: where they are, their settings, and what verl tells of their steps."""

import json
import math
import statistics
from dataclasses import dataclass
from pathlib import Path

from verl_rzero import settings
from verl_rzero.base.files import read_json
from verl_rzero.data import run_dir
from verl_rzero.engine import jobs
from verl_rzero.settings import Settings

HARDWARE = {"cuda": "hardware=1gpu", "cpu": "hardware=cpu hardware.gpus_per_node=1 hardware.solver_gpus=0"}
"""One device for everything, by turns."""

EAGER = "hardware.verl.actor_rollout_ref.rollout.enforce_eager=true"
TINY = f"""model=tiny rounds=1 model.build_steps=300 attempts=1 candidates=40 votes=4 band=[0,1] too_few=repeat
    challenger.steps=1 challenger.batch_size=4 challenger.minibatch_size=2 solver.steps=1 solver.batch_size=8
    solver.minibatch_size=8 ~evaluation.benchmarks.tiny {EAGER}
    challenger.verl.reward.reward_model.rollout.enforce_eager=true"""
SHAPE = "model=small model.name=shape rounds=1 attempts=1 too_few=repeat band=[0,1] challenger.steps=2 solver.steps=3"
"""With compiled kernels, since its questions and votes are those that vLLM alone is compared with."""

SIZES = {
    "cuda": """candidates=512 votes=4 model.prompt_tokens=256 model.question_tokens=1024 model.answer_tokens=1024
        challenger.batch_size=64 challenger.rollouts=4 solver.batch_size=64 solver.rollouts=5""",
    "cpu": """candidates=32 votes=4 model.prompt_tokens=256 model.question_tokens=96 model.answer_tokens=96
        challenger.batch_size=8 challenger.rollouts=4 challenger.minibatch_size=8 solver.batch_size=8
        solver.rollouts=4 solver.minibatch_size=8""",
}
MODELS = {"cuda": "qwen3_06b", "cpu": "small"}


@dataclass(frozen=True)
class Place:
    """Where a step works and what on: `out` is everybody's directory, `here` the step's own."""

    platform: str
    out: Path
    name: str

    @property
    def here(self) -> Path:
        return self.out / self.name

    @property
    def run(self) -> Path:
        """The directory of the run, which also names all processes of the step."""
        return self.here / "run"

    def of(self, name: str) -> "Place":
        return Place(self.platform, self.out, name)


def words(place: Place, name: str) -> list[str]:
    """The settings of the runs of `tiny` and `shape`."""
    mine = {"tiny": TINY, "shape": f"{SHAPE} {SIZES[place.platform]}"}
    made = [f"model.path={place.of(name).here / 'model'}"] if name == "shape" else []
    return [*f"{HARDWARE[place.platform]} {mine[name]}".split(), *made, f"run_dir={place.of(name).run}"]


def asked(place: Place, name: str) -> Settings:
    return settings.load(words(place, name))


def stage_seconds(run: Path) -> dict[str, float]:
    """Of each stage that is done, its start included."""
    if not (run / run_dir.REPORT).is_file():
        return {}
    report = read_json(run / run_dir.REPORT)
    return {
        f"{where}/{kind}": seconds
        for where, part in [("base", report["base"]), *((f"round_{row['round']}", row) for row in report["rounds"])]
        for kind, seconds in part["seconds"].items()
    }


def metrics(place: Place, role: str) -> Path:
    """verl's numbers of a job of the run `shape`."""
    return place.of("shape").run / "round_1" / role / jobs.VERL_METRICS


def steps_of(file: Path) -> list[dict[str, float]]:
    """What verl tells of time, memory and lengths of each step; `seconds` are the step's without a checkpoint."""
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    steps = [json.loads(line)["data"] for line in lines]
    kept = ("timing_s/", "perf/", "response_length/", "prompt_length/")
    return [
        {"seconds": step["timing_s/step"] - step.get("timing_s/save_checkpoint", 0.0)}
        | {name: value for name, value in step.items() if name.startswith(kept) and math.isfinite(value)}
        for step in steps
    ]


def warm(steps: list[dict[str, float]]) -> list[dict[str, float]]:
    """All but the first, in which kernels are compiled, where there are others."""
    return steps[1:] or steps


def step_seconds(steps: list[dict[str, float]]) -> float:
    return statistics.median(step["seconds"] for step in warm(steps))


def per_second(steps: list[dict[str, float]]) -> float:
    """Tokens, those of the prompts included, that a second of a step takes."""
    return statistics.median(step["perf/total_num_tokens"] / step["seconds"] for step in warm(steps))


def samples_of(place: Place, name: str) -> Path:
    return place.of(name).here / "memory.jsonl"
