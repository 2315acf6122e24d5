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

import numpy as np
import psutil
import pytest
from safetensors.numpy import load_file

from verl_rzero import settings
from verl_rzero.data import records, run_dir
from verl_rzero.data.outputs import model_hash
from verl_rzero.data.records import PromptRow, Question, SolverRow, VotedQuestion
from verl_rzero.engine.processes import RUN_VARIABLE
from verl_rzero.grading.grader import same_answer
from verl_rzero.rules.answers import last_boxed, question_block
from verl_rzero.rules.curation import curate
from verl_rzero.rules.repetition import cluster_shares
from verl_rzero.rules.voting import vote
from verl_rzero.tiny_world import truth
from verl_rzero.tiny_world.tokenizer import make_tokenizer

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
    "checkpoint_every=1",
    "attempts=1",  # a failure shall be seen
    "candidates=40",
    "votes=4",
    "band=[0.0,1.0]",
    "evaluation.k=2",
    "evaluation.benchmarks.tiny.n=32",
]
STAGES = ("base/model", "base/evaluation") + tuple(
    f"round_1/{kind}" for kind in ("challenger", "questions", "votes", "curation", "solver", "evaluation")
)
TTRL = [
    "method=ttrl",
    "model=ttrl_tiny",
    "rounds=1",
    "model.build=null",
    "attempts=1",
    "ttrl.votes=8",
    "solver.rollouts=4",
    "solver.steps=2",
    "solver.batch_size=8",
    "solver.minibatch_size=8",
    "~evaluation.benchmarks.tiny",  # none: nothing is evaluated
    "~evaluation.benchmarks.unlabelled",
]
AS_ON_GPUS = [
    "method=robust",
    "solver.steps_times=1",
    "solver.towards_start=0.5",
    "rounds=1",
    "model.build=null",
    "model.truth=null",
    "attempts=1",
    "challenger.steps=1",
    "challenger.batch_size=4",
    "challenger.minibatch_size=4",
    "solver.steps=1",
    "solver.batch_size=4",
    "solver.minibatch_size=4",
    "solver.verl.actor_rollout_ref.actor.checkpoint.save_contents=[hf_model,extra]",  # so that it stays
    "candidates=16",
    "votes=4",
    "band=[0.0,1.0]",
    "too_few=repeat",
    "~evaluation.benchmarks.tiny",
    # what a recipe for a CPU has otherwise
    "hardware.solver_gpus=0",
    "hardware.verl.actor_rollout_ref.rollout.free_cache_engine=true",
    "challenger.verl.reward.reward_model.rollout.free_cache_engine=true",
    "hardware.verl.algorithm.rollout_correction.bypass_mode=false",
    "hardware.verl.transfer_queue.backend.SimpleStorage.num_data_storage_units=8",
]
LIMIT_S = 900
ROLES = ("challenger", "solver")


