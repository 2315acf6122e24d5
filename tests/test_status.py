"""What is told of a run: running, stopped, failed, damaged, or none at all."""

import fcntl
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import made_run
import pytest

from verl_rzero import settings
from verl_rzero.base.errors import UserError
from verl_rzero.data import run_dir
from verl_rzero.watch import status

FAKE_RUN = Path(__file__).with_name("fake_run.py")
SETTINGS = settings.load(["rounds=1", "hardware=cpu"])
RESULTS = {
    "base/model": {"model": "model", "steps": 1200},
    "base/evaluation": {"tiny": {"greedy": 0.5, "mean_at_k": 0.25, "k": 8, "n": 4}},
    "round_1/challenger": {"model": "model", "steps": []},
    "round_1/questions": {"generated": 8, "well_formed": 7, "distinct": 6},
    "round_1/votes": {"questions": 7, "mean_agreement": 0.5, "answered_share": 1.0, "pseudo_label_accuracy": None},
    "round_1/curation": {"kept": 3, "rejected": {"above_band": 4}, "kept_label_accuracy": None},
    "round_1/solver": {"model": "model", "steps": []},
    "round_1/evaluation": {"tiny": {"greedy": 0.75, "mean_at_k": 0.5, "k": 8, "n": 4}},
}
STAGES = list(RESULTS)


def done(run: Path, stage: str) -> None:
    here = run / stage
    run_dir.start_stage(here)
    (here / "result.json").write_text(json.dumps(RESULTS[stage]))
    run_dir.finish_stage(here, run_dir.Manifest(stage, "", {}, [], 0, {}, "", {}, "", run_dir.now(), 65.0))


def begun(run: Path, stage: str, done: int | None = None, log: str = "") -> Path:
    """A stage that was started and, with `done`, said that it has done so many of 10 steps, 5 seconds for each."""
    here, now = run / stage, time.time()
    run_dir.start_stage(here)
    if done is not None:
        position = {"done": done, "total": 10, "unit": "step", "note": "", "time": now, "began": now - 5 * done}
        (here / "progress.json").write_text(json.dumps(position))
    (here / "stage.log").write_text(log)
    return here


def started(run: Path, upto: str) -> Path:
    """A run with every stage before `upto` done."""
    run.mkdir()
    settings.save(SETTINGS, run / "settings.yaml")
    (run / ".lock").touch()
    for stage in STAGES[: STAGES.index(upto)]:
        done(run, stage)
    return run


def told(run: Path, log: str = "", lines: int = 8) -> str:
    return status.shown(status.look(run), log, lines)


def line_of(text: str, stage: str) -> str:
    return " ".join(next(line for line in text.splitlines() if line.startswith(f"  {stage} ")).split())


def asked(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "verl_rzero.status", *words], capture_output=True, text=True, timeout=60
    )


def test_a_run_that_lives(tmp_path):
    # 4 of 10 steps in 20 s: 6 more take 30 s, less the moment since it said so.
    run = started(tmp_path / "run", "round_1/solver")
    with run_dir.locked(run):
        here = begun(run, "round_1/solver", done=4, log="a\nb\nc\n")
        begun(run, "round_1/evaluation")  # directories of stages that share a process are made together
        first = '{"time": 1.0, "step": 3, "reward_mean": 0.25}\n'
        (here / "metrics.jsonl").write_text(
            first
            + '{"time": 1.0, "step": 4, "reward_mean": 0.5, "kl": 0.01234567, "seconds": 2.0, "seconds_vote": 1}\n'
        )
        text = told(run, lines=2)
    assert text.startswith(f"{run}: running round_1/solver; up for 0:00, 0 processes here")
    assert line_of(text, "round_1/votes") == "round_1/votes done in 1:05"
    assert line_of(text, "round_1/solver") in [
        f"round_1/solver running 4/10 steps, for 0:00, 0:{left} left" for left in (29, 30)
    ]
    assert line_of(text, "round_1/evaluation").startswith("round_1/evaluation to do tiny: 500 questions")
    assert "next: round_1/evaluation (tiny: 500 questions x 9 answers), 1 to go" in text
    assert "step 4: reward_mean 0.5, kl 0.01235, seconds 2\n" in text
    assert "base      0.500   0.250" in text
    assert text.endswith(f"{here}/stage.log:\n  b\n  c")


def test_a_step_that_is_half_written_is_not_there_yet(tmp_path):
    run = started(tmp_path / "run", "round_1/solver")
    here = begun(run, "round_1/solver")
    (here / "metrics.jsonl").write_text('{"step": 3, "reward_mean": 0.25}\n{"step": 4, "rewa')
    assert "step 3: reward_mean 0.25\n" in told(run)


