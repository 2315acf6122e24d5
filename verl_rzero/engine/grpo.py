"""Runs one GRPO job in this process: verl's trainer with our hooks, on Ray."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ray
import transfer_queue as tq
from omegaconf import OmegaConf
from verl.trainer.constants_ppo import get_ppo_ray_runtime_env
from verl.trainer.ppo.utils import need_critic, need_reference_policy
from verl.utils.config import validate_config
from verl.utils.fs import copy_to_local  # noqa: F401  (imported here so that a warm server has it)

from verl_rzero.data.run_dir import LATEST
from verl_rzero.engine import (
    advantages,  # noqa: F401  (puts ours into verl's registry)
    environment,
    guards,
    liveness,
    replicas,
    warm,
)
from verl_rzero.engine.batch_rewards import BatchReward
from verl_rzero.engine.batches import BatchRollouts
from verl_rzero.engine.samplers import Sampler
from verl_rzero.engine.trainer import SelfPlayTrainer


def run(
    config: Any, sampler: Sampler, batch_reward: BatchReward, before: Sequence[replicas.Running] = ()
) -> SelfPlayTrainer:
    """Train as `config` says (`jobs.verl_config`), on what `sampler` makes of each step's prompts and with the rewards
    that `batch_reward` makes of the whole. The engines of the trainer that is returned are still up.

    `before` are the servers that a training before it in this process has left for it.

    Raises:
        UserError: the installed packages are others than this was made for.
    """
    guards.check()
    validate_config(config=config, use_reference_policy=need_reference_policy(config), use_critic=need_critic(config))
    start_ray(config.ray_kwargs.ray_init, get_ppo_ray_runtime_env(config)["env_vars"] | {"TRANSFER_QUEUE_ENABLE": "1"})
    replicas.register(before)
    config.transfer_queue.enable = True
    OmegaConf.resolve(config)
    tq.init(config.transfer_queue)
    trainer = SelfPlayTrainer(config, batch_reward, sampler)
    trainer.init()
    servers, reward_workers = trainer.rollout_servers(), trainer.get_reward_handles()
    with liveness.watched(trainer.actors()):
        trainer.fit(BatchRollouts(config, trainer.tokenizer, servers, reward_workers, sampler, batch_reward))
    return trainer


def trained_model(config: Any) -> Path:
    """The Hugging Face directory that the job saved last."""
    checkpoints = Path(config.trainer.default_local_dir)
    step = (checkpoints / LATEST).read_text()
    return checkpoints / f"global_step_{step}" / "actor" / "huggingface"


def start_ray(ray_init: Any, env_vars: dict[str, str]) -> None:
    """Join the cluster of RAY_ADDRESS if there is one, else start one on this machine with the resources of
    `ray_init`: never one that Ray finds by itself, which may be somebody else's, or long dead. Once in a process.
    """
    if ray.is_initialized():
        return
    arguments: dict[str, Any] = OmegaConf.to_container(ray_init, resolve=True)  # type: ignore[assignment]
    runtime_env = arguments.pop("runtime_env", None) or {}
    forwarded = {name: os.environ[name] for name in FORWARDED if name in os.environ}
    runtime_env["env_vars"] = env_vars | forwarded | runtime_env.get("env_vars", {})
    if warm.EXECUTABLE_VARIABLE in os.environ:
        runtime_env["py_executable"] = warm.python_executable()
    if environment.joins_a_cluster():
        arguments = {}
    else:
        arguments["address"] = "local"
    ray.init(runtime_env=runtime_env, **arguments)


FORWARDED = (
    "VERL_PLATFORM",
    "VERL_LOGGING_LEVEL",
    "VLLM_CPU_KVCACHE_SPACE",
    "TORCHDYNAMO_DISABLE",
    "OMP_NUM_THREADS",
    "VLLM_CPU_OMP_THREADS_BIND",
    "HF_HUB_OFFLINE",
    "VLLM_ENABLE_V1_MULTIPROCESSING",
    warm.SOCKET_VARIABLE,
    warm.EXECUTABLE_VARIABLE,
)