@pytest.fixture(scope="module")
def ray_directory() -> Iterator[str]:
    """A short path: Ray puts sockets there, whose paths may have 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="rz", ignore_cleanup_errors=True) as directory:
        (Path(directory) / "ray").mkdir()
        (Path(directory) / "ray/ray_current_cluster").write_text("192.0.2.2:42431")
        yield directory


def orchestrator(run: Path, words: list[str], output: Path, ray_directory: str) -> subprocess.Popen[bytes]:
    with output.open("ab") as file:
        return subprocess.Popen(
            [sys.executable, "-m", "verl_rzero.coevolve", f"run_dir={run}", *words],
            stdout=file,
            stderr=file,
            env={**os.environ, "HF_HUB_OFFLINE": "1", "RAY_TMPDIR": ray_directory},
            start_new_session=True,
        )


def dumped(directory: Path) -> list[str]:
    """Settings that have verl write every rollout with its score: {role}/{step}.jsonl below `directory`."""
    return [f"{role}.verl.trainer.rollout_data_dir={directory / role}" for role in ("challenger", "solver")]


def rows_of(run: Path, role: str, step: int) -> list[dict]:
    """verl's rows of a step: input, output, gts, score, uid; a prompt's rollouts one after the other."""
    lines = (run.parent / f"{run.name}_rollouts" / role / f"{step}.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def steps_of(run: Path, role: str) -> list[dict]:
    """The steps whose rows verl has written. It does so after the checkpoint: where a run is killed in between, the
    step is done and its rows are lost.
    """
    steps = run_dir.result(run / f"round_1/{role}")["steps"]
    found = [step for step in steps if (run.parent / f"{run.name}_rollouts" / role / f"{step['step']}.jsonl").exists()]
    assert found
    assert len(found) >= len(steps) - (role == "solver")  # the training in which it is killed
    return found


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
    words = [*SMALL, *dumped(directory / "run_rollouts")]
    first = orchestrator(run, words, output, ray_directory)
    deadline = time.monotonic() + LIMIT_S
    while not (run / "round_1/solver/metrics.jsonl").exists():  # written after the first step
        assert first.poll() is None, output.read_text()[-3000:]
        assert time.monotonic() < deadline
        time.sleep(0.1)
    first.send_signal(signal.SIGKILL)
    first.wait()
    assert not run_dir.is_done(run / "round_1/solver")
    (directory / "metrics.jsonl").write_bytes((run / "round_1/solver/metrics.jsonl").read_bytes())
    done = {stage: (run / stage / "DONE").stat().st_mtime_ns for stage in STAGES if run_dir.is_done(run / stage)}
    assert list(done) == list(STAGES[:6])
    second = orchestrator(run, words, output, ray_directory)
    assert second.wait(LIMIT_S) == 0, output.read_text()[-3000:]
    for stage, when in done.items():
        assert (run / stage / "DONE").stat().st_mtime_ns == when, f"{stage} was done again"
    (run / "output").write_text(output.read_text())
    return run


def test_nothing_of_the_run_is_left_behind(run):
    assert processes_of(run) == []


def test_the_killed_training_went_on_from_its_last_checkpoint(run):
    before = (run.parent / "metrics.jsonl").read_text().splitlines()
    lines = (run / "round_1/solver/metrics.jsonl").read_text().splitlines()
    assert lines[0] == before[0]  # with its time: it was not done again
    steps = [json.loads(line) for line in lines]
    # Killed between a step's checkpoint and its line, that line is lost (docs/run_directory.md).
    assert [step["step"] for step in steps] in ([1, 2, 3], [1, 3], [1, 2])
    assert json.loads((run / "round_1/solver/progress.json").read_text())["done"] == 3
    assert run_dir.result(run / "round_1/solver")["steps"] == [
        {key: value for key, value in step.items() if key != "time"} for step in steps
    ]
    resumed = sum(line in before for line in lines)
    assert steps[0]["kl"] == pytest.approx(0, abs=1e-6)  # the first step's policy is the reference
    assert steps[resumed]["kl"] > 1e-6  # the weights are those that were trained, not the stage's start
    assert not (run / "round_1/solver/checkpoints").exists()


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


def test_each_question_was_rewarded_for_uncertainty_less_its_repetition(run):
    repeated = check_rewards_of_questions(run)
    assert repeated, "no question resembled another: these rows can't tell a penalty by row from one for all"


def check_rewards_of_questions(run: Path) -> list[float]:
    """Hold the Challenger's rewards against its texts; the shares of questions that another one resembles."""
    job = settings.read(run / "settings.yaml").challenger
    repeated = []
    for step in steps_of(run, "challenger"):
        rows = rows_of(run, "challenger", step["step"])
        assert len(rows) == job.batch_size * job.rollouts
        texts = [question_block(row["output"]) for row in rows]
        questions = sorted(text for text in texts if text is not None)
        shares = cluster_shares(questions, 0.5, tokens="math", batch_size=len(rows))
        share_of = dict(zip(questions, shares, strict=True))
        uncertainties = []
        for row, text in zip(rows, texts, strict=True):
            if text is None:
                assert row["score"] == 0.0
                continue
            # The vote isn't in the row, but of 4 answers 1 - 2|p - 1/2| is 0, 1/2 or 1; and no reward lies below 0.
            possible = {u: max(0.0, u - share_of[text]) for u in (0.0, 0.5, 1.0)}
            found = [u for u, reward in possible.items() if row["score"] == pytest.approx(reward, abs=1e-6)]
            assert found, (row, share_of[text])
            uncertainties.append(found)
        # the lowest and the highest that each may have had are the same but where its share is 1/2 or more
        assert np.mean([u[0] for u in uncertainties]) <= step["uncertainty_mean"] + 1e-9
        assert np.mean([u[-1] for u in uncertainties]) >= step["uncertainty_mean"] - 1e-9
        assert step["repetition_mean"] == pytest.approx(np.mean(shares))
        assert step["largest_cluster_share"] == pytest.approx(max(shares))
        assert step["well_formed_share"] == len(questions) / len(rows)
        assert step["distinct_share"] == len({*questions}) / len(rows)
        assert step["reward_mean"] == pytest.approx(np.mean([row["score"] for row in rows]), abs=1e-6)
        assert max(u[-1] for u in uncertainties) > 0
        for part in ("rollout", "penalty", "update"):
            assert step[f"seconds_{part}"] >= 0
        repeated += [share for share in shares if share > 1.5 / len(rows)]
    return repeated


