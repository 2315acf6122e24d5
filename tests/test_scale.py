"""The simulator of a round on many GPUs: queues by hand, what may never happen whatever the figures are."""

import importlib.util
import sys
from dataclasses import fields, replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

PATH = Path(__file__).resolve().parents[1] / "benchmarks/scale.py"
spec = importlib.util.spec_from_file_location("scale", PATH)
scale = importlib.util.module_from_spec(spec)
sys.modules["scale"] = scale  # dataclasses look their module up
spec.loader.exec_module(scale)

SMALL = replace(scale.PAPER, steps=(1, 8), answers=(128, 1280), candidates=200, evaluation=300)
CASES = [(make, gpus) for make in map(partial, [scale.h100] * 2, [4e9, 8e9]) for gpus in scale.GPUS]


def free(gpus: int, split: bool):
    """A machine on which nothing takes time but tokens."""
    machine = scale.h100(8e9, 8, per_engine=1)
    none = {"job_s": 0.0, "engine_s": 0.0, "sync_s": 0.0, "update_s": 0.0, "exchange_s": 0.0, "row_s": 0.0}
    return replace(machine, gpus=gpus, split=split, save_s=(0.0, 0.0), **none)


def test_the_last_answer_runs_alone():
    # Two sequences: 100 tokens of 10 + 2 x 1 ms each, then the second alone: 100 more of 11 ms.
    ends_s, busy = scale.serve(np.zeros(2), np.array([100, 200]), 2, 0.010, 0.001)
    assert ends_s == pytest.approx([1.2, 2.3])
    assert busy == pytest.approx(2.3)


def test_an_answer_that_finds_no_room_waits():
    # One at a time: 100 x 11 ms, then 200 x 11 ms.
    ends_s, _ = scale.serve(np.zeros(2), np.array([100, 200]), 1, 0.010, 0.001)
    assert ends_s == pytest.approx([1.1, 3.3])


def test_answers_that_arrive_later():
    # Alone for 0.55 s: 50 of its 100 tokens. Then both at 12 ms: 50 tokens, 0.6 s; the second alone: 50 x 11 ms.
    ends_s, busy = scale.serve(np.array([0, 0.55]), np.array([100, 100]), 8, 0.010, 0.001)
    assert ends_s == pytest.approx([1.15, 1.7])
    assert busy == pytest.approx(1.7)
    # An engine that waits for work does not work: 0.11 s, a gap to 5 s, 0.11 s.
    ends_s, busy = scale.serve(np.array([0, 5.0]), np.array([10, 10]), 8, 0.010, 0.001)
    assert ends_s == pytest.approx([0.11, 5.11])
    assert busy == pytest.approx(0.22)


def test_an_update_waits_for_its_longest_answer():
    # 100, 100, 100, 700 tokens in one update, six forward passes of 1 ms a token. On two GPUs the mean is 500 tokens,
    # but one answer has 700 and can't be shared: 4.2 s, as on four.
    machine = replace(free(4, False), forward_s=0.001)
    for gpus, seconds in ((1, 6.0), (2, 4.2), (4, 4.2)):
        stage = scale.Stage("s", machine, scale.AS_IS)
        stage.train(np.array([100.0, 100, 100, 700]), gpus, 4, 6, 1)
        assert stage.seconds == pytest.approx(seconds)
        assert stage.useful == pytest.approx(6.0)


@pytest.mark.parametrize(("gpus", "update", "used"), [(4, 64, 4), (256, 64, 64), (512, 640, 320), (3, 64, 2)])
def test_an_update_is_shared_out_evenly(gpus, update, used):
    assert scale.sharing(gpus, update) == used


@pytest.mark.parametrize("split", [False, True])
def test_more_gpus_are_never_slower_where_nothing_is_fixed(split):
    sizes = [2, 8, 64, 512] if split else [1, 2, 8, 64, 512]
    seconds = [scale.total_s(scale.round_of(partial(free, split=split), gpus, SMALL)) for gpus in sizes]
    assert seconds == sorted(seconds, reverse=True)
    assert seconds[-1] < seconds[0] / 4


@pytest.mark.parametrize(("make", "gpus"), CASES)
def test_gpus_work_at_most_all_of_the_time(make, gpus):
    stages = scale.round_of(make, gpus, SMALL)
    assert [stage.name for stage in stages] == ["challenger", "questions", "votes", "solver", "evaluation"]
    for stage in stages:
        assert 0 < stage.busy <= gpus * stage.seconds
        assert 0 < stage.useful <= gpus * stage.seconds


@pytest.mark.parametrize(("make", "gpus"), CASES)
def test_a_switch_never_makes_a_round_longer(make, gpus):
    before = scale.total_s(scale.round_of(make, gpus, SMALL))
    names = [each.name for each in fields(scale.Switches)]
    for chosen in [*([name] for name in names), names]:
        on = scale.Switches(**dict.fromkeys(chosen, True))
        assert scale.total_s(scale.round_of(make, gpus, SMALL, on)) <= before, chosen


@pytest.mark.parametrize(("make", "gpus"), CASES)
def test_pieces_are_the_whole(make, gpus):
    stages = scale.round_of(make, gpus, SMALL)
    assert all(seconds >= 0 for stage in stages for seconds in stage.parts.values())
    assert sum(sum(stage.parts.values()) for stage in stages) == pytest.approx(scale.total_s(stages))
    # A stage that only samples, put together by hand.
    machine, votes = make(gpus), stages[2]
    ends_s, _ = scale.batch(machine, gpus, 2000, SMALL.lengths[1])
    read_s = SMALL.candidates * SMALL.prompts[1] * machine.read_s / gpus
    waits_s = max(ends_s.max(), 2000 / machine.grade[0])
    starts_s = machine.engine_s if machine.split else scale.F["switch_s"]  # by turns the Challenger's job has left it
    assert votes.seconds == pytest.approx(starts_s + waits_s + read_s + 2000 * scale.F["write_s"])


def test_votes_overlap_with_questions_only_on_gpus_of_their_own():
    machine = replace(free(8, True), step_s=0.01, each_s=0.0)
    ends_s, _ = scale.batch(machine, 4, 128, SMALL.lengths[0])
    apart, _ = scale.votes_of_step(machine, 4, SMALL, False)
    by_turns, _ = scale.votes_of_step(replace(machine, split=False), 4, SMALL, False)
    assert apart.min() < ends_s.max() < by_turns.min()


def test_the_table_says_what_is_refused(capsys, monkeypatch):
    monkeypatch.setattr(scale, "GPUS", (8, 512))
    scale.table("a model", 4e9)
    eight, many, refused = capsys.readouterr().out.splitlines()[-3:]
    assert eight.split()[0] == "8"
    assert many.split()[0] == "512"
    assert "64 of 256 and 320 of 512" in refused
