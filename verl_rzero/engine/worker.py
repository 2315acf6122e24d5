"""verl's worker with two additions: a reference model of choice, and weight syncs that keep runs apart."""

import hashlib
import os
from typing import Any

from verl.single_controller.base.decorator import Dispatch, register
from verl.utils.fs import copy_to_local
from verl.workers.engine_workers import ActorRolloutRefWorker, TrainingWorker

from verl_rzero.engine.processes import RUN_VARIABLE

JOB_VARIABLE = "VERL_RAY_JOB_ID"
"""Set by verl's vLLM server for its engine, which looks for the trainer's socket by it."""


def sync_name(job_id: str) -> str:
    """What verl's weight sync puts into its socket's path under /tmp for the Ray job of this process.

    By itself that is Ray's job id, which is the same in every cluster that a run starts for itself: two runs on one
    machine would take each other's socket, and hang. A run's directory tells them apart.
    """
    run = os.environ.get(RUN_VARIABLE)
    return job_id if run is None else f"{job_id}-{hashlib.sha256(run.encode()).hexdigest()[:8]}"


def self_play_worker(reference: str | None) -> type[ActorRolloutRefWorker]:
    """verl's worker class; its reference weights come from the Hugging Face directory or hub name `reference`, or from
    the model that is trained, at its start.
    """

    class SelfPlayWorker(ActorRolloutRefWorker):
        @register(dispatch_mode=Dispatch.ONE_TO_ALL)
        def init_model(self) -> None:
            super().init_model()
            rollout: Any = self.rollout
            job_id = rollout.zmq_handle.partition("-zmq-")[2].partition("-")[0]
            rollout.zmq_handle = rollout.zmq_handle.replace(f"-zmq-{job_id}-", f"-zmq-{sync_name(job_id)}-")

        def ref_worker_cls(self, config: Any) -> TrainingWorker:
            if reference is not None:
                config.model_config.local_path = copy_to_local(reference, use_shm=config.model_config.use_shm)
            return TrainingWorker(config=config)

    return SelfPlayWorker
