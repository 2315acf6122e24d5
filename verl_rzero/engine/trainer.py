"""verl's synchronous PPO trainer with three additions: batched rollouts, the Challenger's batch-wide reward, and a
metrics file.

`fit` of stock verl stays the loop; these classes only fill its hooks.
"""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import ray
import torch
import transfer_queue as tq
from omegaconf import OmegaConf
from tensordict import NonTensorData, TensorDict
from verl.trainer.ppo.utils import Role
from verl.trainer.ppo.v1 import PPOTrainerSync
from verl.utils.debug import marked_timer

from verl_rzero.base.progress import Progress
from verl_rzero.engine.batches import BatchRollouts
from verl_rzero.engine.worker import self_play_worker
from verl_rzero.grading.counts import COLUMNS, step_metrics
from verl_rzero.rules.repetition import shares_with_memory
from verl_rzero.rules.reward import challenger_reward
from verl_rzero.rules.uncertainty import uncertainty_reward

POLL_S = 0.05  # verl's replay buffer asks every 2 s whether a batch is complete; ours is complete before it asks
VERL_METRICS = {
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
    "response_length/clip_ratio": "response_cut_off_share",
    "timing_s/step": "seconds",
    "timing_s/gen": "seconds_rollout",
    "timing_s/reward": "seconds_vote",
    "timing_s/penalty": "seconds_penalty",
    "timing_s/old_log_prob": "seconds_old_log_prob",
    "timing_s/ref": "seconds_reference",
    "timing_s/update_actor": "seconds_update",
    "timing_s/update_weights": "seconds_weight_sync",
}


MODEL_INPUT = ["prompts", "responses", "response_mask", "loss_mask", "input_ids", "position_ids"]
"""The columns of a batch that a forward pass reads. By itself verl sends the worker all, text and objects too."""


