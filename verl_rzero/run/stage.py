"""One stage in its own process: `python -m verl_rzero.run.stage <run> <stage id>`. The orchestrator starts it."""

import asyncio
import math
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from verl_rzero.base.errors import UserError
from verl_rzero.base.files import write_json
from verl_rzero.base.progress import Progress
from verl_rzero.data import records, run_dir
from verl_rzero.data.outputs import kept_before, label_accuracy, model_hash, model_of, truth_of
from verl_rzero.engine import environment
from verl_rzero.engine.checkpoints import make_portable
from verl_rzero.grading.counts import GradingCounts
from verl_rzero.methods import plan
from verl_rzero.methods.inputs import StageInputs, remembered
from verl_rzero.settings import Settings

BENCHMARK = "benchmark_{}.parquet"


def base_model(stage: StageInputs) -> dict[str, Any]:
    """The base model: built here, or the given one; and the benchmarks that are made with it."""
    model = stage.settings.model
    if model.path is not None:
        local = Path(model.path).expanduser()
        return {"model": str(local.resolve()) if local.is_dir() else model.path}
    from verl_rzero.tiny_world import base_model as tiny
    from verl_rzero.tiny_world import benchmark

    progress = Progress(stage.dir, model.build_steps, "step")
    numbers = tiny.build(
        stage.dir / "model", model.build_seed, model.build_steps, lambda done, _total, note: progress.update(done, note)
    )
    drawn: list[str] = []  # benchmarks of the tiny world share no question
    for name, asked in stage.settings.evaluation.benchmarks.items():
        if asked.n is not None and stage.settings.evaluation.made_with_model(name):
            drawn += benchmark.write(stage.dir / BENCHMARK.format(name), asked.n, model.build_seed, drawn)
    return {"model": "model", **numbers}


def challenger(stage: StageInputs) -> dict[str, Any]:
    """GRPO on uncertainty minus repetition, against the frozen Solver; in a round without training the Challenger stays
    what it was.
    """
    asked, start = stage.settings, stage.model_before("challenger")
    if not plan.trains(asked, "challenger", stage.round):
        return {"model": str(start), "steps": []}
    from verl_rzero.data import anchors
    from verl_rzero.engine import jobs
    from verl_rzero.rules.prompts import challenger_messages

    human = stage.anchors
    prompts = [
        records.SolverRow(
            "challenger",
            challenger_messages(
                asked.prompts, anchors.shown(human, asked.anchors.in_prompt, asked.seed, stage.round, "train", i)
            ),
            "challenger",
            {"style": "rule", "ground_truth": ""},
            {"index": i, "id": i, "round": stage.round, "agreement": 0.0},
        )
        for i in range(asked.challenger.batch_size)
    ]
    records.write(stage.dir / "prompts.parquet", prompts, records.SolverRow)
    if asked.challenger.repetition_scope == "rounds":
        write_json(stage.dir / jobs.MEMORY, remembered(stage))
    solver = model_of(stage.run / plan.frozen_solver(asked, stage.round))
    return _train(stage, "challenger", start, stage.dir / "prompts.parquet", solver)


def ask(stage: StageInputs) -> dict[str, Any]:
    """N candidates from the new Challenger."""
    from verl_rzero.engine import asking, engines
    from verl_rzero.rules import diversity

    model = model_of(stage.input("challenger"))

    async def work() -> list[records.Question]:
        engine = await engines.start(stage.settings, model, stage.dir)
        progress = Progress(stage.dir, stage.settings.candidates, "question")
        return await asking.questions(stage.settings, engine, model_hash(model), stage.round, progress, stage.anchors)

    asked = asyncio.run(work())
    records.write(stage.dir / "questions.parquet", asked, records.Question)
    texts = [item.question for item in asked if item.question is not None and item.well_formed]
    return {"generated": len(asked), "well_formed": len(texts), **diversity.numbers(texts)}


def vote(stage: StageInputs) -> dict[str, Any]:
    """m answers of the round's first Solver to each question."""
    from verl_rzero.engine import asking, engines
    from verl_rzero.rules.voting import agreement_histogram

    asked = records.read(stage.input("questions") / "questions.parquet", records.Question)
    model, truth = stage.model_before("votes"), truth_of(stage.settings)
    m = stage.settings.dataset_votes or stage.settings.votes
    count = sum(item.well_formed for item in asked)
    if not count:
        raise UserError(
            f"none of the {len(asked)} texts of the Challenger holds a question between <question> and "
            f"</question>: look at {stage.input('questions') / 'questions.parquet'}. Train the Challenger for fewer "
            "steps, at a lower challenger.lr or with a higher challenger.kl."
        )

    async def work() -> tuple[list[records.VotedQuestion], GradingCounts]:
        engine = await engines.start(stage.settings, model, stage.dir)
        progress = Progress(stage.dir, count * m, "answer")
        return await asking.votes(stage.settings, engine, model_hash(model), asked, truth, progress)

    voted, grading = asyncio.run(work())
    records.write(stage.dir / "votes.parquet", voted, records.VotedQuestion)
    return {
        "questions": len(voted),
        "mean_agreement": sum(item.agreement for item in voted) / len(voted),
        "agreement_histogram": agreement_histogram([item.agreement for item in voted], m),
        "answered_share": sum(item.answered for item in voted) / (len(voted) * m),
        "pseudo_label_accuracy": label_accuracy(voted),
        "grading": grading.as_dict(),
    }


