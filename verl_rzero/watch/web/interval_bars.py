"""95 % intervals of shares."""

import math

from verl_rzero.evaluation.intervals import wilson


def difference(
    before: float, interval_before: tuple[float, float], after: float, interval_after: tuple[float, float]
) -> tuple[float, float]:
    """Interval of after - before from the intervals of both (Newcombe, Statistics in Medicine 17, 1998, method 10).

    Takes the two as independent. Both models answer the same questions, so that the true interval is narrower.
    """
    (low_1, high_1), (low_2, high_2) = interval_before, interval_after
    middle = after - before
    return (
        middle - math.hypot(after - low_2, high_1 - before),
        middle + math.hypot(high_2 - after, before - low_1),
    )


def greedy_interval(score: dict) -> tuple[float, float]:
    """The greedy accuracy's interval of one benchmark: the evaluation's own where it has one, else Wilson's."""
    given = score.get("greedy_interval")
    return (given[0], given[1]) if given else wilson(score["greedy"], score["n"])
