"""Sampling from verl's vLLM replicas a whole batch at a time, with each answer handed on as soon as it is finished.

verl's own path makes one Ray call, one agent-loop object, one reward call and one store write per sample, and vLLM
reports every token of every sample back. Here a server takes all prompts of a batch in one streaming Ray call and
yields the samples that have ended since the last yield.

`StreamingServer` is a subclass of verl's server that samples with vLLM's engine directly. It also rewrites the job id
by which verl's weight sync names its socket, starts its engine through the warm server, and ends after that engine.
`replicas.py` has verl start it. `reliances.py` says what of verl's and vLLM's insides that takes for granted,
`guards.check` compares it with what is installed.
"""

import asyncio
import math
import multiprocessing
import os
import sys
from collections import deque
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid4

from verl.workers.rollout.vllm_rollout.vllm_async_server import vLLMHttpServer
from vllm import SamplingParams
from vllm.inputs import TokensPrompt
from vllm.sampling_params import RequestOutputKind

from verl_rzero.engine import liveness, warm
from verl_rzero.engine.worker import JOB_VARIABLE, sync_name

AT_ONCE = 8192
"""Requests that a server is given at most: many times what it samples at once. What waits in it costs memory, too."""

AFTER_ITS_ENGINE_S = 10.0
"""How long a server outlives its engine: time for the errors of what was sampled, which say more."""


@dataclass(frozen=True)
class Sample:
    """One sampled response. `prompt` is its prompt's index in the batch, `weights` the version of the weights that
    wrote it.
    """

    prompt: int
    ids: list[int]
    log_probs: list[float] | None
    finished: bool  # ended by itself, not cut off at the token limit or because nobody waits
    weights: int | None


class StreamingServer(vLLMHttpServer):
    """verl's vLLM server with two more methods; its engine process starts warm where this run has a warm server, and
    it ends soon after that process.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        os.environ[JOB_VARIABLE] = sync_name(os.environ[JOB_VARIABLE])
        self.waited_for: dict[str, list[str]] = {}

    async def launch_server(self, *args: Any, **kwargs: Any) -> None:
        multiprocessing.set_executable(warm.python_executable())
        await super().launch_server(*args, **kwargs)
        if getattr(self, "engine", None) is not None:  # of an engine on several machines, the first one's server has it
            self.ending = asyncio.create_task(self._end_after_the_engine())

    async def _end_after_the_engine(self) -> None:
        """vLLM leaves a call to sleep, to wake or to load weights waiting for ever for an engine that dies meanwhile;
        when the server is gone Ray lets it fail.
        """
        while not self.engine.errored:
            await asyncio.sleep(liveness.LOOK_EVERY_S)
        await asyncio.sleep(AFTER_ITS_ENGINE_S)
        print("error: the engine has died, and its server ends", file=sys.stderr, flush=True)
        os._exit(1)

    async def stream(
        self, prompts_Q: list[list[int]], seeds_Q: list[int] | None, sampling: dict[str, Any], call: str
    ) -> AsyncIterator[list[Sample]]:
        """Sample once per entry of `prompts_Q` (token ids; repeat a prompt for several samples) and yield what has
        ended, in any order.

        `sampling` are vLLM's SamplingParams; `seeds_Q` makes each sample reproducible by itself, at some cost in
        speed. `call` is a name for `cut_off`, another one at each call.
        """
        ended: asyncio.Queue[Sample | BaseException] = asyncio.Queue()
        self.waited_for[call] = [f"{call}-{i}" for i in range(len(prompts_Q))]
        tasks = [
            asyncio.create_task(self._one(i, ids, call, seeds_Q[i] if seeds_Q else None, sampling, ended))
            for i, ids in enumerate(prompts_Q)
        ]
        left = len(tasks)
        try:
            while left:
                items = [await ended.get()]
                while not ended.empty():
                    items.append(ended.get_nowait())
                batch = [item for item in items if isinstance(item, Sample)]
                if len(batch) < len(items):
                    for task in tasks:
                        task.cancel()
                    raise next(item for item in items if isinstance(item, BaseException))
                left -= len(batch)
                yield batch
        finally:
            self.waited_for.pop(call, None)

    async def cut_off(self, call: str) -> None:
        """End the samples of one `stream` where they are; those of which there is no token yet go on to their end."""
        await self.engine.abort(self.waited_for.pop(call, []))

    async def _one(
        self,
        index: int,
        ids: list[int],
        call: str,
        seed: int | None,
        sampling: dict[str, Any],
        ended: "asyncio.Queue[Any]",
    ) -> None:
        """Put one sample, or the error that prevented it, into `ended`."""
        parameters = SamplingParams(
            seed=seed, output_kind=RequestOutputKind.FINAL_ONLY, detokenize=False, flat_logprobs=True, **sampling
        )
        try:
            completion = await self._completion(ids, parameters, f"{call}-{index}")
            cut_off = completion.finish_reason == "abort" and call not in self.waited_for
            if cut_off and not completion.token_ids:
                completion, cut_off = await self._completion(ids, parameters, f"{call}-{index}-again"), False
            await ended.put(self._sample(index, completion, cut_off))
        except BaseException as error:  # raised again by the reader, in stream()
            await ended.put(error)

    async def _completion(self, ids: list[int], parameters: SamplingParams, request: str) -> Any:
        """The one output of vLLM's for a prompt."""
        (final,) = [
            output
            async for output in self.engine.generate(
                prompt=TokensPrompt(prompt_token_ids=ids), sampling_params=parameters, request_id=request
            )
        ]
        return final.outputs[0]

    def _sample(self, index: int, completion: Any, cut_off: bool) -> Sample:
        log_probs, flat = None, completion.logprobs
        if flat is not None:
            steps = zip(completion.token_ids, flat.start_indices, flat.end_indices, strict=True)
            log_probs = [flat.logprobs[flat.token_ids.index(token, start, end)] for token, start, end in steps]
        if completion.finish_reason not in ("stop", "length") and not cut_off:
            raise RuntimeError(
                f"the engine ended a reply with {completion.finish_reason!r}, not at its end or the limit of tokens: "
                "it was put to sleep or failed while it sampled. What it last said is in the stage's log."
            )
        return Sample(
            index, list(completion.token_ids), log_probs, completion.finish_reason == "stop", self.global_steps
        )


