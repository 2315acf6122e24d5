"""Files of done stages that were deleted, cut or changed since: noticed at the next start, named, and never read."""

import os
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from test_coevolve import ONE_ROUND, finish, start, started

from verl_rzero import settings
from verl_rzero.base.files import read_json, write_json
from verl_rzero.data import left_files, run_dir
from verl_rzero.data.left_files import differing
from verl_rzero.methods import plan


@pytest.fixture(scope="module")
def template(tmp_path_factory) -> Path:
    run = tmp_path_factory.mktemp("left") / "run"
    assert finish(start(run, FAKE_MODELS="3000"))[0] == 0
    return run


@pytest.fixture
def run(template, tmp_path) -> Path:
    """A done run of one round; a copy of which the times are kept, as `cp -a` makes."""
    return Path(shutil.copytree(template, tmp_path / "run"))


def test_a_manifest_has_every_file_that_a_stage_left(run):
    files = run_dir.manifest(run / "round_1/solver").files
    assert list(files) == ["model/config.json", "model/weights.bin", "result.json"]
    # sha256 of 3,000 zero bytes: head -c 3000 /dev/zero | sha256sum
    zeros = "c81ca5eda5947c7826ad046fdbdc2a25a846b835a6c34c237cc8b3afbe9ec6cc"
    assert (files["model/weights.bin"].size, files["model/weights.bin"].sha256) == (3000, zeros)
    for stage in ONE_ROUND:
        assert "result.json" in run_dir.manifest(run / stage).files
        assert str(run.parent) not in (run / stage / "manifest.json").read_text()


def test_logs_markers_progress_hidden_files_and_checkpoints_of_verl_are_no_results(tmp_path):
    kept = ["model/weights.bin", "votes.parquet", "model/checkpoints/kept"]
    others = ["stage.log", "DONE", "FAILED", "manifest.json", "progress.json", ".result.json.77", "checkpoints/global_step_1/actor/optim.pt"]  # fmt: skip # noqa: E501
    for name in (*kept, *others):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    assert sorted(run_dir.left_by(tmp_path)) == sorted(kept)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def change(path: Path) -> None:
    """One byte, the time of the last change as before."""
    content, before = path.read_bytes(), path.stat()
    path.write_bytes(bytes([content[0] ^ 1]) + content[1:])
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize(
    ("harm", "how"),
    [
        (Path.unlink, "missing"),
        (cut, "2,999 bytes instead of 3,000"),
        (change, "other content, of the same 3,000 bytes"),
    ],
)
@pytest.mark.parametrize("dry", ["dry_run=false", "dry_run=true"])
def test_a_file_that_is_not_as_it_was_left_is_named_before_anything_starts(run, harm, how, dry):
    harm(run / "round_1/challenger/model/weights.bin")
    code, out, err = finish(start(run, "rounds=2", dry))
    assert code == 2
    assert err == (
        f"error: run_dir={run}: files of done stages are not as these left them:\n"
        f"  round_1/challenger/model/weights.bin: {how}\n"
        "Nothing was started, and nothing was changed; no other file differs from what was recorded of it. Put these "
        "back from a copy; or delete their stages and what was made from them, and the same command makes them again:\n"
        f"  cd {run} && rm -r round_1/challenger round_1/questions round_1/votes round_1/curation round_1/solver "
        "round_1/evaluation\n"
    )
    assert started(run) == ONE_ROUND


def test_it_goes_on_with_the_file_put_back(run, template):
    damaged = run / "round_1/solver/model/weights.bin"
    damaged.unlink()
    assert finish(start(run))[0] == 2
    shutil.copy2(template / damaged.relative_to(run), damaged)
    assert finish(start(run))[0] == 0
    assert started(run) == ONE_ROUND


def test_what_the_message_deletes_is_made_again_and_nothing_else(run):
    change(run / "round_1/votes/result.json")
    (run / "base/evaluation/result.json").unlink()
    _, _, err = finish(start(run))
    subprocess.run(["sh", "-c", err.splitlines()[-1]], check=True)
    assert finish(start(run))[0] == 0
    again = ["base/evaluation", "round_1/votes", "round_1/curation", "round_1/solver", "round_1/evaluation"]
    assert started(run) == ONE_ROUND + again


def test_a_run_may_be_moved_and_copied_without_times_and_have_its_models_elsewhere(run, tmp_path):
    moved = tmp_path / "else where" / "run"
    shutil.copytree(run, moved, copy_function=shutil.copyfile)
    model = moved / "round_1/solver/model"
    model.rename(tmp_path / "model")
    model.symlink_to(tmp_path / "model")
    assert finish(start(Path(shlex.quote(str(moved)))))[0] == 0
    assert started(moved) == ONE_ROUND


def test_files_that_are_taken_out_of_the_manifest_may_be_deleted(run):
    stage = run / "round_1/challenger"
    made = read_json(stage / "manifest.json")
    made["files"] = {name: file for name, file in made["files"].items() if not name.startswith("model/")}
    write_json(stage / "manifest.json", made)
    shutil.rmtree(stage / "model")
    assert finish(start(run, "rounds=2"))[0] == 0


def test_a_manifest_that_cannot_be_read_is_named(run):
    (run / "round_1/votes/manifest.json").write_text("[")
    (run / "round_1/solver/manifest.json").unlink()
    code, _, err = finish(start(run))
    assert code == 2
    assert "  round_1/votes/manifest.json: can't be read (" in err
    assert "  round_1/solver/manifest.json: can't be read ([Errno 2]" in err


def test_a_stage_that_lost_its_marker_is_not_redone_without_a_word(run):
    (run / "round_1/evaluation/DONE").unlink()
    code, out, _ = finish(start(run))
    assert code == 0
    assert "round_1/evaluation: it has a manifest.json but no DONE, and so is made again" in out


def test_a_manifest_from_before_files_were_recorded_still_counts(run):
    for stage in ONE_ROUND:
        made = read_json(run / stage / "manifest.json")
        del made["files"]
        write_json(run / stage / "manifest.json", made)
    (run / "round_1/challenger/model/weights.bin").unlink()
    assert finish(start(run))[0] == 0
    assert started(run) == ONE_ROUND


def test_large_files_are_hashed_only_where_their_time_is_another(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(left_files, "HASHED_ALWAYS", 5)
    (tmp_path / "large").write_text("123456")
    (tmp_path / "small").write_text("12345")
    files = left_files.left(tmp_path, ())
    assert differing(tmp_path, files) == {}
    for name in files:
        change(tmp_path / name)  # the time as before
    assert [*differing(tmp_path, files)] == ["small"]
    assert capsys.readouterr().out == ""
    os.utime(tmp_path / "large", (1, 1))
    assert differing(tmp_path, files)["large"] == "other content, of the same 6 bytes"
    assert f"{tmp_path}/large was changed, or copied without its time: all of its 6 bytes" in capsys.readouterr().out


def test_what_was_made_from_a_stage():
    stages = plan.plan(settings.load(["rounds=2", "hardware=cpu"]))
    assert plan.made_from(stages, ["round_1/evaluation"]) == ["round_1/evaluation"]
    # C(2) comes from C(1), and is trained against S(1), of which the second round's data comes
    assert plan.made_from(stages, ["round_1/solver"]) == [
        "round_1/solver", "round_1/evaluation",
        *(f"round_2/{kind}" for kind in ("challenger", "questions", "votes", "curation", "solver", "evaluation")),
    ]  # fmt: skip
    assert len(plan.made_from(stages, ["base/model"])) == len(stages)
