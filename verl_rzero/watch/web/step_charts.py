"""The drawings of what goes on within the rounds: numbers over GRPO steps, and where the time went."""

from typing import Any

from verl_rzero.watch.reported import points_of_time
from verl_rzero.watch.web import svg
from verl_rzero.watch.web.figures import Table, figure
from verl_rzero.watch.web.svg import Point, Series
from verl_rzero.watch.web.text import duration, part_of

STAGES = {
    "model": "making the base model",
    "seeds": "collecting the first tasks",
    "challenger": "training the Challenger",
    "questions": "asking questions",
    "votes": "voting",
    "curation": "curation",
    "solver": "training the Solver",
    "evaluation": "evaluation",
}


def over_steps(
    report: dict[str, Any], role: str, title: str, about: str, names: dict[str, tuple[str, str]]
) -> list[str]:
    """Numbers of a role's GRPO steps over all rounds: `names` is {number of a step: (name, tone)}."""
    series: dict[str, list[Point]] = {name: [] for name in names}
    marks, dividers, x = [], [], 0
    for part in report["rounds"]:
        steps = (part[role] or {}).get("steps") or []
        if not steps:
            continue
        marks.append((x + (len(steps) + 1) / 2, f"round {part['round']}"))
        for step in steps:
            x += 1
            for name in names:
                if step.get(name) is not None:
                    note = f"round {part['round']}, step {step['step']}: {number_of(step[name])}"
                    series[name].append(Point(float(x), step[name], None, note))
        dividers.append(x + 0.5)
    drawn = [Series(*names[name], points) for name, points in series.items() if points]
    if not drawn:
        return []
    return [figure(title, about, svg.lines(drawn, marks, number_of, dividers=dividers[:-1], about=title))]


def time_spent(report: dict[str, Any]) -> list[str]:
    """Wall time by kind of stage, over all rounds, and by part of a GRPO step."""
    parts = points_of_time(report)
    spent = {kind: [part["seconds"].get(kind, 0.0) for _, part in parts] for kind in STAGES}
    steps: dict[str, float] = {}
    for part in report["rounds"]:
        for step in [*((part["challenger"] or {}).get("steps") or []), *((part["solver"] or {}).get("steps") or [])]:
            for name, value in step.items():
                if name.startswith("seconds_"):
                    steps[name] = steps.get(name, 0.0) + (value or 0.0)
    head = ["", *(label if label == "base" else f"round {label}" for label, _ in parts)]
    rows = [[STAGES[kind], *(duration(s) if s else "" for s in each)] for kind, each in spent.items() if any(each)]
    stages = {STAGES[kind]: sum(each) for kind, each in spent.items()}
    within = {name.removeprefix("seconds_").replace("_", " "): seconds for name, seconds in steps.items()}
    return [*_spent("By stage", stages, (head, rows)), *_spent("Within GRPO steps", within, None)]


def _spent(title: str, seconds: dict[str, float], numbers: Table | None) -> list[str]:
    """The longest first; nothing where no time was spent."""
    total = sum(seconds.values())
    longest = sorted(((s, name) for name, s in seconds.items() if s), reverse=True)
    rows = [(name, s, f"{duration(s)}, {part_of(s, total)}") for s, name in longest]
    return [figure(title, f"{duration(total)} in all", svg.bars(rows, title), numbers)] if rows else []


def number_of(value: float) -> str:
    """Three significant digits, without an exponent where that is readable."""
    if value == 0 or 0.001 <= abs(value) < 10_000:
        return f"{value:.3g}".replace("-", "\u2212")
    return f"{value:.1e}"
