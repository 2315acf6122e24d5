"""The steps, in the order of what can go wrong first; each drives commands and reads what these leave."""

import json
import math
import statistics
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from gpu import device, found, model, pins, stock
from gpu.found import Found
from verl_rzero import settings
from verl_rzero.base.files import read_json
from verl_rzero.data import run_dir
from verl_rzero.engine import jobs, memory
from verl_rzero.run import coevolve, model_fits
from verl_rzero.settings import Settings, machine

HARDWARE = {"cuda": "hardware=1gpu", "cpu": "hardware=cpu hardware.gpus_per_node=1 hardware.solver_gpus=0"}
"""One device for everything, by turns."""

EAGER = "hardware.verl.actor_rollout_ref.rollout.enforce_eager=true"
TINY = f"""model=tiny rounds=1 model.build_steps=300 attempts=1 candidates=40 votes=4 band=[0,1] too_few=repeat
    challenger.steps=1 challenger.batch_size=4 challenger.minibatch_size=2 solver.steps=1 solver.batch_size=8
    solver.minibatch_size=8 ~evaluation.benchmarks.tiny {EAGER}
    challenger.verl.reward.reward_model.rollout.enforce_eager=true"""
SHAPE = (
    """model=small model.name=shape rounds=1 attempts=1 too_few=repeat band=[0,1] challenger.steps=2 solver.steps=3"""
)
SIZES = {
    "cuda": """candidates=512 votes=4 model.prompt_tokens=256 model.question_tokens=1024 model.answer_tokens=1024
        challenger.batch_size=64 challenger.rollouts=4 solver.batch_size=64 solver.rollouts=5""",
    "cpu": """candidates=32 votes=4 model.prompt_tokens=256 model.question_tokens=96 model.answer_tokens=96
        challenger.batch_size=8 challenger.rollouts=4 challenger.minibatch_size=8 solver.batch_size=8
        solver.rollouts=4 solver.minibatch_size=8""",
}
MODELS = {"cuda": "qwen3_06b", "cpu": "small"}
MARGIN = 1.1
"""Of the estimates of memory."""

SAMPLING, TRAINING = ("gen", "reward"), ("old_log_prob", "ref", "adv", "update_actor")
"""verl's parts of a step."""

EDGE_S = 0.3
"""So much later than a step ended may it be written down."""

GOAL = 0.95
"""Of the speed of vLLM alone, for questions and votes."""


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


@dataclass(frozen=True)
class Step:
    """`limit_s` is for all its commands together, of a budget of ten minutes. `needs` names files of earlier steps that
    it can't do without, and what is missing without them.
    """

    name: str
    about: str
    limit_s: float
    commands: Callable[[Place], list[list[str]]]
    found: Callable[[Place], Found]
    needs: dict[str, str]


def words(place: Place, name: str) -> list[str]:
    """The settings of the runs of `tiny` and `shape`."""
    mine = {"tiny": TINY, "shape": f"{SHAPE} {SIZES[place.platform]} model.path={place.of('shape').here / 'model'}"}
    return [*f"{HARDWARE[place.platform]} {mine[name]}".split(), f"run_dir={place.of(name).run}"]


def asked(place: Place, name: str) -> Settings:
    return settings.load(words(place, name))


def python(*arguments: object) -> list[str]:
    return [sys.executable, "-m", *map(str, arguments)]


def from_file(place: Place) -> Found:
    return found.read(place.here)


def loop(place: Place) -> list[list[str]]:
    return [python("verl_rzero.coevolve", *words(place, place.name))]


def shape(place: Place) -> list[list[str]]:
    return [python("gpu.model", MODELS[place.platform], place.here / "model"), *loop(place)]


def of_tiny(place: Place) -> Found:
    seconds = stage_seconds(place.run)
    return Found({"stage_seconds": seconds}, f"{len(seconds)} stages in {sum(seconds.values()):.0f} s")


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


