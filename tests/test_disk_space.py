"""Room on the disk: estimated before each stage, and one paragraph when there is none in the middle of one.

A disk that is really full is a tmpfs of 100 MiB, where one can be mounted; elsewhere statvfs and the errors of the
system are made up.
"""

import errno
import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from test_coevolve import ONE_ROUND, finish, start, started

from verl_rzero import settings
from verl_rzero.base import command_line
from verl_rzero.base.errors import NO_ROOM_WORDS, StageFailed, UserError
from verl_rzero.base.files import write_atomically
from verl_rzero.data import run_dir
from verl_rzero.engine import checkpoints, jobs
from verl_rzero.methods import plan
from verl_rzero.run import disk_space
from verl_rzero.settings import machine

MIB = 2**20


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 100 MiB."""
    where = tmp_path / "disk"
    where.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=100m", "tmpfs", str(where)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("a file system can't be mounted here")
    yield where
    subprocess.run(["umount", "-l", str(where)], check=True)


def fill(path: Path, free: int) -> None:
    """Write to `path` until only so many bytes are free beside it."""
    with path.open("wb") as file:
        file.write(bytes(machine.free_bytes(path) - free))


def estimates(words: list[str], round_: int = 1, model: int = 0) -> dict[str, dict[str, int]]:
    asked = settings.load(words)
    return {stage.kind.name: stage.kind.writes(asked, round_, model) for stage in plan.plan(asked)}


def test_estimates_of_rzero():
    found = estimates(["hardware=cpu", "model=tiny", "rounds=1", "candidates=100", "votes=10"], model=5)
    # Lengths of the tiny model: prompts 40 tokens, questions 32, answers 72; of 6 bytes each.
    assert found == {
        "model": {"model": 5},
        "challenger": {"model": 5, "prompts": 16 * 40 * 6},
        "questions": {"questions": 2 * 100 * 32 * 6},
        "votes": {"answers": 100 * (32 + 10 * 72) * 6},
        "curation": {"training rows": max(100, 2 * 64) * (40 + 32) * 6},
        "solver": {"model": 5},
        "evaluation": {"answers": 500 * (32 + 9 * 72) * 6},
    }


def test_estimates_of_what_is_not_trained_of_replay_and_of_the_other_methods(tmp_path):
    still = estimates(["hardware=cpu", "rounds=1", "challenger.steps=0", "solver.steps=0"], model=5)
    assert (still["challenger"], still["solver"]) == ({}, {})
    replay = estimates(["hardware=cpu", "rounds=1", "candidates=300", "curation.replay_share=0.25"])
    assert replay["curation"] == {"training rows": 400 * (40 + 32) * 6}
    assert estimates(["hardware=cpu", "model=ttrl_tiny", "method=ttrl", "rounds=1"], model=5)["solver"] == {"model": 5}
    words = ["hardware=cpu", "model=code_tiny", "method=absolute_zero", "rounds=1"]
    zero = estimates([*words, "self_play.buffer=100"], model=5)
    # three kinds, 10 steps of 16 proposals, of 48 tokens, each as text and as a task
    assert zero["solver"] == {"model": 5, "tasks": 2 * 3 * (10 * 16 + 100) * 48 * 6}
    # after two rounds 32 seeds and 320 proposals at most are remembered
    assert estimates(words, round_=2)["solver"]["tasks"] == 2 * 3 * (10 * 16 + 32 + 320) * 48 * 6
    assert zero["seeds"] == {"tasks": 2 * 3 * 32 * 48 * 6}


def test_questions_of_a_file_are_counted_where_n_does_not_say(tmp_path):
    path = tmp_path / "mine.jsonl"
    path.write_text('{"question": "1+1", "answer": "2"}\n' * 7)
    words = ["hardware=cpu", "rounds=0", "~evaluation.benchmarks.tiny", f"evaluation.benchmarks.mine.path={path}"]
    assert estimates([*words, "evaluation.k=3"])["evaluation"] == {"answers": 7 * (32 + 4 * 72) * 6}


@pytest.mark.parametrize(
    ("words", "bytes_of_a_weight"),
    [
        ([], 4),  # the model once, at the last step, in float32
        (["actor_rollout_ref.actor.fsdp_config.model_dtype=bf16"], 2),
        (["trainer.save_freq=2"], 3 * 4),  # after steps 2, 4 and 5
        (["trainer.save_freq=2", "trainer.max_actor_ckpt_to_keep=2"], 2 * 4),
        (["actor_rollout_ref.actor.checkpoint.save_contents=[hf_model,model,optimizer,extra]"], 4 * 4),
    ],
)
def test_what_a_job_saves_is_what_verl_is_told(words, bytes_of_a_weight):
    asked = settings.load(
        ["hardware=1gpu", "model=small", "solver.steps=5", *(f"solver.verl.{word}" for word in words)]
    )
    config = jobs.verl_config(asked, "solver", model="m", train_file="f", stage_dir="run/round_1/solver")
    assert checkpoints.bytes_saved(config, 1000) == 1000 * bytes_of_a_weight


def test_the_model_of_a_run_is_the_one_it_builds_or_is_given():
    tiny = settings.load(["hardware=cpu"])
    # A tiny model that a run left has 847,896 bytes, a header and 4 for each weight.
    once = disk_space.room(tiny, Path("nowhere"), {}).saved
    assert 840_000 < once["solver"] < 847_896
    mean = settings.load(["hardware=cpu", "solver.towards_start=0.5"])
    with_mean = disk_space.room(mean, Path("nowhere"), {}).saved
    assert with_mean == {**once, "solver": 2 * once["solver"]}
    given = ["hardware=cpu", "model.build=null", "model.truth=null", "model.path=nobody/has-this-model"]
    unknown = disk_space.room(settings.load([*given, "~evaluation.benchmarks.tiny"]), Path("nowhere"), {})
    assert unknown.saved is None
    assert "and models, whose size is not known yet" in unknown.of_all(plan.plan(unknown.settings))


@pytest.fixture
def room(tmp_path, monkeypatch):
    monkeypatch.setattr(disk_space, "temporary_directory", lambda: Path("/dev/shm"))
    asked = settings.load(["hardware=cpu", "rounds=1"])
    return disk_space.Room(tmp_path, asked, {"solver": 1000 * MIB})


def free(monkeypatch, run: int, temporary: int = 10_000 * MIB) -> None:
    monkeypatch.setattr(machine, "free_bytes", lambda path: temporary if path == Path("/dev/shm") else run)


def stage(room, name: str):
    return next(each for each in plan.plan(room.settings) if each.id == name)


def test_a_stage_without_room_is_refused_with_path_bytes_and_what_to_do(room, monkeypatch):
    solver = stage(room, "round_1/solver")
    free(monkeypatch, 1064 * MIB)
    room.check([solver])
    free(monkeypatch, 1064 * MIB - 1)
    with pytest.raises(UserError) as refused:
        room.check([solver])
    assert str(refused.value) == (
        f"{room.run}: there is no room for round_1/solver: up to 1.0 GiB are needed (model 1000.0 MiB, logs and the "
        "like 64.0 MiB), and 1.0 GiB are free on this file system. Nothing of it was started, and what is done stays. "
        f"Make room there (df -h {room.run}), or move this directory to a larger file system and write run_dir=<where "
        "it is then>; the same command continues from here."
    )


def test_what_an_attempt_before_left_counts_as_free(room, monkeypatch):
    solver = stage(room, "round_1/solver")
    here = solver.directory(room.run)
    here.mkdir(parents=True)
    (here / "half.parquet").write_bytes(bytes(10))
    (here / "stage.log").write_bytes(bytes(10))  # which stays
    free(monkeypatch, 1064 * MIB - 10)
    room.check([solver])
    free(monkeypatch, 1064 * MIB - 11)
    with pytest.raises(UserError):
        room.check([solver])


def test_checkpoints_to_go_on_from_are_a_part_of_what_is_needed(room, monkeypatch):
    again = replace(room, settings=replace(room.settings, checkpoint_every=2))
    here = stage(again, "round_1/solver").directory(room.run) / "checkpoints"
    (here / "global_step_2").mkdir(parents=True)
    (here / "global_step_2/model").write_bytes(bytes(MIB))
    (here / "latest_checkpointed_iteration.txt").write_text("2")
    free(monkeypatch, 1063 * MIB)
    again.check([stage(again, "round_1/solver")])
    free(monkeypatch, 1063 * MIB - 2)
    with pytest.raises(UserError):
        again.check([stage(again, "round_1/solver")])


def test_temporary_files_need_room_too_where_there_are_engines(room, monkeypatch):
    free(monkeypatch, 2000 * MIB, temporary=64 * MIB - 1)
    room.check([stage(room, "round_1/curation")])
    with pytest.raises(
        UserError, match=r"^/dev/shm: there is no room for the temporary files of round_1/solver: 64.0 "
    ):
        room.check([stage(room, "round_1/solver")])


@pytest.mark.parametrize(
    ("last", "explained"),
    [
        ("OSError: [Errno 28] No space left on device: '/data/x'", True),
        ("safetensors: I/O error: No space left on device (os error 28)", True),
        ("OSError: [Errno 122] Disk quota exceeded", True),
        ("OSError: [Errno 30] Read-only file system: '/data/x'", True),
        ("CUDA out of memory", False),
    ],
)
def test_a_log_that_ends_with_a_full_disk_is_told_from_others(room, monkeypatch, last, explained):
    free(monkeypatch, 500 * MIB)
    solver = stage(room, "round_1/solver")
    log = solver.directory(room.run) / "stage.log"
    log.parent.mkdir(parents=True)
    log.write_text("an attempt before: No space left on device\n")

    def attempt() -> None:
        with room.explained([solver]):
            log.write_text(f"{log.read_text()}working\n{last}\nend\n")
            (log.parent / "half.parquet").write_text("half")
            raise StageFailed(solver.id, 1, log)

    with pytest.raises(UserError if explained else StageFailed) as raised:
        attempt()
    if explained:
        assert f"round_1/solver stopped, as its files could not be written: {last} ({log})." in str(raised.value)
        assert "It writes up to 1.0 GiB to " in str(raised.value)
        assert "where 500.0 MiB are free" in str(raised.value)
        assert sorted(path.name for path in log.parent.iterdir()) == ["FAILED", "stage.log"]


def test_long_before_the_end_of_a_log_it_is_not_the_cause(tmp_path):
    log = tmp_path / "stage.log"
    log.write_text("No space left on device\n" + "step\n" * disk_space.LAST_LINES)
    assert disk_space.last_words_of_room(log, 0) is None


def test_a_failure_without_a_word_on_a_full_disk_is_one_of_the_disk(room, monkeypatch):
    solver = stage(room, "round_1/solver")
    free(monkeypatch, disk_space.FULL - 1)
    with pytest.raises(UserError, match="ended with exit code 1, without a word of why"), room.explained([solver]):
        raise StageFailed(solver.id, 1, room.run / "stage.log")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS])
def test_the_orchestrators_own_writing_is_explained_and_other_errors_are_not(room, number):
    solver = stage(room, "round_1/solver")
    with pytest.raises(UserError, match=f"round_1/solver stopped.*{os.strerror(number)}"), room.explained([solver]):
        raise OSError(number, os.strerror(number))
    with pytest.raises(PermissionError), room.explained([solver]):
        raise PermissionError(errno.EACCES, "Permission denied")
    assert os.strerror(number) in NO_ROOM_WORDS


def test_a_command_ends_in_a_sentence_and_names_the_file(tmp_path, monkeypatch, capsys):
    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    path = tmp_path / "report.json"
    code = command_line.exit_code(lambda _: write_atomically(path, "{}"), None, [], again="continues from here")
    assert code == 2
    assert capsys.readouterr().err == (
        f"error: [Errno 28] No space left on device: '{path}'. What was done before stays. The same command continues "
        "from here once that is put right.\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_a_quota_that_is_used_up_in_the_middle(tmp_path):
    run = tmp_path / "run"
    message = f"[Errno 122] Disk quota exceeded: '{run}/round_1/votes/votes.parquet'"
    code, _, err = finish(start(run, FAKE_NO_ROOM=f"round_1/votes:{message}"))
    assert code == 2
    assert f"error: round_1/votes stopped, as its files could not be written: OSError: {message}" in err
    assert err.count("\n") == 1
    assert started(run) == ONE_ROUND[:5]
    assert (run / "round_1/votes/FAILED").read_text().startswith("round_1/votes stopped")
    assert finish(start(run))[0] == 0
    assert started(run) == [*ONE_ROUND[:5], *ONE_ROUND[4:]]


def test_a_disk_that_is_full_in_the_middle_of_a_stage_and_then_has_room(small_disk):
    run = small_disk / "run"
    code, _, err = finish(start(run, FAKE_FILLS="round_1/curation"))
    assert code == 2
    assert err.startswith("error: round_1/curation stopped, as its files could not be written: ")
    assert f"to {run}, where 9" in err  # 99 MiB and a bit, as what it wrote is deleted
    assert started(run) == ONE_ROUND[:6]
    (small_disk / "other").write_bytes(bytes(60 * MIB))
    code, _, err = finish(start(run))
    assert code == 2
    assert err.startswith(f"error: {run}: there is no room for round_1/curation: up to 64.2 MiB are needed (")
    assert started(run) == ONE_ROUND[:6]
    (small_disk / "other").unlink()
    assert finish(start(run))[0] == 0
    assert started(run) == [*ONE_ROUND[:6], *ONE_ROUND[5:]]


def test_each_training_of_a_process_needs_room_when_it_begins(small_disk):
    run = small_disk / "run"
    code, _, err = finish(start(run, FAKE_MODELS=str(18 * MIB)))  # base model and Challenger leave 64 MiB free
    assert code == 2
    assert err.startswith(f"error: {run}: there is no room for round_1/solver and round_1/evaluation: up to ")
    assert run_dir.is_done(run / "round_1/curation")
    assert not run_dir.is_done(run / "round_1/solver")


def test_a_full_disk_is_refused_before_anything_is_made(small_disk):
    fill(small_disk / "other", free=0)
    code, out, err = finish(start(small_disk / "run"))
    assert code == 2
    assert "there is no room for base/model" in err
    assert "and 0.0 MiB are free" in err
    assert not (small_disk / "run").exists()
    code, out, _ = finish(start(small_disk / "run", "dry_run=true"))
    assert code == 0
    assert "warning: Disk: all stages to do write up to " in out
