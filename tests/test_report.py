"""report.json and the table, from stage directories with made-up numbers."""

import json

import pytest

from verl_rzero.data import run_dir
from verl_rzero.settings import load
from verl_rzero.watch import report

SETTINGS = load(["rounds=2"])


def done(run, stage, result, seconds):
    here = run / stage
    here.mkdir(parents=True)
    (here / "result.json").write_text(json.dumps(result))
    made = run_dir.Manifest(stage, "", {}, [], 0, {}, "", {}, "", "", seconds)
    run_dir.finish_stage(here, made)


@pytest.fixture
def run(tmp_path):
    done(tmp_path, "base/model", {"greedy_gate": 0.5}, 100.0)
    done(tmp_path, "base/evaluation", {"tiny": {"greedy": 0.531, "mean_at_k": 0.5253, "k": 8, "n": 500}}, 11.0)
    done(tmp_path, "round_1/challenger", {"steps": [{"step": 1, "reward_mean": 0.25}]}, 50.25)
    done(tmp_path, "round_1/questions", {"generated": 500, "well_formed": 480, "distinct": 400}, 5.0)
    votes = {"questions": 480, "mean_agreement": 0.625, "answered_share": 0.99, "pseudo_label_accuracy": 0.75}
    done(tmp_path, "round_1/votes", votes, 5.0)
    curation = {"kept": 120, "rejected": {"too easy": 300, "too hard": 60}, "kept_label_accuracy": 0.6875}
    done(tmp_path, "round_1/curation", curation, 1.0)
    return tmp_path


def test_the_report_has_what_is_done_and_null_for_the_rest(run):
    content = report.write(run, SETTINGS)
    assert json.loads((run / "report.json").read_text()) == content
    assert content["settings"]["votes"] == 10
    assert content["base"]["evaluation"]["tiny"]["greedy"] == 0.531
    assert content["base"]["seconds"] == {"model": 100.0, "evaluation": 11.0}
    (first,) = content["rounds"]
    assert first["challenger"]["steps"] == [{"step": 1, "reward_mean": 0.25}]
    assert first["questions"] == {"generated": 500, "well_formed": 480, "distinct": 400}
    assert first["votes"]["pseudo_label_accuracy"] == 0.75
    assert first["curation"]["rejected"] == {"too easy": 300, "too hard": 60}
    assert (first["solver"], first["evaluation"]) == (None, None)
    assert first["seconds"] == {"challenger": 50.25, "questions": 5.0, "votes": 5.0, "curation": 1.0}


def test_a_stage_without_its_marker_is_not_in_the_report(run):
    (run / "round_1/votes/DONE").unlink()
    (first,) = report.build(run, SETTINGS)["rounds"]
    assert first["votes"] is None
    assert "votes" not in first["seconds"]


def test_the_table_has_a_row_for_the_base_and_for_each_round(run):
    # Kept share: 120 of 120 + 300 + 60 = 480, a quarter. Seconds: 100 + 11 = 111; 50.25 + 5 + 5 + 1 = 61.25.
    done(run, "round_1/evaluation", {"tiny": {"greedy": 0.8, "mean_at_k": 0.6667, "k": 8, "n": 500}}, 0.0)
    assert report.table(report.build(run, SETTINGS)).splitlines() == [
        "         greedy  mean@8  agreement  label accuracy  of kept  kept share  seconds",
        "base      0.531   0.525          -               -        -           -      111",
        "round 1   0.800   0.667      0.625           0.750    0.688       0.250       61",
    ]


def test_several_benchmarks_are_told_apart(run):
    content = report.build(run, SETTINGS)
    content["settings"]["evaluation"]["benchmarks"] = {"tiny": {}, "other": {}}
    header = report.table(content).splitlines()[0]
    assert "tiny greedy" in header
    assert "other mean@8" in header