def curate(stage: StageInputs) -> dict[str, Any]:
    """The informative band and its further rules: a pure function of the votes, of this round and those before."""
    from verl_rzero.rules import curation, solver_data

    asked, batch = stage.settings, stage.settings.solver.batch_size
    votes = records.read(stage.input("votes") / "votes.parquet", records.VotedQuestion)
    before = kept_before(stage.run, stage.round) if plan.looks_back(asked) else []
    curated = curation.curate(votes, **curation.rules(asked), earlier=[item.question for item in before])
    kept, rejected = curated.kept, {reason: count for reason, count in curated.rejected.items() if count}
    records.write(stage.dir / "decisions.parquet", curation.decisions(votes, curated), records.Decision)
    new, earlier = solver_data.kept_rows(asked, kept), solver_data.kept_rows(asked, before)
    rows = solver_data.mixed(asked, new, earlier, stage.anchors, stage.round)
    if not kept or (len(rows) < batch and asked.too_few == "stop"):
        raise UserError(
            f"round {stage.round}: {len(rows)} questions are left for the Solver, fewer than one batch "
            f"(solver.batch_size={batch}); rejected: {rejected}. Ask for more (candidates), widen the band, take a "
            "smaller solver.batch_size, or write too_few=shrink (smaller batches) or too_few=repeat (questions come "
            "several times in a batch)."
        )
    rows = solver_data.copied(rows, batch if asked.too_few == "repeat" else 0)
    records.write(stage.dir / "solver_train.parquet", rows, records.SolverRow)
    added = {name: count for name, count in solver_data.added(rows, stage.round).items() if count}
    return {
        "kept": len(kept),
        "rejected": rejected,
        "kept_agreement": sum(item.agreement for item in kept) / len(kept),
        "kept_label_accuracy": label_accuracy(kept),
        **added,
    }


def solver(stage: StageInputs) -> dict[str, Any]:
    """GRPO on the pseudo-labels."""
    start, data = stage.model_before("solver"), stage.input("curation") / "solver_train.parquet"
    if not plan.trains(stage.settings, "solver", stage.round):
        return {"model": str(start), "steps": []}
    return _train(stage, "solver", start, data, None)


def evaluate(stage: StageInputs) -> dict[str, Any]:
    """The round's Solver, or the base model, on the held-out benchmarks."""
    from verl_rzero.engine import engines
    from verl_rzero.evaluation.load import load
    from verl_rzero.evaluation.run import evaluate as scores

    model = model_of(stage.run / "base/model" if stage.round == 0 else stage.input("solver"))
    evaluation = stage.settings.evaluation
    made = {name: stage.run / "base/model" / BENCHMARK.format(name) for name in evaluation.benchmarks}
    loaded = [
        load(name, made[name] if evaluation.made_with_model(name) else asked.path, asked.n)
        for name, asked in evaluation.benchmarks.items()
    ]

    async def work() -> dict[str, Any]:
        return await scores(stage.settings, await engines.start(stage.settings, model, stage.dir), loaded, stage.dir)

    return asyncio.run(work())


STAGES: dict[str, Callable[[StageInputs], dict[str, Any]]] = {
    "model": base_model,
    "challenger": challenger,
    "questions": ask,
    "votes": vote,
    "curation": curate,
    "solver": solver,
    "evaluation": evaluate,
}


def _train(
    stage: StageInputs, role: str, start: Path | str, data: Path, frozen_solver: Path | str | None
) -> dict[str, Any]:
    from verl_rzero.engine import engines, grpo, jobs

    if {*jobs.OUR_LOGGERS} & {*stage.settings.logger}:
        os.environ["VERL_FILE_LOGGER_PATH"] = str(stage.dir / jobs.VERL_METRICS)
    asked = _fitting(stage.settings, role, len(records.read(data, records.SolverRow)))
    base = model_of(stage.run / "base/model")
    config = jobs.verl_config(
        asked, role, model=start, train_file=data, stage_dir=stage.dir, solver=frozen_solver, base=base
    )
    trainer = grpo.run(config)
    trained, steps = grpo.trained_model(config), trainer.records
    make_portable(trained, start)
    trained.rename(stage.dir / "model")
    if asked.hardware.device == "cpu":  # for the stages that follow in this process
        engines.keep(stage.dir / "model", trainer.rollout_servers(), trainer.tokenizer)
        if frozen_solver is not None:
            engines.keep(frozen_solver, trainer.solver_servers(), trainer.tokenizer)
    if list(config.actor_rollout_ref.actor.checkpoint.save_contents) == ["hf_model"]:
        shutil.rmtree(stage.dir / "checkpoints")
    return {"model": "model", "steps": steps}


def _fitting(asked: Settings, role: str, rows: int) -> Settings:
    """`asked` with the Solver's batch made small enough for its data, where too_few=shrink allows that."""
    from dataclasses import replace

    job = getattr(asked, role)
    if rows >= job.batch_size:
        return asked
    gpus = asked.hardware.train_gpus(role)
    even = gpus // math.gcd(gpus, job.rollouts)  # an update's sequences are shared out evenly among the GPUs
    minibatch = min(job.minibatch_size, rows - rows % even)
    if not minibatch:
        raise UserError(f"{rows} questions are too few to be shared out among {gpus} GPUs. Ask for more (candidates).")
    return replace(asked, **{role: replace(job, batch_size=rows - rows % minibatch, minibatch_size=minibatch)})


def main(run: str, *stage_ids: str) -> int:
    """Do the stages in turn and write their results; returns the exit code, 2 for what the user can put right."""
    for stage_id in stage_ids:
        stage = StageInputs(Path(run), stage_id)
        os.environ |= environment.variables(stage.settings) | os.environ
        if stage_id != stage_ids[0]:
            _print_to(stage.dir / run_dir.LOG)
        try:
            write_json(stage.dir / run_dir.RESULT, STAGES[stage.kind](stage))
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
    return 0


def _print_to(log: Path) -> None:
    """Send what this process prints from here on to the end of `log`."""
    sys.stdout.flush()
    sys.stderr.flush()
    with log.open("ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
