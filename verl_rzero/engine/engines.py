"""Inference without training: verl's standalone vLLM replicas of one model on all devices, fed with everything at
once.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import OmegaConf, open_dict

from verl_rzero.base.text import encodable
from verl_rzero.engine import guards, jobs
from verl_rzero.engine.lengths import longest
from verl_rzero.engine.on_cpu import WORKER
from verl_rzero.settings import Settings

if TYPE_CHECKING:
    from verl_rzero.engine.replicas import Running
    from verl_rzero.engine.rollouts import Sample


class Engine:
    """One model on running servers.

    Args:
        servers: Ray handles of `rollouts.StreamingServer`s.
        tokenizer: the model's.
    """

    def __init__(self, servers: Sequence[Any], tokenizer: Any) -> None:
        self.servers = servers
        self.tokenizer = tokenizer

    def sample(
        self,
        prompts_Q: Sequence[list[int]],
        sampling: dict[str, Any],
        seeds_Q: Sequence[int] | None,
        wait_for: float = 1.0,
    ) -> AsyncIterator[list["Sample"]]:
        """One sample for each prompt (token ids), handed over as they end; see `rollouts.stream`."""
        from verl_rzero.engine import rollouts

        return rollouts.stream(self.servers, prompts_Q, sampling, seeds_Q, wait_for)

    def text(self, sample: "Sample") -> str:
        return encodable(self.tokenizer.decode(sample.ids, skip_special_tokens=True))


class Engines:
    """The engines of one process: those that a training job left running in it, and new ones for every other model."""

    def __init__(self) -> None:
        self._kept: dict[str, Engine] = {}
        self._before: dict[str, Callable[[], None]] = {}
        self._end: Callable[[], Sequence[Running]] | None = None

    def keep(
        self, model: Path | str, servers: Sequence[Any], tokenizer: Any, before: Callable[[], None] | None = None
    ) -> None:
        """Remember running servers of `model`, for `of`, which calls `before` once when they are asked for. Others
        of the job are not asked for after that.
        """
        self._kept[str(model)] = Engine(servers, tokenizer)
        if before is not None:
            self._before[str(model)] = before

    def leave(self, end: Callable[[], Sequence["Running"]]) -> None:
        """Remember how the training that has kept these ends what it started, for `take_over`."""
        self._end = end

    def take_over(self) -> Sequence["Running"]:
        """The servers that a training before has left in this process for the next one, which gives them its model;
        nothing of it is kept any longer.
        """
        end, self._end = self._end, None
        self._kept.clear()
        self._before.clear()
        return end() if end is not None else ()

    async def of(self, settings: Settings, model: Path | str, stage_dir: Path) -> Engine:
        """The servers of `model` that were kept, or else new ones (`started`).

        Raises:
            RuntimeError: new ones would wait for ever for the GPUs that the kept ones have.
        """
        kept = self._kept.get(str(model))
        if kept is None:
            if self._kept and settings.hardware.device == "cuda":
                raise RuntimeError(f"no GPU is free for {model}: engines of {', '.join(self._kept)} have them all")
            return await started(settings, model, stage_dir)
        if before := self._before.pop(str(model), None):
            await asyncio.to_thread(before)  # verl's calls begin an event loop of their own
        return kept


async def started(settings: Settings, model: Path | str, stage_dir: Path) -> Engine:
    """As many replicas of `model` as the hardware holds, on Ray.

    Raises:
        UserError: the installed packages are others than this was made for.
    """
    guards.check()
    from verl.trainer.constants_ppo import get_ppo_ray_runtime_env
    from verl.workers.config import HFModelConfig
    from verl.workers.rollout.replica import get_rollout_replica_class

    from verl_rzero.engine.grpo import start_ray
    from verl_rzero.engine.replicas import register

    config = jobs.verl_config(settings, "solver", model=model, train_file="none", stage_dir=stage_dir)
    start_ray(config.ray_kwargs.ray_init, get_ppo_ray_runtime_env(config)["env_vars"])
    register()
    rollout = config.actor_rollout_ref.rollout
    with open_dict(rollout):
        rollout.load_format = "auto"
        rollout.max_model_len = longest(settings)
        rollout.n_gpus_per_node = settings.hardware.gpus_per_node
        if settings.hardware.device == "cpu":
            rollout.engine_kwargs.vllm.worker_extension_cls = WORKER  # these weights are never replaced
    OmegaConf.resolve(config)
    model_config = HFModelConfig(path=str(model))
    replica = get_rollout_replica_class(rollout.name)
    count = max(1, settings.hardware.gpus_per_node * settings.hardware.nodes // rollout.tensor_model_parallel_size)
    replicas = [
        replica(
            replica_rank=rank, config=rollout, model_config=model_config, gpus_per_node=settings.hardware.gpus_per_node
        )
        for rank in range(count)
    ]
    await asyncio.gather(*[replica.init_standalone() for replica in replicas])
    return Engine([replica.server_handle for replica in replicas], model_config.tokenizer)
