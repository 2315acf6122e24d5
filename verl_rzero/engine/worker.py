"""verl's worker, subclassed for three things: a reference model of choice, weight syncs that keep runs apart, and
adapters that begin alike where the seed is the same.

For the first, a method takes the place of verl's class attribute `ref_worker_cls`; for the second, the name of verl's
socket is rewritten. `reliances.py` says what of verl's insides that takes for granted.
"""

import dataclasses
import hashlib
import os
import re
from typing import Any

import torch
import zmq
from verl.single_controller.base.decorator import Dispatch, register
from verl.utils.device import get_device_name
from verl.workers.engine_workers import ActorRolloutRefWorker, TrainingWorker

from verl_rzero.engine.processes import RUN_VARIABLE

JOB_VARIABLE = "VERL_RAY_JOB_ID"
"""Set by verl's vLLM server for its engine, which looks for the trainer's socket by it."""

SYNC_S = 900
"""How long an engine may take to come for the weights, and to load a piece of them."""

SOCKET = re.compile(r"(ipc:///tmp/rl-colocate-zmq-)([^-]+)(-replica-\d+-rank-\d+\.sock)")
"""verl's name of that socket; the second part is Ray's job id, on both sides."""


def sync_name(job_id: str) -> str:
    """What verl's weight sync puts into its socket's path under /tmp for the Ray job of this process.

    By itself that is Ray's job id, which is the same in every cluster that a run starts for itself: two runs on one
    machine would take each other's socket, and hang. A run's directory tells them apart.
    """
    run = os.environ.get(RUN_VARIABLE)
    return job_id if run is None else f"{job_id}-{hashlib.sha256(run.encode()).hexdigest()[:8]}"


def run_socket(zmq_handle: str) -> str:
    """The socket's name with the job id that the server of this run has (`sync_name`).

    Raises:
        RuntimeError: verl names its socket in another way, so that the two sides would wait for each other for ever.
    """
    parts = SOCKET.fullmatch(zmq_handle)
    if parts is None:
        raise RuntimeError(
            f"verl's weight sync uses {zmq_handle}, and not a name like {SOCKET.pattern}: this is not the verl that "
            "verl_rzero was made for. Install the version of requirements.txt."
        )
    start, job_id, end = parts.groups()
    return start + sync_name(job_id) + end


def limit_waits_of_syncs() -> None:
    """verl's weight sync would wait for ever for an engine that failed, before it has come or in the midst of it. Of
    sockets that this process makes from here on.
    """
    for what in (zmq.SNDTIMEO, zmq.RCVTIMEO):
        zmq.Context.instance().setsockopt(what, SYNC_S * 1000)


def register_cpu_engine() -> None:
    """Put our training engine for CPUs into verl's registry."""
    from verl_rzero.engine.cpu import training

    training.register()


def self_play_worker(reference: str | None) -> type[ActorRolloutRefWorker]:
    """verl's worker class; its reference weights come from the Hugging Face directory or hub name `reference`, or from
    the model that is trained, at its start.
    """

    class SelfPlayWorker(ActorRolloutRefWorker):
        @register(dispatch_mode=Dispatch.ONE_TO_ALL)
        def init_model(self) -> None:
            if get_device_name() == "cpu":
                register_cpu_engine()
            limit_waits_of_syncs()
            torch.manual_seed(self.config.actor.data_loader_seed)  # an adapter begins with random numbers
            super().init_model()
            rollout: Any = self.rollout
            rollout.zmq_handle = run_socket(rollout.zmq_handle)

        def ref_worker_cls(self, config: Any) -> TrainingWorker:
            if reference is not None:  # whole, also where an adapter is trained
                model = dataclasses.replace(config.model_config, path=reference, lora_rank=0)
                config = dataclasses.replace(config, model_config=model)
            return TrainingWorker(config=config)

    return SelfPlayWorker
