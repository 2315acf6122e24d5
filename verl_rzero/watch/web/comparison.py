"""One page of several runs: their accuracy side by side, what their questions were like, which settings differ."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from verl_rzero.base.files import read_json, write_atomically
from verl_rzero.data import run_dir
from verl_rzero.methods.readings import kept_share
from verl_rzero.settings import schema
from verl_rzero.watch.reported import benchmarks, distinct_share, marked, method_of, points_of_time
from verl_rzero.watch.web import own_majority, story, svg, tables
from verl_rzero.watch.web.charts import whole_percent
from verl_rzero.watch.web.figures import figure, section, table
from verl_rzero.watch.web.interval_bars import difference, greedy_interval
from verl_rzero.watch.web.page import PAGE, Part, document, link
from verl_rzero.watch.web.step_charts import number_of
from verl_rzero.watch.web.svg import Point, Series
from verl_rzero.watch.web.text import duration, escaped, listed, percent, signed

_TONES = ("c1", "c2", "c3", "c4", "c5", "c6")

Reports = dict[str, dict[str, Any]]
"""{name of a run: its report}, in the order asked."""


def write(runs: Sequence[Path], to: Path) -> Path:
    """Compare the runs by their report.json; returns the page's path."""
    directories = dict(zip(names(runs), runs, strict=True))
    reports = {name: read_json(run / run_dir.REPORT) for name, run in directories.items()}
    write_atomically(to, html_of_runs(reports, directories, to))
    return to


def names(runs: Sequence[Path]) -> list[str]:
    """What to call each run: the end of its path, as long as it takes to tell the runs apart."""
    parts = [run.resolve().parts for run in runs]
    length = 1
    while length < max(map(len, parts)) and len({part[-length:] for part in parts}) < len(parts):
        length += 1
    return [str(Path(*part[-length:])) for part in parts]


def html_of_runs(reports: Reports, directories: dict[str, Path], to: Path) -> str:
    """The whole page as HTML; `to` is where it will lie, for its links to the runs' own pages."""
    accuracy = [drawn for name in _all_benchmarks(reports) for drawn in _accuracy(reports, name)]
    sections = [
        ("accuracy", "Accuracy", "Pale bars are 95\u202f% intervals.", accuracy),
        ("labels", "Questions and labels", "", _questions(reports)),
        ("training", "Training", "Means over each GRPO step; all rounds in a row.", _training(reports)),
    ]
    parts = [Part(anchor, title, section(anchor, title, lead, figures)) for anchor, title, lead, figures in sections]
    parts.append(Part("settings", "Settings that differ", _settings(reports)))
    return document(
        title=f"{len(reports)} runs compared",
        kicker=listed(list(dict.fromkeys(method_of(report).title for report in reports.values()))),
        headline=f"{len(reports)} runs compared",
        lead=[
            *(text for name in _all_benchmarks(reports) for text in _verdict(reports, name)),
            *_trained_on(reports),
            *_unfinished(reports),
        ],
        after_lead="",
        hero="",
        below=_links(directories, to) + _overview(reports),
        parts=[part for part in parts if part.html],
    )


def _all_benchmarks(reports: Reports) -> list[str]:
    return list(dict.fromkeys(name for report in reports.values() for name in benchmarks(report)))


def _scores(report: dict[str, Any], benchmark: str) -> list[tuple[float, dict[str, Any]]]:
    """(round, score) where there is one; 0 is the base model."""
    parts = enumerate(part["evaluation"] or {} for _, part in points_of_time(report))
    return [(float(number), scores[benchmark]) for number, scores in parts if benchmark in scores]


def _verdict(reports: Reports, benchmark: str) -> list[str]:
    """Which run ended highest, and whether that is more than chance."""
    last = {name: scores[-1][1] for name, report in reports.items() if (scores := _scores(report, benchmark))}
    if len(last) < 2:
        return []
    first, second, *_ = sorted(last, key=lambda name: -last[name]["greedy"])
    best, next_best = last[first], last[second]
    low, high = difference(next_best["greedy"], greedy_interval(next_best), best["greedy"], greedy_interval(best))
    gap = f"{signed(best['greedy'] - next_best['greedy'])} points, 95\u202f% interval {signed(low)} to {signed(high)}"
    chance = "" if low > 0 else " Chance alone can do that."
    return [
        f"On {escaped(benchmark)}, <b>{escaped(first)}</b> ended highest, at {percent(best['greedy'])} greedy, before "
        f"<b>{escaped(second)}</b> at {percent(next_best['greedy'])} ({gap}).{chance}"
    ]


def _trained_on(reports: Reports) -> list[str]:
    """Which runs learned from given questions: on these their accuracy is not held out."""
    return [
        f"<b>{escaped(name)}</b> was trained on the questions of {escaped(given)}."
        for name, report in reports.items()
        if (given := own_majority.trained_on(report)) is not None
    ]


def _done(report: dict[str, Any]) -> int:
    """Rounds that have their Solver."""
    return sum(part["solver"] is not None for part in report["rounds"])


def _unfinished(reports: Reports) -> list[str]:
    found = [escaped(name) for name, report in reports.items() if story.missing(report)]
    return [f"Not finished: {listed(found)}."] if found else []


