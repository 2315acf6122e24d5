"""What each kind of stage does: reads its inputs, writes its files, returns its numbers. Engines load where used."""

import asyncio
from pathlib import Path
from random import Random
from typing import Any

from verl_rzero.base.errors import UserError
from verl_rzero.base.progress import Progress
from verl_rzero.data import records
from verl_rzero.data.given import GivenQuestion, read_given
from verl_rzero.data.outputs import kept_before, label_accuracy, model_hash, model_of, truth_of, votes_in
from verl_rzero.data.parts import Parts
from verl_rzero.grading.counts import GradingCounts
from verl_rzero.methods import base_models
from verl_rzero.methods.inputs import StageInputs, remembered
from verl_rzero.methods.policies import BASE, trains
from verl_rzero.methods.training import as_it_was, fitting, prompt_rows, train
from verl_rzero.rules.voting import Denominator
from verl_rzero.settings import Settings
from verl_rzero.settings.benchmarks import LoadedBenchmark

PROMPTS = "prompts.parquet"


def base_model(stage: StageInputs) -> dict[str, Any]:
    """The base model: made here, with the benchmarks of its world, or the given one."""
    model = stage.settings.model
    if model.build is not None:
        return {"model": base_models.MODEL, **base_models.BUILDS[model.build](stage)}
    assert model.path is not None
    local = Path(model.path).expanduser()
    return {"model": str(local.resolve()) if local.is_dir() else model.path}


def challenger(stage: StageInputs) -> dict[str, Any]:
    """GRPO on uncertainty minus repetition, against the frozen Solver; in a round without training the Challenger stays
    what it was.
    """
    asked = stage.settings
    if not trains(asked, "challenger", stage.round):
        return as_it_was(stage, "challenger")
    from verl_rzero.data import anchors
    from verl_rzero.engine.batch_rewards import UncertaintyLessRepetition
    from verl_rzero.engine.samplers import WholeBatch
    from verl_rzero.rules.prompts import challenger_messages

    human = stage.anchors
    prompts = [
        challenger_messages(
            asked.prompts, anchors.shown(human, asked.anchors.in_prompt, asked.seed, stage.round, "train", i)
        )
        for i in range(asked.challenger.batch_size)
    ]
    rows = prompt_rows("challenger", prompts)
    records.write(stage.dir / PROMPTS, rows, records.PromptRow)
    memory = remembered(stage) if remembers(asked) else []
    return train(
        stage,
        fitting(asked, "challenger", len(rows)),
        "challenger",
        stage.dir / PROMPTS,
        WholeBatch(asked.challenger.rollouts),
        UncertaintyLessRepetition(asked.challenger, asked.seed, memory),
    )


def questions(stage: StageInputs) -> dict[str, Any]:
    """N candidates from the new Challenger."""
    from verl_rzero.engine import asking
    from verl_rzero.rules import diversity

    model = model_of(stage.input("challenger"))

    async def work() -> list[records.Question]:
        engine = await stage.engines.of(stage.settings, model, stage.dir)
        progress = Progress(stage.dir, stage.settings.candidates, "question")
        parts = Parts(stage.dir, records.Question, model_hash(model))
        return await asking.questions(
            stage.settings, engine, model_hash(model), stage.round, progress, parts, stage.anchors
        )

    asked = asyncio.run(work())
    records.write(stage.dir / "questions.parquet", asked, records.Question)
    texts = [item.question for item in asked if item.question is not None and item.well_formed]
    return {"generated": len(asked), "well_formed": len(texts), **diversity.numbers(texts)}


def votes(stage: StageInputs) -> dict[str, Any]:
    """m answers of the round's first Solver to each question."""
    from verl_rzero.engine import asking
    from verl_rzero.rules.voting import agreement_histogram

    asked = records.read(stage.input("questions") / "questions.parquet", records.Question)
    model, truth = stage.model("solver"), truth_of(stage.settings)
    m = stage.settings.votes_of_dataset
    count = sum(item.well_formed for item in asked)
    if not count:
        raise UserError(
            f"none of the {len(asked)} texts of the Challenger holds a question between <question> and "
            f"</question>: look at {stage.input('questions') / 'questions.parquet'}. Train the Challenger for fewer "
            "steps, at a lower challenger.lr or with a higher challenger.kl."
        )

    parts = Parts(stage.dir, records.VotedQuestion, model_hash(model))

    async def work() -> tuple[list[records.VotedQuestion], GradingCounts]:
        engine = await stage.engines.of(stage.settings, model, stage.dir)
        progress = Progress(stage.dir, count * m, "answer")
        return await asking.votes(stage.settings, engine, model_hash(model), asked, truth, progress, parts)

    voted, grading = asyncio.run(work())
    records.write(stage.dir / "votes.parquet", parts.in_order([item.id for item in voted]), records.VotedQuestion)
    return {
        "questions": len(voted),
        "mean_agreement": sum(item.agreement for item in voted) / len(voted),
        "agreement_histogram": agreement_histogram([item.agreement for item in voted], m),
        "answered_share": sum(item.answered for item in voted) / (len(voted) * m),
        "pseudo_label_accuracy": label_accuracy(voted),
        "grading": grading.as_dict(),
    }


