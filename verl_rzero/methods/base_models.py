"""The base models that a run makes itself, each with the benchmarks of its world."""

from collections.abc import Callable, Iterator
from typing import Any

from verl_rzero.base.progress import Progress
from verl_rzero.methods.inputs import StageInputs
from verl_rzero.rules.prompts import challenger_messages, solver_messages

BENCHMARK = "benchmark_{}.parquet"
MODEL = "model"
"""The model's directory below the stage's."""


def tiny_world(stage: StageInputs) -> dict[str, Any]:
    """A model trained from scratch on the corpus of the tiny world."""
    from verl_rzero.tiny_world import base_model, benchmark

    model = stage.settings.model
    progress = Progress(stage.dir, model.build_steps, "step")
    numbers = base_model.build(
        stage.dir / MODEL, model.build_seed, model.build_steps, lambda done, _total, note: progress.update(done, note)
    )
    drawn: list[str] = []  # benchmarks of one world share no question
    for name, n in _benchmarks(stage):
        drawn += benchmark.write(stage.dir / BENCHMARK.format(name), n, model.build_seed, drawn)
    return numbers


def code_world(stage: StageInputs) -> dict[str, Any]:
    """A model trained from scratch on the corpus of the code world; a benchmark is named by its kind of task."""
    from verl_rzero.code_world import base_model, benchmark

    model = stage.settings.model
    for name, n in _benchmarks(stage):
        benchmark.write(stage.dir / BENCHMARK.format(name), name, n, model.build_seed)
    progress = Progress(stage.dir, model.build_steps, "step")
    return base_model.build(
        stage.dir / MODEL, model.build_seed, model.build_steps, lambda done, _total, note: progress.update(done, note)
    )


def smollm2(stage: StageInputs) -> dict[str, Any]:
    """SmolLM2, or the model that model.path names, made ready for both roles; a benchmark is named by its kind."""
    from verl_rzero.english_sums import benchmark, preparation, source

    model, prompts = stage.settings.model, stage.settings.prompts
    for name, n in _benchmarks(stage):
        benchmark.write(stage.dir / BENCHMARK.format(name), name, n, model.build_seed)
    progress = Progress(stage.dir, preparation.PARTS, "part")
    return preparation.prepare(
        model.path or source.smollm2(),
        stage.dir / MODEL,
        challenger_messages(prompts),
        lambda question: solver_messages(prompts, question),
        model.build_seed,
        lambda done, _total, note: progress.update(done, note),
    )


BUILDS: dict[str, Callable[[StageInputs], dict[str, Any]]] = {
    "tiny_world": tiny_world,
    "code_world": code_world,
    "smollm2": smollm2,
}
"""model.build -> writes the model into the stage's directory and returns its numbers."""


def _benchmarks(stage: StageInputs) -> Iterator[tuple[str, int]]:
    """Name and number of questions of the benchmarks that are made with the model."""
    evaluation = stage.settings.evaluation
    for name, asked in evaluation.benchmarks.items():
        if asked.n is not None and evaluation.made_with_model(name):
            yield name, asked.n
