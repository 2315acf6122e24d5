"""A run that was made before some keys were settings is still read, continued and reported."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from verl_rzero import settings
from verl_rzero.base.errors import UserError
from verl_rzero.data import run_dir
from verl_rzero.methods import plan
from verl_rzero.settings import Ttrl, schema
from verl_rzero.settings.files import ADDED_SINCE

ROOT = Path(__file__).resolve().parents[1]


def words(run: Path, *overrides: str) -> list[str]:
    return [f"run_dir={run}", "hardware=cpu", *overrides]


def did(command: list[str], cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *command], capture_output=True, text=True, timeout=300, cwd=cwd)


def coevolved(run: Path, *overrides: str) -> list[str]:
    """The stages that a run with fake stages starts."""
    (run / "started.txt").unlink(missing_ok=True)
    done = did([str(ROOT / "tests/fake_run.py"), *words(run, *overrides)])
    assert done.returncode == 0, done.stderr
    started = run / "started.txt"
    return started.read_text().split() if started.exists() else []


def without(content: dict, added: dict) -> dict:
    """Settings as they were before the keys of `added`."""
    parts = [key for key in added if isinstance(added[key], dict) and set(content[key]) != set(added[key])]
    return {
        key: without(value, added[key]) if key in parts else value
        for key, value in content.items()
        if key in parts or key not in added
    }


@pytest.fixture(scope="module")
def template(tmp_path_factory) -> Path:
    """A done run of one round, its settings as an earlier version wrote them."""
    run = tmp_path_factory.mktemp("older") / "run"
    coevolved(run, "rounds=1")
    path = run / "settings.yaml"
    content = yaml.safe_load(path.read_text())
    content = without(content, ADDED_SINCE)
    del content["self_play"], content["execution"]
    path.write_text(yaml.safe_dump(content))
    return run


@pytest.fixture
def older(template, tmp_path) -> Path:
    run = tmp_path / "run"
    shutil.copytree(template, run)
    return run


def test_what_these_settings_meant_then_is_read_from_a_file_without_them(older):
    text = (older / "settings.yaml").read_text()
    assert not [line for line in text.splitlines() if line.startswith(("algorithm:", "data:", "ttrl:", "  cpu_dtype:"))]
    assert "  gpus_per_node:" in text
    for read in (settings.read, settings.recall):
        found = read(older / "settings.yaml")
        assert (found.algorithm, found.data, found.ttrl) == ("rzero", None, Ttrl(64, "equality"))
        assert (found.hardware.cpu_dtype, found.hardware.gpus_per_node) == ("float32", 2)
        assert (found.rounds, found.challenger.steps, found.solver.verl) == (1, 8, {})
        new = settings.load([])
        assert (found.checkpoint_every, found.self_play, found.execution) == (0, new.self_play, new.execution)
        assert found.monitors == replace(new.monitors, learnability=None)


def test_every_other_missing_key_is_refused(older):
    path = older / "settings.yaml"
    content = yaml.safe_load(path.read_text())
    del content["votes"]
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(UserError, match="votes: not set"):
        settings.read(path)


@pytest.mark.parametrize("method", ["paper", "released"])  # robust sets some of them
def test_no_stage_of_rzero_depends_on_them(method):
    # else the hashes in an older run's manifests would be of other keys
    asked = settings.load(words(Path("x"), "rounds=1", f"method={method}"))
    for stage in plan.plan(asked):
        chosen = run_dir.chosen_settings(asked, stage.kind.depends)
        assert not chosen.keys() & schema.flat(ADDED_SINCE).keys()


def test_a_run_of_an_old_version_is_read_and_none_of_its_stages_counts_as_changed():
    """By files that version 58a3963 wrote for `hardware=cpu rounds=2`; they stay as they are."""
    old = ROOT / "tests/data/older_run"
    asked = settings.read(old / "settings.yaml")
    hashes = {stage.id: plan.settings_hash(stage, asked) for stage in plan.plan(asked)}
    assert hashes == json.loads((old / "hashes.json").read_text())


def test_it_is_continued_and_nothing_is_done_again(older):
    run_dir.check(older, settings.load(words(older, "rounds=1")), plan.ALL_DEPENDS)
    assert coevolved(older, "rounds=1") == []
    assert coevolved(older, "rounds=2") == [
        f"round_2/{kind}" for kind in ("challenger", "questions", "votes", "curation", "solver", "evaluation")
    ]
    assert settings.read(older / "settings.yaml").algorithm == "rzero"
    assert "algorithm: rzero" in (older / "settings.yaml").read_text()  # written as it now would be


def test_it_is_not_continued_with_another_method(older, tmp_path):
    (tmp_path / "given.jsonl").write_text('{"question": "1+2"}')
    ttrl = settings.load(words(older, "rounds=1", "method=ttrl", f"data={tmp_path / 'given.jsonl'}"))
    with pytest.raises(UserError, match=r"algorithm: rzero -> ttrl(.|\n)*data: null -> "):
        run_dir.check(older, ttrl, plan.ALL_DEPENDS)


def test_it_is_reported_and_its_status_is_told(older, tmp_path):
    (older / "report.json").unlink()
    reported = did(["-m", "verl_rzero.report", str(older)])
    assert (reported.returncode, reported.stderr) == (0, "")
    assert '"algorithm": "rzero"' in (older / "report.json").read_text()
    told = did(["-m", "verl_rzero.status", str(older)])
    assert (told.returncode, told.stderr) == (0, "")
    assert "round 1" in told.stdout