def curation(stage: StageInputs) -> dict[str, Any]:
    """The informative band and its further rules: a pure function of the votes, of this round and those before."""
    from verl_rzero.rules import curation, solver_data

    asked, batch = stage.settings, stage.settings.solver.batch_size
    votes = votes_in(stage.input("votes"))
    before = kept_before(stage.run, stage.round) if looks_back(asked) else []
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
    asked, data = stage.settings, stage.input("curation") / "solver_train.parquet"
    if not trains(asked, "solver", stage.round):
        return as_it_was(stage, "solver")
    from verl_rzero.engine.batch_rewards import MatchesLabel
    from verl_rzero.engine.samplers import WholeBatch

    fitted = fitting(asked, "solver", len(records.read(data, records.SolverRow)))
    return train(stage, fitted, "solver", data, WholeBatch(asked.solver.rollouts), MatchesLabel())


def solver_on_own_majority(stage: StageInputs) -> dict[str, Any]:
    """GRPO on given questions, each labelled in each step by the majority of the answers to it (TTRL)."""
    asked = stage.settings
    if not trains(asked, "solver", stage.round):
        return as_it_was(stage, "solver")
    from verl_rzero.engine.batch_rewards import MatchesOwnMajority
    from verl_rzero.engine.samplers import VotesAndTrains
    from verl_rzero.rules import solver_data
    from verl_rzero.rules.prompts import solver_messages

    given = given_questions(stage)
    if asked.too_few == "repeat":
        given = solver_data.as_often_as_needed(given, asked.solver.batch_size)
    rows = prompt_rows(asked.model.name, [solver_messages(asked.prompts, item.question) for item in given])
    records.write(stage.dir / PROMPTS, rows, records.PromptRow)
    job, timeout_s = asked.solver, asked.grading.timeout_s
    by_text = asked.ttrl.vote_by == "text"
    denominator: Denominator = asked.unanswered  # type: ignore[assignment]
    return train(
        stage,
        fitting(asked, "solver", len(rows)),
        "solver",
        stage.dir / PROMPTS,
        VotesAndTrains(asked.ttrl.votes, job.rollouts, by_text, denominator, timeout_s),
        MatchesOwnMajority([item.answer for item in given], timeout_s),
    )


def evaluation(stage: StageInputs) -> dict[str, Any]:
    """The round's Solver, or the base model, on the held-out benchmarks."""
    from verl_rzero.evaluation.run import evaluate_in_stage

    model = model_of(stage.run / "base/model" if stage.round == 0 else stage.input("solver"))
    loaded = [benchmark(stage, name) for name in stage.settings.evaluation.benchmarks]

    async def work() -> dict[str, Any]:
        engine = await stage.engines.of(stage.settings, model, stage.dir)
        return await evaluate_in_stage(stage.settings, engine, loaded, stage.dir, model_hash(model))

    return asyncio.run(work())


def benchmark(stage: StageInputs, name: str) -> LoadedBenchmark:
    """A benchmark of the run, loaded."""
    from verl_rzero.evaluation.load import load

    evaluation = stage.settings.evaluation
    asked = evaluation.benchmarks[name]
    made = stage.run / BASE / base_models.BENCHMARK.format(name)
    return load(name, made if evaluation.made_with_model(name) else asked.path, asked.n)


def given_questions(stage: StageInputs) -> list[GivenQuestion]:
    """The questions that `data` names, in each round in another order: verl's data loader draws from the rows alike in
    every round, and where a round is less than a pass over them some would never be trained on.

    Raises UserError where its file can't be read.
    """
    data = stage.settings.data
    assert data is not None
    if data in stage.settings.evaluation.benchmarks:
        given = [GivenQuestion(item.question, item.answer) for item in benchmark(stage, data).items]
    else:
        given = read_given(Path(data).expanduser())
    Random(f"given {stage.settings.seed} {stage.round}").shuffle(given)
    return given


def remembers(asked: Settings) -> bool:
    """Whether the Challenger's penalty reads what earlier rounds asked."""
    return asked.challenger.repetition_scope == "rounds"


def looks_back(asked: Settings) -> bool:
    """Whether curation reads what earlier rounds kept."""
    return asked.curation.replay_share > 0 or asked.curation.duplicates == "drop_across_rounds"
