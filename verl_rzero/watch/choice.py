"""Which round's Solver is the best by a held-out benchmark that is there for choosing, and when to stop looking.

A benchmark that chose the round is no longer evidence of how good it is: of many noisy scores the highest is too high.
So the benchmark that chooses (`evaluation.choose_by`) is marked in every table and never reported as the result.
"""

from collections.abc import Mapping
from posixpath import normpath
from typing import Any


def best_round(report: Mapping[str, Any]) -> dict[str, Any] | None:
    """{round, benchmark, score, mean_at_k, model}; round 0 is the base model, `model` lies below the run's directory.

    The highest greedy accuracy on `evaluation.choose_by`, among equals the highest mean@k, then the earliest round.
    None without such a benchmark, or before anything is evaluated.
    """
    benchmark = report["settings"]["evaluation"].get("choose_by")
    scores = _scores(report, benchmark) if benchmark else {}
    if not scores:
        return None
    best = max(scores, key=lambda number: (scores[number]["greedy"], scores[number]["mean_at_k"], -number))
    return {
        "round": best,
        "benchmark": benchmark,
        "score": scores[best]["greedy"],
        "mean_at_k": scores[best]["mean_at_k"],
        "model": _model(report, best),
    }


def rounds_without_improvement(report: Mapping[str, Any]) -> int:
    """How many rounds were evaluated after the best one; 0 when nothing is chosen by."""
    best = best_round(report)
    return max(_scores(report, best["benchmark"])) - best["round"] if best else 0


def _scores(report: Mapping[str, Any], benchmark: str) -> dict[int, Mapping[str, Any]]:
    """The scores of each round that is evaluated."""
    parts = {0: report["base"], **{part["round"]: part for part in report["rounds"]}}
    return {number: part["evaluation"][benchmark] for number, part in parts.items() if part["evaluation"]}


def _model(report: Mapping[str, Any], number: int) -> str:
    where, part = ("base/model", report["base"]["model"])
    if number:
        where, part = (f"round_{number}/solver", report["rounds"][number - 1]["solver"])
    inside = part["model"] == "model" or part["model"].startswith("../")
    return normpath(f"{where}/{part['model']}") if inside else str(part["model"])
