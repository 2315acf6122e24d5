"""What more than one reader takes from the content of a report.json."""

from collections.abc import Mapping
from typing import Any

from verl_rzero.methods.descriptions import METHODS
from verl_rzero.methods.kinds import Method

Report = Mapping[str, Any]
Numbers = Mapping[str, Any]
"""A stage's part of a report."""


def points_of_time(report: Report) -> list[tuple[str, Numbers]]:
    """("base", its part), ("1", round 1's part) and so on."""
    return [("base", report["base"]), *((str(part["round"]), part) for part in report["rounds"])]


def benchmarks(report: Report) -> list[str]:
    """The benchmarks that have any score, in the order of the settings."""
    found = {name for _, part in points_of_time(report) for name in part["evaluation"] or {}}
    return [name for name in report["settings"]["evaluation"]["benchmarks"] if name in found]


def method_of(report: Report) -> Method:
    """The run's method; settings of earlier versions don't name it, as there was but one."""
    return METHODS[report.get("settings", {}).get("algorithm", "rzero")]


def marked(report: Report, benchmark: str) -> str:
    """The benchmark's name; one that chose the best round, or whose questions are trained on, is no plain evidence of
    how good the model is, and is marked.
    """
    settings = report["settings"]
    marks = [
        *(["used for choosing"] if benchmark == settings["evaluation"].get("choose_by") else []),
        *(["trained on"] if benchmark == settings.get("data") else []),
    ]
    return f"{benchmark} ({', '.join(marks)})" if marks else benchmark


def replies_to_a_question(votes: Numbers) -> int:
    """m of a round's dataset, as it was voted on; the reward may have had another (`dataset_votes`)."""
    return len(votes["agreement_histogram"]) - 1


def distinct_share(questions: Numbers | None) -> float | None:
    """Of all texts of the Challenger, well-formed or not, the share of different questions; None without texts.

    A training step's `distinct_share` is the same of its rollouts.
    """
    return questions["distinct"] / questions["generated"] if questions and questions["generated"] else None