def test_a_silent_stage_is_pointed_out(tmp_path):
    run = started(tmp_path / "run", "round_1/solver")
    here = begun(run, "round_1/solver", done=1)
    said = json.loads((here / "progress.json").read_text())
    (here / "progress.json").write_text(json.dumps(said | {"time": time.time() - 600, "began": time.time() - 605}))
    with run_dir.locked(run):
        assert "silent for 10:0" in line_of(told(run), "round_1/solver")


def test_a_run_that_was_killed(tmp_path):
    run = started(tmp_path / "run", "round_1/solver")
    begun(run, "round_1/solver", done=4, log="working\n")
    text = told(run)
    assert text.startswith(f"{run}: interrupted in round_1/solver\n")
    assert line_of(text, "round_1/solver") == "round_1/solver interrupted 4/10 steps"
    assert "next: round_1/solver (15 steps x 64 questions x 8 answers), 2 to go; the command that began" in text
    assert text.endswith("stage.log:\n  working")


def test_between_two_stages(tmp_path):
    text = told(started(tmp_path / "run", "round_1/votes"))
    assert text.startswith(f"{tmp_path}/run: stopped before round_1/votes\n")
    assert line_of(text, "round_1/votes") == "round_1/votes to do 10 answers to each question"


def test_a_finished_run(tmp_path):
    run = started(tmp_path / "run", "round_1/evaluation")
    done(run, "round_1/evaluation")
    text = told(run)
    assert text.startswith(f"{run}: finished\n")
    assert "next:" not in text
    assert text.splitlines()[-1].split()[:4] == ["round", "1", "0.750", "0.500"]


def test_a_ttrl_run(tmp_path):
    run = tmp_path / "run"
    made_run.ttrl(run, [0.4, 0.5])
    here = begun(run, "round_2/solver", done=4)
    step = '{"step": 4, "reward_mean": 0.5, "agreement_mean": 0.25, "distinct_answers": 3.0, "label_accuracy": 0.125}\n'
    (here / "metrics.jsonl").write_text(step)
    text = told(run)
    stages = [line.split()[0] for line in text.split("\n\n")[1].splitlines()]
    assert stages == [
        "base/model", "base/evaluation", "round_1/solver", "round_1/evaluation", "round_2/solver", "round_2/evaluation"
    ]  # fmt: skip
    assert text.startswith(f"{run}: interrupted in round_2/solver\n")
    assert re.search(r"next: round_2/solver \(.* x 16 votes, .* trained on\), 2 to go", text)
    assert "step 4: reward_mean 0.5, agreement_mean 0.25, distinct_answers 3, label_accuracy 0.125\n" in text
    rows = [line.split() for line in text.splitlines()]
    assert [row[:2] for row in rows if row[:1] == ["base"]] == [["base", "0.400"]]
    assert [row[:3] for row in rows if row[:1] == ["round"]] == [["round", "1", "0.500"], ["round", "2", "-"]]


def test_alarms_are_told(tmp_path):
    run = started(tmp_path / "run", "round_1/evaluation")
    done(run, "round_1/evaluation")
    assert "ALARM" not in told(run)
    votes = run / "round_1/votes/result.json"
    votes.write_text(json.dumps(json.loads(votes.read_text()) | {"mean_agreement": 0.95}))
    assert "ALARM round_1/votes, too_easy" in told(run)


def test_before_the_first_stage_nothing_is_known(tmp_path):
    run = started(tmp_path / "run", "base/model")
    (run / ".lock").unlink()
    text = told(run)
    assert text.startswith(f"{run}: stopped before base/model\n")
    assert "greedy" not in text


@pytest.mark.parametrize("content", ["", '{"tiny": ', "[1]"])
def test_a_damaged_result_is_named_and_not_counted(tmp_path, content):
    run = started(tmp_path / "run", "round_1/solver")
    (run / "base/evaluation/result.json").write_text(content)
    text = told(run)
    assert text.startswith(f"{run}: damaged in base/evaluation\n")
    assert "result.json" in line_of(text, "base/evaluation")
    assert "delete that stage's directory" in text


def test_a_damaged_progress_file_is_named(tmp_path):
    run = started(tmp_path / "run", "round_1/solver")
    (begun(run, "round_1/solver") / "progress.json").write_text('{"done": ')
    assert "progress.json can't be read" in line_of(told(run), "round_1/solver")
    with run_dir.locked(run):
        assert "progress.json can't be read" in line_of(told(run), "round_1/solver")


@pytest.mark.parametrize("content", ["a: [", "- 1", "", "votes: 10", "\0"])
def test_damaged_settings_are_refused_with_their_file(tmp_path, content):
    run = started(tmp_path / "run", "round_1/solver")
    (run / "settings.yaml").write_text(content)
    with pytest.raises(UserError, match=r"settings\.yaml"):
        status.look(run)


def test_a_run_from_another_machine_can_be_looked_at(tmp_path):
    """Where its benchmark's file isn't."""
    run = started(tmp_path / "run", "base/evaluation")
    text = (run / "settings.yaml").read_text()
    (run / "settings.yaml").write_text(
        text.replace("path: null\n      n: 500", "path: /not/here.parquet\n      n: 500")
    )
    with pytest.raises(UserError, match="no such file"):
        settings.read(run / "settings.yaml")
    assert "stopped before base/evaluation" in told(run)


