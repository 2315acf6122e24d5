"""The stages that need no engine, on small files."""

from pathlib import Path

import pytest

from verl_rzero import settings
from verl_rzero.base.errors import UserError
from verl_rzero.base.files import write_json
from verl_rzero.data import outputs, records
from verl_rzero.data.records import SolverRow, VotedQuestion
from verl_rzero.methods import inputs, training, work
from verl_rzero.watch import choice


def voted(number: int, agreeing: int, label: str = "7", truth: str | None = "7") -> VotedQuestion:
    """A question on which `agreeing` of 10 votes are for `label` and the rest all differ."""
    others = [str(100 + i) for i in range(10 - agreeing)]
    return VotedQuestion(
        id=number,
        round=1,
        question=f"{number}+1",
        raws=[""] * 10,
        answers=[label] * agreeing + others,
        classes=[0] * agreeing + list(range(1, 11 - agreeing)),
        label=label,
        agreement=agreeing / 10,
        margin=(agreeing - 1) / 10,
        answered=10,
        seed=0,
        model="m",
        truth=truth,
    )


def prepared(run: Path, overrides: list[str], questions: list[VotedQuestion]) -> inputs.StageInputs:
    settings.save(settings.load([f"run_dir={run}", *overrides]), run / "settings.yaml")
    for kind in ("votes", "curation"):
        (run / "round_1" / kind).mkdir(parents=True)
    records.write(run / "round_1/votes/votes.parquet", questions, VotedQuestion)
    return inputs.StageInputs(run, "round_1/curation")


def test_curation_keeps_the_band_and_counts_the_rest(tmp_path):
    questions = [voted(0, 5), voted(1, 10), voted(2, 2), voted(3, 7, truth="8"), voted(4, 3)]
    here = prepared(tmp_path, ["solver.batch_size=2", "solver.minibatch_size=1"], questions)
    result = work.curation(here)
    # kept: agreement .5, .7, .3, of which .7 has the wrong label
    assert result == {
        "kept": 3, "rejected": {"above_band": 1, "below_band": 1}, "kept_agreement": 0.5, "kept_label_accuracy": 2 / 3,
    }  # fmt: skip
    rows = records.read(tmp_path / "round_1/curation/solver_train.parquet", SolverRow)
    assert [row.extra_info["id"] for row in rows] == [0, 3, 4]
    assert rows[0].prompt == [{"role": "user", "content": "<|solve|>0+1"}]
    assert rows[1].reward_model == {"style": "rule", "ground_truth": "7"}  # the vote's label, not the truth


def test_too_few_stops_with_what_to_change(tmp_path):
    here = prepared(tmp_path, ["too_few=stop"], [voted(0, 5), voted(1, 10)])
    with pytest.raises(UserError, match=r"1 questions are left .*solver.batch_size=64.*above_band': 1.*too_few=shrink"):
        work.curation(here)


def test_too_few_repeat_fills_one_batch(tmp_path):
    questions = [voted(i, 5) for i in range(3)]
    here = prepared(tmp_path, ["too_few=repeat", "solver.batch_size=8", "solver.minibatch_size=4"], questions)
    assert work.curation(here)["kept"] == 3
    rows = records.read(tmp_path / "round_1/curation/solver_train.parquet", SolverRow)
    assert [row.extra_info["id"] for row in rows] == [0, 1, 2] * 3  # 9 rows, at least one batch of 8


def test_nothing_kept_always_stops(tmp_path):
    with pytest.raises(UserError, match="0 questions are left"):
        work.curation(prepared(tmp_path, ["too_few=repeat"], [voted(0, 10)]))


@pytest.mark.parametrize(
    ("rows", "expected"),
    [(100, (64, 32)), (64, (64, 32)), (50, (32, 32)), (40, (32, 32)), (20, (20, 20))],
)
def test_a_batch_fits_its_data(rows, expected):
    asked = settings.load(["solver.batch_size=64", "solver.minibatch_size=32", "too_few=shrink"])
    job = training.fitting(asked, "solver", rows).solver
    assert (job.batch_size, job.minibatch_size) == expected


def test_models_of_the_rounds(tmp_path):
    for name, model in (("base/model", "model"), ("round_1/challenger", "elsewhere"), ("round_1/solver", "model")):
        (tmp_path / name).mkdir(parents=True)
        write_json(tmp_path / name / "result.json", {"model": model})
    settings.save(settings.load([]), tmp_path / "settings.yaml")
    first, second = inputs.StageInputs(tmp_path, "round_1/votes"), inputs.StageInputs(tmp_path, "round_2/challenger")
    assert first.model("solver") == tmp_path / "base/model/model"
    assert second.model("solver") == tmp_path / "round_1/solver/model"
    assert second.model("challenger") == "elsewhere"


def test_a_run_whose_role_was_not_trained_may_be_moved(tmp_path):
    run = tmp_path / "here"
    for stage, model in (("base/model", "model"), ("round_1/curation", None)):
        (run / stage).mkdir(parents=True)
        write_json(run / stage / "result.json", {"model": model})
    (run / "base/model/model").mkdir()
    settings.save(settings.load(["solver.steps=0"]), run / "settings.yaml")
    made = training.as_it_was(inputs.StageInputs(run, "round_1/solver"), "solver")
    assert made == {"model": "../../base/model/model", "steps": []}
    (run / "round_1/solver").mkdir()
    write_json(run / "round_1/solver/result.json", made)
    run.rename(tmp_path / "there")
    assert outputs.solver_of(tmp_path / "there", 1) == tmp_path / "there/base/model/model"
    report = {"base": {"model": {"model": "model"}}, "rounds": [{"solver": made}]}
    assert choice._model(report, 1) == choice._model(report, 0) == "base/model/model"


def test_only_shrink_makes_batches_smaller():
    asked = settings.load(["solver.batch_size=64", "too_few=stop"])
    with pytest.raises(UserError, match=r"20 questions are fewer than one batch \(solver.batch_size=64\)"):
        training.fitting(asked, "solver", 20)


def test_model_hash_follows_the_weights(tmp_path):
    (tmp_path / "a.safetensors").write_bytes(b"weights")
    before = outputs.model_hash(tmp_path)
    (tmp_path / "notes.txt").write_text("not weights")
    assert outputs.model_hash(tmp_path) == before
    (tmp_path / "a.safetensors").write_bytes(b"weightz")
    assert outputs.model_hash(tmp_path) != before
    assert outputs.model_hash("Qwen/Qwen3-4B-Base") == "Qwen/Qwen3-4B-Base"
