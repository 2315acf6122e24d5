"""verl's synchronous PPO trainer, subclassed: batched rollouts, rewards that need the whole batch, and a metrics file.

`fit` of stock verl stays the loop. Its hooks `on_train_begin` and `on_sample_begin` are filled, and private methods are
overridden, each calling verl's own: `_init_resource_pool_mgr` (our worker's class in place of verl's) and `_setup` (a
reference beside an adapter), `_balance_batch` (on a CPU, the responses to a prompt stay together),
`_compute_ref_log_prob` and `_update_actor` (which columns are sent), `_compute_advantage` (rewards that verl computes
after sampling are changed just before), `_load_checkpoint` and `_save_checkpoint` (where the sampler stands) and
`_compute_metrics` (the metrics file). It sets the replay buffer's `poll_interval` and reads the handles of verl's
managers, all of which `end` ends.
`reliances.py` lists all of it, `guards.check` compares it with what is installed.
"""

import json
import math
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import ray
import torch
import transfer_queue as tq
from omegaconf import OmegaConf
from ray.util import remove_placement_group
from tensordict import NonTensorData, TensorDict
from verl.trainer.ppo.utils import Role
from verl.trainer.ppo.v1 import PPOTrainerSync
from verl.utils.debug import marked_timer

from verl_rzero.base.errors import UserError
from verl_rzero.base.files import read_json, write_json
from verl_rzero.base.progress import Progress
from verl_rzero.data import run_dir
from verl_rzero.data.run_dir import LATEST, METRICS
from verl_rzero.engine.batch_rewards import BatchReward
from verl_rzero.engine.batches import BatchRollouts
from verl_rzero.engine.cpu import prompts
from verl_rzero.engine.replicas import Running
from verl_rzero.engine.samplers import Sampler
from verl_rzero.engine.worker import self_play_worker
from verl_rzero.grading.counts import COLUMNS, step_metrics

SAMPLER = "sampler.json"
"""In a checkpoint: where the sampler stood."""

POLL_S = 0.05  # verl's replay buffer asks every 2 s whether a batch is complete; ours is complete before it asks
METRIC_NAMES = {
    "actor/kl_loss": "kl",
    "actor/kl_coef": "kl_weight",
    "actor/pg_loss": "policy_loss",
    "actor/pg_clipfrac": "clipped_share",
    "actor/grad_norm": "grad_norm",
    "actor/lr": "lr",
    "actor/entropy": "entropy",
    "critic/advantages/mean": "advantage_mean",
    "critic/advantages/max": "advantage_max",
    "critic/advantages/min": "advantage_min",
    "response_length/mean": "response_tokens_mean",
    "timing_s/step": "seconds",
    "timing_s/gen": "seconds_rollout",
    "timing_s/reward": "seconds_vote",
    "timing_s/penalty": "seconds_penalty",
    "timing_s/old_log_prob": "seconds_old_log_prob",
    "timing_s/ref": "seconds_reference",
    "timing_s/adv": "seconds_advantage",
    "timing_s/update_actor": "seconds_update",
    "timing_s/update_weights": "seconds_weight_sync",
}


MODEL_INPUT = ["prompts", "responses", "response_mask", "loss_mask", "input_ids", "position_ids"]
"""The columns of a batch that a forward pass reads. By itself verl sends the worker all, text and objects too."""


def check_ranks(checkpoints: Path, ranks: int) -> None:
    """Raises UserError where the last checkpoint is of another number of training processes, each of which has its part
    of the optimizer.
    """
    latest = checkpoints / LATEST
    if latest.is_file():
        saved = checkpoints / f"global_step_{latest.read_text().strip()}" / "actor/fsdp_config.json"
        before = read_json(saved)["world_size"] if saved.is_file() else ranks
        if before != ranks:
            raise UserError(
                f"{checkpoints}: the last checkpoint was written by {before} training processes, and now there are "
                f"{ranks}. Go on with as many GPUs as before, or delete that directory: the stage is then begun anew."
            )


def make_room(checkpoints: Path, most: int | None) -> None:
    """Before a checkpoint is written, delete the oldest so that there are `most` with it: verl forgets those from
    before an interruption. The last one stays.
    """
    if most is not None:
        before = [*run_dir.checkpoints_by_step(checkpoints).values()]
        for path in before[: -max(1, most - 1)]:
            shutil.rmtree(path)