def test_a_log_by_name(tmp_path):
    run = started(tmp_path / "run", "round_1/solver")
    (run / "base/model/stage.log").write_text("".join(f"line {n}\n" for n in range(50)) + "\x1b[36mred\x1b[0m\n")
    assert told(run, "base/model", 2).endswith("base/model/stage.log:\n  line 49\n  red")
    with pytest.raises(UserError, match=r"log=base/modle: .* There is one of: base/model\."):
        told(run, "base/modle")


def test_of_a_huge_log_only_the_end_is_read(tmp_path):
    run = started(tmp_path / "run", "round_1/solver")
    with (run / "base/model/stage.log").open("wb") as file:
        file.truncate(1 << 40)
        file.seek(1 << 40)
        file.write(b"\nlast\n")
    assert told(run, "base/model", 1).endswith("stage.log:\n  last")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "none is given"),
        (["{run}", "{run}"], "2 are given"),
        (["{run}/nothing"], "no such directory"),
        (["{run}/base"], "not the directory of a run"),
        (["{run}/.."], "Runs below it: run."),
        (["{run}", "lgo=x"], "Did you mean log?"),
        (["{run}", "lines=0.5"], "not a whole number"),
        (["{run}", "watch=often"], "not a number"),
        (["{run}", "watch=0"], "above 0"),
    ],
)
def test_what_cannot_be_read_is_refused(tmp_path, words, message):
    run = started(tmp_path / "run", "base/evaluation")
    ended = asked(*(word.format(run=run) for word in words))
    assert ended.returncode == 2
    assert ended.stderr.startswith("error: ")
    assert message in ended.stderr
    assert "Traceback" not in ended.stderr


def test_looking_changes_nothing_and_loads_no_engine(tmp_path):
    run = started(tmp_path / "run", "round_1/solver")
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    code = (
        "import sys; from verl_rzero.watch import status; status.main(sys.argv[1:]);"
        "print({'torch', 'ray', 'vllm', 'verl', 'pyarrow', 'transformers'} & {*sys.modules})"
    )
    ended = subprocess.run([sys.executable, "-c", code, str(run)], capture_output=True, text=True)
    assert ended.stdout.splitlines()[-1] == "set()", ended.stderr
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before


def test_a_real_orchestrator_is_seen_watched_and_its_failure_told(tmp_path):
    run = tmp_path / "run"
    command = [sys.executable, str(FAKE_RUN), f"run_dir={run}", "hardware=cpu", "rounds=1"]
    ended = subprocess.run(command, env={**os.environ, "FAKE_FAIL": "base/evaluation"}, capture_output=True, text=True)
    assert ended.returncode == 1
    text = told(run)
    assert text.startswith(f"{run}: failed in base/evaluation\n")
    assert line_of(text, "base/evaluation") == "base/evaluation failed base/evaluation ended with exit code 1"
    assert text.endswith("\n  error: no more questions")

    process = subprocess.Popen(command, env={**os.environ, "FAKE_HANG": "round_1/votes"}, stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 30
        while not ((run / "round_1/votes/progress.json").exists() and run_dir.is_done(run / "round_1/questions")):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        text = told(run)
        assert text.startswith(f"{run}: running round_1/votes; up for 0:")
        assert status.look(run).processes > 0
        assert line_of(text, "base/evaluation").startswith("base/evaluation done")
        watching = subprocess.Popen(
            [sys.executable, "-m", "verl_rzero.status", str(run), "watch=0.1"], stdout=subprocess.PIPE, text=True
        )
        assert watching.stdout.readline().startswith(f"{run}: running round_1/votes")
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)
    rest, _ = watching.communicate(timeout=30)
    assert watching.returncode == 0
    assert f"{run}: interrupted in round_1/votes" in rest
    assert status.look(run).processes == 0


def test_looking_never_keeps_a_run_from_starting(tmp_path):
    """Whoever looks holds the lock for a moment; a start in that moment waits."""
    run = started(tmp_path / "run", "base/model")
    with (run / ".lock").open() as looking:
        fcntl.flock(looking, fcntl.LOCK_SH)
        threading.Timer(0.1, fcntl.flock, (looking, fcntl.LOCK_UN)).start()
        with run_dir.locked(run):
            assert run_dir.locked_since(run) == pytest.approx(time.time(), abs=30)
        assert run_dir.locked_since(run) is None


def test_a_second_start_that_is_refused_changes_nothing(tmp_path):
    run = started(tmp_path / "run", "base/model")
    with run_dir.locked(run):
        os.utime(run / ".lock", (100.0, 100.0))
        with pytest.raises(UserError, match="another process"), run_dir.locked(run):
            pass
        assert run_dir.locked_since(run) == 100.0
