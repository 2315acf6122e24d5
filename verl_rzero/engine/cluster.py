"""The Ray cluster of a run."""

import os

from verl_rzero.base.errors import refusal
from verl_rzero.settings import Settings, machine


def check_cluster(settings: Settings) -> None:
    """Raises UserError when the settings ask for what neither this machine has nor a Ray cluster that it could join."""
    hardware, alone = settings.hardware, "RAY_ADDRESS" not in os.environ
    cores = len(os.sched_getaffinity(0))
    if alone and hardware.device == "cuda" and not machine.visible_gpus():
        why = "this machine has no NVIDIA GPU that could be used"
        raise refusal("hardware.device", hardware.device, why, "Write hardware=cpu, or set RAY_ADDRESS: docs/gpu.md.")
    if alone and hardware.device == "cpu" and hardware.gpus_per_node > max(2, cores):
        why = f"so many trainers and engines would share {cores} cores"
        raise refusal("hardware.gpus_per_node", hardware.gpus_per_node, why, f"Write at most {max(2, cores)}.")
    if settings.hardware.nodes > 1 and "RAY_ADDRESS" not in os.environ:
        why = "several machines need a Ray cluster that is already up, and RAY_ADDRESS is not set"
        raise refusal(
            "hardware.nodes", settings.hardware.nodes, why, "Start one and set RAY_ADDRESS=auto: docs/gpu.md."
        )
