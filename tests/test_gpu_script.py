"""`bash tests/gpu.sh` without a card and without engines: verdicts, limits, the file after each step, numbers."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
import torch
from gpu import __main__ as script
from gpu import model, peaks, raw, runs, steps, stock
from gpu.found import Found
from gpu.runs import Place
from gpu.steps import Step
from omegaconf import OmegaConf
from test_environment import STACK

from verl_rzero.base.files import write_json
from verl_rzero.data import records
from verl_rzero.data.records import Question, VotedQuestion
from verl_rzero.rules.answers import last_boxed, question_block

ROOT = Path(__file__).resolve().parents[1]


def step(name: str, *commands: str, limit_s: float = 60, found=lambda place: Found(), needs=None) -> Step:
    """A step whose commands are Python; HERE is its directory."""
    lines = [["from pathlib import Path", command] for command in commands]
    return Step(
        name,
        "",
        limit_s,
        lambda place: [
            [sys.executable, "-c", "\n".join(each).replace("HERE", repr(str(place.here)))] for each in lines
        ],
        found,
        needs or {},
    )


def check(out: Path, *several: Step, minutes: float = 10) -> list[script.Verdict]:
    return script.check(several, "cpu", out, minutes)


def written(out: Path) -> list[tuple[str, str]]:
    return [(each["step"], each["verdict"]) for each in json.loads((out / "gpu.json").read_text())["steps"]]


def test_without_a_card_the_first_step_says_so_and_no_other_is_begun(tmp_path):
    env = {**os.environ, "PYTHON": sys.executable, "VERL_RZERO_STACK": STACK, "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(["bash", ROOT / "tests/gpu.sh", tmp_path / "out"], env=env, capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    first, *others = json.loads((tmp_path / "out/gpu.json").read_text())["steps"]
    assert (first["step"], first["verdict"]) == ("pins", "failed")
    assert "sees no card" in first["said"]
    assert first["measured"]["versions"]["torch"] == torch.__version__
    assert [each["step"] for each in others] == [each.name for each in steps.STEPS[1:]]
    assert {(each["verdict"], each["said"]) for each in others} == {("skipped", "pins found nothing to compute on")}
    table = done.stdout.split("\n\n")[-2].splitlines()
    assert [row.split()[:2] for row in table] == [
        ["pins", "failed"],
        *([each.name, "skipped"] for each in steps.STEPS[1:]),
    ]


def test_the_file_is_whole_after_each_step(tmp_path):
    copies = 'Path(HERE, "seen").write_text(Path(HERE, "../gpu.json").read_text())'
    check(tmp_path, step("a", "pass"), step("b", copies), step("c", copies))
    seen = [json.loads((tmp_path / name / "seen").read_text())["steps"] for name in "bc"]
    assert [[each["step"] for each in one] for one in seen] == [["a"], ["a", "b"]]
    assert written(tmp_path) == [("a", "ok"), ("b", "ok"), ("c", "ok")]


SLEEPERS = """
import os, subprocess, sys, time
ours = subprocess.Popen(["sleep", "300"], env={})
rays = subprocess.Popen(["sleep", "300"], start_new_session=True)
Path(HERE, "pids").write_text(f"{os.getpid()} {ours.pid} {rays.pid}")
time.sleep(300)
"""


def test_a_step_over_its_limit_ends_with_all_that_it_started_and_the_next_begins(tmp_path):
    begins = time.monotonic()
    slow, after = check(tmp_path, step("slow", SLEEPERS, limit_s=6), step("after", "pass"))
    assert time.monotonic() - begins < 30
    assert (slow.verdict, slow.said) == ("failed", "not done after 6 s, its limit")
    assert after.verdict == "ok"
    pids = [int(word) for word in (tmp_path / "slow/pids").read_text().split()]
    assert len(pids) == 3
    for pid in pids:
        assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_the_limits_follow_the_minutes_and_no_step_begins_without_time(tmp_path):
    sleeps = "import time; time.sleep(30)"
    tenth, none = check(tmp_path, step("tenth", sleeps, limit_s=60), step("none", sleeps, limit_s=40), minutes=1)
    assert tenth.said == "not done after 6 s, its limit"  # of 60 s for ten minutes
    assert (none.verdict, none.said) == ("skipped", "no time was left")  # 4 s are too few


def test_a_failed_step_keeps_what_it_measured_and_says_the_last_error(tmp_path):
    fails = 'print("Error: no room"); print("bye"); raise SystemExit(3)'
    (one,) = check(tmp_path, step("one", fails, "unreachable", found=lambda place: Found({"a": 1}, "all well")))
    assert (one.verdict, one.said, one.measured) == ("failed", "exit code 3: Error: no room", {"a": 1})


def test_what_was_found_may_be_wrong_or_not_there(tmp_path):
    def absent(place: Place) -> Found:
        raise FileNotFoundError("no numbers")

    wrong, missing, last = check(
        tmp_path,
        step("wrong", "pass", found=lambda place: Found({"a": 1}, "said", "too slow")),
        step("missing", "pass", found=absent),
        step("last", "pass", found=lambda place: Found({}, "said")),
    )
    assert (wrong.verdict, wrong.said, wrong.measured) == ("failed", "too slow", {"a": 1})
    assert (missing.verdict, missing.said) == ("failed", "FileNotFoundError: no numbers")
    assert "absent" in (tmp_path / "missing/error").read_text()
    assert (last.verdict, last.said) == ("ok", "said")


def test_a_step_without_what_it_needs_is_skipped_and_says_what(tmp_path):
    without, with_it = check(
        tmp_path,
        step("makes", 'Path(HERE, "file").touch()'),
        step("without", "pass", needs={"makes/file": "never said", "makes/other": "makes left no other"}),
        step("with", "pass", needs={"makes/file": "never said"}),
    )[1:]
    assert (without.verdict, without.said) == ("skipped", "makes left no other")
    assert with_it.verdict == "ok"
    assert not (tmp_path / "without").exists()


@pytest.mark.parametrize(("commands", "code"), [(["pass", "pass"], 0), (["pass", "raise SystemExit(1)"], 1)])
def test_the_exit_code_and_the_table(commands, code, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    mine = [step(f"step{i}", command) for i, command in enumerate(commands)]
    assert script.main(["--platform", "cpu", str(tmp_path / "out")], mine) == code
    rows = capsys.readouterr().out.split("\n\n")[-2].splitlines()
    assert [row.split()[:2] for row in rows] == [["step0", "ok"], ["step1", "failed" if code else "ok"]]


def test_a_directory_with_something_in_it_is_refused(tmp_path, capsys):
    (tmp_path / "gpu.json").touch()
    with pytest.raises(SystemExit) as refused:
        script.main([str(tmp_path)], [])
    assert refused.value.code == 2
    assert "is not empty" in capsys.readouterr().err


STOPPED = """
import sys
from gpu.__main__ import main
from test_gpu_script import SLEEPERS, step
steps = [step("first", "pass"), step("slow", SLEEPERS), step("never", "pass")]
sys.exit(main(["--platform", "cpu", sys.argv[1]], steps))
"""


def test_a_stopped_check_leaves_what_it_found_and_nothing_running(tmp_path):
    out = tmp_path / "out"
    env = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}
    with subprocess.Popen([sys.executable, "-c", STOPPED, out], env=env) as process:
        while not (out / "slow/pids").is_file() or not (out / "slow/pids").read_text():
            assert process.poll() is None
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 130
    assert written(out) == [("first", "ok"), ("slow", "failed")]
    for pid in (out / "slow/pids").read_text().split():
        with suppress(psutil.NoSuchProcess):  # ended, though whoever has to may not have heard of it
            assert psutil.Process(int(pid)).status() == psutil.STATUS_ZOMBIE


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Path:
    """The small model of random weights."""
    to = tmp_path_factory.mktemp("shape") / "model"
    model.main("small", to)
    return to


def test_replies_of_the_model_end_with_the_chance_that_was_asked_for():
    made = model.make(*model.SIZES["small"])
    with torch.no_grad():
        scores = made(torch.randint(4, model.SMALL["vocab_size"], (4, 50))).logits.float()
    chances = scores.softmax(-1)[..., model.SPECIAL.index(model.END)]
    assert chances.mean() == pytest.approx(1 / 24, rel=0.1)
    assert chances.max() < 1.5 / 24


def test_its_words_hold_questions_and_answers_and_its_texts_can_be_counted(small):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(small)
    ids = [5, 6, 7, 12, 12]  # 6 and 12 are forms: every sixth
    text = tokenizer.decode([*ids, model.SPECIAL.index(model.END)], skip_special_tokens=True)
    assert question_block(text) == "w19,w25,w31,w37,w43,w49,w55,w61"  # the second of 341: 6 (1 + 2) + 1, ...
    assert last_boxed(text) == "2"  # 12 / 6 = 2 of 0, 1, 2
    assert model.tokens(text) == 6
    assert tokenizer.encode("w5 w19,w25") == [5, 19, 25]
    assert [len(tokenizer.encode(each)) for each in ("\n", "<|im_end|>")] == [1, 1]  # verl asks a Qwen for them
    assert len({question_block(word) for word in model.words(2048) if "<question>" in word}) == 340


def test_vllm_alone_is_given_what_the_run_has_sampled(tmp_path):
    texts = ["w5 w7", "w9"]  # with their ends 3 and 2 tokens
    made = [Question(i, 1, text, "w19,w25", None, True, 70 + i, "m") for i, text in enumerate(texts)]
    for name in ("questions", "votes"):
        (tmp_path / f"round_1/{name}").mkdir(parents=True)
    records.write(tmp_path / "round_1/questions/questions.parquet", made, Question)
    voted = VotedQuestion(0, 1, "w19,w25", texts, [None, None], [-1, -1], None, 0.0, 0.0, 0, 40, "m", None)
    records.write(tmp_path / "round_1/votes/votes.parquet", [voted], VotedQuestion)
    asked, tokenizer = runs.asked(Place("cpu", tmp_path, ""), "tiny"), model.tokenizer(2048)
    sampled = raw.replies_of(tmp_path, asked, tokenizer)
    assert [each[1:] for each in sampled["questions"][1]] == [(3, 70), (2, 71)]
    assert [each[1:] for each in sampled["votes"][1]] == [(3, 40), (2, 41)]  # the j-th of seed s has s + j
    assert 25 in sampled["votes"][1][0][0]  # the question, of which tiny's prompt takes the first word


def test_verls_own_trainer_gets_the_solvers_settings_and_nothing_of_ours(small, tmp_path):
    (tmp_path / "shape").mkdir()
    (tmp_path / "shape/model").symlink_to(small)
    for platform in ("cuda", "cpu"):
        asked = runs.asked(Place(platform, tmp_path, "shape"), "shape")
        stock.write(asked, small, tmp_path)
        config = OmegaConf.load(tmp_path / "stock.yaml")
        assert "verl_rzero" not in config
        assert config.reward.reward_manager.name == "naive"
        assert config.data.train_batch_size == asked.solver.batch_size
        assert config.actor_rollout_ref.rollout.n == asked.solver.rollouts
        assert config.trainer.total_training_steps == 3
        assert config.ray_kwargs.ray_init.address == "local"


def verl_step(seconds: float, tokens: float, checkpoint: float = 0.0) -> str:
    data = {"timing_s/step": seconds, "perf/total_num_tokens": tokens, "actor/loss": 1.0, "perf/mfu": float("inf")}
    return json.dumps({"step": 1, "data": data | ({"timing_s/save_checkpoint": checkpoint} if checkpoint else {})})


def test_a_step_is_compared_by_tokens_a_second_without_its_checkpoint_and_the_first(tmp_path):
    ours, theirs = tmp_path / "shape/run/round_1/solver", tmp_path / "verl"
    ours.mkdir(parents=True)
    theirs.mkdir()
    lines = [verl_step(50, 1000), verl_step(2, 1000), verl_step(9, 1000, checkpoint=7)]
    (ours / "verl_metrics.jsonl").write_text("\n".join(lines))  # 1000 tokens in 2 s
    place = Place("cuda", tmp_path, "verl")
    assert steps.of_verl(place) == Found()  # nothing of verl's yet
    (theirs / "metrics.jsonl").write_text("\n".join([verl_step(1, 1), verl_step(4, 1200)]))  # 1200 in 4 s
    found = steps.of_verl(place)
    assert found.numbers["ours_to_theirs"] == pytest.approx(500 / 300)
    assert "perf/mfu" not in found.numbers["solver"][0]  # infinite, which JSON doesn't know
    assert steps.of_shape(Place("cuda", tmp_path, "shape")).said == "solver 2.0 s a step, 500 tokens/s"


def test_peaks_are_taken_from_their_moments_and_held_against_the_estimates(tmp_path, monkeypatch):
    stage = tmp_path / "shape/run/round_1/challenger"
    stage.mkdir(parents=True)
    (tmp_path / "shape/run/settings.yaml").touch()
    # A step from 100 to 120: samples to 106, votes to 109, trains to 109 + 1 + 2 + 0 + 5 = 117, then its checkpoint.
    parts = {"step": 20, "gen": 6, "reward": 3, "old_log_prob": 1, "ref": 2, "adv": 0, "update_actor": 5}
    data = {f"timing_s/{name}": seconds for name, seconds in parts.items()}
    (stage / "metrics.jsonl").write_text(json.dumps({"time": 120}) + "\n" + json.dumps({"time": 140}) + "\n")
    (stage / "verl_metrics.jsonl").write_text(json.dumps({"step": 1, "data": data}) + "\n")  # ended before the second
    used = [[90, 4], [99, 900], [104, 40], [108, 50], [112, 30], [116, 20], [119, 800]]
    (tmp_path / "shape/memory.jsonl").write_text("".join(json.dumps(each) + "\n" for each in used))
    estimates = {("challenger", "sampling"): 100, ("challenger", "training"): 20, ("solver", "training"): 1}
    monkeypatch.setattr(peaks, "estimated", lambda place, name: iter(estimates.items()))
    monkeypatch.setitem(peaks.NOT_ESTIMATED, "cuda", 3)  # bytes
    found = peaks.of_memory(Place("cuda", tmp_path, "memory"))
    assert found.numbers == {  # 4 bytes were in use before
        "shape/challenger/sampling": {"estimate": 100, "peak": 46, "ratio": 0.46},
        "shape/challenger/training": {"estimate": 20, "peak": 26, "ratio": 1.3},
    }
    assert found.wrong.startswith("more than 1.1 times the estimate and ")  # 26 of at most 20 x 1.1 + 3
    assert "shape/challenger/training" in found.wrong
    assert "sampling" not in found.wrong
    monkeypatch.setitem(peaks.NOT_ESTIMATED, "cuda", 4)
    assert peaks.of_memory(Place("cuda", tmp_path, "memory")).wrong == ""


def test_the_estimates_are_those_of_a_dry_run_on_a_card_and_on_a_cpu(small, tmp_path, monkeypatch):
    (tmp_path / "shape").mkdir()
    (tmp_path / "shape/model").symlink_to(small)
    monkeypatch.setattr(peaks.machine, "gpu_memory_bytes", lambda: 80 * 2**30)
    on_a_card = dict(peaks.estimated(Place("cuda", tmp_path, "memory"), "shape"))
    assert {*on_a_card} == {(role, moment) for role in ("challenger", "solver") for moment in ("sampling", "training")}
    # gpu_memory_utilization 0.5 of the card, and beside it 0.25M weights and twice as many averages of 4 bytes
    assert 40 * 2**30 < on_a_card["solver", "sampling"] < 40.1 * 2**30
    assert {*dict(peaks.estimated(Place("cpu", tmp_path, "memory"), "shape"))} == {
        (role, "the whole job") for role in ("challenger", "solver")
    }


def test_seconds_of_stages_come_from_the_runs_report(tmp_path):
    assert runs.stage_seconds(tmp_path) == {}
    rounds = [{"round": 1, "seconds": {"challenger": 3.0}}]
    write_json(tmp_path / "report.json", {"base": {"seconds": {"model": 2.0}}, "rounds": rounds})
    assert runs.stage_seconds(tmp_path) == {"base/model": 2.0, "round_1/challenger": 3.0}