class SelfPlayTrainer(PPOTrainerSync):
    """GRPO on stock verl; writes one JSON line a step to `<stage>/metrics.jsonl` and keeps the stage's progress."""

    reads: tuple[str, ...] = ()
    """Columns that the reward manager returns and `_look_at` wants."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.replay_buffer.poll_interval = POLL_S
        self.stage_dir = Path(config.verl_rzero.stage_dir)
        self.records: list[dict[str, float]] = []

    def _init_resource_pool_mgr(self) -> None:
        super()._init_resource_pool_mgr()
        worker = self_play_worker(self.config.verl_rzero.reference_model)
        for role in (Role.ActorRollout, Role.ActorRolloutRef):
            if role in self.role_worker_mapping:
                self.role_worker_mapping[role] = ray.remote(worker)

    def rollout_servers(self) -> list[Any]:
        """Ray handles of the servers that sample from the model in training."""
        return list(self.llm_server_manager.server_handles)

    def solver_servers(self) -> list[Any]:
        """Ray handles of the servers of the frozen Solver (Challenger's job)."""
        return list(self.reward_loop_manager.reward_model_manager.server_handles)

    def on_train_begin(self) -> None:
        self.progress = Progress(self.stage_dir, self.total_training_steps, "step")

    def on_sample_begin(self) -> None:
        manager = self.agent_loop_manager
        if isinstance(manager, BatchRollouts):
            manager.wait()

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
        yield
        batch.fields = None

    def rollout_seconds(self) -> dict[str, float]:
        """Seconds of the last batch: `rollout` to the last sample's end, `vote` (Challenger) or `grading` beside it."""
        manager = self.agent_loop_manager
        if not isinstance(manager, BatchRollouts):
            return {}
        reward = "vote" if self.config.verl_rzero.role == "challenger" else "grading"
        seconds = {"rollout": manager.seconds["rollout"], "store": manager.seconds["store"]}
        return seconds | ({} if manager.reward_workers is None else {reward: manager.seconds["reward"]})

    def _look_at(self, batch: Any, columns: dict[str, list[Any]], metrics: dict) -> None:
        """Metrics of the rewards, and their last changes, while the whole batch is there and before the advantage."""
        raise NotImplementedError

    def _compute_advantage(self, batch: Any, metrics: dict) -> Any:
        columns = self._columns(batch, (*self.reads, *COLUMNS))
        metrics |= step_metrics([columns[name] for name in COLUMNS])
        self._look_at(batch, columns, metrics)
        return super()._compute_advantage(batch, metrics)

    def _compute_metrics(self, batch: Any, metrics: dict, timing_raw: dict, global_steps: int, epoch: int) -> None:
        super()._compute_metrics(batch, metrics, timing_raw, global_steps, epoch)
        record = {"step": global_steps, "reward_mean": float(metrics["critic/rewards/mean"])}
        record |= {name: float(metrics[key]) for key, name in VERL_METRICS.items() if key in metrics}
        record |= {f"seconds_{name}": value for name, value in self.rollout_seconds().items()}
        record |= {
            key.removeprefix("rzero/"): float(value) for key, value in metrics.items() if key.startswith("rzero/")
        }
        self.records.append(record)
        with (self.stage_dir / "metrics.jsonl").open("a") as file:
            file.write(json.dumps({"time": time.time(), **record}) + "\n")
        self.progress.update(global_steps, f"reward {record['reward_mean']:.3f}")

    def _columns(self, batch: Any, names: tuple[str, ...]) -> dict[str, list[Any]]:
        """Non-tensor columns of the batch from TransferQueue, in the order of its keys."""
        data = tq.kv_batch_get(keys=batch.keys, partition_id=batch.partition_id, select_fields=list(names))
        return {name: [item.data if isinstance(item, NonTensorData) else item for item in data[name]] for name in names}


class SolverTrainer(SelfPlayTrainer):
    """GRPO on pseudo-labels."""

    reads = ("answered", "right")

    def _look_at(self, batch: Any, columns: dict[str, list[Any]], metrics: dict) -> None:
        metrics["rzero/answered_share"] = float(np.mean(columns["answered"]))
        metrics["rzero/label_agreement"] = float(np.mean(columns["right"]))


class ChallengerTrainer(SelfPlayTrainer):
    """GRPO on uncertainty minus repetition; the repetition penalty needs the whole batch and is applied just before
    the advantage.
    """

    reads = ("question", "agreement", "answered")

    def _look_at(self, batch: Any, columns: dict[str, list[Any]], metrics: dict) -> None:
        questions, answered = columns["question"], columns["answered"]
        well_formed_B = np.array([question != "" for question in questions])
        agreement_B = np.array(columns["agreement"], dtype=np.float64)
        valid = np.flatnonzero(well_formed_B)
        with marked_timer("penalty", self.timing_raw):
            share_B, memory_B = self._shares(questions, valid)
            reward_B = self._reward(agreement_B, share_B, memory_B, well_formed_B)
        self._replace_rewards(batch, reward_B)
        asked = {questions[i] for i in valid}
        mean = lambda values: float(np.mean(values)) if len(valid) else 0.0  # noqa: E731
        settings = self.config.verl_rzero.challenger
        metrics |= {
            "rzero/uncertainty_mean": mean(
                uncertainty_reward(agreement_B[valid], settings.uncertainty, **self._form_parameters())
            ),
            "rzero/repetition_mean": mean(share_B[valid]),
            "rzero/memory_mean": mean(memory_B[valid]),
            "rzero/agreement_mean": mean(agreement_B[valid]),
            "rzero/answered_share": mean(np.array(answered)[valid]),
            "rzero/well_formed_share": float(np.mean(well_formed_B)),
            "rzero/distinct_share": len(asked) / len(questions),
            "rzero/largest_cluster_share": float(share_B[valid].max(initial=0.0)),
        }

    def _shares(self, questions: list[str], valid: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Each text's cluster as a share of the batch, and of the remembered questions (scope rounds)."""
        settings = self.config.verl_rzero.challenger
        share_B = np.full(len(questions), 1 / len(questions))  # a malformed text is a cluster of its own
        memory_B = np.zeros(len(questions))
        share_B[valid], memory_B[valid] = shares_with_memory(
            [questions[i] for i in valid],
            self.memory,
            settings.repetition_threshold,
            tokens=settings.repetition_tokens,
            linkage_method=settings.repetition_linkage,
            batch_size=len(questions),  # malformed outputs count too
        )
        return share_B, memory_B

    def _reward(
        self, agreement_B: np.ndarray, share_B: np.ndarray, memory_B: np.ndarray, well_formed_B: np.ndarray
    ) -> np.ndarray:
        settings = self.config.verl_rzero.challenger
        return challenger_reward(
            agreement_B,
            share_B,
            well_formed_B,
            form=settings.uncertainty,
            repetition_weight=settings.repetition_weight,
            invalid_reward=settings.invalid_reward,
            floor=settings.floor,
            penalise_invalid=settings.repetition_on_invalid,
            memory_shares_B=memory_B,
            **self._form_parameters(),
        )

    def _form_parameters(self) -> dict[str, Any]:
        """The parameters of the uncertainty form; the random form draws the same numbers again for one step."""
        ours = self.config.verl_rzero
        rng = np.random.default_rng([ours.seed, self.global_steps])
        return {"band": ours.challenger.uncertainty_band, "peak": ours.challenger.uncertainty_peak, "rng": rng}

    @cached_property
    def memory(self) -> list[str]:
        """Questions of earlier rounds that repetition is measured against too; none with scope batch."""
        path = self.config.verl_rzero.memory_file
        return [] if path is None else list(json.loads(Path(path).read_text(encoding="utf-8")))

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
