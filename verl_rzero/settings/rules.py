"""The rules that bind several settings together, each with a refusal that says what to write instead."""

import math
from collections.abc import Iterator
from pathlib import Path

from verl_rzero.base.errors import UserError, refusal
from verl_rzero.settings import self_play_rules
from verl_rzero.settings.benchmarks import TABLE, source
from verl_rzero.settings.evaluation import Evaluation, Judge
from verl_rzero.settings.parts import Anchors, Challenger, Hardware, Model, Solver
from verl_rzero.settings.run_settings import Settings


def problems(settings: Settings) -> Iterator[UserError]:
    """The rules that bind several keys together."""
    yield from _range_problems(settings)
    yield from _vote_problems(settings)
    yield from _anchor_problems(settings.anchors)
    yield from _ttrl_problems(settings)
    yield from self_play_rules.problems(settings)
    if settings.curation.replay_share + settings.anchors.share >= 1:
        why = f"anchors.share={settings.anchors.share} and curation.replay_share leave no room for new questions"
        yield refusal("curation.replay_share", settings.curation.replay_share, why, "Write smaller shares.")
    for role in _in_batches(settings):
        yield from _batch_problems(role, getattr(settings, role))
    yield from _model_problems(settings.model)
    if "{question}" not in settings.prompts.solver_user:
        why = "without {question} the Solver would not see the question"
        yield refusal("prompts.solver_user", settings.prompts.solver_user, why, "Put {question} where it belongs.")
    for name in settings.evaluation.benchmarks:
        yield from _benchmark_problems(name, settings.evaluation, settings.model)
    yield from _judge_problems(settings.evaluation.judge)
    yield from _choice_problems(settings)
    yield from _hardware_problems(settings.hardware)
    for role in _in_batches(settings):
        yield from _update_problems(role, getattr(settings, role), settings.hardware.train_gpus(role))


def _in_batches(settings: Settings) -> tuple[str, ...]:
    """The roles whose steps are batches of prompts. A step of Absolute Zero is one update (`self_play_rules.py`)."""
    return {"rzero": ("challenger", "solver"), "ttrl": ("solver",)}.get(settings.algorithm, ())


def _batch_problems(role: str, job: Challenger | Solver) -> Iterator[UserError]:
    if job.batch_size % job.minibatch_size:
        divisors = [n for n in range(1, job.minibatch_size) if job.batch_size % n == 0]
        why = f"{role}.batch_size={job.batch_size} is not a multiple of it"
        yield refusal(f"{role}.minibatch_size", job.minibatch_size, why, f"Write {role}.minibatch_size={divisors[-1]}.")


def _update_problems(role: str, job: Challenger | Solver, gpus: int) -> Iterator[UserError]:
    if job.minibatch_size * job.rollouts % gpus:
        why = f"{job.minibatch_size} x {job.rollouts} rollouts can't be shared out evenly among {gpus} GPUs"
        multiple = gpus // math.gcd(gpus, job.rollouts)
        yield refusal(f"{role}.minibatch_size", job.minibatch_size, why, f"Write a multiple of {multiple}.")


def _model_problems(model: Model) -> Iterator[UserError]:
    if model.build is None and model.path is None:
        why = "there is no base model"
        yield refusal("model.path", None, why, "Write model.path=<directory or hub name>, or model=tiny.")
    if model.path is not None and not Path(model.path).expanduser().is_dir() and not may_be_hub_name(model.path):
        why = "there is no such directory, and it can't be a hub name either"
        yield refusal("model.path", model.path, why, "Write a Hugging Face model directory or owner/name.")
    if model.build in ("tiny_world", "code_world") and model.path is not None:
        why = f"the base model is built here (model.build={model.build})"
        yield refusal("model.path", model.path, why, "Write model.build=null with it, or leave it out.")
    if model.truth is not None and model.truth.count(":") != 1:
        yield refusal("model.truth", model.truth, "this is not module:function", "Write pkg.module:function, or null.")


def may_be_hub_name(path: str) -> bool:
    """owner/name, where the owner is no directory beside us: a misspelt local path shall not go looking on a hub."""
    owner, _, name = path.partition("/")
    return (
        bool(name) and "/" not in name and not owner.startswith((".", "~")) and owner != "" and not Path(owner).is_dir()
    )


def _benchmark_problems(name: str, evaluation: Evaluation, model: Model) -> Iterator[UserError]:
    key, benchmark = f"evaluation.benchmarks.{name}", evaluation.benchmarks[name]
    if evaluation.made_with_model(name) and model.build is None:
        why = f"nothing makes this benchmark for {model.name}"
        instead = f"Write the path of a parquet or JSONL file, or take one of {', '.join(TABLE)}."
        yield refusal(f"{key}.path", None, why, instead)
    if evaluation.made_with_model(name) and benchmark.n is None:
        yield refusal(f"{key}.n", None, "this benchmark is made with the base model", f"Write {key}.n=500.")
    if benchmark.path is not None and not Path(benchmark.path).expanduser().exists():
        why = "there is no such file or directory"
        yield refusal(f"{key}.path", benchmark.path, why, "Write the path of a parquet or JSONL file, or a directory.")
    if "/" in name or name.startswith("."):
        yield refusal(key, {}, "its name stands in names of files", "Write one without / or a dot before it.")


def _judge_problems(judge: Judge) -> Iterator[UserError]:
    if (judge.url is None) != (judge.model is None):
        missing = "url" if judge.url is None else "model"
        why = "a judge needs both an address and the name of a model"
        yield refusal(f"evaluation.judge.{missing}", None, why, "Set both evaluation.judge.url and .model, or neither.")
    if judge.url is not None and not judge.url.startswith(("http://", "https://")):
        why = "this is no http address"
        yield refusal("evaluation.judge.url", judge.url, why, "Write http://<host>:<port>/v1, for example.")


