"""`python -m gpu [--minutes 10] [--platform cuda|cpu] [out_dir]`: each step within its time, its finds in gpu.json."""

import argparse
import os
import signal
import sys
import time
import traceback
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any

from gpu import device, processes
from gpu.found import Found
from gpu.runs import Place, asked, samples_of
from gpu.steps import STEPS, Step
from verl_rzero.base.errors import UserError
from verl_rzero.base.files import write_json
from verl_rzero.data import run_dir
from verl_rzero.engine import environment

FILE, LOG = "gpu.json", "log"
MINUTES = 10.0
"""That the steps' limits are made for."""

LEAST_S = 5.0
"""With less time left no step is begun."""

STOPPED = "stopped by a signal"


@dataclass(frozen=True)
class Verdict:
    """A step's line: `verdict` is ok, failed or skipped, `said` is the most important number or the reason."""

    step: str
    verdict: str
    said: str
    seconds: float = 0.0
    measured: dict[str, Any] = field(default_factory=dict)


def missing(step: Step, out: Path) -> str:
    """What of earlier steps isn't there that this one needs."""
    return next((why for path, why in step.needs.items() if not (out / path).is_file()), "")


def do(step: Step, place: Place, limit_s: float, env: dict[str, str]) -> Verdict:
    """The step within its limit. What it has measured until it failed is kept."""
    if why := missing(step, place.out):
        return Verdict(step.name, "skipped", why)
    if limit_s < LEAST_S:
        return Verdict(step.name, "skipped", "no time was left")
    place.here.mkdir()
    begins, wrong, found = time.monotonic(), "", Found()
    try:
        wrong = commands_failed(step, place, limit_s, env)
        found = step.found(place)
    except Exception as error:  # whatever it is, it is this step's failure, and no other's
        (place.here / "error").write_text(traceback.format_exc(), encoding="utf-8")
        wrong = wrong or f"{type(error).__name__}: {error}".splitlines()[0]
    wrong, seconds = "; ".join(filter(None, [found.wrong, wrong])), round(time.monotonic() - begins, 1)
    return Verdict(step.name, "failed" if wrong else "ok", wrong or found.said, seconds, found.numbers)


def commands_failed(step: Step, place: Place, limit_s: float, env: dict[str, str]) -> str:
    """Do the step's commands, one after the other; why one has failed, or nothing."""
    begins, log = time.monotonic(), place.here / LOG
    commands = step.commands(place)
    watched = commands and step.needs  # what needs nothing comes before it is known whether there is a device
    with device.watched(place.platform, place.run, samples_of(place, step.name)) if watched else nullcontext():
        for command in commands:
            try:
                left_s = max(0.0, limit_s - (time.monotonic() - begins))
                code = processes.ended(command, place.run, log, env, left_s)
            except UserError as left:
                return str(left)
            except KeyboardInterrupt:
                return STOPPED
            if code is None:
                return f"not done after {limit_s:.0f} s, its limit"
            if code:
                return f"exit code {code}: {last_words(log)}"
    return ""


def last_words(log: Path) -> str:
    """The last line that names an error, or else the last."""
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    errors = [line for line in lines if "error" in line.lower()]
    return (errors or lines or ["it said nothing"])[-1][:300]


def check(steps: Sequence[Step], platform: str, out: Path, minutes: float) -> list[Verdict]:
    """All steps, in their order; gpu.json is whole after each of them."""
    mine = asked(Place(platform, out, ""), "tiny")
    began, until = run_dir.now(), time.monotonic() + 60 * minutes
    verdicts: list[Verdict] = []
    with environment.temporary_files(mine):
        env = {**os.environ, **environment.variables(mine), "HF_HUB_OFFLINE": "1", "PYTHONUNBUFFERED": "1"}
        for step in steps:
            limit_s = min(step.limit_s * minutes / MINUTES, until - time.monotonic())
            print(f"{step.name}: {step.about}, up to {max(0, limit_s):.0f} s", flush=True)
            verdicts.append(do(step, Place(platform, out, step.name), limit_s, env))
            print(f"  {line(verdicts[-1])}", flush=True)
            about = {"platform": platform, "code": run_dir.code_version(), "began": began, "minutes": minutes}
            write_json(out / FILE, {**about, "steps": [asdict(verdict) for verdict in verdicts]})
            if verdicts[-1].said.endswith(STOPPED):
                break
    return verdicts


def line(verdict: Verdict) -> str:
    return f"{verdict.verdict:<7}  {verdict.seconds:>6.1f} s  {verdict.said}"


def table(verdicts: Sequence[Verdict]) -> str:
    width = max(len(verdict.step) for verdict in verdicts)
    return "\n".join(f"{verdict.step.ljust(width)}  {line(verdict)}" for verdict in verdicts)


def interrupt(signum: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt(signal.Signals(signum).name)


def main(words: Sequence[str], steps: Sequence[Step] = STEPS) -> int:
    """Returns 1 when a step has failed, 130 when stopped, 2 for an argument that can't be used, else 0."""
    parser = argparse.ArgumentParser("bash tests/gpu.sh", description="What one GPU can tell in ten minutes.")
    parser.add_argument("out_dir", type=Path, nargs="?", help="a new directory; default: below runs/, by the time")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="for all steps together; their limits follow")
    parser.add_argument("--platform", choices=("cuda", "cpu"), default="cuda", help="cpu: small sizes, no card")
    args = parser.parse_args(words)
    out = (args.out_dir or Path(f"runs/gpu_{datetime.now(UTC):%Y%m%d_%H%M%S}")).resolve()
    if out.exists() and any(out.iterdir()):
        parser.error(f"{out} is not empty: name a new directory")
    out.mkdir(parents=True, exist_ok=True)
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, interrupt)
    verdicts = check(steps, args.platform, out, args.minutes)
    print(f"\n{table(verdicts)}\n\n{out / FILE}", flush=True)
    if verdicts[-1].said.endswith(STOPPED):
        return 130
    return int(any(verdict.verdict == "failed" for verdict in verdicts))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
