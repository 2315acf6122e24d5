"""report.json and the table at the end: what the stages found, read again from their directories each time.

`python -m verl_rzero.report <run> [<run> ...]` makes the reports of runs anew (verl_rzero/watch/web).
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from verl_rzero.base.files import write_json
from verl_rzero.base.tables import aligned
from verl_rzero.data import run_dir
from verl_rzero.methods.descriptions import METHODS
from verl_rzero.methods.policies import ORDER
from verl_rzero.methods.readings import kept_share
from verl_rzero.settings import Settings, as_dict
from verl_rzero.watch import choice, monitors
from verl_rzero.watch.reported import marked, method_of

Part = dict[str, Any]
"""One round of a report."""

ALARMS = "alarms.json"
_ROUND = ORDER


def write(run: Path, settings: Settings) -> dict[str, Any]:
    """Make <run>/report.json and alarms.json anew from what is done; returns its content."""
    content = build(run, settings)
    write_json(run / run_dir.REPORT, content)
    write_json(run / ALARMS, content["alarms"])
    return content


def build(run: Path, settings: Settings) -> dict[str, Any]:
    """The report. What is not done yet is null; `seconds` has the wall time of each stage that is done."""
    of_base = ("model", "evaluation", *(("seeds",) if METHODS[settings.algorithm].has("seeds") else ()))
    content: dict[str, Any] = {
        "settings": as_dict(settings),
        "base": {
            **{kind: run_dir.result(run / "base" / kind) for kind in of_base},
            "seconds": _seconds(run / "base", of_base),
        },
        "rounds": [
            _round(run, number) for number in range(1, settings.rounds + 1) if (run / f"round_{number}").is_dir()
        ],
    }
    return content | {
        "best_round": choice.best_round(content),
        "alarms": monitors.raised(content, settings.monitors),
    }


def _round(run: Path, number: int) -> dict[str, Any]:
    here = run / f"round_{number}"
    numbers = {kind: run_dir.result(here / kind) for kind in _ROUND}
    return {"round": number, **numbers, "seconds": _seconds(here, _ROUND)}


def _seconds(here: Path, kinds: tuple[str, ...]) -> dict[str, float]:
    return {kind: run_dir.manifest(here / kind).seconds for kind in kinds if run_dir.is_done(here / kind)}


def table(report: dict[str, Any]) -> str:
    """The report as a table for the terminal: the base model and each round in a row, "-" for what isn't known.

    Accuracies, agreement and shares are out of 1; "label accuracy" is that of all majority answers, then of the kept;
    TTRL's and Absolute Zero's numbers are of a round's last step.
    """
    benchmarks = list(report["settings"]["evaluation"]["benchmarks"])
    prefix = {name: f"{marked(report, name)} " if len(benchmarks) > 1 else "" for name in benchmarks}
    scores = [f"{prefix[name]}{score}" for name in benchmarks for score in ("greedy", f"mean@{_k(report, name)}")]
    columns = _COLUMNS[method_of(report).name]
    rows = [["", *scores, *columns, "seconds"]]
    rows.append(
        ["base", *_scores(report["base"]["evaluation"], benchmarks), *["-"] * len(columns), _total(report["base"])]
    )
    for row in report["rounds"]:
        numbers = [_number(value(row)) for value in columns.values()]
        rows.append([f"round {row['round']}", *_scores(row["evaluation"], benchmarks), *numbers, _total(row)])
    return aligned(rows)


def _of(kind: str, key: str) -> Callable[[Part], float | None]:
    """A number of a round's stage."""
    return lambda part: (part[kind] or {}).get(key)


def _of_last_step(key: str) -> Callable[[Part], float | None]:
    """A number of the last step of a round's Solver."""
    return lambda part: (((part["solver"] or {}).get("steps") or [{}])[-1]).get(key)


def _k(report: dict[str, Any], name: str) -> int:
    """Sampled answers behind a benchmark's mean@k."""
    base = (report["base"]["evaluation"] or {}).get(name, {})
    return int(base.get("k", report["settings"]["evaluation"]["k"]))


def _scores(evaluation: dict[str, Any] | None, benchmarks: list[str]) -> list[str]:
    results = [(evaluation or {}).get(name, {}) for name in benchmarks]
    return [_number(result.get(score)) for result in results for score in ("greedy", "mean_at_k")]


_COLUMNS: dict[str, dict[str, Callable[[Part], float | None]]] = {
    "rzero": {
        "agreement": _of("votes", "mean_agreement"),
        "label accuracy": _of("votes", "pseudo_label_accuracy"),
        "of kept": _of("curation", "kept_label_accuracy"),
        "kept share": lambda part: kept_share(part["curation"] or {}),
    },
    "ttrl": {
        "majority share": _of_last_step("agreement_mean"),
        "label accuracy": _of_last_step("label_accuracy"),
        "reward accuracy": _of_last_step("reward_accuracy"),
    },
    "absolute_zero": {
        "valid": _of_last_step("well_formed_share"),
        "solved": _of_last_step("solve_rate"),
        "learnability": _of_last_step("learnability"),
    },
}
"""What a method's table tells of a round beside its scores."""


def _total(part: dict[str, Any]) -> str:
    return f"{sum(part['seconds'].values()):.0f}" if part["seconds"] else "-"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
