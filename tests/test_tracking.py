"""One TensorBoard run and one W&B run: what readers of their files find after stages, interruptions and restarts."""

import json
import struct
import time
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from wandb.proto.wandb_internal_pb2 import Record

from verl_rzero.base.errors import UserError
from verl_rzero.data import run_dir
from verl_rzero.engine import jobs
from verl_rzero.methods import plan
from verl_rzero.methods.kinds import Stage
from verl_rzero.settings import Settings, load
from verl_rzero.watch import report, tracking

SMALL = ("rounds=2", "challenger.steps=2", "solver.steps=1")
RESULTS = {
    "model": {"model": "model", "greedy_gate": 0.75},
    "challenger": {"model": "model", "steps": [{"step": 1, "kl": 0.5}, {"step": 2, "kl": 0.25}]},
    "questions": {"generated": 10, "well_formed": 8, "distinct": 6, "distinct_2": 0.25, "tokens_mean": 4.0},
    "votes": {
        "mean_agreement": 0.5, "answered_share": 1.0, "agreement_histogram": [1, 2], "pseudo_label_accuracy": None,
    },
    "curation": {"kept": 4, "rejected": {"above_band": 4}, "kept_agreement": 0.5, "kept_label_accuracy": None},
    "solver": {"model": "model", "steps": [{"step": 1, "kl": 0.125}]},
    "evaluation": {"tiny": {"greedy": 0.5, "mean_at_k": 0.25, "k": 8, "n": 4}},
}  # fmt: skip


def asked(run: Path, *words: str) -> Settings:
    return load([f"run_dir={run}", *SMALL, *words])


def write_lines(path: Path, rows: list[dict]) -> None:
    with path.open("a") as file:
        file.write("".join(json.dumps(row) + "\n" for row in rows))


def steps_of(stage: Stage, factor: float = 1.0, up_to: int = 2) -> tuple[list[dict], list[dict]]:
    """What the trainer and verl write of the first steps of a training stage."""
    steps = RESULTS[stage.kind.name]["steps"][:up_to]
    ours = [{"time": 1000.0 + row["step"], **row, "kl": row["kl"] * factor} for row in steps]
    verls = [{"step": row["step"], "data": {"actor/lr": factor, "rzero/kl": 9.0, "odd": None}} for row in steps]
    return ours, verls


def work(stage: Stage, run: Path, settings: Settings, tracker: tracking.Tracker) -> None:
    """A stage from its start to its end, its training steps one by one."""
    here = stage.directory(run)
    run_dir.start_stage(here)
    tracker.start(stage)
    if stage.kind.name in ("challenger", "solver"):
        for ours, verls in zip(*steps_of(stage), strict=True):
            write_lines(here / tracking.METRICS, [ours])
            write_lines(here / jobs.VERL_METRICS, [verls])
            tracker.follow(stage)
    end(stage, run, settings, tracker)


def end(stage: Stage, run: Path, settings: Settings, tracker: tracking.Tracker) -> None:
    here = stage.directory(run)
    (here / run_dir.RESULT).write_text(json.dumps(RESULTS[stage.kind.name]))
    run_dir.finish_stage(here, run_dir.Manifest(stage.id, "", {}, [], 0, {}, "", {}, "", "", 7.0))
    tracker.finish(stage, report.write(run, settings))


def points(run: Path, tag: str) -> list[tuple[int, float]]:
    """(step, value) of a tag, as TensorBoard's own reader finds them in the one run."""
    events = EventAccumulator(str(run / "tensorboard"))
    events.Reload()
    return [(event.step, event.value) for event in events.Scalars(tag)]


@pytest.fixture
def run(tmp_path):
    return tmp_path


