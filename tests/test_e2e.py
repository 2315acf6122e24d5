"""The whole loop on the real engine: Ray, verl's trainer, vLLM with weight sync; one round and very few steps.

The orchestrator is killed in the middle of the Solver's training and started again. Ray's directory holds the address
of a cluster that is long dead, as it does after a Ray that was killed.
"""

import json
import math
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from verl_rzero import settings
from verl_rzero.data import records, run_dir
from verl_rzero.data.outputs import model_hash
from verl_rzero.data.records import Question, SolverRow, VotedQuestion
from verl_rzero.engine.processes import RUN_VARIABLE
from verl_rzero.rules.curation import curate
from verl_rzero.rules.voting import vote

pytestmark = pytest.mark.e2e

SMALL = [
    "rounds=1",
    "model.build_steps=300",
    "challenger.steps=2",
    "challenger.batch_size=4",
    "challenger.minibatch_size=2",
    "solver.steps=3",
    "solver.batch_size=8",
    "solver.minibatch_size=8",  # one update a step
    "candidates=40",
    "votes=4",
    "band=[0.0,1.0]",
    "evaluation.k=2",
    "evaluation.benchmarks.tiny.n=32",
]
STAGES = ("base/model", "base/evaluation") + tuple(
    f"round_1/{kind}" for kind in ("challenger", "questions", "votes", "curation", "solver", "evaluation")
)
LIMIT_S = 900