def of_shape(place: Place) -> Found:
    jobs_done = {role: steps_of(metrics(place, role)) for role in ("challenger", "solver")}
    said = [
        f"{role} {step_seconds(steps):.1f} s a step, {per_second(steps):,.0f} tokens/s"
        for role, steps in jobs_done.items()
        if steps
    ]
    return Found({"stage_seconds": stage_seconds(place.run), **jobs_done}, "; ".join(said))


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


def alone(place: Place) -> list[list[str]]:
    """verl's own trainer with the settings of our Solver's job."""
    stock.write(asked(place, "shape"), place.of("shape").here / "model", place.here)
    config = [f"--config-path={place.here}", f"--config-name={stock.NAME}", f"hydra.run.dir={place.here / 'hydra'}"]
    return [["env", f"VERL_FILE_LOGGER_PATH={place.here / stock.METRICS}", *python("verl.trainer.main_ppo", *config)]]


def of_verl(place: Place) -> Found:
    theirs, ours = steps_of(place.here / stock.METRICS), steps_of(metrics(place, "solver"))
    if not theirs:
        return Found()
    said, numbers = f"{step_seconds(theirs):.1f} s a step, {per_second(theirs):,.0f} tokens/s", {"solver": theirs}
    if not ours:
        return Found(numbers, said)
    ratio = per_second(ours) / per_second(theirs)
    return Found({**numbers, "ours_to_theirs": ratio}, f"{said}; ours {ratio:.2f} times as fast")


def of_memory(place: Place) -> Found:
    """Peaks of the jobs of `tiny` and `shape` beside what a dry run says."""
    rows: dict[str, dict[str, float]] = {}
    for name in ("tiny", "shape"):
        if not (place.of(name).run / run_dir.SETTINGS).is_file():
            continue
        seen, estimates = device.samples(samples_of(place, name)), dict(estimated(place, name))
        for (role, moment), times in phases(place, name).items():
            peak = max((size for at, size in seen if any(a <= at <= b for a, b in times)), default=None)
            if peak is not None:
                rows[f"{name}/{role}/{moment}"] = {
                    "estimate": estimates[role, moment], "peak": peak, "ratio": peak / estimates[role, moment],
                }  # fmt: skip
    over = {name: row for name, row in rows.items() if row["ratio"] > MARGIN}
    said = f"{len(rows)} moments" + "".join(f"; {name} {in_gib(row)}" for name, row in rows.items() if "shape" in name)
    wrong = "" if rows else "no moment was seen"
    if over:
        wrong = f"more than {MARGIN} times the estimate: " + ", ".join(f"{k} {in_gib(row)}" for k, row in over.items())
    return Found(rows, said, wrong)


def in_gib(row: dict[str, float]) -> str:
    return f"{row['peak'] / memory.GIB:.1f} of {row['estimate'] / memory.GIB:.1f} GiB"


def samples_of(place: Place, name: str) -> Path:
    return place.of(name).here / "memory.jsonl"


def estimated(place: Place, name: str) -> Iterator[tuple[tuple[str, str], int]]:
    """((role, moment), bytes) of each job; the moments are `phases`'."""
    mine = asked(place, name)
    shape = model_fits.shape(mine)
    assert shape is not None
    for role, config in coevolve.check_jobs(mine, place.of(name).run).items():
        if place.platform == "cuda":
            moments = memory.on_a_gpu(config, shape, machine.gpu_memory_bytes() or 0)
        else:
            moments = {"the whole job": memory.on_a_cpu(config, shape)}
        for moment, processes in moments.items():
            yield (role, moment), sum(process.size for process in processes)


Times = list[tuple[float, float]]


