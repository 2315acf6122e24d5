"""Questions and votes of a run, sampled once more by vLLM's `LLM.generate` alone: `python -m gpu.raw RUN HERE`.

The same prompts, each reply as long as it was in the run, and an engine with the settings of the Challenger's job, with
whose engines the run went on; nothing is decoded.
Ours took from when its engine was ready to its last reply; vLLM's has answered once before.
"""

import sys
import time
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from gpu import found
from gpu.model import tokens
from verl_rzero import settings
from verl_rzero.base import progress
from verl_rzero.data import records
from verl_rzero.data.outputs import model_of
from verl_rzero.engine import asking, jobs
from verl_rzero.engine.lengths import longest
from verl_rzero.engine.on_cpu import WORKER
from verl_rzero.rules.prompts import challenger_messages, render, solver_messages
from verl_rzero.settings import SamplingOf, Settings

Replies = tuple[SamplingOf, list[tuple[list[int], int, int]]]
"""How they are sampled; of each its prompt, its length and its seed."""


def engine_of(asked: Settings, model: Path, here: Path) -> Any:
    from vllm import LLM

    config = jobs.verl_config(asked, "challenger", model=model, solver=model, train_file="none", stage_dir=here)
    rollout: Any = OmegaConf.to_container(config.actor_rollout_ref.rollout, resolve=True)
    same = ("dtype", "enforce_eager", "max_num_seqs", "max_num_batched_tokens", "enable_chunked_prefill", "seed")
    more = dict(rollout["engine_kwargs"].get("vllm") or {})
    if asked.hardware.device == "cpu":
        more |= {"worker_extension_cls": WORKER}
    return LLM(
        str(model),
        max_model_len=longest(asked),
        gpu_memory_utilization=rollout["gpu_memory_utilization"],
        enable_prefix_caching=rollout["enable_prefix_caching"],
        **{name: rollout[name] for name in same},
        **more,
    )


def replies_of(run: Path, asked: Settings, tokenizer: Any) -> dict[str, Replies]:
    """What the run has sampled, stage by stage."""
    challenger = render(tokenizer, challenger_messages(asked.prompts))
    made = records.read(run / "round_1/questions/questions.parquet", records.Question)
    votes = records.read(run / "round_1/votes/votes.parquet", records.VotedQuestion)
    return {
        "questions": (asked.sampling.questions, [(challenger, tokens(item.raw), item.seed) for item in made]),
        "votes": (
            asked.sampling.votes,
            [
                (render(tokenizer, solver_messages(asked.prompts, item.question)), tokens(raw), item.seed + j)
                for item in votes
                for j, raw in enumerate(item.raws)
            ],
        ),
    }


def seconds_alone(engine: Any, replies: Replies, seeded: bool) -> float:
    from vllm import SamplingParams

    sampling, each = replies
    prompts = [{"prompt_token_ids": prompt} for prompt, _, _ in each]
    how = [
        SamplingParams(
            **asking.parameters(sampling, length), ignore_eos=True, detokenize=False, seed=seed if seeded else None
        )
        for _, length, seed in each
    ]
    begins = time.perf_counter()
    ended = engine.generate(prompts, how, use_tqdm=False)
    seconds = time.perf_counter() - begins
    assert [len(one.outputs[0].token_ids) for one in ended] == [length for _, length, _ in each]
    return seconds


def main(run: Path, here: Path) -> None:
    asked, model = settings.read(run / "settings.yaml"), model_of(run / "base/model")
    engine = engine_of(asked, Path(model), here)
    numbers: dict[str, Any] = {}
    said, sampled = [], replies_of(run, asked, engine.get_tokenizer())
    seconds_alone(engine, (asked.sampling.votes, sampled["votes"][1][:1]), seeded=False)
    for stage, replies in sampled.items():
        position = progress.read(run / "round_1" / stage)
        assert position is not None
        count, ours = sum(length for _, length, _ in replies[1]), position.time - position.began
        numbers[stage] = {"tokens": count, "ours_s": ours}
        for name, seeded in (("vllm", False), ("vllm_with_seeds", True)):
            seconds = seconds_alone(engine, replies, seeded)
            numbers[stage] |= {f"{name}_s": seconds, f"ours_to_{name}": seconds / ours}
            found.write(here, found.Found(numbers))
        said.append(f"{stage} {count / ours:,.0f} tokens/s, {numbers[stage]['ours_to_vllm']:.2f} of vLLM's")
        found.write(here, found.Found(numbers, "; ".join(said)))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
