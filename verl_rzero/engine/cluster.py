"""The Ray cluster of a run: whether there is one, and whether its machines can do what the settings ask for."""

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import NamedTemporaryFile

from verl_rzero.base.errors import UserError, refusal
from verl_rzero.engine import jobs
from verl_rzero.engine.environment import joins_a_cluster, ray_token
from verl_rzero.settings import Hardware, Settings, machine

LOOK_S = 150.0
"""How long looking at the machines of a cluster may take."""

TRIES, PAUSE_S = 3, 5.0
"""How often, and after how long, it is looked again where a machine does not answer or GPUs are not free."""


@dataclass(frozen=True)
class Node:
    """A machine of a cluster. `versions` is empty where it did not answer."""

    address: str
    cpus: int
    gpus: int
    free_gpus: int
    versions: dict[str, str] = field(default_factory=dict)
    sees_file: bool = False


def with_hardware(overrides: list[str]) -> tuple[list[str], str]:
    """The overrides with a hardware group, where they name none, for what this machine has or the cluster that it joins
    (`machine.with_hardware`).

    Raises:
        UserError: no cluster can be joined.
    """
    if not joins_a_cluster() or machine.chosen(overrides):
        return machine.with_hardware(overrides, machine.visible_gpus(), memory=machine.gpu_memory_bytes())
    gpus = Counter(node.gpus for node in look()[1])
    most = max(gpus, key=lambda number: (number * gpus[number], number))
    return machine.with_hardware(overrides, most, gpus[most])


def check_cluster(settings: Settings) -> None:
    """Raises UserError when the settings ask for what neither this machine has nor a Ray cluster that it could join."""
    hardware, cores = settings.hardware, len(os.sched_getaffinity(0))
    if joins_a_cluster():
        return
    gpus = machine.visible_gpus() if hardware.device == "cuda" else 0
    if hardware.device == "cuda" and not gpus:
        why = "this machine has no NVIDIA GPU that could be used"
        raise refusal("hardware.device", hardware.device, why, "Write hardware=cpu, or set RAY_ADDRESS: docs/gpu.md.")
    if hardware.device == "cuda" and hardware.gpus_per_node > gpus:
        why = f"this machine has {gpus} NVIDIA GPUs that could be used"
        instead = "Write fewer, or hardware=auto, which takes what is there."
        raise refusal("hardware.gpus_per_node", hardware.gpus_per_node, why, instead)
    if hardware.device == "cpu" and hardware.gpus_per_node > max(2, cores):
        why = f"so many trainers and engines would share {cores} cores"
        raise refusal("hardware.gpus_per_node", hardware.gpus_per_node, why, f"Write at most {max(2, cores)}.")
    if hardware.nodes > 1:
        why = "several machines need a Ray cluster that is already up, and RAY_ADDRESS is not set"
        raise refusal("hardware.nodes", hardware.nodes, why, "Start one and set RAY_ADDRESS=auto: docs/gpu.md.")


def check_nodes(settings: Settings, run: Path, before: Sequence[Node] = ()) -> list[Node]:
    """The machines of the cluster that the run joins; none where it starts Ray itself.

    Args:
        run: the run's directory, which all machines must see.
        before: the machines that were there when the run began.

    Raises:
        UserError: there is no cluster, it has too few GPUs, a machine has other versions or another disk.
    """
    if not joins_a_cluster():
        return []
    asked = settings.hardware.nodes * slots_per_node(settings.hardware)
    with _marker(run) as marker:
        own, found = look(marker)
        for _ in range(TRIES):  # GPUs of an attempt before come back, and a dead machine is missed, some seconds later
            if sum(node.free_gpus for node in found) >= asked and all(node.versions for node in found):
                break
            time.sleep(PAUSE_S)
            own, found = look(marker)
    check_gpus(settings.hardware, found, before)
    check_cores(settings.hardware, found)
    silent = [node.address for node in found if not node.versions]
    if silent:
        raise UserError(
            f"Of the Ray cluster's machines {', '.join(silent)} did not answer in time. See `ray status`, or take "
            "them out of the cluster with `ray stop` there."
        )
    others = [f"{node.address} has {_differences(own, node.versions)}" for node in found if node.versions != own]
    if others:
        raise UserError(
            f"The Ray cluster has other packages than this run: {'; '.join(others)}. Install the same on all machines "
            "(recipes/environment.sh, or the image in docker/), and start Ray from there."
        )
    blind = [node.address for node in found if not node.sees_file]
    if blind:
        raise UserError(
            f"run_dir={run}: a file that was written there is not seen on {', '.join(blind)}. Write run_dir=<a "
            "directory on a disk that all machines of the cluster share, under the same path>."
        )
    return found


