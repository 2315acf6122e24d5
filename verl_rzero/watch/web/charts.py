"""The drawings of a run's rounds, from its report.json. A part that isn't there yet is left out."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from verl_rzero.methods.descriptions import METHODS
from verl_rzero.methods.kinds import Method
from verl_rzero.watch.web import svg
from verl_rzero.watch.web.figures import figure, key
from verl_rzero.watch.web.interval_bars import greedy_interval
from verl_rzero.watch.web.svg import Point, Series
from verl_rzero.watch.web.text import percent

REASONS = {
    "kept": ("kept", "c1"),
    "above_band": ("too easy", "warm1"),
    "below_band": ("too hard", "warm2"),
    "above_rank": ("too easy by rank", "warm1"),
    "below_rank": ("too hard by rank", "warm2"),
    "small_margin": ("small margin", "grey"),
    "duplicate": ("duplicate", "pale"),
    "length": ("length", "grey"),
    "dropped_text": ("dropped text", "grey"),
    "few_answers": ("few answers", "grey"),
    "no_answer": ("no answer", "dark"),
    "ill_posed": ("ill-posed", "dark"),
    "not_well_formed": ("no question", "pale"),
}
"""What became of a question: how the page calls it, and its colour."""


def method_of(report: dict[str, Any]) -> Method:
    """The run's method; settings of earlier versions don't name it, as there was but one."""
    return METHODS[report["settings"].get("algorithm", "rzero")]


def points_of_time(report: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """("base", its part), ("1", round 1's part) and so on."""
    return [("base", report["base"]), *((str(part["round"]), part) for part in report["rounds"])]


def benchmarks(report: dict[str, Any]) -> list[str]:
    """The benchmarks that have any score, in the order of the settings."""
    found = {name for _, part in points_of_time(report) for name in part["evaluation"] or {}}
    return [name for name in report["settings"]["evaluation"]["benchmarks"] if name in found]


def marked(report: dict[str, Any], benchmark: str) -> str:
    """The benchmark's name; one that chose the best round, or whose questions are trained on, is no plain evidence of
    how good the model is, and is marked.
    """
    settings = report["settings"]
    marks = [
        *(["used for choosing"] if benchmark == settings["evaluation"].get("choose_by") else []),
        *(["trained on"] if benchmark == settings.get("data") else []),
    ]
    return f"{benchmark} ({', '.join(marks)})" if marks else benchmark


def kept_share(curation: dict[str, Any] | None) -> float | None:
    """Of all questions that came to curation, the share that was kept; None before it, or without questions."""
    questions = curation["kept"] + sum(curation["rejected"].values()) if curation else 0
    return curation["kept"] / questions if curation and questions else None


def distinct_share(questions: dict[str, Any] | None) -> float | None:
    """Of all texts of the Challenger, the share of different questions."""
    return questions["distinct"] / questions["generated"] if questions and questions["generated"] else None


def accuracy(report: dict[str, Any]) -> list[str]:
    """Per benchmark: greedy and sampled accuracy over the rounds; and, where a judge was asked, with what it allows."""
    times = points_of_time(report)
    marks = [(float(number), label) for number, (label, _) in enumerate(times)]
    drawn = []
    for name in benchmarks(report):
        scores = [
            (float(number), label, part["evaluation"][name])
            for number, (label, part) in enumerate(times)
            if part["evaluation"] and name in part["evaluation"]
        ]
        last = scores[-1][2]
        sampled = [(x, s["mean_at_k"], s.get("mean_at_k_interval")) for x, _, s in scores]
        series = [
            Series("greedy", "c1", _points([(x, s["greedy"], greedy_interval(s)) for x, _, s in scores])),
            Series(f"mean of {last['k']} sampled", "c2", _points(sampled)),
            Series("greedy with judge", "c3", _points([(x, s.get("judge_greedy"), None) for x, _, s in scores])),
        ]
        drawing = svg.lines(series, marks, whole_percent, limits=(0.0, 1.0), about=f"Accuracy on {name} by round")
        head = ["", "greedy", "95 % interval", f"mean@{last['k']}", "95 % interval", "judged greedy"]
        rows = [
            [
                label,
                percent(score["greedy"]),
                _span(greedy_interval(score)),
                percent(score["mean_at_k"]),
                _span(score.get("mean_at_k_interval")),
                percent(score.get("judge_greedy")),
            ]
            for _, label, score in scores
        ]
        drawn.append(figure(marked(report, name), f"{last['n']} questions, % right", drawing, (head, rows)))
    return drawn


def _points(found: Sequence[tuple[float, float | None, Sequence[float] | None]]) -> list[Point]:
    """Points of (x, share, its interval); those without a share are left out."""
    points = []
    for x, share, interval in found:
        if share is not None:
            low, high = interval or (share, share)
            note = percent(share) + (f", {_span(interval)}" if interval else "")
            points.append(Point(x, share, (low, high) if interval else None, note))
    return points


def agreement(report: dict[str, Any], counts: dict[int, list[int]]) -> list[str]:
    """Per round: how many of the m answers were in the largest class; `counts` has m + 1 numbers for a round."""
    low, high = report["settings"]["band"]
    drawn = []
    for part in report["rounds"]:
        if part["votes"] is None or part["round"] not in counts:
            continue
        number, of = part["round"], counts[part["round"]]
        m = len(of) - 1
        kept = [low - 1e-9 <= n / m <= high + 1e-9 for n in range(m + 1)]
        marks = [(0, "0"), (m // 2, f"{m // 2} of {m}"), (m, f"all {m}")] if m > 1 else [(0, "0"), (1, "1")]
        drawing = svg.histogram(of, kept, marks, f"Histogram of agreement in round {number}")
        mean = part["votes"]["mean_agreement"]
        rows = [[f"{n} of {m}", str(count)] for n, count in enumerate(of)]
        drawn.append(
            figure(f"Round {number}", f"mean agreement {percent(mean, 0)}", drawing, (["agree", "questions"], rows))
        )
    return drawn


def outcomes(report: dict[str, Any]) -> list[str]:
    """What became of each round's questions."""
    rows, names = [], []
    for part in report["rounds"]:
        if not part["curation"]:
            continue
        counts = {"kept": part["curation"]["kept"], **part["curation"]["rejected"]}
        asked = part["questions"]
        counts["not_well_formed"] = asked["generated"] - asked["well_formed"] if asked else 0
        parts = [(*REASONS.get(name, (name, "grey")), float(n)) for name, n in counts.items()]
        parts.sort(key=lambda one: [label for label, _ in REASONS.values()].index(one[0]) if one[0] in _LABELS else 99)
        rows.append((f"Round {part['round']}: {sum(counts.values())} questions", parts))
        names += [(label, tone) for label, tone, n in parts if n and (label, tone) not in names]
    if not rows:
        return []
    table = (
        ["round", *(name for name, _ in names)],
        [[label.split(":")[0], *_amounts(parts, names)] for label, parts in rows],
    )
    return [
        figure("Kept and rejected", "", key(names) + svg.shares(rows, "Share of questions kept and rejected"), table)
    ]


_LABELS = {label for label, _ in REASONS.values()}


def _amounts(parts: Sequence[tuple[str, str, float]], names: Sequence[tuple[str, str]]) -> list[str]:
    found = {label: amount for label, _, amount in parts}
    return [f"{found.get(name, 0):g}" for name, _ in names]


def by_round(report: dict[str, Any], title: str, about: str, wanted: Sequence[tuple[str, str, Callable]]) -> list[str]:
    """One drawing of shares over the rounds: (name, tone, function of a round's part to a share or None)."""
    series = []
    for name, tone, value in wanted:
        found = [(part["round"], value(part)) for part in report["rounds"]]
        points = [Point(float(number), share) for number, share in found if share is not None]
        series.append(Series(name, tone, points))
    series = [one for one in series if one.points]
    if not series:
        return []
    marks = [(float(part["round"]), f"round {part['round']}") for part in report["rounds"]]
    return [figure(title, about, svg.lines(series, marks, whole_percent, limits=(0.0, 1.0), about=title))]


def labels(report: dict[str, Any]) -> list[str]:
    """How many pseudo-labels are true, where the truth is known."""
    return by_round(
        report,
        "Majority answers that are true",
        "% of questions whose truth is known",
        [
            ("of all questions", "grey", lambda part: (part["votes"] or {}).get("pseudo_label_accuracy")),
            ("of those kept", "c1", lambda part: (part["curation"] or {}).get("kept_label_accuracy")),
        ],
    )


def variety(report: dict[str, Any]) -> list[str]:
    """Distinct questions of each round's data set."""
    wanted = [("distinct", "c1", lambda part: distinct_share(part["questions"]))]
    return by_round(report, "Distinct questions in the data set", "% of a round's candidates", wanted)


def agreement_counts(run: Path, report: dict[str, Any]) -> dict[int, list[int]]:
    """{round: of m + 1 numbers the n-th counts the questions with n answers in the largest class}."""
    import numpy as np
    import pyarrow.parquet as pq

    counts = {}
    m = report["settings"]["votes"]
    for part in report["rounds"]:
        votes = run / f"round_{part['round']}/votes/votes.parquet"
        if part["votes"] is not None and votes.is_file():
            shares = pq.read_table(votes, columns=["agreement"])
            agreeing = np.rint(shares["agreement"].to_numpy() * m).astype(int)
            counts[part["round"]] = np.bincount(agreeing, minlength=m + 1).tolist()
    return counts


def whole_percent(share: float) -> str:
    return f"{100 * share:.0f}"


def _span(interval: Sequence[float] | None) -> str:
    return f"{percent(interval[0])} to {percent(interval[1])}" if interval else percent(None)
