"""The Ray cluster of a run."""

import os

from verl_rzero.base.errors import refusal
from verl_rzero.settings import Settings


def check_cluster(settings: Settings) -> None:
    """Raises UserError when the settings ask for several machines and there is no Ray cluster to join."""
    if settings.hardware.nodes > 1 and "RAY_ADDRESS" not in os.environ:
        why = "several machines need a Ray cluster that is already up, and RAY_ADDRESS is not set"
        raise refusal(
            "hardware.nodes", settings.hardware.nodes, why, "Start one and set RAY_ADDRESS=auto: docs/gpu.md."
        )
