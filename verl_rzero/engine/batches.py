"""All rollouts of a training step at once: sample, reward, store. Takes the place of verl's agent-loop workers for
single-turn tasks.

verl's contract for an agent-loop manager is `generate_sequences(prompts)`: put every trajectory into TransferQueue.
Rewards are asked of verl's reward workers as soon as samples end, so that the Challenger's votes overlap with
generation. What needs the whole batch is made of it before it is stored: the store is written once, and holds only
what verl reads.
"""

import asyncio
import itertools
import threading
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import transfer_queue as tq
from tensordict import NonTensorStack, TensorDict
from verl import DataProto

from verl_rzero.engine import rollouts
from verl_rzero.engine.batch_rewards import BatchReward, Judged, Rows
from verl_rzero.engine.rollouts import Sample
from verl_rzero.engine.samplers import Sampler, Trajectory
from verl_rzero.rules.prompts import Messages, render

CARRIED = ("raw_prompt", "data_source", "reward_model", "index")
"""Dataset columns that reward managers read: verl's, and the row's number in its file."""


class BatchRollouts:
    """Stores the trajectories that a sampler makes of each step's prompts.

    Args:
        config: the job's verl config.
        tokenizer: of the trained model.
        servers: Ray handles of `rollouts.StreamingServer`s.
        reward_workers: verl's reward-loop workers, or None when the reward is computed after sampling (colocated
            reward model).
        sampler: which responses are sampled and which are stored.
        batch_reward: what is made of the whole batch before it is stored; where the reward comes after sampling, the
            trainer does it.

    Attributes:
        rows: of the last batch, each column that reward managers gave, in the order of its trajectories; and which
            responses have ended by themselves (`finished`).
        judged: what `batch_reward` made of them.
    """

    def __init__(
        self,
        config: Any,
        tokenizer: Any,
        servers: Sequence[Any],
        reward_workers: Sequence[Any] | None,
        sampler: Sampler,
        batch_reward: BatchReward,
    ):
        rollout = config.actor_rollout_ref.rollout
        self.n = rollout.n
        self.sampling = {
            "temperature": rollout.temperature,
            "top_p": rollout.top_p,
            "top_k": rollout.top_k,
            "max_tokens": rollout.response_length,
            "logprobs": 0,
        }
        self.wait_for = float(config.verl_rzero.wait_for)
        self.tokenizer = tokenizer
        self.servers = servers
        self.reward_workers = None if reward_workers is None else itertools.cycle(reward_workers)
        self.sampler = sampler
        self.batch_reward = batch_reward
        # verl reads columns of the dataset where it computes rewards itself, or writes its rollouts down
        self.stores = () if reward_workers is not None else CARRIED
        if config.trainer.rollout_data_dir is not None and "reward_model" not in self.stores:
            self.stores = (*self.stores, "reward_model")
        self.rows: Rows = {}
        self.judged: Judged | None = None
        self.seconds: dict[str, float] = {}
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    def generate_sequences(self, prompts: TensorDict) -> None:
        """Start on a batch of prompts; `wait()` for the end."""
        self._error = None
        self._thread = threading.Thread(target=self._run, args=(prompts,), daemon=True)
        self._thread.start()

    def wait(self) -> None:
        """Return when every trajectory of the last batch is in TransferQueue; raises what went wrong in between."""
        assert self._thread is not None
        self._thread.join()
        if self._error is not None:
            raise self._error

    def _run(self, prompts: TensorDict) -> None:
        try:
            asyncio.run(self._fill(prompts))
        except BaseException as error:  # re-raised by wait() in the trainer's thread
            self._error = error

    async def _fill(self, prompts: TensorDict) -> None:
        columns = {key: prompts[key] for key in ("uid", *CARRIED)}  # a list is made anew at each look
        rows = [{key: _item(column, i) for key, column in columns.items()} for i in range(len(prompts))]
        self.seconds = {"rollout": 0.0, "reward": 0.0}

        async def ask(n: int, prompts: Sequence[tuple[int, Messages]] | None = None) -> list[Trajectory]:
            own = [(i, row["raw_prompt"]) for i, row in enumerate(rows)]
            return await self._sampled(rows, own if prompts is None else prompts, n)

        trajectories, step = await self.sampler(ask), int(_item(prompts["global_steps"], 0))
        sampled = time.perf_counter()
        rewards = self._rewards(rows, trajectories, step)
        judged = time.perf_counter()
        self._store(rows, trajectories, rewards, step)
        if rewards is not None:
            self.seconds["penalty"] = judged - sampled
        self.seconds["store"] = time.perf_counter() - judged

    def _rewards(
        self, rows: list[dict[str, Any]], trajectories: Sequence[Trajectory], step: int
    ) -> Sequence[float] | None:
        """Each trajectory's, with the whole batch taken into account; None where verl computes them after sampling."""
        if self.reward_workers is None:
            return None
        results = [trajectory.result or {} for trajectory in trajectories]
        made = [result["reward_extra_info"] for result in results]
        self.rows = {
            **{name: [rows[trajectory.row][name] for trajectory in trajectories] for name in CARRIED},
            **{name: [each[name] for each in made] for name in made[0]},
            "finished": [trajectory.sample.finished for trajectory in trajectories],
        }
        self.judged = self.batch_reward(self.rows, step)
        given = self.judged.reward_B
        return [result["reward_score"] for result in results] if given is None else given.tolist()

    async def _sampled(
        self, rows: list[dict[str, Any]], prompts: Sequence[tuple[int, Messages]], n: int
    ) -> list[Trajectory]:
        """n responses to each prompt, scored by the reward workers as soon as they end, in the order of the prompts.

        Raises:
            RuntimeError: a server ended without a sample to each of its prompts.
        """
        start = time.perf_counter()
        requests = [ids for _, messages in prompts for ids in [render(self.tokenizer, messages)] * n]
        row_of = [row for row, _ in prompts for _ in range(n)]
        samples: list[Sample | None] = [None] * len(requests)
        rewards: list[tuple[list[int], Any]] = []
        first_reward = start
        async for ended in rollouts.stream(self.servers, requests, self.sampling, wait_for=self.wait_for):
            for sample in ended:
                samples[sample.prompt] = sample
            if self.reward_workers is not None:
                first_reward = first_reward if rewards else time.perf_counter()
                where = [sample.prompt for sample in ended]
                data = reward_input([requests[i] for i in where], ended, [rows[row_of[i]] for i in where])
                rewards.append((where, next(self.reward_workers).compute_score_batch.remote(data)))
        rolled_out = time.perf_counter()
        results: list[dict[str, Any] | None] = [None] * len(requests)
        for where, reference in rewards:
            for i, result in zip(where, await reference, strict=True):
                results[i] = result
        self.seconds["rollout"] += rolled_out - start
        self.seconds["reward"] += time.perf_counter() - first_reward  # beside the rollout, from its first end
        there = [sample for sample in samples if sample is not None]
        if len(there) < len(requests):
            raise RuntimeError(f"{len(requests) - len(there)} of {len(requests)} samples never came")
        return [
            Trajectory(row, ids, sample, result)
            for row, ids, sample, result in zip(row_of, requests, there, results, strict=True)
        ]

    def _store(
        self,
        rows: list[dict[str, Any]],
        trajectories: Sequence[Trajectory],
        rewards: Sequence[float] | None,
        global_steps: int,
    ) -> None:
        """Write the batch to TransferQueue in the layout of verl's AgentLoopWorkerTQ, then mark its prompts as
        finished.

        Raises:
            ValueError: a prompt has more or fewer trajectories than the job's rollout.n.
        """
        count = Counter(trajectory.row for trajectory in trajectories)
        if wrong := {row for row in range(len(rows)) if count[row] != self.n}:
            raise ValueError(f"prompts {sorted(wrong)} have not {self.n} trajectories each, as rollout.n says")
        place: Counter[int] = Counter()
        keys, tags = [], []
        for trajectory in trajectories:
            ids, sample = trajectory.prompt_ids, trajectory.sample
            keys.append(f"{rows[trajectory.row]['uid']}_{place[trajectory.row]}_0")
            place[trajectory.row] += 1
            tags.append(
                {
                    "status": "success",
                    "prompt_len": len(ids),
                    "response_len": len(sample.ids),
                    "seq_len": len(ids) + len(sample.ids),
                    "global_steps": global_steps,
                    "min_global_steps": sample.weights,
                    "max_global_steps": sample.weights,
                }
            )
        requests = [trajectory.prompt_ids for trajectory in trajectories]
        samples = [trajectory.sample for trajectory in trajectories]
        responses = [sample.ids for sample in samples]
        whole = [ids + response for ids, response in zip(requests, responses, strict=True)]
        ones = [[1] * len(response) for response in responses]
        fields: dict[str, Any] = {
            "prompts": _nested(requests, torch.int64),
            "responses": _nested(responses, torch.int64),
            "response_mask": _nested(ones, torch.int64),
            "loss_mask": _nested(ones, torch.int64),
            "input_ids": _nested(whole, torch.int64),
            "position_ids": _nested([range(len(ids)) for ids in whole], torch.int64),
            "rollout_log_probs": _nested([sample.log_probs for sample in samples], torch.float32),
            "num_turns": torch.full((len(samples),), 2),
        }
        fields["uid"] = NonTensorStack(*[each.group or rows[each.row]["uid"] for each in trajectories])
        for name in self.stores:
            fields[name] = NonTensorStack(*[rows[trajectory.row][name] for trajectory in trajectories])
        if rewards is None:
            fields["finished"] = torch.tensor([sample.finished for sample in samples])
        else:
            scores = [[0.0] * (len(ids) - 1) + [reward] for ids, reward in zip(responses, rewards, strict=True)]
            fields["rm_scores"] = _nested(scores, torch.float32)
        tq.kv_batch_put(keys=keys, partition_id="train", tags=tags, fields=TensorDict(fields, batch_size=len(samples)))
        uids = [row["uid"] for row in rows]
        finished = [{"is_prompt": True, "status": "finished", "global_steps": global_steps}] * len(uids)
        tq.kv_batch_put(keys=uids, partition_id="train", tags=finished)