def test_each_answer_was_rewarded_for_its_equality_with_its_questions_label(run):
    job = settings.read(run / "settings.yaml").solver
    rows = records.read(run / "round_1/curation/solver_train.parquet", SolverRow)
    labels = {(row.prompt[-1]["content"], row.reward_model["ground_truth"]) for row in rows}
    seen = set()
    for step in steps_of(run, "solver"):
        rows = rows_of(run, "solver", step["step"])
        assert len(rows) == job.batch_size * job.rollouts
        answers = [last_boxed(row["output"]) for row in rows]
        for row, answer in zip(rows, answers, strict=True):
            assert (row["input"].removesuffix("<|answer|>"), row["gts"]) in labels
            assert row["score"] == float(answer is not None and same_answer(answer, row["gts"]))
            seen.add(row["score"])
        assert step["label_agreement"] == pytest.approx(np.mean([row["score"] for row in rows]))
        assert step["answered_share"] == pytest.approx(np.mean([answer is not None for answer in answers]))
    assert seen == {0.0, 1.0}


def advantages(rows: list[dict]) -> list[float]:
    """GRPO's: (r - mean) / (std + 1e-6) within a prompt's rollouts, std unbiased."""
    of_prompt: dict[str, list[float]] = {}
    for row in rows:
        of_prompt.setdefault(row["uid"].rsplit("_", 2)[0], []).append(row["score"])
    return [
        (reward - np.mean(rewards)) / (np.std(rewards, ddof=1) + 1e-6)
        for rewards in of_prompt.values()
        for reward in rewards
    ]


@pytest.mark.parametrize("role", ROLES)
def test_the_advantages_are_of_these_rewards(run, role):
    for step in steps_of(run, role):
        expected = advantages(rows_of(run, role, step["step"]))
        assert step["advantage_max"] == pytest.approx(max(expected), abs=1e-4)
        assert step["advantage_min"] == pytest.approx(min(expected), abs=1e-4)


def test_models_of_the_stages_differ_and_the_solver_moved_away_from_its_start(run):
    hashes = {model_hash(run / stage / "model") for stage in ("base/model", "round_1/challenger", "round_1/solver")}
    assert len(hashes) == 3
    steps = run_dir.result(run / "round_1/solver")["steps"]
    assert steps[-1]["kl"] > 0  # against the start of the stage
    assert all(step["response_tokens_mean"] > 1 for step in steps)