class SelfPlayTrainer(PPOTrainerSync):
    """GRPO on stock verl; writes one JSON line a step to `<stage>/metrics.jsonl` and keeps the stage's progress."""

    def __init__(self, config: Any, batch_reward: BatchReward, sampler: Sampler) -> None:
        super().__init__(config)
        self.batch_reward, self.sampler = batch_reward, sampler
        self.replay_buffer.poll_interval = POLL_S
        self.stage_dir = Path(config.verl_rzero.stage_dir)
        self.records: list[dict[str, float]] = []

    def _init_resource_pool_mgr(self) -> None:
        super()._init_resource_pool_mgr()
        worker = ray.remote(self_play_worker(self.config.verl_rzero.reference_model))
        if Role.ActorRollout in self.role_worker_mapping and self._has_model_as_reference():
            for mapping in (self.role_worker_mapping, self.mapping):  # with an adapter verl would start no reference
                mapping[Role.ActorRolloutRef] = mapping.pop(Role.ActorRollout)
        for role in (Role.ActorRollout, Role.ActorRolloutRef):
            if role in self.role_worker_mapping:
                self.role_worker_mapping[role] = worker

    def _setup(self) -> None:
        super()._setup()
        if self._has_model_as_reference():
            self.ref_in_actor = False  # with an adapter verl would take the model without it

    def _has_model_as_reference(self) -> bool:
        return bool(self.use_reference_policy) and self.config.verl_rzero.reference_model is not None

    def rollout_servers(self) -> list[Any]:
        """Ray handles of the servers that sample from the model in training."""
        return list(self.llm_server_manager.server_handles)

    def solver_servers(self) -> list[Any]:
        """Ray handles of the servers of the frozen Solver (Challenger's job)."""
        return list(self.reward_loop_manager.reward_model_manager.server_handles)

    def give_way_to_solver(self) -> None:
        """After training, where the frozen Solver shares the GPUs: put the engines of the model in training to sleep,
        for good, and wake the Solver's.
        """
        solver = self.reward_loop_manager.reward_model_manager
        if solver.config.rollout.free_cache_engine:
            self.checkpoint_manager.sleep_replicas()
            solver.wake_up()

    def end(self) -> list[Running]:
        """After training, end what the job has started on Ray but the servers of the model in training, and return
        these: for the job that follows in this process, on the same devices.
        """
        self.logger.finish()
        self.checkpoint_manager.sleep_replicas()  # where they share the devices of those who train
        rewards, served = self.reward_loop_manager, []
        if rewards.reward_model_manager is not None:
            served = rewards.reward_model_manager.rollout_replicas
        of_the_served = [actor for replica in served for actor in (*replica.servers, *replica.workers)]
        for actor in (*self.actor_rollout_wg.workers, *rewards.reward_loop_workers, *of_the_served):
            ray.kill(actor)
        ray.kill(self.llm_server_manager.global_load_balancer)
        pools = [*self.resource_pool_manager.resource_pool_dict.values(), *(each.resource_pool for each in served)]
        for group in {group.id: group for pool in pools for group in pool.pgs or []}.values():
            remove_placement_group(group)
        return [replica.running() for replica in self.llm_server_manager.get_replicas()]

    def actors(self) -> dict[str, Any]:
        """Ray handles of all that a step waits for, by what they are."""
        several = {"trainer": self.actor_rollout_wg.workers, "engine": self.rollout_servers()}
        several["reward worker"] = self.get_reward_handles() or []
        if self.reward_loop_manager.reward_model_manager is not None:
            several["engine of the Solver"] = self.solver_servers()
        return {f"{what} {i}": handle for what, handles in several.items() for i, handle in enumerate(handles)}

    def on_train_begin(self) -> None:
        self.progress = Progress(self.stage_dir, self.total_training_steps, "step")
        if self.global_steps > 1 and (self.stage_dir / METRICS).exists():
            lines = (self.stage_dir / METRICS).read_text(encoding="utf-8").splitlines()
            self.records = [{key: value for key, value in json.loads(line).items() if key != "time"} for line in lines]
            self.progress.update(self.global_steps - 1)

    def _load_checkpoint(self) -> None:
        check_ranks(Path(self.config.trainer.default_local_dir), len(self.actor_rollout_wg.workers))
        super()._load_checkpoint()
        if self.global_steps:
            self.sampler.restore(read_json(self._checkpoint() / SAMPLER))

    def _save_checkpoint(self) -> None:
        """verl's, which ends with the file that names it the latest; before that, where the sampler stands."""
        make_room(self._checkpoint().parent, self.config.trainer.max_actor_ckpt_to_keep)
        self._checkpoint().mkdir(parents=True, exist_ok=True)
        write_json(self._checkpoint() / SAMPLER, self.sampler.state())
        super()._save_checkpoint()

    def _checkpoint(self) -> Path:
        return Path(self.config.trainer.default_local_dir) / f"global_step_{self.global_steps}"

    def on_sample_begin(self) -> None:
        manager = self.agent_loop_manager
        if isinstance(manager, BatchRollouts):
            manager.wait()

    def _balance_batch(self, batch: Any, *args: Any, **kwargs: Any) -> Any:
        batch = super()._balance_batch(batch, *args, **kwargs)
        if self.config.trainer.device == "cpu":
            ranks = max(self.actor_rollout_wg._dispatch_info["actor"]) + 1
            uids = [key.rsplit("_", 2)[0] for key in batch.keys]
            batch.reorder(prompts.order_by_prompt(uids, [tag["seq_len"] for tag in batch.tags], ranks))
        return batch

    def _compute_ref_log_prob(self, batch: Any, metrics: dict) -> Any:
        with self._sending(batch, MODEL_INPUT):
            super()._compute_ref_log_prob(batch, metrics)
        return batch

    def _update_actor(self, batch: Any, metrics: dict) -> Any:
        reference = ["ref_log_prob"] if self.use_reference_policy else []
        with self._sending(batch, [*MODEL_INPUT, "rollout_log_probs", "old_log_probs", "advantages", *reference]):
            super()._update_actor(batch, metrics)
        return batch

    @contextmanager
    def _sending(self, batch: Any, columns: list[str]) -> Iterator[None]:
        """Send the worker only these columns; with importance weights, or rollouts of verl's own, all of them."""
        weighted = OmegaConf.select(self.config, "algorithm.rollout_correction.rollout_is")
        if isinstance(self.agent_loop_manager, BatchRollouts) and not weighted:
            batch.fields = columns
        try:
            yield
        finally:
            batch.fields = None

    def rollout_seconds(self) -> dict[str, float]:
        """Seconds of the last batch: `rollout` to the last sample's end, `vote` (Challenger) or `grading` beside it,
        `penalty` for what is made of the whole batch, `store`.
        """
        manager = self.agent_loop_manager
        if not isinstance(manager, BatchRollouts):
            return {}
        seconds = dict(manager.seconds)
        reward = seconds.pop("reward")
        if manager.reward_workers is None:
            return seconds
        return seconds | {"vote" if self.config.verl_rzero.role == "challenger" else "grading": reward}

    def _compute_advantage(self, batch: Any, metrics: dict) -> Any:
        """verl's, with the numbers of the batch's rewards; they are made here, while all of the batch is there and
        before the advantage, where verl has computed them after sampling.
        """
        manager = self.agent_loop_manager
        if isinstance(manager, BatchRollouts) and manager.judged is not None:
            rows, judged = manager.rows, manager.judged
        else:
            rows = self._columns(batch, (*self.batch_reward.reads, *COLUMNS, "finished"))
            with marked_timer("penalty", self.timing_raw):
                judged = self.batch_reward(rows, self.global_steps)
            if judged.reward_B is not None:
                self._replace_rewards(batch, judged.reward_B)
        metrics |= step_metrics([rows[name] for name in COLUMNS])
        metrics["rzero/response_cut_off_share"] = 1.0 - float(np.mean([bool(each) for each in rows["finished"]]))
        metrics |= {f"rzero/{name}": value for name, value in judged.numbers.items()}
        return super()._compute_advantage(batch, metrics)

    def _compute_metrics(self, batch: Any, metrics: dict, timing_raw: dict, global_steps: int, epoch: int) -> None:
        super()._compute_metrics(batch, metrics, timing_raw, global_steps, epoch)
        record = {"step": global_steps, "reward_mean": float(metrics["critic/rewards/mean"])}
        record |= {name: float(metrics[key]) for key, name in METRIC_NAMES.items() if key in metrics}
        record |= {f"seconds_{name}": value for name, value in self.rollout_seconds().items()}
        record |= {
            key.removeprefix("rzero/"): float(value) for key, value in metrics.items() if key.startswith("rzero/")
        }
        # verl goes on after an update whose gradient isn't finite, which it leaves out
        record = {name: value for name, value in record.items() if math.isfinite(value)}
        self.records.append(record)
        with (self.stage_dir / METRICS).open("a") as file:
            file.write(json.dumps({"time": time.time(), **record}) + "\n")
        self.progress.update(global_steps, f"reward {metrics['critic/rewards/mean']:.3f}")

    def _columns(self, batch: Any, names: tuple[str, ...]) -> dict[str, list[Any]]:
        """Columns of the batch from TransferQueue, in the order of its keys."""
        data = tq.kv_batch_get(keys=batch.keys, partition_id=batch.partition_id, select_fields=list(names))
        return {name: [item.data if isinstance(item, NonTensorData) else item for item in data[name]] for name in names}

    def _replace_rewards(self, batch: Any, reward_B: np.ndarray) -> None:
        """Put `reward_B` on each response's last token."""
        data = tq.kv_batch_get(keys=batch.keys, partition_id=batch.partition_id, select_fields=["rm_scores"])
        rows = [torch.zeros(len(row)) for row in data["rm_scores"].unbind()]
        for row, reward in zip(rows, reward_B, strict=True):
            row[-1] = float(reward)
        scores = torch.nested.as_nested_tensor(rows, layout=torch.jagged)
        tq.kv_batch_put(
            keys=batch.keys,
            partition_id=batch.partition_id,
            fields=TensorDict({"rm_scores": scores}, batch_size=len(rows)),
        )
