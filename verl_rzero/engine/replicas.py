"""Replicas of vLLM's servers, as verl starts them, and as a training takes them over from the one before it.

`register()` puts a subclass of verl's replica into verl's registry in place of the one named "vllm". Its servers are
`rollouts.StreamingServer`s. Beside a model in training it takes servers over from the training before it in the same
process; they are given the weights of the next as they were given those of the last. `reliances.py` says what of verl's
insides that takes for granted.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import partial
from typing import Any

import ray
from verl.workers.rollout.replica import RolloutMode, RolloutReplicaRegistry
from verl.workers.rollout.vllm_rollout.vllm_async_server import vLLMReplica

from verl_rzero.engine import places
from verl_rzero.engine.rollouts import StreamingServer

NOT_THE_ENGINES = frozenset(
    {"n", "temperature", "top_p", "top_k", "prompt_length", "response_length", "trace"}
    | {"log_prob_micro_batch_size", "log_prob_micro_batch_size_per_gpu"}
    | {"log_prob_use_dynamic_bsz", "log_prob_max_token_len_per_gpu"}
)
"""What of verl's rollout configuration each request says by itself, only trainers read, or nobody; an engine is made
for the rest.
"""


@dataclass(frozen=True)
class Running:
    """The servers of a replica that go on after the training that they were started for. They may be those of another
    model that is trained with engines of the same configuration, in the same places: where weights are handed over.
    """

    servers: list[Any]
    address: str
    places: list[Any]  # of the replica's workers
    config: dict[str, Any]

    def end(self) -> None:
        for server in self.servers:
            ray.kill(server)


class StreamingReplica(vLLMReplica):
    """verl's vLLM replica with the streaming server; beside a model in training it may take over servers that run.

    Args:
        before: those that there are, by their replica's rank; taken out of it.
    """

    def __init__(self, *args: Any, before: dict[int, Running], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.server_class = ray.remote(StreamingServer)
        self.before = before
        self.places: list[Any] = []

    async def launch_servers(self) -> None:
        self.places = await asyncio.gather(*[worker.__ray_call__.remote(places.place) for worker in self.workers])
        found = self.before.pop(self.replica_rank, None) if self.rollout_mode == RolloutMode.HYBRID else None
        if found is not None and (others := self._others(found)):
            print(f"engine {self.replica_rank} is started anew: the one before it has {others}", flush=True)
            found.end()
            found = None
        if found is None:
            await super().launch_servers()
        else:
            self.servers, self._server_handle, self._server_address = found.servers, found.servers[0], found.address

    def running(self) -> Running:
        return Running(self.servers, self._server_address, self.places, self._of_the_engine())

    def _others(self, found: Running) -> str:
        """What those servers have otherwise than these need it; empty where they can be taken over."""
        wanted = self._of_the_engine()
        names = [name for name in sorted({*wanted, *found.config}) if found.config.get(name) != wanted.get(name)]
        return ", ".join(f"another {name}" for name in (["place"] if found.places != self.places else []) + names)

    def _of_the_engine(self) -> dict[str, Any]:
        names = {each.name for each in fields(self.config)} - NOT_THE_ENGINES
        return {name: getattr(self.config, name) for name in names}


def register(before: Sequence[Running] = ()) -> None:
    """Let verl start streaming servers wherever a config says `rollout.name=vllm`, and take over those of `before`
    (`SelfPlayTrainer.end`) for the model in training.
    """
    kept = dict(enumerate(before))
    RolloutReplicaRegistry.register("vllm", lambda: partial(StreamingReplica, before=kept))
