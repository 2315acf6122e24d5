"""Strikes at a run of the tiny world, again and again, and looks at what is left: the long form, run by hand.

    python tests/faults/strike.py <empty directory> [strikes=60] [seed=0]

A run is started, and after a random time a process of it is struck: the orchestrator, a stage, Ray's head, a trainer's
worker, an engine, the warm server, a reward worker or a grading worker; by SIGKILL, SIGTERM or some seconds of SIGSTOP.
It may go on by itself; if it ends, the same command is given again. When a run is whole, the next one begins. A line a
strike, and at the end a table; exit code 1 if anything was not as it should be.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil
import pyarrow.parquet as pq

from verl_rzero.base.processes import RUN_VARIABLE

WORDS = [
    "rounds=1", "model.build_steps=200", "challenger.steps=3", "challenger.batch_size=4", "challenger.minibatch_size=2",
    "solver.steps=4", "solver.batch_size=8", "solver.minibatch_size=8", "candidates=64", "votes=4", "band=[0,1]",
    "evaluation.k=2", "evaluation.benchmarks.tiny.n=32", "checkpoint_every=1", "stalled_after_s=300",
]  # fmt: skip

VICTIMS = {
    "stage": "verl_rzero.run.stage",
    "Ray's head": "gcs_server",
    "raylet": "raylet/raylet",
    "trainer": "ray::WorkerDict",
    "engine": "ray::StreamingServer",
    "reward worker": "ray::RewardLoopWorker",
    "warm server": "verl_rzero.engine.warm.server",
    "grading worker": "verl_rzero/grading/worker",
}
"""What a process's command line holds."""

LIMIT_S = 900
STOPPED_S = 5.0


@dataclass
class Run:
    """A run that is struck at until it is whole."""

    dir: Path
    ray: str
    done: dict[str, int] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.dir.with_suffix(".out").open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "verl_rzero.coevolve", f"run_dir={self.dir}", *WORDS],
                stdout=output,
                stderr=output,
                env={**os.environ, "RAY_TMPDIR": self.ray, "HF_HUB_OFFLINE": "1"},
                start_new_session=True,
            )

    def processes(self) -> Iterator[psutil.Process]:
        for process in psutil.process_iter():
            try:
                if process.environ().get(RUN_VARIABLE) == str(self.dir) and process.status() != psutil.STATUS_ZOMBIE:
                    yield process
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue

    def stages_done(self) -> dict[str, int]:
        found = sorted(self.dir.glob("*/*/DONE"))
        return {str(path.parent.relative_to(self.dir)): path.stat().st_mtime_ns for path in found}

    def stage(self) -> str:
        logs = sorted(self.dir.glob("*/*/stage.log"), key=lambda path: path.stat().st_mtime)
        return str(logs[-1].parent.relative_to(self.dir)) if logs else "start"

    def wrong(self, ended: bool) -> list[str]:
        """What isn't as it should be."""
        found = [
            f"{stage} was done again" for stage, when in self.done.items() if self.stages_done().get(stage) != when
        ]
        self.done = self.stages_done()
        for stage in self.done:
            for path in (self.dir / stage).rglob("*.parquet"):
                try:
                    pq.read_table(path)
                except Exception as error:
                    found.append(f"{path} can't be read: {error}")
            for path in (self.dir / stage).rglob("*.json"):
                json.loads(path.read_text())
            found += [f"{path} is half-written" for path in (self.dir / stage).rglob("*.partial")]
        if ended:
            found += [f"process {each.pid} is left: {' '.join(each.cmdline())[:80]}" for each in self.processes()]
        return found


def victim(run: Run, rng: random.Random) -> tuple[str, int] | None:
    """A kind of process that the run has now, and one of this kind."""
    assert run.process is not None
    found: dict[str, list[int]] = {"orchestrator": [run.process.pid]}
    for process in run.processes():
        try:
            line = " ".join([process.name(), *process.cmdline()])
        except psutil.NoSuchProcess:
            continue
        for kind, words in VICTIMS.items():
            if words in line:
                forked = kind == "warm server" and process.ppid() != run.process.pid
                found.setdefault("forked process" if forked else kind, []).append(process.pid)
    kind = rng.choice(sorted(found))
    return kind, rng.choice(found[kind])


def strike(pid: int, how: str) -> None:
    try:
        os.kill(pid, getattr(signal, how))
        if how == "SIGSTOP":
            time.sleep(STOPPED_S)
            os.kill(pid, signal.SIGCONT)
    except ProcessLookupError:
        return


def main(where: str, *words: str) -> int:
    asked = {"strikes": 60, "seed": 0} | {key: int(value) for key, value in (word.split("=") for word in words)}
    directory, rng = Path(where).resolve(), random.Random(asked["seed"])
    directory.mkdir(parents=True, exist_ok=True)
    shared = {*os.listdir("/dev/shm")}
    outcomes: Counter[tuple[str, str]] = Counter()
    troubles: list[str] = []
    struck = number = 0
    with TemporaryDirectory(prefix="rz", ignore_cleanup_errors=True) as ray:
        while struck < asked["strikes"]:
            number += 1
            run = Run(directory / f"run_{number}", ray)
            run.start()
            while True:
                assert run.process is not None
                try:
                    code = run.process.wait(rng.uniform(3.0, 45.0))
                except subprocess.TimeoutExpired:
                    code = None
                if code is None and struck < asked["strikes"]:
                    found, how = victim(run, rng), rng.choice(["SIGKILL", "SIGKILL", "SIGTERM", "SIGSTOP"])
                    stage = run.stage()
                    strike(found[1], how)
                    struck += 1
                    code = waited(run, 20.0)
                    outcome = "goes on" if code is None else "ended well" if code == 0 else "ended"
                    outcomes[found[0], outcome] += 1
                    wrong = run.wrong(code is not None and found[0] != "orchestrator")
                    troubles += wrong
                    print(f"{struck:3} {stage:20} {found[0]:15} {how:8} {outcome}  {'; '.join(wrong)}", flush=True)
                elif code is None:
                    code = waited(run, LIMIT_S)
                    if code is None:
                        troubles.append(f"{run.dir}: not whole after {LIMIT_S} s")
                        run.process.kill()
                        break
                if code == 0:
                    troubles += run.wrong(ended=True)
                    break
                if code is not None:
                    run.start()
    troubles += [f"/dev/shm/{name} is left" for name in {*os.listdir("/dev/shm")} - shared]
    for (kind, outcome), count in sorted(outcomes.items()):
        print(f"{kind:15} {outcome:10} {count}")
    print(f"{struck} strikes at {number} runs, {len(troubles)} troubles", *troubles, sep="\n")
    return int(bool(troubles))


def waited(run: Run, seconds: float) -> int | None:
    """The run's exit code; None where it still works after so many seconds."""
    assert run.process is not None
    try:
        return run.process.wait(seconds)
    except subprocess.TimeoutExpired:
        return None


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
