"""Where a worker of a training stands. In a file of its own: workers that are asked import no more than this."""

from typing import Any

import ray
from verl.utils.device import get_device_name, get_resource_name


def place(_worker: Any) -> tuple[str, list[str]]:
    """A worker's node, and its GPUs; on a CPU, where slots stand for them, any slot is as good as another."""
    context = ray.get_runtime_context()
    gpus = [] if get_device_name() == "cpu" else context.get_accelerator_ids().get(get_resource_name(), [])
    return context.get_node_id(), gpus