def test_each_step_has_verls_numbers_under_our_names(run):
    names = {
        *("kl", "kl_weight", "policy_loss", "clipped_share", "grad_norm", "lr"),
        *("advantage_mean", "advantage_max", "advantage_min", "response_tokens_mean", "response_cut_off_share"),
        *("seconds", "seconds_rollout", "seconds_store", "seconds_penalty", "seconds_old_log_prob"),
        *("seconds_reference", "seconds_update", "seconds_weight_sync"),
        *("grading_timeouts", "grading_kills", "grading_cache_share"),
    }
    for role, of_role in (("challenger", "seconds_vote"), ("solver", "seconds_grading")):
        for step in run_dir.result(run / f"round_1/{role}")["steps"]:
            assert {*names, of_role} <= set(step)


def test_verls_own_metrics_are_those_of_the_settings(run):
    asked = settings.read(run / "settings.yaml")
    for role in ("challenger", "solver"):
        job = getattr(asked, role)
        # |r - mean| / std of n rewards, std unbiased, is at most (n - 1) / sqrt(n)
        bound = (job.rollouts - 1) / math.sqrt(job.rollouts) + 1e-3
        steps = run_dir.result(run / f"round_1/{role}")["steps"]
        for step in steps:
            assert step["kl_weight"] == pytest.approx(job.kl_weight)
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


@pytest.fixture(scope="module")
def ttrl(run: Path, ray_directory: str) -> Path:
    """A finished run of TTRL on the base model of the first run."""
    directory = run.parent
    base, output, made = run / "base/model", directory / "ttrl_output", directory / "ttrl"
    given = [f"model.path={base}/model", f"data={base}/benchmark_tiny.parquet"]
    words = [*TTRL, *dumped(directory / "ttrl_rollouts")[1:], *given]
    process = orchestrator(made, words, output, ray_directory)
    assert process.wait(LIMIT_S) == 0, output.read_text()[-3000:]
    return made


def test_ttrl_rewards_each_answer_by_the_majority_of_its_group(ttrl):
    prompts = records.read(ttrl / "round_1/solver/prompts.parquet", PromptRow)
    asked = {row.prompt[-1]["content"] for row in prompts}
    tokenizer, longest = make_tokenizer(), settings.read(ttrl / "settings.yaml").model.answer_tokens

    def cut_off(text: str, hidden: int = 0) -> bool:
        # One that ended by itself has its end token beside these; others of no text can be hidden.
        return len(tokenizer(text)["input_ids"]) >= longest - hidden

    steps = run_dir.result(ttrl / "round_1/solver")["steps"]
    assert [step["step"] for step in steps] == [1, 2]
    seen = set()
    for step in steps:
        rows = rows_of(ttrl, "solver", step["step"])
        groups = [rows[first : first + 4] for first in range(0, len(rows), 4)]
        assert [len({row["uid"].rsplit("_", 2)[0] for row in group}) for group in groups] == [1] * 8
        labels, agrees = [], []
        for group in groups:
            (prompt,) = {row["input"].removesuffix("<|answer|>") for row in group}
            assert prompt in asked
            known = truth(prompt.removeprefix("<|solve|>"))
            answers = [None if cut_off(row["output"]) else last_boxed(row["output"]) for row in group]
            # Four of eight votes are here: the label is known where one of them was rewarded.
            label = next((answer for row, answer in zip(group, answers, strict=True) if row["score"] == 1.0), None)
            for row, answer in zip(group, answers, strict=True):
                expected = label is not None and answer is not None and same_answer(answer, label)
                assert row["score"] == float(expected)
                assert row["gts"] is None
                agrees.append((answer is not None and same_answer(answer, known)) == (row["score"] == 1.0))
                seen.add(row["score"])
            labels.append(None if label is None else same_answer(label, known))
        assert step["reward_accuracy"] == pytest.approx(np.mean(agrees))
        assert labels.count(True) / 8 <= step["label_accuracy"] <= 1 - labels.count(False) / 8
        assert step["reward_mean"] == pytest.approx(np.mean([row["score"] for row in rows]))
        assert step["advantage_max"] == pytest.approx(max(advantages(rows)), abs=1e-4)
        assert step["agreement_mean"] >= np.mean([sum(row["score"] for row in group) / 8 for group in groups]) - 1e-9
        assert 1 <= step["distinct_answers"] <= 8
        surely, perhaps = (np.mean([cut_off(row["output"], hidden) for row in rows]) for hidden in (0, 8))
        assert surely <= step["response_cut_off_share"] <= perhaps
    assert seen == {0.0, 1.0}


