"""How different the questions of a round are from each other."""

from collections.abc import Sequence
from typing import Any

from verl_rzero.rules.repetition import math_tokens

FIRST = 256
"""distinct-2 falls with the number of texts, so it is always taken over the same number of them."""


def numbers(questions: Sequence[str]) -> dict[str, Any]:
    """{distinct: different questions, distinct_2, tokens_mean: tokens of a question}; the last two null without any."""
    tokens = [math_tokens(question) for question in questions]
    return {
        "distinct": len(set(questions)),
        "distinct_2": distinct_2(tokens[:FIRST]),
        "tokens_mean": sum(map(len, tokens)) / len(tokens) if tokens else None,
    }


def distinct_2(tokens: Sequence[Sequence[str]]) -> float | None:
    """Distinct pairs of neighbouring tokens / all such pairs (Li et al. 2016, arXiv 1510.03055); None without pairs."""
    pairs = [pair for text in tokens for pair in zip(text, text[1:], strict=False)]
    return len(set(pairs)) / len(pairs) if pairs else None
