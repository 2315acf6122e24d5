"""Absolute Zero on the real engine: Ray, verl's trainer, vLLM with weight sync, and programs that are really run."""

import json
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from test_e2e import LIMIT_S, orchestrator, processes_of, ray_directory, rows_of  # noqa: F401  (a fixture among them)
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from verl_rzero import settings
from verl_rzero.data import records, run_dir
from verl_rzero.data.outputs import model_hash
from verl_rzero.data.records import BufferedTask, ProposedTask
from verl_rzero.engine.code_checks import right
from verl_rzero.executor import Executor
from verl_rzero.rules.code_rewards import proposer_reward, solver_reward
from verl_rzero.rules.code_tasks import KINDS, Task, solution, solve_messages

pytestmark = pytest.mark.e2e

SMALL = [
    "method=absolute_zero",
    "model=code_tiny",
    "rounds=1",
    "model.build_steps=600",
    "attempts=1",
    "self_play.seeds=4",
    "solver.steps=2",
    "solver.batch_size=8",
    "solver.minibatch_size=8",
    "solver.rollouts=4",
    "evaluation.k=2",
    *(f"evaluation.benchmarks.{kind}.n=8" for kind in KINDS),
]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, ray_directory: str) -> Path:  # noqa: F811
    directory = tmp_path_factory.mktemp("zero")
    run, output = directory / "run", directory / "output"
    words = [*SMALL, f"solver.verl.trainer.rollout_data_dir={directory / 'run_rollouts' / 'solver'}"]
    assert orchestrator(run, words, output, ray_directory).wait(LIMIT_S) == 0, output.read_text()[-3000:]
    return run


def steps_of(run: Path) -> list[dict]:
    return run_dir.result(run / "round_1/solver")["steps"]


def role_and_kind(row: dict) -> tuple[str, str]:
    role, kind, _ = row["input"].removeprefix("<|").split("|>", 2)
    return role, kind.removeprefix("<|")


def proposed(run: Path) -> list[ProposedTask]:
    return records.read(run / "round_1/solver/tasks.parquet", ProposedTask)


def as_task(row: ProposedTask | BufferedTask) -> Task:
    return Task(row.kind, row.program, tuple(row.inputs), tuple(row.outputs), row.message)


def shown_by(tokenizer: PreTrainedTokenizerBase) -> Callable[[str], str]:
    """A prompt as a dump of the rollouts has it: without what the tokenizer has no token for."""
    return lambda prompt: tokenizer.decode(tokenizer(prompt)["input_ids"], skip_special_tokens=True)


def test_every_reward_is_what_running_the_programs_gives(run):
    prompts = settings.read(run / "settings.yaml").self_play.prompts
    known = [as_task(row) for row in [*proposed(run), *records.read(run / "base/seeds/buffers.parquet", BufferedTask)]
             if row.inputs]  # fmt: skip
    shown = shown_by(AutoTokenizer.from_pretrained(run / "base/model/model"))
    of_prompt = defaultdict(list)  # what a prompt shows does not tell a task: an induction's hidden pairs differ
    for task in known:
        of_prompt[shown(solve_messages(prompts, task)[-1]["content"])].append(task)
    seen = set()
    for step in steps_of(run):
        rows = rows_of(run, "solver", step["step"])
        assert Counter(map(role_and_kind, rows)) == {
            **{("propose", kind): 8 for kind in KINDS},
            **{("solve", kind): 8 * 4 for kind in KINDS},
        }
        solves = [row for row in rows if role_and_kind(row)[0] == "solve"]
        asked = [row["input"].removesuffix("<|answer|>") for row in solves]
        pairs = [(task, row) for prompt, row in zip(asked, solves, strict=True) for task in of_prompt[prompt]]
        answers = [solution(task.kind, row["output"], think=False) for task, row in pairs]
        with Executor() as programs:
            rights = right([task for task, _ in pairs], answers, programs)
        allowed: dict[int, set[float]] = defaultdict(set)
        for (_, row), answer, fine in zip(pairs, answers, rights, strict=True):
            allowed[id(row)].add(solver_reward(answer is not None, fine))
        shares: dict[str, list[bool]] = defaultdict(list)
        for prompt, row in zip(asked, solves, strict=True):
            assert row["score"] in allowed[id(row)]
            seen |= allowed[id(row)] if len(allowed[id(row)]) == 1 else set()
            shares[prompt].append(row["score"] == 1.0)
        of_step = [task for task in proposed(run) if task.step == step["step"]]
        for row in of_step:
            of_task = shares[shown(solve_messages(prompts, as_task(row))[-1]["content"])] if row.valid else []
            if len(of_task) == 4:  # asked once, and not drawn as an earlier one
                assert row.solved == np.mean(of_task)
            assert row.reward == proposer_reward(row.reason != "form", row.solved)
        dumped = Counter((role_and_kind(row)[1], row["output"], row["score"]) for row in rows if row not in solves)
        assert dumped == Counter((row.kind, row.raw, row.reward) for row in of_step)
    assert seen >= {1.0, -0.5}


def test_a_step_says_how_long_programs_took(run):
    for step in steps_of(run):  # beside the sampling, within the step
        assert 0 < step["seconds_programs"] < step["seconds"] - step["seconds_rollout"]


def test_advantages_compare_a_role_and_a_kind(run):
    for step in steps_of(run):
        rows = rows_of(run, "solver", step["step"])
        groups: dict[tuple[str, str], list[float]] = {}
        for row in rows:
            groups.setdefault(role_and_kind(row), []).append(row["score"])
        expected = [
            (score - np.mean(scores)) / (np.std(scores, ddof=1) + 1e-6)
            for scores in groups.values()
            for score in scores
        ]
        assert step["advantage_max"] == pytest.approx(max(expected), abs=1e-4)
        assert step["advantage_min"] == pytest.approx(min(expected), abs=1e-4)


def test_valid_tasks_are_remembered_in_order(run):
    seeds = records.read(run / "base/seeds/buffers.parquet", BufferedTask)
    kept = records.read(run / "round_1/solver/buffers.parquet", BufferedTask)
    assert Counter(row.kind for row in seeds) == dict.fromkeys(KINDS, 4)
    for kind in KINDS:
        wanted = [as_task(row) for row in [*seeds, *proposed(run)] if row.kind == kind and row.inputs]
        assert [as_task(row) for row in kept if row.kind == kind] == wanted


def test_it_leaves_a_trained_model_its_scores_and_nothing_running(run):
    assert model_hash(run / "round_1/solver/model") != model_hash(run / "base/model/model")
    (first,) = json.loads((run / "report.json").read_text())["rounds"]
    assert {*first["evaluation"]} == {*KINDS}
    assert all(score["answered_share"] > 0 for score in first["evaluation"].values())
    assert "Tasks" in (run / "report.html").read_text()
    assert processes_of(run) == []
