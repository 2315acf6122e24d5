"""python -m verl_rzero.curate: votes curated anew from the command line."""

import sys

import made_run
import pytest
from test_stage import voted

from verl_rzero import settings
from verl_rzero.base.command_line import exit_code
from verl_rzero.base.files import write_json
from verl_rzero.data import records, run_dir
from verl_rzero.data.records import Decision, SolverRow, VotedQuestion
from verl_rzero.watch import curate_again as curate


@pytest.fixture
def run(tmp_path):
    settings.save(settings.load([f"run_dir={tmp_path}"]), tmp_path / "settings.yaml")
    here = tmp_path / "round_1/votes"
    here.mkdir(parents=True)
    # agreements .5 .5 .9 .3; label accuracy of the four: 3 of 4
    records.write(
        here / "votes.parquet", [voted(0, 5), voted(1, 5, truth="8"), voted(2, 9), voted(3, 3)], VotedQuestion
    )
    write_json(here / run_dir.RESULT, {})
    (here / run_dir.DONE).touch()
    return tmp_path


def called(monkeypatch, *words):
    monkeypatch.setattr(sys, "argv", ["curate", *map(str, words)])
    return exit_code(curate.main, curate.HELP)


def test_the_runs_own_rules(run, monkeypatch, capsys):
    assert called(monkeypatch, run, "round=1") == 0
    out = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["above_band", "1", "1"] in out
    assert ["kept", "3"] in out
    # kept: .5, .5 (wrong label), .3
    assert ["mean", "agreement", "of", "kept", "0.433"] in out
    assert ["label", "accuracy", "of", "kept", "0.667"] in out


def test_what_it_does_not_do_is_refused(run, monkeypatch, capsys, tmp_path):
    (tmp_path / "file").touch()
    for word, message in (("curation.replay_share=0.5", "only the round's own"), (f"to={tmp_path}/file", "a file")):
        assert called(monkeypatch, run, "round=1", word) == 2
        assert message in capsys.readouterr().err


def test_other_rules_and_what_each_takes_by_itself(run, monkeypatch, capsys):
    assert called(monkeypatch, run, "round=1", "band=[0.4,1]", "curation.min_margin=0.5") == 0
    out = [line.split() for line in capsys.readouterr().out.splitlines()]
    # margins .4 .4 .8 .2: by itself the margin takes three, after the band two
    assert ["below_band", "1", "1"] in out
    assert ["small_margin", "2", "3"] in out
    assert ["kept", "1"] in out


def test_the_kept_questions_are_written_and_the_run_stays(run, monkeypatch, tmp_path):
    before = sorted(path.relative_to(run) for path in run.rglob("*"))
    to = tmp_path.parent / f"{tmp_path.name}_kept"
    assert called(monkeypatch, run, "round=1", "band=[0.3,0.3]", f"to={to}") == 0
    assert [item.decision for item in records.read(to / "decisions.parquet", Decision)] == ["rejected"] * 3 + ["kept"]
    assert [row.extra_info["id"] for row in records.read(to / "solver_train.parquet", SolverRow)] == [3]
    assert sorted(path.relative_to(run) for path in run.rglob("*")) == before
    assert called(monkeypatch, run, "round=1", f"to={to}") == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["round=2"], "Rounds that have: [1]"),
        (["round=x"], "not a whole number"),
        ([], "round=<number"),
        (["round=1", "votes=3"], "votes"),
        (["round=1", "curation.min_marign=1"], "curation.min_margin"),
        (["round=1", "band=[0.9,0.1]"], "lower end"),
    ],
)
def test_what_cannot_be_is_refused(run, monkeypatch, capsys, words, said):
    assert called(monkeypatch, run, *words) == 2
    assert said in capsys.readouterr().err


def test_a_directory_without_a_run_is_refused(tmp_path, monkeypatch, capsys):
    assert called(monkeypatch, tmp_path, "round=1") == 2
    assert "not the directory of a run" in capsys.readouterr().err


@pytest.mark.parametrize("words", [[], ["round=1"], ["round=1", "band=[0.3,0.8]"]])
def test_a_ttrl_run_is_refused(tmp_path, monkeypatch, capsys, words):
    made_run.ttrl(tmp_path / "given", [0.4, 0.5])
    assert called(monkeypatch, tmp_path / "given", *words) == 2
    why = "a run of TTRL keeps no votes, so there is nothing to curate."
    assert capsys.readouterr().err == f"error: {tmp_path}/given: {why}\n"
