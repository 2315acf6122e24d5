"""The orchestrator with fake stages: order, resuming, refusing, stopping, and what it shows."""

import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import made_run
import psutil
import pytest

from verl_rzero.base.errors import StageFailed
from verl_rzero.data import run_dir
from verl_rzero.engine.processes import RUN_VARIABLE
from verl_rzero.methods import plan
from verl_rzero.run import coevolve, disk_space
from verl_rzero.settings import compose, load
from verl_rzero.watch import report

FAKE_RUN = Path(__file__).with_name("fake_run.py")
ONE_ROUND = [
    "base/model", "base/evaluation", "round_1/challenger", "round_1/questions", "round_1/votes", "round_1/curation",
    "round_1/solver", "round_1/evaluation",
]  # fmt: skip


def start(run: Path, *overrides: str, **environment: str) -> subprocess.Popen[str]:
    command = [sys.executable, str(FAKE_RUN), f"run_dir={run}", "hardware=cpu", "rounds=1", *overrides]
    return subprocess.Popen(
        command, env={**os.environ, **environment}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def started(run: Path) -> list[str]:
    path = run / "started.txt"
    return path.read_text().split() if path.exists() else []


def test_a_benchmark_that_is_not_there_stops_the_run_before_anything_is_made(tmp_path):
    (tmp_path / "mine.jsonl").write_text('{"problem": "1+1"}')
    run = tmp_path / "run"
    code, _, err = finish(start(run, f"evaluation.benchmarks.mine.path={tmp_path}/mine.jsonl"))
    assert code == 2
    assert err == (
        "error: benchmark mine: it has columns ['problem'], but no question and no answer. "
        "Rename its columns to question, answer.\n"
    )
    assert not run.exists()


def test_a_damaged_model_stops_the_run_before_anything_is_made(run, tmp_path):
    (tmp_path / "config.json").write_text("{")
    given = (f"model.path={tmp_path}", "model.build=null", "model.truth=null", "~evaluation.benchmarks.tiny")
    code, _, err = finish(start(run, *given))
    assert code == 2
    assert err.startswith(f"error: model.path={tmp_path}: config.json is not JSON (")
    assert not run.exists()


def wait_for(run: Path, stage: str, times: int = 1) -> None:
    """Wait until `stage` has started and the orchestrator has declared the stages before it done."""
    before = ONE_ROUND[: ONE_ROUND.index(stage)]
    deadline = time.monotonic() + 30
    while started(run).count(stage) < times or not all(run_dir.is_done(run / name) for name in before):
        assert time.monotonic() < deadline, f"{stage} did not start"
        time.sleep(0.05)


def processes_of(run: Path) -> list[int]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(RUN_VARIABLE) == str(run):
                found.append(process.pid)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


@pytest.fixture
def run(tmp_path):
    path = tmp_path / "run"
    yield path
    for pid in processes_of(path):
        os.kill(pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    path = tmp_path_factory.mktemp("template") / "run"
    assert finish(start(path, "seed=5"))[0] == 0
    return path


@pytest.fixture
def finished(template, run):
    """A run of one round with seed 5 that is done."""
    shutil.copytree(template, run)
    return run


def test_a_run_does_every_stage_once_and_leaves_no_process(run):
    code, out, err = finish(start(run))
    assert (code, err) == (0, "")
    assert started(run) == ONE_ROUND
    assert all(run_dir.is_done(run / stage) for stage in ONE_ROUND)
    assert processes_of(run) == []
    assert "round 1" in out
    assert str(run / "report.html") in out
    assert (run / "report.html").is_file()


def test_a_manifest_says_how_the_stage_came_about(finished):
    made = run_dir.manifest(finished / "round_1/curation")
    assert (made.stage, made.inputs, made.seed) == ("round_1/curation", ["round_1/votes"], 5)
    assert made.counts == {"kept": 3, "rejected": {"too easy": 4, "too hard": 1}, "kept_label_accuracy": None}
    assert made.settings["band"] == [0.25, 0.75]
    assert "candidates" not in made.settings
    assert made.packages["python"].startswith("3.")
    assert "steps" not in run_dir.manifest(finished / "round_1/solver").counts


def test_a_second_run_does_nothing_and_shows_the_results_again(finished):
    code, out, _ = finish(start(finished, "seed=5"))
    assert (code, started(finished)) == (0, ONE_ROUND)
    assert "round 1" in out


def test_killed_hard_in_the_middle_it_continues_without_redoing_what_is_done(run):
    process = start(run, FAKE_HANG="round_1/votes")
    wait_for(run, "round_1/votes")
    process.kill()
    finish(process)
    code, _, _ = finish(start(run))
    assert code == 0
    assert started(run) == [*ONE_ROUND[:5], *ONE_ROUND[4:]]
    assert processes_of(run) == []


def test_what_a_killed_orchestrator_left_ends_before_anything_starts(run):
    process = start(run, FAKE_HANG="round_1/votes")
    wait_for(run, "round_1/votes")
    process.kill()
    finish(process)
    orphans = {psutil.Process(pid) for pid in processes_of(run)}
    process = start(run, FAKE_HANG="round_1/votes")
    wait_for(run, "round_1/votes", times=2)
    assert not orphans & {psutil.Process(pid) for pid in processes_of(run)}
    process.terminate()
    finish(process)


def test_an_attempt_before_leaves_only_its_log_and_its_parts(run):
    here = run / "round_1/votes"
    process = start(run, FAKE_HANG="round_1/votes")
    wait_for(run, "round_1/votes")
    (here / "half.parquet").write_text("half")
    (here / "parts").mkdir()
    (here / "parts/0.parquet").write_text("a few")
    process.kill()
    finish(process)
    process = start(run, FAKE_HANG="round_1/votes")
    wait_for(run, "round_1/votes", times=2)
    assert not (here / "half.parquet").exists()
    process.kill()
    finish(process)
    assert (here / "parts/0.parquet").read_text() == "a few"
    finish(start(run))
    assert sorted(path.name for path in (run / "round_1/votes").iterdir()) == [
        "DONE", "manifest.json", "progress.json", "result.json", "stage.log",
    ]  # fmt: skip
    assert (run / "round_1/votes/stage.log").read_text().count("working on round_1/votes") == 3


def checkpointed(stage_dir: Path, steps: int, latest: str | None) -> None:
    """What a training leaves that was killed in its `steps`-th step."""
    for step in range(1, steps):
        (stage_dir / f"checkpoints/global_step_{step}").mkdir(parents=True)
    if latest is not None:
        (stage_dir / "checkpoints" / run_dir.LATEST).write_text(latest)
    lines = [json.dumps({"step": step}) for step in range(1, steps)]
    (stage_dir / run_dir.METRICS).write_text("\n".join([*lines, '{"st']))
    (stage_dir / "model").mkdir()


@pytest.mark.parametrize(
    ("latest", "resumes", "left"),
    [("3", True, [1, 2, 3]), ("4", False, None), ("9", True, None), ("", True, None), (None, True, None)],
)
def test_a_training_goes_on_from_its_last_whole_checkpoint_or_anew(tmp_path, latest, resumes, left):
    checkpointed(tmp_path, 5, latest)
    run_dir.start_stage(tmp_path, resumes)
    assert (tmp_path / "checkpoints").exists() == (left is not None)
    assert not (tmp_path / "checkpoints/global_step_4").exists()  # broken off, where the third is the last
    assert not (tmp_path / "model").exists()
    lines = (tmp_path / run_dir.METRICS).read_text().splitlines() if left else None
    assert (lines and [json.loads(line)["step"] for line in lines]) == left
    assert (tmp_path / run_dir.METRICS).exists() == (left is not None)


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_stopping_ends_every_process_of_the_run_and_no_other(run, signum):
    elsewhere = subprocess.Popen(["sleep", "60"], env={**os.environ, RUN_VARIABLE: f"{run}-other"})
    bystander = subprocess.Popen(["sleep", "60"])
    process = start(run, FAKE_HANG="round_1/challenger")
    wait_for(run, "round_1/challenger")
    process.send_signal(signum)
    code, out, err = finish(process)
    assert code == 130
    assert "round_1/challenger: stopped" in out
    assert "same command continues" in err
    assert processes_of(run) == []
    assert not run_dir.is_done(run / "round_1/challenger")
    assert [elsewhere.poll(), bystander.poll()] == [None, None]
    for other in (elsewhere, bystander):
        other.kill()
        other.wait()


def test_under_nohup_a_closed_terminal_stops_nothing(run):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        process = start(run, FAKE_HANG="round_1/challenger")
    finally:
        signal.signal(signal.SIGHUP, before)
    wait_for(run, "round_1/challenger")
    process.send_signal(signal.SIGHUP)
    time.sleep(1)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    assert finish(process)[0] == 130


def test_an_orchestrator_that_carries_the_variable_itself_is_not_ended(run):
    assert finish(start(run, **{RUN_VARIABLE: str(run)}))[0] == 0


def test_two_orchestrators_in_one_run_are_refused(run):
    first = start(run, FAKE_HANG="base/model")
    wait_for(run, "base/model")
    code, _, err = finish(start(run))
    assert code == 2
    assert f"another process is working on this run (process {first.pid} on {platform.node()}, since 20" in err
    assert first.poll() is None
    (run / ".lock").write_text("{}")  # as an older version left it, or one that was cut off
    assert "another process is working on this run. Wait" in finish(start(run))[2]
    first.kill()
    finish(first)
    process = start(run, FAKE_HANG="base/evaluation")  # what the lock still says of a killed holder doesn't matter
    wait_for(run, "base/evaluation")
    process.terminate()
    finish(process)


def test_other_settings_are_refused_with_each_difference(finished):
    code, _, err = finish(start(finished, "seed=5", "votes=9", "solver.verl.trainer.x=1", "band=[0.3, 0.8]"))
    assert code == 2
    assert "votes: 10 -> 9" in err
    assert "band: [0.25, 0.75] -> [0.3, 0.8]" in err
    assert "solver.verl.trainer.x: (not set) -> 1" in err
    assert "seed" not in err
    assert "run_dir=<a new directory>" in err


def test_rounds_may_be_raised_and_not_lowered_and_the_logger_may_change(finished):
    code, _, _ = finish(start(finished, "seed=5", "rounds=2", "logger=[console]"))
    assert code == 0
    assert started(finished) == [*ONE_ROUND, *(stage.replace("round_1", "round_2") for stage in ONE_ROUND[2:])]
    code, _, err = finish(start(finished, "seed=5", "rounds=1"))
    assert code == 2
    assert "rounds=1" in err


def test_a_done_stage_whose_input_is_gone_is_refused(finished):
    (finished / "round_1/votes/DONE").unlink()
    code, _, err = finish(start(finished, "seed=5"))
    assert code == 2
    assert "round_1/votes is not done" in err
    assert started(finished) == ONE_ROUND


def test_a_settings_file_changed_by_hand_is_refused(finished):
    path = finished / "settings.yaml"
    path.write_text(path.read_text().replace("votes: 10", "votes: 9"))
    code, _, err = finish(start(finished, "seed=5", "votes=9"))
    assert code == 2
    assert "round_1/challenger was made with other settings" in err


def test_a_failing_stage_shows_the_end_of_its_log_and_its_path(run):
    code, out, err = finish(start(run, FAKE_FAIL="round_1/curation"))
    assert code == 1
    assert "round_1/curation: failed" in out
    assert "error: no more questions" in err
    assert str(run / "round_1/curation/stage.log") in err
    assert started(run)[-1] == "round_1/curation"
    assert processes_of(run) == []
    assert json.loads((run / "report.json").read_text())["rounds"][0]["votes"]["mean_agreement"] == 0.5


def test_a_stage_that_dies_is_begun_again_and_what_is_done_is_not(run):
    code, out, _ = finish(start(run, FAKE_FAIL="round_1/votes", FAKE_TIMES="1"))
    assert code == 0
    assert started(run) == [*ONE_ROUND[:5], *ONE_ROUND[4:]]
    assert "round_1/votes ended with exit code 1" in out
    assert "attempt 1 of 2" in out
    assert all(run_dir.is_done(run / stage) for stage in ONE_ROUND)
    assert processes_of(run) == []


def test_stages_whose_shared_engines_are_gone_go_on_each_in_its_own_process(run):
    asked = load(["hardware=1gpu", f"run_dir={run}"])
    group = next(each for each in plan.in_one_process(plan.plan(asked), asked) if len(each) > 1)
    processes: list[list[str]] = []

    def work(stages: list[plan.Stage]) -> None:
        processes.append([stage.kind.name for stage in stages])
        for stage in stages:
            if len(processes) == 1 and stage.kind.name == "questions":
                raise StageFailed(stage.id, 1, run)
            stage.directory(run).mkdir(parents=True)
            (stage.directory(run) / run_dir.DONE).touch()

    run.mkdir()
    coevolve.in_attempts(group, disk_space.Room(run, asked, None), work)
    whole = ["challenger", "questions", "votes", "curation", "solver", "evaluation"]
    assert processes == [whole, ["questions"], ["votes"], ["curation"], ["solver", "evaluation"]]


def test_each_of_the_stages_that_share_a_process_has_its_own_attempts(run):
    asked = load([f"run_dir={run}", "attempts=2"])
    group = plan.in_one_process(plan.plan(asked), asked)[2]
    fails = ["round_1/challenger", "round_1/votes", "round_1/solver"]

    def work(stages: list[plan.Stage]) -> None:
        for stage in stages:
            if stage.id in fails:
                fails.remove(stage.id)
                raise StageFailed(stage.id, 1, run)
            stage.directory(run).mkdir(parents=True)
            (stage.directory(run) / run_dir.DONE).touch()

    run.mkdir()
    coevolve.in_attempts(group, disk_space.Room(run, asked, None), work)
    assert all(run_dir.is_done(run / stage.id) for stage in group)
    shutil.rmtree(run / "round_1")
    fails += ["round_1/votes"] * 2
    with pytest.raises(StageFailed, match="round_1/votes ended with exit code 1"):
        coevolve.in_attempts(group, disk_space.Room(run, asked, None), work)
    assert fails == []


@pytest.mark.parametrize(
    ("word", "code", "begun"), [("attempts=3", "1", 3), ("attempts=1", "1", 1), ("attempts=3", "2", 1)]
)
def test_it_is_begun_no_more_often_than_it_may_nor_after_an_error_that_says_what_to_do(run, word, code, begun):
    ended, _, err = finish(start(run, word, FAKE_FAIL="round_1/votes", FAKE_CODE=code))
    assert ended == int(code)
    assert started(run).count("round_1/votes") == begun
    assert "error: no more questions" in err
    assert processes_of(run) == []


def test_a_stage_that_says_nothing_for_too_long_is_ended_and_begun_again(run):
    begin = time.monotonic()
    code, out, _ = finish(start(run, "stalled_after_s=2", FAKE_HANG="round_1/votes", FAKE_TIMES="1"))
    assert code == 0
    assert "round_1/votes has said nothing of its progress for 2 s" in out
    assert started(run).count("round_1/votes") == 2
    assert time.monotonic() - begin < 50
    code, _, err = finish(start(run, "rounds=2", "stalled_after_s=2", "attempts=1", FAKE_HANG="round_2/solver"))
    assert code == 1
    assert "round_2/solver has said nothing of its progress for 2 s, and was ended" in err
    assert (run / "round_2/solver/FAILED").exists()
    assert processes_of(run) == []


def test_a_stage_without_results_is_not_done(run):
    code, _, err = finish(start(run, FAKE_SILENT="base/evaluation"))
    assert code == 1
    assert "base/evaluation ended without results" in err
    assert not run_dir.is_done(run / "base/evaluation")


def test_a_dry_run_prints_the_plan_and_makes_nothing(run):
    code, out, err = finish(start(run, "dry_run=true", FAKE_CHECKS_JOBS="1"))
    assert (code, err) == (0, "")
    assert all(stage in out for stage in ONE_ROUND)
    assert "The solver's job: " in out
    assert "Memory for the challenger's job: up to " in out
    assert list(run.parent.iterdir()) == []


def test_a_key_that_verl_does_not_have_is_refused_before_anything_starts(run):
    code, _, err = finish(start(run, "solver.verl.actor_rollout_ref.actor.optim.ler=1", FAKE_CHECKS_JOBS="1"))
    assert code == 2
    assert "solver.verl.actor_rollout_ref.actor.optim.ler=1" in err
    assert "solver.verl.actor_rollout_ref.actor.optim.lr" in err
    assert not run.exists()


@pytest.mark.parametrize(
    ("truth", "why"),
    [
        ("nowhere.at_all:truth", "No module named"),
        ("verl_rzero.tiny_world:nothing", "has no function nothing"),
        ("os:system", "written in Python"),
        ("shutil:copytree", "missing a required argument"),
    ],
)
def test_what_is_no_function_of_a_question_is_refused_as_truth_and_never_called(run, truth, why):
    for word in ("dry_run=true", "dry_run=false"):
        code, _, err = finish(start(run, f"model.truth={truth}", word))
        assert code == 2
        assert f"model.truth={truth}: " in err
        assert why in err
    assert started(run) == []


def test_a_directory_of_something_else_is_refused_and_left_alone(run):
    run.mkdir()
    (run / "thesis.txt").write_text("years of work")
    code, _, err = finish(start(run))
    assert code == 2
    assert f"run_dir={run}" in err
    assert [path.name for path in run.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("where", ["/proc/run", "{file}/run"])
def test_a_directory_that_cannot_be_made_is_refused(tmp_path, where):
    (tmp_path / "file").write_text("")
    code, _, err = finish(start(Path(where.format(file=tmp_path / "file"))))
    assert code == 2
    assert "run_dir=" in err
    assert "can't be written" in err


def test_a_refusal_is_one_message_without_a_traceback(run):
    code, out, err = finish(start(run, "vots=3"))
    assert (code, out) == (2, "")
    assert err == "error: vots: there is no such key. Did you mean votes?\n"
    assert not run.exists()


def test_help_shows_every_key_with_its_value():
    shown = subprocess.run([sys.executable, str(FAKE_RUN), "--help", "votes=7"], capture_output=True, text=True)
    assert shown.returncode == 0
    assert "  votes=7\n" in shown.stdout
    assert "  challenger.repetition_weight=1.0\n" in shown.stdout
    assert "hardware=1gpu|24gb|2gpu|4gpu|8gpu|cluster|cpu" in shown.stdout


@pytest.mark.parametrize(
    "words",
    [
        ["model=tiny", "hardware=cpu"],
        ["model=tiny", "hardware=1gpu"],
        ["model=small", "hardware=1gpu"],
        ["model=smollm2", "hardware=cpu"],
        ["model=qwen3_4b_base", "hardware=8gpu"],
        ["model=qwen3_8b_base", "hardware=8gpu"],
    ],
)
def test_the_jobs_of_every_recipe_are_complete_for_verl(words, tmp_path):
    assert {*coevolve.check_jobs(load(words), tmp_path)} == {"challenger", "solver"}


def test_jobs_are_looked_at_as_they_will_be_for_the_runs_own_model(tmp_path):
    # SmolLM2's largest tensor has 49,152 x 576 weights of 4 bytes, 108 MiB; a model that isn't here yet gets 64.
    sizes = {"hidden_size": 576, "num_hidden_layers": 30, "num_attention_heads": 9, "intermediate_size": 1536}
    (tmp_path / "config.json").write_text(json.dumps({**sizes, "vocab_size": 49_152}))
    given = ["hardware=cpu", "model.build=null", "model.truth=null", "~evaluation.benchmarks.tiny"]
    for path, megabytes in ((tmp_path, 108), ("nobody/has-this-model", 64)):
        config = coevolve.check_jobs(load([*given, f"model.path={path}"]), tmp_path / "run")["solver"]
        assert config.actor_rollout_ref.rollout.checkpoint_engine.update_weights_bucket_megabytes == megabytes


def test_every_model_and_every_hardware_is_among_these_recipes():
    models = compose.choices("model")
    of_rzero = [name for name in models if not name.startswith(("ttrl_", "az_", "code_"))]
    older = ["llama_3_1_8b", "octothinker_3b", "octothinker_8b", "qwen2_5_3b", "qwen2_5_7b"]
    assert of_rzero == [*older, "qwen3_1_7b_base", "qwen3_4b_base", "qwen3_8b_base", "small", "smollm2", "tiny"]
    assert compose.choices("hardware") == ["1gpu", "24gb", "2gpu", "4gpu", "8gpu", "cluster", "cpu"]


@pytest.mark.parametrize("word", ["hardware=1gpu", "hardware.gpus_per_node=64"])
def test_devices_that_are_not_here_are_refused_before_anything_starts(run, word):
    code, _, err = finish(start(run, word, CUDA_VISIBLE_DEVICES=""))
    assert code == 2
    assert ("hardware.device=cuda" if word == "hardware=1gpu" else word) in err
    assert not run.exists()


def test_several_machines_without_a_cluster_are_refused_before_anything_starts(run):
    words = ["model=small", "hardware=cpu", "hardware.nodes=2", "model.path=owner/name"]
    code, out, err = finish(start(run, *words))
    assert code == 2
    assert "hardware.nodes=2" in err
    assert "RAY_ADDRESS" in err
    assert not run.exists()


def test_an_alarm_is_said_written_down_and_lets_the_run_go_on(run):
    # 3 of the 8 questions of the fake curation are kept: .375
    code, out, _ = finish(start(run, "monitors.kept=0.5"))
    assert code == 0
    assert "ALARM round_1/curation, few_kept: only 0.375 of the questions are kept" in out
    alarms = json.loads((run / "alarms.json").read_text())
    assert [(alarm["stage"], alarm["name"], alarm["value"]) for alarm in alarms] == [
        ("round_1/curation", "few_kept", 0.375)
    ]
    assert json.loads((run / "report.json").read_text())["alarms"] == alarms
    assert f"alarms  1, in {run / 'alarms.json'}" in out


def test_a_page_that_cannot_be_written_does_not_stop_the_run(finished):
    (finished / "report.html").unlink()
    (finished / "report.html").mkdir()
    code, out, err = finish(start(finished, "seed=5", "rounds=2"))
    assert (code, err, len(started(finished))) == (0, "", len(ONE_ROUND) + 6)
    assert out.count("report.html could not be drawn, and the run goes on: IsADirectoryError") == 7
    assert "IsADirectoryError" in (finished / "report_error.txt").read_text()
    assert len(json.loads((finished / "report.json").read_text())["rounds"]) == 2
    assert [path.name for path in finished.glob(".report.html*")] == []


@pytest.mark.parametrize(
    ("rounds", "base", "solvers", "said"),
    [
        (0, "model", [], "{run}/base/model/model"),
        (0, "owner/name", [], "owner/name"),
        (1, "model", ["model"], "{run}/round_1/solver/model"),
        (1, "model", ["{run}/base/model/model"], "{run}/base/model/model"),  # solver.steps=0
        (2, "owner/name", ["owner/name", "owner/name"], "owner/name"),
        (2, "model", ["model", None], "{run}/round_1/solver/model"),  # an early stop, round 2 was begun before
    ],
)
def test_the_results_name_a_solver_that_is_there(tmp_path, capsys, rounds, base, solvers, said):
    made_run.done(tmp_path, "base/model", {"model": base})
    for number, model in enumerate(solvers, 1):
        made_run.done(tmp_path, f"round_{number}/questions", {"generated": 1, "well_formed": 1, "distinct": 1})
        if model is not None:
            made_run.done(tmp_path, f"round_{number}/solver", {"model": model.format(run=tmp_path), "steps": []})
    coevolve.say_results(tmp_path, report.build(tmp_path, load([f"rounds={rounds}", f"run_dir='{tmp_path}'"])))
    assert f"Solver  {said.format(run=tmp_path)}\n" in capsys.readouterr().out


def test_the_best_solver_is_named_as_it_is(tmp_path, capsys):
    made_run.done(tmp_path, "base/model", {"model": "owner/name"})
    scores = {name: {"greedy": 0.5, "mean_at_k": 0.5, "k": 8, "n": 4} for name in ("tiny", "other")}
    made_run.done(tmp_path, "base/evaluation", scores)
    coevolve.say_results(tmp_path, report.build(tmp_path, load([*CHOICE, "rounds=0"])))
    assert "best    owner/name (round 0 by tiny, used for choosing)\n" in capsys.readouterr().out


def test_without_trouble_there_is_no_alarm(finished):
    assert json.loads((finished / "alarms.json").read_text()) == []


def test_on_alarm_stop_ends_the_run_after_the_stage_until_it_is_told_to_go_on(run):
    code, _, err = finish(start(run, "monitors.kept=0.5", "monitors.on_alarm=stop"))
    assert code == 2
    assert "round_1/curation few_kept" in err
    assert "monitors.on_alarm=warn" in err
    # The next stage of the same process may have begun before it was ended, but it doesn't count.
    before = started(run)
    assert before == ONE_ROUND[: len(before)]
    assert run_dir.is_done(run / "round_1/curation")
    assert not run_dir.is_done(run / "round_1/solver")
    assert processes_of(run) == []
    code, _, _ = finish(start(run, "monitors.kept=0.5", "monitors.on_alarm=stop"))
    assert (code, started(run)) == (2, before)
    code, _, _ = finish(start(run, "monitors.kept=0.3", "monitors.on_alarm=stop"))
    assert (code, started(run)) == (0, [*before, *ONE_ROUND[6:]])


CHOICE = ["evaluation.choose_by=tiny", "evaluation.benchmarks.other={path: null, n: 4}"]


def test_it_stops_early_when_the_choosing_benchmark_does_not_improve(run):
    """Every fake evaluation has the same score, so the base model stays the best."""
    code, out, _ = finish(start(run, *CHOICE, "rounds=3", "monitors.early_stop_rounds=1"))
    assert (code, started(run)) == (0, ONE_ROUND)
    assert "Early stop: tiny has not improved for 1 rounds" in out
    assert f"best    {run / 'base/model'}" in out
    assert "tiny (used for choosing) greedy" in out
    assert json.loads((run / "report.json").read_text())["best_round"]["round"] == 0
    code, _, _ = finish(start(run, *CHOICE, "rounds=3", "monitors.early_stop_rounds=2"))
    assert (code, len(started(run))) == (0, len(ONE_ROUND) + 6)


def test_the_numbers_of_a_run_are_in_one_tensorboard_run(finished):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(finished / "tensorboard"))
    events.Reload()
    greedy = events.Scalars("round/evaluation/tiny/greedy")
    assert [(event.step, event.value) for event in greedy] == [(0, 0.25), (1, 0.25)]
    assert len(list(finished.rglob("*tfevents*"))) == len(ONE_ROUND)


def test_without_a_logger_no_event_file_is_written(run):
    assert finish(start(run, "logger=[]"))[0] == 0
    assert list(run.rglob("*tfevents*")) == []
