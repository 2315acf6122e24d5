"""What Absolute Zero's stages do: the first tasks, and the rounds of self-play."""

import asyncio
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from verl_rzero.base.errors import UserError
from verl_rzero.base.progress import Progress
from verl_rzero.data import records
from verl_rzero.data.outputs import model_of
from verl_rzero.methods.inputs import StageInputs
from verl_rzero.methods.policies import BASE
from verl_rzero.methods.training import as_it_was, prompt_rows, train
from verl_rzero.rules.code_tasks import KINDS, Kind, Task
from verl_rzero.rules.prompts import Messages, render
from verl_rzero.rules.task_buffers import TaskBuffers
from verl_rzero.settings import Settings
from verl_rzero.settings.self_play_rules import rows_of_a_step

if TYPE_CHECKING:
    from verl_rzero.engine.code_checks import Runner

SEEDS = "base/seeds"
BUFFERS, TASKS, PROMPTS = "buffers.parquet", "tasks.parquet", "prompts.parquet"
MOST_TRIES = 20
"""Proposals for each seed task that is wanted: a base model that writes fewer valid ones can't begin."""


def seeds(stage: StageInputs) -> dict[str, Any]:
    """Valid tasks of each kind that the base model proposes, without training (section 3.3.1)."""
    from verl_rzero.engine.code_checks import runner

    asked, model = stage.settings, model_of(stage.run / BASE)
    buffers = TaskBuffers(asked.self_play.buffer)

    async def work() -> int:
        engine = await stage.engines.of(asked, model, stage.dir)
        fits = fits_of(engine.tokenizer, asked)
        with runner(asked.execution) as programs:
            return await collect(stage, engine, buffers, programs, fits)

    tried = asyncio.run(work())
    write_buffers(stage.dir / BUFFERS, buffers)
    return {"proposed": tried, **{kind: buffers.size(kind) for kind in chosen(asked)}}


async def collect(
    stage: StageInputs, engine: Any, buffers: TaskBuffers, programs: "Runner", fits: Callable[[Messages], bool]
) -> int:
    """Fill the buffers; the number of proposals that took.

    Raises:
        UserError: the base model's proposals are too seldom valid tasks.
    """
    from verl_rzero.engine import asking
    from verl_rzero.engine.self_play import proposed_tasks, to_propose

    asked, play, tried = stage.settings, stage.settings.self_play, 0
    progress = Progress(stage.dir, play.seeds * len(play.kinds), "task")
    rng = Random(f"seeds {asked.seed}")
    for kind in chosen(asked):
        of_kind = 0
        while missing := play.seeds - buffers.size(kind):
            if of_kind >= MOST_TRIES * play.seeds:
                raise UserError(
                    f"{buffers.size(kind)} valid {kind} tasks in {of_kind} proposals of the base model, and "
                    f"self_play.seeds={play.seeds} are wanted. Write fewer, self_play.seeds=0 to begin with the "
                    f"identity function, or look at self_play.prompts.propose_{kind}."
                )
            given = [to_propose(play, kind, buffers, fits, rng) for _ in range(max(16, missing))]
            sampling = asking.parameters(asked.sampling.questions, asked.model.answer_tokens)
            seeds = [asking.sample_seed(asked.seed, kind, of_kind + i) for i in range(len(given))]
            texts = [""] * len(given)
            prompts = [render(engine.tokenizer, each.messages) for each in given]
            async for ended in engine.sample(prompts, sampling, seeds):
                for sample in ended:
                    texts[sample.prompt] = engine.text(sample)
            of_kind += len(given)
            found = await asyncio.to_thread(proposed_tasks, play, given, texts, fits, programs)
            for task in [each for each in found if isinstance(each, Task)][:missing]:
                buffers.add(task)
            progress.update(sum(buffers.size(each) for each in chosen(asked)))
        tried += of_kind
    return tried


def self_play(stage: StageInputs) -> dict[str, Any]:
    """One model learns to propose tasks and to solve them; the buffers go on from round to round."""
    from transformers import AutoTokenizer

    from verl_rzero.engine.code_checks import runner
    from verl_rzero.engine.self_play import ProposesAndSolves
    from verl_rzero.engine.self_play_numbers import SelfPlayNumbers

    asked, job = stage.settings, stage.settings.solver
    buffers = buffers_before(stage)
    if job.steps == 0:
        write_buffers(stage.dir / BUFFERS, buffers)
        return as_it_was(stage, "solver")
    nobody: Messages = [{"role": "user", "content": "self-play"}]  # the sampler writes each step's prompts
    rows = prompt_rows("self-play", [nobody] * rows_of_a_step(asked.self_play, job))
    records.write(stage.dir / PROMPTS, rows, records.PromptRow)
    tokenizer = AutoTokenizer.from_pretrained(stage.model("solver"))
    with runner(asked.execution) as programs:
        sampler = ProposesAndSolves(
            asked.self_play,
            job.batch_size,
            job.rollouts,
            buffers,
            programs,
            fits_of(tokenizer, asked),
            f"{asked.seed} {stage.round}",
        )
        result = train(stage, asked, "solver", stage.dir / PROMPTS, sampler, SelfPlayNumbers(sampler))
    records.write(stage.dir / TASKS, sampler.proposed, records.ProposedTask)
    write_buffers(stage.dir / BUFFERS, buffers)
    return result | {"buffers": {kind: buffers.size(kind) for kind in chosen(asked)}}


def chosen(asked: Settings) -> tuple[Kind, ...]:
    """The kinds of tasks of the run; induction last, as its programs are those of the others."""
    return tuple(kind for kind in KINDS if kind in asked.self_play.kinds)


def fits_of(tokenizer: Any, asked: Settings) -> Callable[[Messages], bool]:
    """Whether a prompt leaves room for a whole reply."""
    room = asked.model.prompt_tokens + asked.model.question_tokens
    return lambda messages: len(render(tokenizer, messages)) <= room


def buffers_before(stage: StageInputs) -> TaskBuffers:
    """The buffers as the round before left them, or the seeds, or empty ones."""
    before = [stage.run / SEEDS, *stage.earlier("solver")][-1] / BUFFERS
    begun = stage.round > 1 or stage.settings.self_play.seeds > 0
    kept = records.read(before, records.BufferedTask) if begun else []
    return TaskBuffers(stage.settings.self_play.buffer, (Task.of(asdict(each)) for each in kept))


def write_buffers(path: Path, buffers: TaskBuffers) -> None:
    rows = [
        records.BufferedTask(task.kind, task.program, list(task.inputs), list(task.outputs), task.message)
        for task in buffers.tasks()
    ]
    records.write(path, rows, records.BufferedTask)
