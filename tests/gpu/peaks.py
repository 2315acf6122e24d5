"""The most memory that was in use while the runs' jobs sampled, and while they trained."""

import json
import statistics
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from gpu import device
from gpu.found import Found
from gpu.runs import Place, asked, samples_of, steps_of
from verl_rzero.data import run_dir
from verl_rzero.engine import jobs, memory
from verl_rzero.run import coevolve, model_fits
from verl_rzero.settings import machine

MARGIN = 1.1
"""Of the estimates of memory."""

NOT_ESTIMATED = {"cuda": 4 * memory.GIB, "cpu": 0}
"""What drivers keep for each process, and a sleeping engine beside its weights and cache: .8 to 2.4 GiB of a model of
1B weights (NeMo RL, issue 223).
"""

SAMPLING, TRAINING = ("gen", "reward"), ("old_log_prob", "ref", "adv", "update_actor")
"""verl's parts of a step."""

EDGE_S = 0.3
"""So much later than a step ended may it be written down."""

Times = list[tuple[float, float]]
"""From when to when, in seconds since 1970."""


def of_memory(place: Place) -> Found:
    """Peaks of the jobs of `tiny` and `shape` beside what a dry run says."""
    rows: dict[str, dict[str, float]] = {}
    for name in ("tiny", "shape"):
        if not (place.of(name).run / run_dir.SETTINGS).is_file():
            continue
        seen, estimates = device.samples(samples_of(place, name)), dict(estimated(place, name))
        before = seen[0][1] if seen and place.platform == "cuda" else 0  # others', while the run has not begun
        for (role, moment), times in phases(place, name).items():
            peak = max((size for at, size in seen if any(a <= at <= b for a, b in times)), default=None)
            if peak is not None:
                rows[f"{name}/{role}/{moment}"] = {
                    "estimate": estimates[role, moment], "peak": peak - before,
                    "ratio": (peak - before) / estimates[role, moment],
                }  # fmt: skip
    beside = NOT_ESTIMATED[place.platform]
    over = {name: row for name, row in rows.items() if row["peak"] > MARGIN * row["estimate"] + beside}
    said = f"{len(rows)} moments" + "".join(f"; {name} {in_gib(row)}" for name, row in rows.items() if "shape" in name)
    wrong = "" if rows else "no moment was seen"
    if over:
        much = f"more than {MARGIN} times the estimate and {beside / memory.GIB:g} GiB: "
        wrong = much + ", ".join(f"{name} {in_gib(row)}" for name, row in over.items())
    return Found(rows, said, wrong)


def in_gib(row: dict[str, float]) -> str:
    return f"{row['peak'] / memory.GIB:.1f} of {row['estimate'] / memory.GIB:.1f} GiB"


def estimated(place: Place, name: str) -> Iterator[tuple[tuple[str, str], int]]:
    """((role, moment), bytes) of each job; the moments are `phases`'."""
    mine = asked(place, name)
    shape = model_fits.shape(mine)
    assert shape is not None
    for role, config in coevolve.check_jobs(mine, place.of(name).run).items():
        if place.platform == "cuda":
            moments = memory.on_a_gpu(config, shape, machine.gpu_memory_bytes() or 0)
        else:
            moments = {"the whole job": memory.on_a_cpu(config, shape)}
        for moment, processes in moments.items():
            yield (role, moment), sum(process.size for process in processes)


def phases(place: Place, name: str) -> dict[tuple[str, str], Times]:
    """(role, moment) -> from when to when, in seconds since 1970. On a card a step samples and votes first, and then
    trains; the checkpoint and the weights' sync behind that are neither.
    """
    times: dict[tuple[str, str], Times] = {}
    for role in ("challenger", "solver"):
        stage = place.of(name).run / "round_1" / role
        if place.platform == "cpu":
            if run_dir.is_done(stage):
                times[role, "the whole job"] = [whole(stage)]
            continue
        for ends, step in ended_steps(stage):
            begins = ends - step["timing_s/step"]
            trains = begins + sum(step.get(f"timing_s/{part}", 0.0) for part in SAMPLING)
            trained = trains + sum(step.get(f"timing_s/{part}", 0.0) for part in TRAINING) - EDGE_S
            times.setdefault((role, "sampling"), []).append((begins, trains))
            times.setdefault((role, "training"), []).append((trains, trained))
    return times


def whole(stage: Path) -> tuple[float, float]:
    """From when to when a stage took that is done."""
    done = run_dir.manifest(stage)
    ends = datetime.fromisoformat(done.finished).timestamp()
    return ends - done.seconds, ends


def ended_steps(stage: Path) -> list[tuple[float, dict[str, float]]]:
    """When each step of a job ended, and what verl tells of it."""
    steps, ours = steps_of(stage / jobs.VERL_METRICS), stage / run_dir.METRICS
    lines = ours.read_text(encoding="utf-8").splitlines()[: len(steps)] if ours.is_file() else []
    return [(json.loads(line)["time"], step) for line, step in zip(lines, steps, strict=True)]


def of_two_models(place: Place) -> Found:
    """Whether Challenger and frozen Solver have worked by turns on one device, and the most memory that took."""
    stage = place.of("shape").run / "round_1/challenger"
    (begins, ends), seen = whole(stage), device.samples(samples_of(place, "shape"))
    peak = max(size for at, size in seen if begins <= at <= ends)
    steps = [json.loads(line) for line in (stage / run_dir.METRICS).read_text(encoding="utf-8").splitlines()]
    votes = [step["seconds_vote"] for step in steps]
    numbers = {"peak": peak, "seconds_vote": votes, "answered": [step["well_formed_share"] for step in steps]}
    return Found(numbers, f"peak {peak / memory.GIB:.1f} GiB; votes {statistics.median(votes):.1f} s a step")
