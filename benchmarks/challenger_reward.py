"""How fast a reward worker turns the frozen Solver's replies into agreements: what a Challenger's step waits for.

    python benchmarks/challenger_reward.py [questions=2048] [votes=10] [chars=1500]

A real `ChallengerRewardManager` asks a server that has its replies ready (made-up answers of benchmarks/voting.py, each
behind `chars` characters of text), all questions at once, as in a step; in verl there are `reward.num_workers` of them,
8 by default. Seconds are the clock's, cold: a new grader, no verdicts.
"""

import asyncio
import json
import random
import resource
import subprocess
import sys
import time

import numpy as np
import torch
import voting
from aiohttp import web
from omegaconf import OmegaConf
from tensordict import TensorDict
from verl import DataProto

from verl_rzero import settings
from verl_rzero.engine import jobs
from verl_rzero.engine.challenger_manager import ChallengerRewardManager


class Tokens:
    """Every character is a token."""

    def decode(self, ids: list[int], **_: object) -> str:
        return "".join(map(chr, ids))

    def apply_chat_template(self, messages: list[dict[str, str]], **_: object) -> list[int]:
        return [ord(c) for message in messages for c in message["content"]]


def serve(questions: int, votes: int, chars: int) -> None:
    """Print a free port and reply there for ever."""
    answers_QN, _ = voting.questions(questions, votes)
    rng, left = random.Random(0), iter(answers_QN)
    thought = "".join(rng.choices("aeinorst     ", k=2 * chars))

    async def reply(_: web.Request) -> web.Response:
        texts = []
        for answer in next(left):
            start = rng.randrange(chars)
            texts.append(thought[start : start + chars] + ("" if answer is None else rf" \boxed{{{answer}}}"))
        return web.json_response({"choices": [{"text": text, "finish_reason": "stop"} for text in texts]})

    async def work() -> None:
        app = web.Application()
        app.router.add_post("/v1/completions", reply)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        print(runner.addresses[0][1], flush=True)
        await asyncio.Event().wait()

    asyncio.run(work())


def rollout(text: str) -> DataProto:
    ids = torch.tensor([[ord(c) for c in text]])
    tensors = {"prompts": torch.zeros(1, 2, dtype=torch.long), "responses": ids}
    batch = TensorDict({**tensors, "attention_mask": torch.ones(1, 2 + len(text), dtype=torch.long)}, batch_size=1)
    return DataProto(batch=batch, non_tensor_batch={"reward_model": np.array([{}], dtype=object)})


async def rewarded(port: int, questions: int, votes: int) -> tuple[float, float]:
    """Seconds by the clock, and of this process and its grading workers."""
    asked = settings.load([f"votes={votes}", "band=[0.3,0.8]"])
    paths = {"model": "m", "solver": "s", "train_file": "t", "stage_dir": "d"}
    config = OmegaConf.create(jobs.verl_config(asked, "challenger", **paths))
    manager = ChallengerRewardManager(config, Tokens(), None, f"127.0.0.1:{port}", Tokens())
    rollouts = [rollout(f"<question>What is number {i}?</question>") for i in range(questions)]
    begin, used = time.perf_counter(), processor_seconds()
    found = await asyncio.gather(*map(manager.run_single, rollouts))
    took = time.perf_counter() - begin
    manager.grader.close()
    assert manager.session is not None
    await manager.session.close()
    assert sum(each["reward_extra_info"]["well_formed"] for each in found) == questions
    return took, processor_seconds() - used


def processor_seconds() -> float:
    of = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in of)


def main() -> None:
    words = dict(word.split("=") for word in sys.argv[1:] if "=" in word)
    questions, votes, chars = (int(words.get(*each)) for each in (("questions", 2048), ("votes", 10), ("chars", 1500)))
    if "serve" in words:
        serve(questions, votes, chars)
        return
    with subprocess.Popen([sys.executable, __file__, *sys.argv[1:], "serve=1"], stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        port = int(server.stdout.readline())
        took, used = asyncio.run(rewarded(port, questions, votes))
        server.kill()
    numbers = {"questions": questions, "answers": questions * votes, "seconds": took, "processor seconds": used}
    print(json.dumps({**numbers, "answers a second": questions * votes / took}))


if __name__ == "__main__":
    main()
