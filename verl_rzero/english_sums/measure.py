"""What a model can do in this world, and in which form it says it. Loads torch."""

from collections import Counter
from collections.abc import Callable, Sequence
from statistics import mean
from typing import Any

import torch

from verl_rzero.english_sums import benchmark, grammar
from verl_rzero.english_sums.replies import Reply, replies
from verl_rzero.rules.answers import last_boxed, question_block
from verl_rzero.rules.prompts import Messages, render

TEMPERATURE = 0.8  # of sampled answers
ANSWER_TOKENS, QUESTION_TOKENS = 24, 48

Asked = Callable[[str], Messages]
"""A question -> what the Solver is given."""


def solver(model: Any, tokenizer: Any, asked: Asked, n: int, k: int, seed: int) -> dict[str, dict[str, float]]:
    """Of each kind, for n held-out questions: the share of right greedy answers and of k sampled ones, and of boxes.

    `all` is the mean of the kinds.
    """
    torch.manual_seed(seed)
    questions = [question for kind in grammar.KINDS for question in benchmark.draw(kind, n, seed)]
    prompts = [render(tokenizer, asked(question)) for question in questions]
    greedy = replies(model, tokenizer, prompts, ANSWER_TOKENS, temperature=0)
    sampled = replies(model, tokenizer, [p for p in prompts for _ in range(k)], ANSWER_TOKENS, TEMPERATURE)
    numbers = {}
    for number, kind in enumerate(grammar.KINDS):
        here = slice(number * n, (number + 1) * n)
        there = slice(number * n * k, (number + 1) * n * k)
        of_sampled = [question for question in questions[here] for _ in range(k)]
        numbers[kind] = {
            "greedy": mean(map(_right, questions[here], greedy[here])),
            "sampled": mean(map(_right, of_sampled, sampled[there])),
            "boxed": mean(last_boxed(reply.text) is not None for reply in sampled[there]),
        }
    numbers["all"] = {name: mean(of[name] for of in numbers.values()) for name in ("greedy", "sampled", "boxed")}
    return numbers


def _right(question: str, reply: Reply) -> bool:
    return last_boxed(reply.text) == grammar.truth(question)


def challenger(model: Any, tokenizer: Any, asked: Messages, n: int, seed: int) -> dict[str, Any]:
    """n texts sampled at temperature 1: shares with a question block and with a truth, kinds, distinct questions."""
    torch.manual_seed(seed)
    prompt = render(tokenizer, asked)
    return of_texts([reply.text for reply in replies(model, tokenizer, [prompt] * n, QUESTION_TOKENS, temperature=1)])


def of_texts(texts: Sequence[str]) -> dict[str, Any]:
    """The shares are of all texts, but `distinct`, which is of the questions."""
    questions = [question for text in texts if (question := question_block(text)) is not None]
    kinds = Counter(kind for question in questions if (kind := grammar.kind_of(question)) is not None)
    return {
        "well_formed": len(questions) / len(texts),
        "with_truth": kinds.total() / len(texts),
        "distinct": len({*questions}) / len(questions) if questions else None,
        "kinds": {kind: kinds[kind] for kind in (*grammar.KINDS, grammar.OTHER)},
    }
