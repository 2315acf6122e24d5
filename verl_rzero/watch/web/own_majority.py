"""What a page says of a Solver that learns from the majority of its own answers (TTRL), from the run's report.json."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from verl_rzero.watch.web.text import escaped, listed, percent


def last_step(name: str) -> Callable[[Mapping[str, Any]], float | None]:
    """Of a round's part of the report that number in the Solver's last step; None where it isn't there."""

    def value(part: Mapping[str, Any]) -> float | None:
        steps = (part.get("solver") or {}).get("steps")
        return steps[-1].get(name) if steps else None

    return value


COLUMNS = {
    "majority share": last_step("agreement_mean"),
    "labels true": last_step("label_accuracy"),
    "rewards true": last_step("reward_accuracy"),
}
"""Of the table of rounds: a column's name, and its share in a round's part of the report."""


def trained_on(report: dict[str, Any]) -> str | None:
    """What the given questions are called: a benchmark, or their file; None for a run that asks its own."""
    data: str | None = report["settings"].get("data")
    if data is None or data in report["settings"]["evaluation"]["benchmarks"]:
        return data
    return Path(data).name


def measured_on(report: dict[str, Any]) -> str:
    """What the accuracies are no evidence of, as HTML; nothing for a run that asks its own questions."""
    name = trained_on(report)
    if name is None:
        return ""
    known = "Questions with known answers, which are only read to measure."
    if name in report["settings"]["evaluation"]["benchmarks"]:
        return f"{known} Those of {escaped(name)} are the ones trained on, and not held out."
    return f"{known} Where one is also among those of {escaped(name)}, it is trained on, and not held out."


def story(report: dict[str, Any]) -> str:
    """On what the Solver was trained and how good its labels were, as HTML; nothing for a run that asks its own."""
    name = trained_on(report)
    if name is None:
        return ""
    votes = report["settings"]["ttrl"]["votes"]
    text = (
        f"The Solver was trained on the questions of {escaped(name)}, without their answers: the most frequent of its "
        f"own {votes} answers to a question counted as right."
    )
    trained = [part for part in report["rounds"] if COLUMNS["majority share"](part) is not None]
    if not trained:
        return text
    shares = {name: [value(part) for part in trained] for name, value in COLUMNS.items()}
    numbers = listed([str(part["round"]) for part in trained])
    text += f" In the last step of round{'s' if len(trained) > 1 else ''} {numbers}, "
    text += f"{_listed(shares['majority share'])} of the answers were the majority\u2019s"
    if None in shares["labels true"]:
        return f"{text}."
    text += f"; the majority was true for {_listed(shares['labels true'])} of the questions, and "
    return f"{text}{_listed(shares['rewards true'])} of the rewards were those that the true answer would give."


def _listed(shares: list[float | None]) -> str:
    return listed([percent(share, 0) for share in shares])
