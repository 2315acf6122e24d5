"""The scores of one benchmark, made of its graded replies."""

from collections.abc import Callable, Sequence
from typing import Any

from verl_rzero.data.records import Answered
from verl_rzero.evaluation.intervals import clustered, wilson
from verl_rzero.rules.voting import vote, vote_by_text

Same = Callable[[str, str], bool]


def score(rows: Sequence[Answered], same: Same | None) -> dict[str, Any]:
    """The numbers of one benchmark.

    `greedy` and `mean_at_k` are accuracies by the rules, with 95 % intervals; `pass_at_k` is the share of questions to
    which one of the k sampled answers is right, `maj_at_k` that to which their majority is (equal answers by `same`,
    without it those of the same text; nobody's majority is wrong). `answered_share` and `cut_off_share` are over all
    replies. Where a judge was asked there are also the same accuracies with the answers it calls right,
    null as long as it failed on any of them, and as `_bounds` with all its failures taken as wrong, and as right.
    """
    n, k = len(rows), len(rows[0].replies) - 1
    greedy = sum(row.right[0] for row in rows) / n
    shares = [sum(row.right[1:]) / k for row in rows] if k else []
    total = n * (1 + k)
    return {
        "greedy": greedy,
        "greedy_interval": list(wilson(greedy, n)),
        "mean_at_k": sum(shares) / n if k else None,
        "mean_at_k_interval": list(clustered(shares, k)) if k else None,
        "pass_at_k": sum(any(row.right[1:]) for row in rows) / n if k else None,
        "maj_at_k": sum(_majority_is_right(row, same) for row in rows) / n if k else None,
        "k": k,
        "n": n,
        "answered_share": sum(given is not None for row in rows for given in row.answers) / total,
        "cut_off_share": sum(not ended for row in rows for ended in row.finished) / total,
        **_judge_scores(rows, n, k),
    }


def _majority_is_right(row: Answered, same: Same | None) -> bool:
    answers = row.answers[1:]
    voted = vote_by_text(answers) if same is None else vote(answers, same)
    return voted.label is not None and row.right[1 + answers.index(voted.label)]


def _judge_scores(rows: Sequence[Answered], n: int, k: int) -> dict[str, Any]:
    said = [word for row in rows for word in row.judged if word is not None]
    if not said:
        return {}
    found: dict[str, Any] = {"judge_asked": len(said), "judge_failures": said.count("failed")}
    parts = {"judge_greedy": slice(0, 1)} | ({"judge_mean_at_k": slice(1, None)} if k else {})
    for name, part in parts.items():
        fine = sum(right or word == "right" for row in rows for right, word in _pairs(row, part))
        failed = sum(word == "failed" for row in rows for _, word in _pairs(row, part))
        total = n * (1 if name == "judge_greedy" else k)
        found[name] = None if failed else fine / total
        found[f"{name}_bounds"] = [fine / total, (fine + failed) / total]
    return found


def _pairs(row: Answered, part: slice) -> list[tuple[bool, str | None]]:
    return list(zip(row.right[part], row.judged[part], strict=True))