def phases(place: Place, name: str) -> dict[tuple[str, str], Times]:
    """(role, moment) -> from when to when, in seconds since 1970. On a card a step samples and votes first, and then
    trains; the checkpoint and the weights' sync behind that are neither.
    """
    times: dict[tuple[str, str], Times] = {}
    for role in ("challenger", "solver"):
        stage = place.of(name).run / "round_1" / role
        if place.platform == "cpu":
            if run_dir.is_done(stage):
                times[role, "the whole job"] = [whole(stage)]
            continue
        for ends, step in ended_steps(stage):
            begins = ends - step["timing_s/step"]
            trains = begins + sum(step.get(f"timing_s/{part}", 0.0) for part in SAMPLING)
            trained = trains + sum(step.get(f"timing_s/{part}", 0.0) for part in TRAINING) - EDGE_S
            times.setdefault((role, "sampling"), []).append((begins, trains))
            times.setdefault((role, "training"), []).append((trains, trained))
    return times


def whole(stage: Path) -> tuple[float, float]:
    """From when to when a stage took that is done."""
    done = run_dir.manifest(stage)
    ends = datetime.fromisoformat(done.finished).timestamp()
    return ends - done.seconds, ends


def ended_steps(stage: Path) -> list[tuple[float, dict[str, float]]]:
    """When each step of a job ended, and what verl tells of it."""
    steps, ours = steps_of(stage / jobs.VERL_METRICS), stage / run_dir.METRICS
    lines = ours.read_text(encoding="utf-8").splitlines()[: len(steps)] if ours.is_file() else []
    return [(json.loads(line)["time"], step) for line, step in zip(lines, steps, strict=True)]


def of_two_models(place: Place) -> Found:
    """Whether Challenger and frozen Solver have worked by turns on one device, and the most memory that took."""
    stage = place.of("shape").run / "round_1/challenger"
    (begins, ends), seen = whole(stage), device.samples(samples_of(place, "shape"))
    peak = max(size for at, size in seen if begins <= at <= ends)
    steps = [json.loads(line) for line in (stage / run_dir.METRICS).read_text(encoding="utf-8").splitlines()]
    votes = [step["seconds_vote"] for step in steps]
    numbers = {"peak": peak, "seconds_vote": votes, "answered": [step["well_formed_share"] for step in steps]}
    return Found(numbers, f"peak {peak / memory.GIB:.1f} GiB; votes {statistics.median(votes):.1f} s a step")


def nothing(place: Place) -> list[list[str]]:
    return []


A_DEVICE = {f"pins/{pins.DEVICE}": "pins found nothing to compute on"}
THE_MODEL = {**A_DEVICE, f"shape/model/{model.ROWS}": "shape made no model"}
STEPS = (
    Step(
        "pins",
        "packages, what we rely on in them, the card",
        60,
        lambda place: [python("gpu.pins", place.platform, place.here)],
        from_file,
        {},
    ),
    Step("tiny", "a round of the tiny world, both models by turns", 180, loop, of_tiny, A_DEVICE),
    Step(
        "sleep",
        "memory of an engine awake, asleep, awake again",
        75,
        lambda place: [python("gpu.sleep", place.platform, place.of("tiny").run, place.here)],
        from_file,
        {**A_DEVICE, "tiny/run/base/model/DONE": "tiny made no model"},
    ),
    Step("shape", "a round with the shape of Qwen3-0.6B", 300, shape, of_shape, A_DEVICE),
    Step("verl", "verl's own GRPO trainer on the same shapes", 120, alone, of_verl, THE_MODEL),
    Step(
        "vllm",
        f"questions and votes beside vLLM alone; goal {GOAL}",
        90,
        lambda place: [python("gpu.raw", place.of("shape").run, place.here)],
        from_file,
        {**A_DEVICE, "shape/run/round_1/votes/DONE": "shape has no votes"},
    ),
    Step("memory", "peaks beside the estimates of a dry run", 10, nothing, of_memory, A_DEVICE),
    Step(
        "two_models",
        "Challenger trained, frozen Solver asked, on one device",
        10,
        nothing,
        of_two_models,
        {**A_DEVICE, "shape/run/round_1/challenger/DONE": "shape has trained no Challenger"},
    ),
)