def test_ttrl_leaves_a_trained_model_and_nothing_running(run, ttrl):
    assert model_hash(ttrl / "round_1/solver/model") != model_hash(run / "base/model/model")
    (first,) = json.loads((ttrl / "report.json").read_text())["rounds"]
    assert [step["step"] for step in first["solver"]["steps"]] == [1, 2]
    assert processes_of(ttrl) == []


def done_on_the_first_base(run: Path, name: str, words: list[str], ray_directory: str) -> Path:
    """A finished run of its own on the base model of the first run."""
    made, output = run.parent / name, run.parent / f"{name}_output"
    words = [*words, f"model.path={run / 'base/model/model'}", *dumped(run.parent / f"{name}_rollouts")]
    assert orchestrator(made, words, output, ray_directory).wait(LIMIT_S) == 0, output.read_text()[-3000:]
    return made


@pytest.fixture(scope="module")
def as_on_gpus(run: Path, ray_directory: str) -> Path:
    """A round with what only recipes for GPUs have: the Solver votes after the rollout, by turns with it; the old
    log-probabilities are computed; the store has eight parts; engines sleep and wake, though on a CPU they keep their
    memory. And the method is the robust one, with a Solver that goes half of the way.
    """
    return done_on_the_first_base(run, "as_on_gpus", AS_ON_GPUS, ray_directory)


def test_by_turns_rewards_are_those_of_votes_beside_the_rollout(as_on_gpus):
    check_rewards_of_questions(as_on_gpus)
    (step,) = run_dir.result(as_on_gpus / "round_1/challenger")["steps"]
    assert step["seconds_vote"] > 0  # after the rollout, and so a part of the step by itself
    assert step["seconds_penalty"] > 1e-4
    assert step["uncertainty_mean"] > 0


@pytest.mark.parametrize("role", ROLES)
def test_old_log_probabilities_are_computed(run, as_on_gpus, role):
    (step,) = run_dir.result(as_on_gpus / f"round_1/{role}")["steps"]
    assert step["entropy"] > 0  # verl takes it in that pass
    assert all("entropy" not in step for step in run_dir.result(run / f"round_1/{role}")["steps"])
    assert step["kl"] == pytest.approx(0, abs=1e-5)  # one update: the model was its own reference
    assert step["advantage_max"] == pytest.approx(max(advantages(rows_of(as_on_gpus, role, 1))), abs=1e-4)
    assert processes_of(as_on_gpus) == []


def test_the_solver_is_trained_with_the_challengers_engines(as_on_gpus):
    """They have slept, been given its weights, and sample from them; with the Challenger's it would be some .005."""
    began = [
        "vllm_cpu.SyncedCPUWorkerExtension" in (as_on_gpus / f"round_1/{role}/stage.log").read_text() for role in ROLES
    ]
    assert began == [True, False]
    (line,) = (as_on_gpus / "round_1/solver/verl_metrics.jsonl").read_text().splitlines()
    assert json.loads(line)["data"]["rollout_corr/k3_kl"] == pytest.approx(0, abs=1e-5)


