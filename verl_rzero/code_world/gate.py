"""Whether a base model is fit for self-play: some of its solutions are right, most proposals valid. Loads torch."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from statistics import mean

import torch
from transformers import PreTrainedTokenizerFast, Qwen3ForCausalLM

from verl_rzero.code_world import benchmark, corpus, grammar
from verl_rzero.code_world.grammar import LEVELS
from verl_rzero.code_world.judging import is_right, is_valid
from verl_rzero.code_world.prompts import REFERENCES, proposing, solving
from verl_rzero.rules.code_tasks import KINDS, Kind
from verl_rzero.tiny_world.asking import replies
from verl_rzero.tiny_world.task import ANSWER

QUESTIONS = 200  # of each kind
SAMPLES = 8
PROPOSALS = 200  # of each kind
REPLY_TOKENS = 60
MIN_SAMPLED, MAX_SAMPLED = 0.1, 0.7  # outside them there is little to learn from, or little left to learn
MIN_VALID = 0.8
AT_RANDOM = {"do_sample": True, "temperature": 1.0, "top_k": 0}


@dataclass(frozen=True)
class Gate:
    """By kind: shares of held-out tasks solved, greedily and sampled at temperature 1, and of valid proposals."""

    greedy: dict[Kind, float]
    sampled: dict[Kind, float]
    valid: dict[Kind, float]

    @property
    def passed(self) -> bool:
        rooms = all(MIN_SAMPLED <= share <= MAX_SAMPLED for share in self.sampled.values())
        return rooms and all(share >= MIN_VALID for share in self.valid.values())

    def numbers(self) -> dict[str, float | bool]:
        """By names as `deduction_greedy`."""
        shares = {"greedy": self.greedy, "sampled": self.sampled, "valid": self.valid}
        named = {f"{kind}_{name}": share for name, found in shares.items() for kind, share in found.items()}
        return {**named, "passed": self.passed}

    def __str__(self) -> str:
        found = ", ".join(
            f"{kind} sampled {self.sampled[kind]:.2f}, proposed and valid {self.valid[kind]:.2f}"
            for kind in self.sampled
        )
        return f"{found} (sampled {MIN_SAMPLED} to {MAX_SAMPLED}, valid at least {MIN_VALID})"


def measure(model: Qwen3ForCausalLM, tokenizer: PreTrainedTokenizerFast, seed: int) -> Gate:
    """Asks QUESTIONS held-out tasks and PROPOSALS proposals of each kind; one standard error is at most 0.04."""
    greedy, sampled, valid = {}, {}, {}
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for kind in KINDS:
            greedy[kind] = mean(solved(model, tokenizer, kind, seed, do_sample=False).values())
            sampled[kind] = mean(
                solved(model, tokenizer, kind, seed, **AT_RANDOM, num_return_sequences=SAMPLES).values()
            )
            valid[kind] = mean(proposed(model, tokenizer, kind, seed))
    return Gate(greedy, sampled, valid)


def solved(
    model: Qwen3ForCausalLM, tokenizer: PreTrainedTokenizerFast, kind: Kind, seed: int, **sampling: bool | float
) -> dict[int, float]:
    """Level -> the share of right replies to the benchmark's tasks of that level."""
    tasks = sorted(benchmark.draw(kind, QUESTIONS, seed), key=benchmark.level)
    prompts = [solving(task) + ANSWER for task in tasks]
    found: dict[int, list[bool]] = defaultdict(list)
    for task, several in zip(tasks, replies(model, tokenizer, prompts, REPLY_TOKENS, **sampling), strict=True):
        found[benchmark.level(task)] += [is_right(task, reply) for reply in several]
    return {level: mean(right) for level, right in sorted(found.items())}


def proposed(model: Qwen3ForCausalLM, tokenizer: PreTrainedTokenizerFast, kind: Kind, seed: int) -> list[bool]:
    """Whether each of PROPOSALS sampled proposals is valid; 0 to REFERENCES earlier tasks are shown equally often."""
    rng = Random(f"proposals {kind} {seed}")
    given = ["" for _ in range(PROPOSALS)]
    if kind == "induction":
        given = [grammar.text(grammar.draw_program(rng.choice(LEVELS), rng)) for _ in given]
        prompts = [proposing(kind, program=program) + ANSWER for program in given]
    else:
        shown = [number * (REFERENCES + 1) // PROPOSALS for number in range(PROPOSALS)]
        prompts = [proposing(kind, corpus.earlier(kind, count, rng)) + ANSWER for count in shown]
    texts = _sampled(model, tokenizer, prompts)
    return [is_valid(kind, reply, program) for reply, program in zip(texts, given, strict=True)]


def _sampled(model: Qwen3ForCausalLM, tokenizer: PreTrainedTokenizerFast, prompts: Sequence[str]) -> list[str]:
    found = replies(model, tokenizer, prompts, REPLY_TOKENS, **AT_RANDOM)
    return [reply for (reply,) in found]