def reward_input(prompts: list[list[int]], samples: Sequence[Sample], rows: list[dict[str, Any]]) -> DataProto:
    """A batch as verl's reward workers take it: right-padded `prompts`, `responses`, `attention_mask`, and the rows'
    columns; and whether each response has ended by itself (`finished`).
    """
    responses = [sample.ids for sample in samples]
    mask = [[1] * len(ids) for ids in prompts], [[1] * len(ids) for ids in responses]
    batch = {
        "prompts": _padded(prompts),
        "responses": _padded(responses),
        "attention_mask": torch.cat([_padded(mask[0]), _padded(mask[1])], dim=1),
    }
    columns = {name: _objects([row[name] for row in rows]) for name in CARRIED}
    columns["finished"] = _objects([sample.finished for sample in samples])
    return DataProto(batch=TensorDict(batch, batch_size=len(rows)), non_tensor_batch=columns)


def _item(column: Any, i: int) -> Any:
    if isinstance(column, torch.Tensor):
        return column[i]
    item = column[i] if isinstance(column, (list, NonTensorStack)) else column
    return getattr(item, "data", item)


def _objects(values: list[Any]) -> np.ndarray:
    column = np.empty(len(values), dtype=object)
    column[:] = values
    return column


def _padded(rows: Sequence[Sequence[int]]) -> torch.Tensor:
    return torch.nn.utils.rnn.pad_sequence([torch.tensor(row, dtype=torch.int64) for row in rows], batch_first=True)


def _nested(rows: Sequence[Any], dtype: torch.dtype) -> torch.Tensor:
    """A jagged tensor (rows, lengths)."""
    offsets = torch.tensor([0, *itertools.accumulate(len(row) for row in rows)])
    values = torch.tensor(list(itertools.chain.from_iterable(rows)), dtype=dtype)
    return torch.nested.nested_tensor_from_jagged(values, offsets)