def test_steps_go_on_over_the_rounds_in_one_run(run):
    settings = asked(run)
    with tracking.tracker(run, settings) as tracker:
        for stage in plan.plan(settings):
            work(stage, run, settings, tracker)
    # Two Challenger steps a round, one Solver step a round.
    assert points(run, "challenger/kl") == [(1, 0.5), (2, 0.25), (3, 0.5), (4, 0.25)]
    assert points(run, "solver/kl") == [(1, 0.125), (2, 0.125)]
    assert points(run, "challenger_verl/actor/lr") == [(1, 1.0), (2, 1.0), (3, 1.0), (4, 1.0)]
    assert points(run, "round/evaluation/tiny/greedy") == [(0, 0.5), (1, 0.5), (2, 0.5)]
    assert points(run, "round/curation/kept_share") == [(1, 0.5), (2, 0.5)]
    assert points(run, "round/curation/rejected/above_band") == [(1, 4.0), (2, 4.0)]
    assert points(run, "round/seconds/solver") == [(1, 7.0), (2, 7.0)]
    assert points(run, "round/alarms/votes") == [(1, 0.0), (2, 0.0)]
    events = EventAccumulator(str(run / "tensorboard"))
    events.Reload()
    tags = events.Tags()["scalars"]
    assert not [tag for tag in tags if "rzero" in tag or "odd" in tag or "histogram" in tag or "pseudo" in tag]
    assert (
        events.Scalars("challenger/kl")[1].wall_time == events.Scalars("challenger_verl/actor/lr")[1].wall_time == 1002
    )


def test_points_can_be_read_while_the_stage_works(run):
    settings = asked(run)
    stage = plan.plan(settings)[2]
    run_dir.start_stage(stage.directory(run))
    with tracking.tracker(run, settings) as tracker:
        tracker.start(stage)
        path = stage.directory(run) / tracking.METRICS
        path.write_text('{"time": 1.0, "step": 1, "kl": 0.5}\n{"time": 2.0, "st')
        tracker.follow(stage)
        assert points(run, "challenger/kl") == [(1, 0.5)]  # the second line isn't whole yet
        with path.open("a") as file:
            file.write('ep": 2, "kl": 0.25}\n')
        tracker.follow(stage)
        tracker.follow(stage)
        assert points(run, "challenger/kl") == [(1, 0.5), (2, 0.25)]


def test_a_stage_that_is_done_anew_after_a_kill_is_there_once(run):
    settings = asked(run)
    base, _, challenger, *_ = plan.plan(settings)
    with tracking.tracker(run, settings) as tracker:
        work(base, run, settings, tracker)
        run_dir.start_stage(challenger.directory(run))
        tracker.start(challenger)
        ours, _ = steps_of(challenger, factor=3.0, up_to=1)
        write_lines(challenger.directory(run) / tracking.METRICS, ours)
        tracker.follow(challenger)
        assert points(run, "challenger/kl") == [(1, 1.5)]
    with tracking.tracker(run, settings) as tracker:
        tracker.catch_up([base], report.write(run, settings))
        work(challenger, run, settings, tracker)
    assert points(run, "challenger/kl") == [(1, 0.5), (2, 0.25)]
    assert points(run, "round/model/greedy_gate") == [(0, 0.75)]


def test_what_was_done_before_is_caught_up_once(run):
    """A run that had no tracker, or one killed between a stage's end and its points."""
    settings = asked(run, "rounds=1")
    stages = plan.plan(settings)
    with tracking.tracker(run, asked(run, "logger=[]")) as off:
        for stage in stages:
            work(stage, run, settings, off)
    assert not (run / "tensorboard").exists()
    for _ in range(2):
        with tracking.tracker(run, settings) as tracker:
            tracker.catch_up(stages, report.write(run, settings))
    assert points(run, "challenger/kl") == [(1, 0.5), (2, 0.25)]
    assert points(run, "solver_verl/actor/lr") == [(1, 1.0)]
    assert points(run, "round/evaluation/tiny/greedy") == [(0, 0.5), (1, 0.5)]


