"""The steps, in the order of what can go wrong first; each drives commands and reads what these leave."""

import sys
from collections.abc import Callable
from dataclasses import dataclass

from gpu import found, model, peaks, pins, stock
from gpu.found import Found
from gpu.runs import MODELS, Place, asked, metrics, per_second, stage_seconds, step_seconds, steps_of, words

GOAL = 0.95
"""Of the speed of vLLM alone, for questions and votes."""


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


def of_shape(place: Place) -> Found:
    jobs_done = {role: steps_of(metrics(place, role)) for role in ("challenger", "solver")}
    said = [
        f"{role} {step_seconds(steps):.1f} s a step, {per_second(steps):,.0f} tokens/s"
        for role, steps in jobs_done.items()
        if steps
    ]
    return Found({"stage_seconds": stage_seconds(place.run), **jobs_done}, "; ".join(said))


def alone(place: Place) -> list[list[str]]:
    """verl's own trainer with the settings of our Solver's job."""
    stock.write(asked(place, "shape"), place.of("shape").here / "model", place.here)
    config = [f"--config-path={place.here}", f"--config-name={stock.NAME}", f"hydra.run.dir={place.here / 'hydra'}"]
    variables = ["HYDRA_FULL_ERROR=1", f"VERL_FILE_LOGGER_PATH={place.here / stock.METRICS}"]
    return [["env", *variables, *python("verl.trainer.main_ppo", *config)]]


def of_verl(place: Place) -> Found:
    theirs, ours = steps_of(place.here / stock.METRICS), steps_of(metrics(place, "solver"))
    if not theirs:
        return Found()
    said, numbers = f"{step_seconds(theirs):.1f} s a step, {per_second(theirs):,.0f} tokens/s", {"solver": theirs}
    if not ours:
        return Found(numbers, said)
    ratio = per_second(ours) / per_second(theirs)
    return Found({**numbers, "ours_to_theirs": ratio}, f"{said}; ours {ratio:.2f} times as fast")


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
    Step("tiny", "a round of the tiny world, both models by turns", 240, loop, of_tiny, A_DEVICE),
    Step(
        "sleep",
        "memory of an engine awake, asleep, awake again",
        75,
        lambda place: [python("gpu.sleep", place.platform, place.of("tiny").run, place.here)],
        from_file,
        {**A_DEVICE, "tiny/run/base/model/DONE": "tiny made no model"},
    ),
    Step("shape", "a round with the shape of Qwen3-0.6B", 360, shape, of_shape, A_DEVICE),
    Step("verl", "verl's own GRPO trainer on the same shapes", 120, alone, of_verl, THE_MODEL),
    Step(
        "vllm",
        f"questions and votes beside vLLM alone; goal {GOAL}",
        90,
        lambda place: [python("gpu.raw", place.of("shape").run, place.here)],
        from_file,
        {**A_DEVICE, "shape/run/round_1/votes/DONE": "shape has no votes"},
    ),
    Step("memory", "peaks beside the estimates of a dry run", 10, nothing, peaks.of_memory, A_DEVICE),
    Step(
        "two_models",
        "Challenger trained, frozen Solver asked, on one device",
        10,
        nothing,
        peaks.of_two_models,
        {**A_DEVICE, "shape/run/round_1/challenger/DONE": "shape has trained no Challenger"},
    ),
)