def test_the_solver_goes_half_of_the_way(run, as_on_gpus):
    stage = as_on_gpus / "round_1/solver"
    before, trained, after = (
        load_file(model / "model.safetensors")
        for model in (
            run / "base/model/model",
            stage / "checkpoints/global_step_1/actor/huggingface",
            stage / "model",
        )
    )
    for name, weight in after.items():
        mean = (before[name].astype(np.float64) + trained[name]) / 2
        np.testing.assert_allclose(weight, mean, rtol=2e-7, atol=1e-10)
    # However the rewards came out: where no group differs, AdamW lets weights decay, by 2e-6 of their size.
    assert any(not np.allclose(after[name], trained[name], rtol=5e-7, atol=1e-10) for name in after)


@pytest.fixture(scope="module")
def adapted(run: Path, ray_directory: str) -> Path:
    """TTRL with an adapter, waiting for three in ten answers only, of which two engines sample 16 at once; its rate is
    so high that two steps change what the model says.
    """
    given = [f"data={run / 'base/model/benchmark_tiny.parquet'}", "lora.rank=8", "solver.lr=0.003"]
    old = "hardware.verl.algorithm.rollout_correction.bypass_mode=false"
    few = ["sampling.wait_for=0.3", "hardware.verl.actor_rollout_ref.rollout.max_num_seqs=8"]
    batch = ["ttrl.votes=4", "solver.batch_size=32", "solver.minibatch_size=32"]
    words = [*TTRL, *given, old, *few, *batch]
    return done_on_the_first_base(run, "adapted", words, ray_directory)


def test_an_adapter_leaves_a_whole_model_that_differs_by_matrices_of_its_rank(run, adapted):
    before, after = (
        load_file(model / "model.safetensors") for model in (run / "base/model/model", adapted / "round_1/solver/model")
    )
    assert before.keys() == after.keys()
    for name, weights in before.items():
        rank = np.linalg.matrix_rank(after[name] - weights, tol=1e-5) if weights.ndim == 2 else 0
        if "_proj" in name:
            assert 1 <= rank <= 8, name
        else:
            assert np.array_equal(after[name], weights), name


def test_what_is_not_waited_for_is_cut_off(adapted, ttrl):
    whole = [step["response_cut_off_share"] for step in run_dir.result(ttrl / "round_1/solver")["steps"]]
    cut = [step["response_cut_off_share"] for step in run_dir.result(adapted / "round_1/solver")["steps"]]
    at_once = 16 / (32 * 4)  # the others have no token yet, and are sampled to their end
    assert max(cut) <= at_once + 0.05  # some may end at the limit of tokens
    assert sum(whole) < 0.05 < sum(cut)  # one of the steps may be nearly over before the servers hear of it


@pytest.fixture(scope="module")
def adapted_twice(run: Path, ray_directory: str) -> Path:
    """Two rounds of a step of TTRL, an adapter each; the base model is the reference of both."""
    given = [f"data={run / 'base/model/benchmark_tiny.parquet'}", "lora.rank=8", "solver.lr=0.003"]
    words = [*TTRL, *given, "rounds=2", "solver.steps=1", "solver.reference=base", "logger=[console,file]"]
    return done_on_the_first_base(run, "adapted_twice", words, ray_directory)


def test_beside_an_adapter_the_reference_can_be_the_base_of_the_run(adapted_twice):
    first, second = (run_dir.result(adapted_twice / f"round_{number}/solver")["steps"][0] for number in (1, 2))
    assert first["kl"] == pytest.approx(0, abs=1e-6)  # the base is the stage's start
    assert second["kl"] > 1e-3  # the new adapter does nothing yet: without it the model is that of round 1


def test_an_adapters_reference_is_the_model_without_it_and_its_engine_has_it(adapted):
    first, second = run_dir.result(adapted / "round_1/solver")["steps"]
    assert first["kl"] == pytest.approx(0, abs=1e-6)
    assert second["kl"] > 1e-3
    # The engine has sampled with the adapter: it is much nearer to the trainer's model than that is to the reference.
    lines = (adapted / "round_1/solver/verl_metrics.jsonl").read_text().splitlines()
    apart = [json.loads(line)["data"]["rollout_corr/k3_kl"] for line in lines]
    assert max(apart) < second["kl"] / 100
    assert processes_of(adapted) == []