def check_gpus(hardware: Hardware, nodes: Sequence[Node], before: Sequence[Node] = ()) -> None:
    """Raises UserError where fewer machines than asked for have the GPUs: else a job would wait for them for ever."""
    slots = slots_per_node(hardware)
    if sum(node.gpus >= slots for node in nodes) < hardware.nodes:
        there = "; ".join(f"{node.address}: {node.gpus}" for node in nodes)
        gone = sorted(Counter(node.address for node in before) - Counter(node.address for node in nodes))
        missing = f" {', '.join(gone)} was there when the run began and is gone." if gone else ""
        nearest = _nearest(hardware, nodes)
        asked = f"hardware.nodes={hardware.nodes} with hardware.gpus_per_node={hardware.gpus_per_node}"
        needs = f"{slots} GPUs"
        if hardware.device == "cpu":
            asked += f" and hardware.solver_gpus={hardware.solver_gpus} beside them"
            needs += f" (on a CPU made-up ones: ray start --num-gpus={slots})"
        raise UserError(
            f"{asked} needs {needs} on each of {hardware.nodes} machines, and the Ray cluster's have ({there})."
            f"{missing} Start Ray on more machines{nearest}."
        )
    if sum(node.free_gpus for node in nodes) < hardware.nodes * slots:
        free, there = (sum(gpus) for gpus in zip(*((node.free_gpus, node.gpus) for node in nodes), strict=True))
        raise UserError(
            f"The run needs {hardware.nodes * slots} GPUs, and of the Ray cluster's {there} only {free} are free: "
            "another job holds the others (`ray status`, `ray list actors`). Wait for its end, or end it."
        )


def check_cores(hardware: Hardware, nodes: Sequence[Node]) -> None:
    """Raises UserError where verl would wait for cores for ever."""
    there, asked = sum(node.cpus for node in nodes), jobs.asked_cores(hardware)
    if hardware.device == "cuda" and there < asked:
        raise UserError(
            f"verl reserves {asked} CPU cores for {hardware.nodes} x {hardware.gpus_per_node} GPUs, and the Ray "
            f"cluster has {there}. They need not be real: give more with `ray start --num-cpus=<number>`."
        )


def slots_per_node(hardware: Hardware) -> int:
    """GPUs of a machine that Ray must have: on a CPU, where they are made up, the Solver's come on top."""
    return hardware.gpus_per_node + (hardware.solver_gpus if hardware.device == "cpu" else 0)


def look(marker: Path | None = None) -> tuple[dict[str, str], list[Node]]:
    """What versions the run itself has, and the machines of the cluster of RAY_ADDRESS.

    Args:
        marker: a file of which each machine says whether it sees it.

    Raises:
        UserError: no cluster can be joined there.
    """
    command = [sys.executable, "-m", "verl_rzero.engine.nodes", *([str(marker)] if marker else [])]
    try:
        env = ray_token() | os.environ
        done = subprocess.run(command, capture_output=True, text=True, timeout=LOOK_S, check=False, env=env)
    except subprocess.TimeoutExpired:
        why, said = f"no Ray cluster answered in {LOOK_S:.0f} s", ""
    else:
        said = done.stderr
        if done.returncode == 0:
            seen = json.loads(done.stdout.splitlines()[-1])
            return seen["here"], [Node(**node) for node in seen["nodes"]]
        why = f"no Ray cluster can be joined there ({(done.stderr.strip().splitlines() or ['no message'])[-1]})"
    instead = "Start one (`ray start --head`, docs/gpu.md), or unset RAY_ADDRESS to use this machine alone."
    if "AuthenticationError" in said:
        instead = "Its token is missing here: copy ~/.ray/auth_token of the first machine to all (docs/gpu.md)."
    raise refusal("RAY_ADDRESS", os.environ["RAY_ADDRESS"], why, instead)


@contextmanager
def _marker(run: Path) -> Iterator[Path]:
    with NamedTemporaryFile(prefix=".seen-", dir=run) as file:
        yield Path(file.name)


def _differences(own: dict[str, str], others: dict[str, str]) -> str:
    names = [name for name in {**own, **others} if own.get(name) != others.get(name)]
    return ", ".join(f"{name} {others.get(name, 'not at all')} (not {own.get(name, 'at all')})" for name in names)


def _nearest(hardware: Hardware, nodes: Sequence[Node]) -> str:
    """What of the same sort the cluster could do."""
    enough = sum(node.gpus >= slots_per_node(hardware) for node in nodes)
    return f", or write hardware.nodes={enough}" if enough else ", or fewer hardware.gpus_per_node"