def _accuracy(reports: Reports, benchmark: str) -> list[str]:
    longest = max(len(points_of_time(report)) for report in reports.values())
    marks = [(float(number), str(number) if number else "base") for number in range(longest)]
    drawn = []
    for title, key in (("greedy", "greedy"), ("sampled", "mean_at_k")):
        series = []
        for tone, (name, report) in zip(_tones(reports), reports.items(), strict=True):
            points = [
                Point(x, score[key], greedy_interval(score) if key == "greedy" else None)
                for x, score in _scores(report, benchmark)
                if score[key] is not None
            ]
            series.append(Series(name, tone, points))
        if not any(one.points for one in series):
            continue
        about = f"{title}, % right by round"
        drawing = svg.lines(series, marks, whole_percent, limits=(0.0, 1.0), about=about, right=96)
        drawn.append(figure(_marked(reports, benchmark), about, drawing))
    return drawn


def _marked(reports: Reports, benchmark: str) -> str:
    """As the first run marks it that does."""
    names = [marked(report, benchmark) for report in reports.values()]
    return next((name for name in names if name != benchmark), benchmark)


def _questions(reports: Reports) -> list[str]:
    wanted: list[tuple[str, str, Callable[[dict[str, Any]], float | None]]] = [
        ("Agreement", "mean share of the largest class, %", lambda part: (part["votes"] or {}).get("mean_agreement")),
        ("Kept", "% of voted questions", lambda part: kept_share(part["curation"])),
        ("Kept labels that are true", "%", lambda part: (part["curation"] or {}).get("kept_label_accuracy")),
        ("Distinct", "% of candidates", lambda part: distinct_share(part["questions"])),
    ]  # fmt: skip
    drawn = []
    for title, about, value in wanted:
        points = {
            name: [
                Point(float(part["round"]), share) for part in report["rounds"] if (share := value(part)) is not None
            ]
            for name, report in reports.items()
        }
        last = max((int(point.x) for found in points.values() for point in found), default=0)
        marks = [(float(number), f"round {number}") for number in range(1, last + 1)]
        drawn += _lines_of_runs(title, about, points, marks, whole_percent, (0.0, 1.0))
    return drawn


def _training(reports: Reports) -> list[str]:
    drawn = []
    wanted = [
        ("challenger", "reward_mean", "The Challenger\u2019s reward", ""),
        ("solver", "reward_mean", "The Solver\u2019s reward", ""),
        ("solver", "agreement_mean", "Majority", "share of the Solver\u2019s answers to a given question"),
        ("solver", "label_accuracy", "Majorities that are true", "share of the given questions"),
    ]
    for role, number, title, about in wanted:
        points = {}
        for name, report in reports.items():
            steps = [step for part in report["rounds"] for step in (part[role] or {}).get("steps") or []]
            points[name] = [Point(float(x), step[number]) for x, step in enumerate(steps, 1) if number in step]
        last = max((len(found) for found in points.values()), default=0)
        drawn += _lines_of_runs(title, about, points, [(1.0, "step 1"), (float(last), str(last))], number_of, None)
    return drawn


def _lines_of_runs(
    title: str,
    about: str,
    points: dict[str, list[Point]],
    marks: list[tuple[float, str]],
    y_format: svg.Format,
    limits: tuple[float, float] | None,
) -> list[str]:
    if not any(points.values()):
        return []
    series = [Series(name, tone, found) for tone, (name, found) in zip(_tones(points), points.items(), strict=True)]
    return [figure(title, about, svg.lines(series, marks, y_format, limits=limits, about=title, right=96))]


def _tones(runs: dict[str, Any]) -> list[str]:
    return [_TONES[number % len(_TONES)] for number in range(len(runs))]


def _links(directories: dict[str, Path], to: Path) -> str:
    """The runs' own pages, where they are there."""
    found = [
        f'<a href="{link(run / PAGE, to.parent)}">{escaped(name)}</a>'
        for name, run in directories.items()
        if (run / PAGE).is_file()
    ]
    return f"<p>Their own reports: {', '.join(found)}</p>" if found else ""


def _overview(reports: Reports) -> str:
    head, rows = ["run", "model", "seed", "rounds"], []
    measured = _all_benchmarks(reports)
    head += [f"{name} {what}" for name in measured for what in ("base", "end", "sampled, end")] + ["took"]
    for name, report in reports.items():
        settings = report["settings"]
        row = [name, settings["model"]["name"], str(settings["seed"]), f"{_done(report)} of {settings['rounds']}"]
        for benchmark in measured:
            scores = _scores(report, benchmark)
            last = scores[-1][1] if scores else {}
            first = scores[0][1].get("greedy") if scores and scores[0][0] == 0 else None
            row += [percent(first), percent(last.get("greedy")), percent(last.get("mean_at_k"))]
        row.append(duration(sum(s for _, part in points_of_time(report) for s in part["seconds"].values())))
        rows.append(row)
    return table(head, rows, "rounds")


def _settings(reports: Reports) -> str:
    """The settings in which the runs aren't alike, but for where they lie."""
    leaves = {name: schema.flat(report["settings"]) for name, report in reports.items()}
    keys = dict.fromkeys(key for flat in leaves.values() for key in flat if key != "run_dir")
    texts = {
        key: [tables.value_text(flat[key]) if key in flat else "not set" for flat in leaves.values()] for key in keys
    }
    rows = [[key, *values] for key, values in texts.items() if len(set(values)) > 1]
    content = table(["setting", *reports], rows) if rows else "<p>All settings are the same.</p>"
    return f'<section id="settings"><h2>Settings that differ</h2>{content}</section>'