@pytest.fixture(scope="module")
def ray_directory() -> Iterator[str]:
    """A short path: Ray puts sockets there, whose paths may have 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="rz", ignore_cleanup_errors=True) as directory:
        (Path(directory) / "ray").mkdir()
        (Path(directory) / "ray/ray_current_cluster").write_text("192.0.2.2:42431")
        yield directory


def orchestrator(run: Path, output: Path, ray_directory: str) -> subprocess.Popen[bytes]:
    with output.open("ab") as file:
        return subprocess.Popen(
            [sys.executable, "-m", "verl_rzero.coevolve", f"run_dir={run}", *SMALL],
            stdout=file,
            stderr=file,
            env={**os.environ, "HF_HUB_OFFLINE": "1", "RAY_TMPDIR": ray_directory},
            start_new_session=True,
        )


def processes_of(run: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(RUN_VARIABLE) == str(run) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, ray_directory: str) -> Path:
    """A finished run whose orchestrator was killed once while the Solver trained."""
    directory = tmp_path_factory.mktemp("e2e")
    run, output = directory / "run", directory / "output"
    first = orchestrator(run, output, ray_directory)
    deadline = time.monotonic() + LIMIT_S
    while not (run / "round_1/solver/metrics.jsonl").exists():  # written after the first step
        assert first.poll() is None, output.read_text()[-3000:]
        assert time.monotonic() < deadline
        time.sleep(0.1)
    first.send_signal(signal.SIGKILL)
    first.wait()
    assert not run_dir.is_done(run / "round_1/solver")
    done = {stage: (run / stage / "DONE").stat().st_mtime_ns for stage in STAGES if run_dir.is_done(run / stage)}
    assert list(done) == list(STAGES[:6])
    second = orchestrator(run, output, ray_directory)
    assert second.wait(LIMIT_S) == 0, output.read_text()[-3000:]
    for stage, when in done.items():
        assert (run / stage / "DONE").stat().st_mtime_ns == when, f"{stage} was done again"
    (run / "output").write_text(output.read_text())
    return run


def test_nothing_of_the_run_is_left_behind(run):
    assert processes_of(run) == []


def test_report_has_every_part(run):
    assert "votes" in (run / "report.html").read_text()
    report = json.loads((run / "report.json").read_text())
    (first,) = report["rounds"]
    for evaluation in (report["base"]["evaluation"], first["evaluation"]):
        assert evaluation["tiny"]["n"] == 32
        assert evaluation["tiny"]["k"] == 2
        assert 0 <= evaluation["tiny"]["greedy"] <= 1
        assert 0 <= evaluation["tiny"]["mean_at_k"] <= 1
    assert first["questions"]["generated"] == 40
    assert first["votes"]["questions"] == first["questions"]["well_formed"]
    assert first["curation"]["kept"] + sum(first["curation"]["rejected"].values()) == first["votes"]["questions"]
    assert set(first["seconds"]) == {"challenger", "questions", "votes", "curation", "solver", "evaluation"}


def test_table_is_printed(run):
    lines = (run / "output").read_text().splitlines()
    assert any(line.startswith("base ") for line in lines)
    assert any(line.startswith("round 1 ") for line in lines)


def test_challenger_was_rewarded_for_uncertainty_less_repetition(run):
    steps = run_dir.result(run / "round_1/challenger")["steps"]
    assert [step["step"] for step in steps] == [1, 2]
    for step in steps:
        # r = max(0, u - c) for the well-formed, 0 for the rest: the mean lies between mean(u) - mean(c) and mean(u)
        share = step["well_formed_share"]
        assert step["reward_mean"] <= share * step["uncertainty_mean"] + 1e-6
        assert step["reward_mean"] >= share * (step["uncertainty_mean"] - step["repetition_mean"]) - 1e-6
        assert step["repetition_mean"] >= 1 / 32 - 1e-9 or share == 0  # alone in its cluster: 1 of 4 x 8
        assert 0 < step["distinct_share"] <= share + 1e-9
        for part in ("rollout", "penalty", "update"):
            assert step[f"seconds_{part}"] >= 0
    assert max(step["uncertainty_mean"] for step in steps) > 0


def test_models_of_the_stages_differ_and_the_solver_moved_away_from_its_start(run):
    hashes = {model_hash(run / stage / "model") for stage in ("base/model", "round_1/challenger", "round_1/solver")}
    assert len(hashes) == 3
    steps = run_dir.result(run / "round_1/solver")["steps"]
    assert len(steps) == 3
    assert steps[-1]["kl"] > 0  # against the start of the stage
    assert all(step["response_tokens_mean"] > 1 for step in steps)


def test_verls_own_metrics_are_those_of_the_settings(run):
    asked = settings.read(run / "settings.yaml")
    for role in ("challenger", "solver"):
        job = getattr(asked, role)
        # |r - mean| / std of n rewards, std unbiased, is at most (n - 1) / sqrt(n)
        bound = (job.rollouts - 1) / math.sqrt(job.rollouts) + 1e-3
        steps = run_dir.result(run / f"round_1/{role}")["steps"]
        for step in steps:
            assert step["kl_weight"] == pytest.approx(job.kl)
            assert step["lr"] == pytest.approx(job.lr)
            assert -bound <= step["advantage_min"] <= 0 <= step["advantage_max"] <= bound
        assert max(step["advantage_max"] for step in steps) > 0.3


def test_the_reference_is_the_start_of_the_stage(run):
    # With one update a step, the first step's KL is taken before any update: the model still is its own reference.
    first, *later = run_dir.result(run / "round_1/solver")["steps"]
    assert abs(first["kl"]) < 1e-5
    assert max(step["kl"] for step in later) > 1e-5


def test_votes_are_those_of_their_answers(run):
    asked = records.read(run / "round_1/questions/questions.parquet", Question)
    voted = records.read(run / "round_1/votes/votes.parquet", VotedQuestion)
    assert [item.id for item in voted] == [item.id for item in asked if item.well_formed]
    for item in voted:
        again = vote(item.answers)
        assert (again.label, again.agreement, again.answered) == (item.label, item.agreement, item.answered)
        assert len(item.raws) == 4
    assert {item.model for item in asked} == {model_hash(run / "round_1/challenger/model")}
    assert {item.model for item in voted} == {model_hash(run / "base/model/model")}


def test_solver_trained_on_what_curation_kept(run):
    voted = records.read(run / "round_1/votes/votes.parquet", VotedQuestion)
    rows = records.read(run / "round_1/curation/solver_train.parquet", SolverRow)
    kept = curate(voted, band=(0.0, 1.0)).kept
    assert [(row.extra_info["id"], row.reward_model["ground_truth"]) for row in rows][: len(kept)] == [
        (item.id, item.label) for item in kept
    ]