@pytest.mark.parametrize("logger", ["logger=[]", "logger=[console]"])
def test_off_means_off(run, logger):
    settings = asked(run, logger)
    with tracking.tracker(run, settings) as tracker:
        for stage in plan.plan(settings):
            work(stage, run, settings, tracker)
    assert not [path for path in run.rglob("*") if "tfevents" in path.name or path.name in ("tensorboard", "wandb")]


@pytest.mark.parametrize(
    ("logger", "verls"),
    [
        ("[console,tensorboard]", ["console", "file"]),
        ("[console,mlflow]", ["console", "mlflow"]),
        ("[file,wandb]", ["file"]),
    ],
)
def test_verl_itself_logs_to_neither_of_them(run, logger, verls):
    settings = asked(run, f"logger={logger}")
    config = jobs.verl_config(settings, "solver", model="m", train_file="f", stage_dir=run / "round_1/solver")
    assert list(config.trainer.logger) == verls


def test_a_logger_that_is_not_installed_is_refused(monkeypatch, run):
    monkeypatch.setattr(tracking, "find_spec", lambda name: None if name == "wandb" else object())
    tracking.check(asked(run))
    with pytest.raises(UserError, match=r"logger=\[console, wandb\]: .*not installed.*pip install wandb"):
        tracking.check(asked(run, "logger=[console,wandb]"))


def wandb_records(run: Path) -> list[Record]:
    """What W&B wrote in offline mode, in all starts: LevelDB's log format, in blocks of 32 KiB after 7 bytes."""
    found, start = [], b""
    for path in sorted(run.glob("wandb/offline-run-*/*.wandb")):
        data, at = path.read_bytes(), 7
        while at + 7 <= len(data):
            if 32768 - at % 32768 < 7:  # no header fits into the rest of the block
                at += 32768 - at % 32768
                continue
            length, kind = struct.unpack("<HB", data[at + 4 : at + 7])
            start += data[at + 7 : at + 7 + length]
            at += 7 + length
            if kind in (1, 4):  # a whole record, or the last part of one
                found.append(Record.FromString(start))
                start = b""
    return found


def test_w_and_b_has_one_run_without_an_account_and_no_point_twice(run, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    settings = asked(run, "rounds=1", "logger=[wandb]")
    base, _, challenger, *_ = stages = plan.plan(settings)
    with tracking.tracker(run, settings) as tracker:
        work(base, run, settings, tracker)
        run_dir.start_stage(challenger.directory(run))
        tracker.start(challenger)
        write_lines(challenger.directory(run) / tracking.METRICS, steps_of(challenger, factor=3.0)[0])
        tracker.follow(challenger)  # and here it was killed
    with tracking.tracker(run, settings) as tracker:
        tracker.catch_up([base], report.write(run, settings))
        for stage in stages[1:]:
            work(stage, run, settings, tracker)
    deadline = time.monotonic() + 30  # W&B's own process writes its last records after `finish` has returned
    while len([record for record in wandb_records(run) if record.HasField("exit")]) < 2:
        assert time.monotonic() < deadline, "W&B did not finish its two files"
        time.sleep(0.05)
    records = wandb_records(run)
    assert {record.run.run_id for record in records if record.HasField("run")} == {
        (run / "wandb/id").read_text().strip()
    }
    rows = [
        {item.key or item.nested_key[0]: json.loads(item.value_json) for item in record.history.item}
        for record in records
        if record.HasField("history")
    ]
    series = lambda tag, axis: [(row[f"{axis}_step"], row[tag]) for row in rows if tag in row]  # noqa: E731
    assert series("challenger/kl", "challenger") == [(1, 0.5), (2, 0.25)]
    assert series("solver_verl/actor/lr", "solver") == [(1, 1.0)]
    assert series("round/model/greedy_gate", "round") == [(0, 0.75)]
    assert series("round/evaluation/tiny/greedy", "round") == [(0, 0.5), (1, 0.5)]
    assert not (run / "tensorboard").exists()