async def stream(
    servers: Sequence[Any],
    prompts_Q: Sequence[list[int]],
    sampling: dict[str, Any],
    seeds_Q: Sequence[int] | None = None,
    wait_for: float = 1.0,
) -> AsyncIterator[list[Sample]]:
    """Sample once per prompt over all `servers` (Ray handles) and yield what has ended. Prompts are dealt out in turn;
    more than the servers may be given are a portion at a time, the next to whoever comes to the end of one.

    When this share has ended, and all that waited has been given out, the others are cut off where they are.
    """
    arrived: asyncio.Queue[list[Sample] | BaseException | None] = asyncio.Queue(maxsize=64)
    parts = dealt(len(prompts_Q), servers)
    calls: dict[str, Any] = {}  # under way, and whose
    enough, ended = math.ceil(wait_for * len(prompts_Q)), 0

    async def drain(server: Any, waiting: deque[range]) -> None:
        try:
            while waiting:
                mine, call = waiting.popleft(), uuid4().hex
                calls[call] = server
                batches = server.stream.options(num_returns="streaming").remote(
                    [prompts_Q[i] for i in mine], [seeds_Q[i] for i in mine] if seeds_Q else None, sampling, call
                )
                async for reference in batches:
                    await arrived.put([replace(sample, prompt=mine[sample.prompt]) for sample in await reference])
                del calls[call]
            await arrived.put(None)
        except asyncio.CancelledError:  # nobody reads any more
            raise
        except BaseException as error:  # handed to the reader, who raises it
            await arrived.put(error)

    tasks = [asyncio.create_task(drain(server, waiting)) for server, waiting in parts]
    running = len(tasks)
    try:
        while running:
            item = await arrived.get()
            if item is None:
                running -= 1
            elif isinstance(item, BaseException):
                raise item
            else:
                ended += len(item)
                if enough <= ended < len(prompts_Q) and not any(waiting for _, waiting in parts):
                    await asyncio.gather(*[server.cut_off.remote(call) for call, server in calls.items()])
                    enough = len(prompts_Q)
                yield item
    finally:
        for task in tasks:
            task.cancel()


def dealt(count: int, servers: Sequence[Any]) -> list[tuple[Any, deque[range]]]:
    """Servers, and which of so many requests wait for them. Of more than `AT_ONCE` a server, portions wait for whoever
    takes them, and each server is there twice: it has work while a portion comes to its end.
    """
    if count <= len(servers) * AT_ONCE:
        return [(server, deque([range(i, count, len(servers))])) for i, server in enumerate(servers[:count])]
    size = AT_ONCE // 2
    shared = deque(range(first, min(first + size, count)) for first in range(0, count, size))
    return [(server, shared) for server in [*servers, *servers]]