def _choice_problems(settings: Settings) -> Iterator[UserError]:
    key, name, benchmarks = "evaluation.choose_by", settings.evaluation.choose_by, settings.evaluation.benchmarks
    if name is None:
        if settings.monitors.early_stop_rounds is not None:
            why = "no benchmark says whether a round is better"
            instead = "Write evaluation.choose_by=<benchmark> with it, or null."
            yield refusal("monitors.early_stop_rounds", settings.monitors.early_stop_rounds, why, instead)
    elif name not in benchmarks:
        where = "null" if settings.model.build else "<parquet file>"
        why = f"no benchmark has this name ({', '.join(benchmarks) or 'there is none'})"
        yield refusal(key, name, why, f"Write evaluation.benchmarks.{name}='{{path: {where}, n: 200}}' with it.")
    elif len(benchmarks) == 1:
        why = "it would be the only benchmark, and one that chooses the round can't be reported as the result"
        yield refusal(key, name, why, "Add another benchmark to choose by: docs/monitoring.md.")


def _hardware_problems(hardware: Hardware) -> Iterator[UserError]:
    if hardware.device == "cpu":
        if hardware.tensor_parallel > 1:
            why = "on a CPU an engine is one process"
            instead = "Write hardware.tensor_parallel=1."
            yield refusal("hardware.tensor_parallel", hardware.tensor_parallel, why, instead)
        return
    if hardware.solver_gpus >= hardware.gpus_per_node:
        why = f"none of hardware.gpus_per_node={hardware.gpus_per_node} is left to train the Challenger"
        instead = f"Write at most hardware.solver_gpus={hardware.gpus_per_node - 1}, or 0 to share all by turns."
        yield refusal("hardware.solver_gpus", hardware.solver_gpus, why, instead)
    for name in ("gpus_per_node", "solver_gpus"):
        if getattr(hardware, name) % hardware.tensor_parallel:
            why = f"hardware.{name}={getattr(hardware, name)} is not a multiple of it"
            yield refusal(
                "hardware.tensor_parallel", hardware.tensor_parallel, why, "Write hardware.tensor_parallel=1."
            )


def _range_problems(settings: Settings) -> Iterator[UserError]:
    ranges: dict[str, tuple[float, float] | None] = {
        "band": settings.band,
        "challenger.uncertainty_band": settings.challenger.uncertainty_band,
        "curation.rank_band": settings.curation.rank_band,
        "curation.question_chars": settings.curation.question_chars,
    }
    for name, values in ranges.items():
        if values is not None and values[0] > values[1]:
            low, high = values
            yield refusal(name, values, "its lower end comes first", f"Write {name}=[{high}, {low}].")


def _vote_problems(settings: Settings) -> Iterator[UserError]:
    votes, curation = settings.votes_of_dataset, settings.curation
    low, high = settings.band
    if settings.unanswered == "all" and low <= high and not any(low <= k / votes <= high for k in range(votes + 1)):
        below = math.floor(low * votes) / votes
        why = f"of {votes} answers no whole number has such a share: no question would be kept"
        yield refusal("band", settings.band, why, f"Write band=[{below:.4g}, {high}], or another number of votes.")
    if curation.min_answered > votes:
        why = f"a question has only {votes} answers"
        yield refusal("curation.min_answered", curation.min_answered, why, f"Write at most {votes}.")


def _anchor_problems(anchors: Anchors) -> Iterator[UserError]:
    if anchors.path is None:
        for name in ("in_prompt", "share"):
            if getattr(anchors, name):
                why = "there are no human examples (anchors.path=null)"
                yield refusal(f"anchors.{name}", getattr(anchors, name), why, "Write anchors.path=<parquet or JSONL>.")
    elif not Path(anchors.path).expanduser().is_file():
        yield refusal("anchors.path", anchors.path, "there is no such file", "Write a parquet or JSONL file's path.")
    elif not anchors.in_prompt and not anchors.share:
        why = "nothing uses it"
        yield refusal("anchors.path", anchors.path, why, "Write anchors.share=0.05 or anchors.in_prompt=3 with it.")


def _ttrl_problems(settings: Settings) -> Iterator[UserError]:
    data, benchmarks, votes = settings.data, settings.evaluation.benchmarks, settings.ttrl.votes
    if settings.algorithm != "ttrl":
        if data is not None:
            yield refusal("data", data, f"algorithm={settings.algorithm} asks its own questions", "Write method=ttrl.")
        return
    if data is None:
        instead = "Write data=<parquet or JSONL file with a column question>, or data=<one of evaluation.benchmarks>."
        yield refusal("data", data, "there are no questions to train on", instead)
    elif data in benchmarks and source(data).grader != "math":
        yield refusal("data", data, "its answers are not numbers to vote on", "Take a benchmark of mathematics.")
    elif data not in benchmarks and not Path(data).expanduser().is_file():
        why = f"there is no such file, and no such benchmark ({', '.join(benchmarks) or 'there is none'})"
        yield refusal("data", data, why, "Write the path of a parquet or JSONL file.")
    if settings.solver.format_weight:
        why = "where answers vote, nothing is given for a form"
        yield refusal("solver.format_weight", settings.solver.format_weight, why, "Write solver.format_weight=0.")
    if settings.anchors.path is not None:
        why = "human examples have no place among questions without labels"
        yield refusal("anchors.path", settings.anchors.path, why, "Write anchors.path=null.")
    if votes < settings.solver.rollouts:
        why = f"solver.rollouts={settings.solver.rollouts} of them are trained on"
        yield refusal("ttrl.votes", votes, why, f"Write ttrl.votes={settings.solver.rollouts} or more.")
