"""Whether a base model is fit for the loop: often wrong alone, mostly right by majority. Loads torch."""

import operator
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from statistics import mean

import torch
from transformers import PreTrainedTokenizerFast, Qwen3ForCausalLM

from verl_rzero.rules.answers import last_boxed
from verl_rzero.rules.voting import vote
from verl_rzero.tiny_world import benchmark, task
from verl_rzero.tiny_world.asking import replies

QUESTIONS = 200
VOTES = 10
ANSWER_TOKENS = 72
MAX_GREEDY = 0.75  # above it there is little left to learn
MIN_MAJORITY_GAIN = 0.2  # majority over greedy; below it the pseudo-labels have little to teach


@dataclass(frozen=True)
class Gate:
    """Shares of right answers to held-out questions: greedy, sampled at temperature 1, majority of VOTES samples."""

    greedy: float
    sampled: float
    majority: float

    @property
    def passed(self) -> bool:
        return self.greedy <= MAX_GREEDY and self.majority >= self.greedy + MIN_MAJORITY_GAIN

    def numbers(self) -> dict[str, float | bool]:
        return {**asdict(self), "passed": self.passed}

    def __str__(self) -> str:
        return (
            f"greedy {self.greedy:.2f} (at most {MAX_GREEDY}), sampled {self.sampled:.2f}, "
            f"majority of {VOTES} {self.majority:.2f} (at least greedy + {MIN_MAJORITY_GAIN})"
        )


def measure(model: Qwen3ForCausalLM, tokenizer: PreTrainedTokenizerFast, seed: int) -> Gate:
    """Asks QUESTIONS held-out questions; one standard error is at most 0.04."""
    questions = sorted(benchmark.draw(QUESTIONS, seed), key=len)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        greedy = list(_answers(model, tokenizer, questions, do_sample=False))
        sampled = list(
            _answers(model, tokenizer, questions, do_sample=True, num_return_sequences=VOTES, temperature=1.0)
        )
    truths = [task.truth(question) for question in questions]
    return Gate(
        greedy=mean(answer == truth for (answer,), truth in zip(greedy, truths, strict=True)),
        sampled=mean(answer == truth for answers, truth in zip(sampled, truths, strict=True) for answer in answers),
        majority=mean(
            vote(answers, operator.eq).label == truth for answers, truth in zip(sampled, truths, strict=True)
        ),
    )


def _answers(
    model: Qwen3ForCausalLM, tokenizer: PreTrainedTokenizerFast, questions: Sequence[str], **sampling: bool | float
) -> Iterator[list[str | None]]:
    """Per question its answers, None where a reply has none."""
    prompts = [f"{task.SOLVE}{question}{task.ANSWER}" for question in questions]
    for texts in replies(model, tokenizer, prompts, ANSWER_TOKENS, **sampling):
        yield [last_boxed(text) for text in texts]
