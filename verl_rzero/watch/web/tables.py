"""What a run was made with: its settings, and how each stage came about."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from verl_rzero.base.files import read_json
from verl_rzero.data import run_dir
from verl_rzero.methods.readings import kept_share
from verl_rzero.settings import Settings, schema
from verl_rzero.watch.reported import benchmarks, distinct_share, marked, method_of, points_of_time
from verl_rzero.watch.web import own_majority, self_play
from verl_rzero.watch.web.figures import figure, table
from verl_rzero.watch.web.text import cut, duration, escaped, percent

AUDIT = "audit.json"

COLUMNS: dict[str, Mapping[str, Callable[[Mapping[str, Any]], float | None]]] = {
    "rzero": {
        "agreement": lambda part: (part.get("votes") or {}).get("mean_agreement"),
        "kept": lambda part: kept_share(part.get("curation")),
        "labels true": lambda part: (part.get("votes") or {}).get("pseudo_label_accuracy"),
        "of kept": lambda part: (part.get("curation") or {}).get("kept_label_accuracy"),
        "distinct": lambda part: distinct_share(part.get("questions")),
    },
    "ttrl": own_majority.COLUMNS,
    "absolute_zero": self_play.COLUMNS,
}
"""Of the table of rounds, by method: a column's name, and its share in a part of the report."""


def rounds_table(report: dict[str, Any]) -> str:
    """The run's numbers: the base model and each round in a row; of several benchmarks the greedy accuracy only."""
    names = benchmarks(report)
    scored = [part["evaluation"][name] for _, part in points_of_time(report) for name in names if part["evaluation"]]
    several = len(names) > 1
    head = [
        "",
        *([marked(report, name) for name in names] if several or not scored else ["greedy", f"mean@{scored[0]['k']}"]),
    ]
    columns = COLUMNS[method_of(report).name]
    head += [*columns, "took"]
    numbers = ("greedy",) if several else ("greedy", "mean_at_k")
    rows = []
    for label, part in points_of_time(report):
        scores = [(part["evaluation"] or {}).get(name, {}) for name in names]
        shares = [
            *(score.get(number) for score in scores for number in numbers),
            *(value(part) for value in columns.values()),
        ]
        name = label if label == "base" else f"round {label}"
        rows.append([name, *map(percent, shares), duration(sum(part["seconds"].values()))])
    return table(head, rows, "rounds")


def settings_table(settings: dict[str, Any]) -> str:
    """Every setting with its value and meaning, for the page's search field."""
    meanings = {each.name: each.doc for each in schema.keys(Settings)}
    rows = "".join(
        f"<tr><th scope=row><code>{escaped(name)}</code></th><td><code>{escaped(cut(value_text(value), 2_000)[0])}"
        f"</code><small>{escaped(meanings.get(name, ''))}</small></td></tr>"
        for name, value in schema.flat(settings).items()
    )
    return f'<table class="settings"><tbody>{rows}</tbody></table>'


def value_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def manifests(run: Path, report: dict[str, Any]) -> list[run_dir.Manifest]:
    """Those of all done stages, in the order of the report."""
    parts = [("base", report["base"]), *((f"round_{part['round']}", part) for part in report["rounds"])]
    return [run_dir.manifest(run / name / kind) for name, part in parts for kind in part["seconds"]]


def audited(run: Path) -> list[str]:
    """What `python -m verl_rzero.audit` found, where it was asked."""
    path = run / AUDIT
    if not path.is_file():
        return []
    from verl_rzero.evaluation.audit import rows_of_table

    content = read_json(path)
    head, *rows = rows_of_table(content)
    about = f"by the oracle {content['oracle']}; shares of the questions whose answer it knows"
    return [figure("Labels, and every Solver on every round\u2019s questions", about, table(head, rows, "audit"))]


def making(made: list[run_dir.Manifest]) -> str:
    """Each stage: when, how long, with which code."""
    rows = [
        [one.stage, one.started.replace("T", " ")[:19], duration(one.seconds), one.code_version[:12], one.settings_hash]
        for one in made
    ]
    return table(["stage", "started (UTC)", "took", "code", "settings"], rows, "making")


def versions(made: list[run_dir.Manifest]) -> str:
    """Packages with their versions; several where stages were done with different ones."""
    found: dict[str, list[str]] = {}
    for one in made:
        for name, version in {"verl_rzero": one.code_version, **one.packages}.items():
            if version not in found.setdefault(name, []):
                found[name].append(version)
    return table(["package", "version"], [[name, ", ".join(given)] for name, given in found.items()], "versions")
