"""A run over two Ray nodes on this machine, one of which dies in the middle; by hand, as it takes some minutes.

    python tests/two_nodes.py <empty directory>

Two raylets with two made-up devices each are joined to one cluster; a round of the tiny world trains over both
(`hardware.nodes=2`). While the Solver trains, the second raylet is killed: the run has to notice it, say that a machine
is gone, and end; with a second raylet again the same command has to complete it, without doing a stage twice.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil
from test_cluster import RAY, port

WORDS = [
    "hardware=cpu", "hardware.nodes=2", "hardware.gpus_per_node=1", "hardware.solver_gpus=1", "rounds=1",
    "model.build_steps=200", "challenger.steps=3", "challenger.batch_size=4", "challenger.minibatch_size=2",
    "solver.steps=40", "solver.batch_size=8", "solver.minibatch_size=8", "candidates=64", "votes=4", "band=[0,1]",
    "evaluation.k=2", "evaluation.benchmarks.tiny.n=32", "checkpoint_every=1", "stalled_after_s=400",
]  # fmt: skip
LIMIT_S = 900.0


class Cluster:
    """Ray on this machine, ended on leaving."""

    def __init__(self, directory: str) -> None:
        self.address = f"127.0.0.1:{port()}"
        token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64}
        self.env = {**os.environ, **token, "RAY_TMPDIR": directory, "HF_HUB_OFFLINE": "1"}
        self.env.pop("RAY_ADDRESS", None)

    def add(self, *words: str) -> psutil.Process:
        """Start a node; its raylet."""
        before = {*self.raylets()}
        command = [RAY, "start", *words, "--num-gpus=2", "--num-cpus=16", "--disable-usage-stats"]
        subprocess.run(command, env=self.env, check=True, capture_output=True, timeout=120)
        (new,) = {*self.raylets()} - before
        return new

    def raylets(self) -> list[psutil.Process]:
        return [process for process in self.processes() if process.name() == "raylet"]

    def processes(self) -> list[psutil.Process]:
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get("RAY_TMPDIR") == self.env["RAY_TMPDIR"]:
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def __enter__(self) -> "Cluster":
        self.add("--head", f"--port={self.address.split(':')[1]}", "--include-dashboard=false")
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes():
            process.kill()


def done(run: Path) -> dict[str, int]:
    return {str(path.parent.relative_to(run)): path.stat().st_mtime_ns for path in run.glob("*/*/DONE")}


def started(run: Path, cluster: Cluster) -> "subprocess.Popen[bytes]":
    with run.with_suffix(".out").open("ab") as output:
        env = {name: value for name, value in cluster.env.items() if name != "RAY_TMPDIR"}
        env["RAY_ADDRESS"] = cluster.address
        command = [sys.executable, "-m", "verl_rzero.coevolve", f"run_dir={run}", *WORDS]
        return subprocess.Popen(command, stdout=output, stderr=output, env=env, start_new_session=True)


def main(where: str) -> int:
    run = Path(where).resolve() / "run"
    run.parent.mkdir(parents=True, exist_ok=True)
    steps = run / "round_1/solver/metrics.jsonl"
    with TemporaryDirectory(prefix="rz", ignore_cleanup_errors=True) as directory, Cluster(directory) as cluster:
        second = cluster.add(f"--address={cluster.address}")
        begin = time.monotonic()
        process = started(run, cluster)
        while not (steps.exists() and len(steps.read_text().splitlines()) >= 3):
            assert process.poll() is None, "the run ended before the Solver trained"
            assert time.monotonic() < begin + LIMIT_S
            time.sleep(0.5)
        print(f"two nodes: the Solver trains after {time.monotonic() - begin:.0f} s", flush=True)
        before = done(run)
        os.kill(second.pid, signal.SIGKILL)
        begin = time.monotonic()
        code, said = process.wait(LIMIT_S), run.with_suffix(".out").read_text()
        print(
            f"a node killed: exit code {code} after {time.monotonic() - begin:.0f} s", *said.splitlines()[-6:], sep="\n"
        )
        assert code == 2, "an error that says what to do has exit code 2"
        assert "is gone" in said
        cluster.add(f"--address={cluster.address}")
        code = started(run, cluster).wait(LIMIT_S)
        print(f"with a second node again: exit code {code}", flush=True)
        assert code == 0
        assert before.items() <= done(run).items(), "a stage was done twice"
        assert len(steps.read_text().splitlines()) == 40
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
