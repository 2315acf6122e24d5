"""What a page says of a run of Absolute Zero: its steps by kind of task, and tasks with what became of them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from verl_rzero.data import run_dir
from verl_rzero.methods.self_play import TASKS
from verl_rzero.rules.code_tasks import KINDS
from verl_rzero.watch.reported import method_of
from verl_rzero.watch.web import step_charts
from verl_rzero.watch.web.figures import section
from verl_rzero.watch.web.own_majority import last_step
from verl_rzero.watch.web.rows import batches
from verl_rzero.watch.web.text import cut, escaped, listed, percent

TASKS_OF_A_KIND = 12
"""That are shown of each kind in a round, evenly drawn from its steps."""
TEXT_CHARS = 2_000

COLUMNS = {
    "valid": last_step("well_formed_share"),
    "solved": last_step("solve_rate"),
    "worth": last_step("learnability"),
}
"""Of the table of rounds: a column's name, and its number in the last step of a round."""

_TONES = dict(zip(KINDS, ("c1", "c2", "c3"), strict=True))
_CHARTS = (
    ("right_share", "Solved by kind", "share of right solutions among those that are trained on"),
    ("solve_rate", "How often proposed tasks are solved", "by sampled solutions, mean over a step\u2019s valid tasks"),
    ("learnability", "What proposals are worth", "1 \u2212 share of right solutions, 0 where it is 0 or 1"),
    ("valid_share", "Valid proposals", "share of a step\u2019s proposals"),
    ("buffer", "Buffers", "valid tasks that are remembered"),
)


def is_self_play(report: Mapping[str, Any]) -> bool:
    return method_of(report).name == "absolute_zero"


def charts(report: dict[str, Any]) -> list[str]:
    """Numbers of each kind over the steps; nothing for other methods."""
    if not is_self_play(report):
        return []
    return [
        drawn
        for name, title, about in _CHARTS
        for drawn in step_charts.over_steps(
            report, "solver", title, about, {f"{kind}_{name}": (kind, _TONES[kind]) for kind in KINDS}
        )
    ]


def story(report: dict[str, Any]) -> str:
    """What the model proposed and solved, as HTML; nothing for other methods."""
    trained = [part for part in report["rounds"] if COLUMNS["solved"](part) is not None]
    if not is_self_play(report) or not trained:
        return ""
    numbers = listed([str(part["round"]) for part in trained])
    shares = {name: listed([percent(value(part), 0) for part in trained]) for name, value in COLUMNS.items()}
    return (
        f"In the last step of round{'s' if len(trained) > 1 else ''} {numbers}, {shares['valid']} of the model\u2019s "
        f"own proposals were valid tasks, and {shares['solved']} of its solutions to them were right, by running them."
    )


def tasks(run: Path, report: dict[str, Any]) -> str:
    """Proposed tasks of each round and kind, with who solved them and what they earned, as HTML."""
    if not is_self_play(report):
        return ""
    shown = []
    for part in report["rounds"]:
        path = run / f"round_{part['round']}" / "solver" / TASKS
        if not (run_dir.is_done(path.parent) and path.is_file()):
            continue
        rows = [row for batch in batches(path, _COLUMNS) for row in batch]
        for kind in KINDS:
            of_kind = [row for row in rows if row["kind"] == kind]
            chosen = of_kind[:: max(1, len(of_kind) // TASKS_OF_A_KIND)][:TASKS_OF_A_KIND]
            if chosen:
                shown.append(f"<h3>Round {part['round']}, {kind}: {len(chosen)} of {len(of_kind)}</h3>{_list(chosen)}")
    lead = "What the model proposed to itself. The share is that of right solutions among those sampled."
    return section("tasks", "Tasks", lead, shown) if shown else ""


_COLUMNS = ["step", "kind", "program", "inputs", "outputs", "message", "valid", "reason", "solved", "reward", "raw"]


def _list(rows: Sequence[Mapping[str, Any]]) -> str:
    return "".join(_task(row) for row in rows)


def _task(row: Mapping[str, Any]) -> str:
    became = f"solved {percent(row['solved'], 0)}" if row["valid"] else f"not valid: {row['reason']}"
    head = f"step {row['step']}, {became}, earned {row['reward']:.2f}"
    if not row["valid"]:
        return f"<details><summary>{escaped(head)}</summary><pre>{_text(row['raw'])}</pre></details>"
    pairs = "\n".join(f"f({given}) = {made}" for given, made in zip(row["inputs"], row["outputs"], strict=True))
    message = f"<p>{_text(row['message'])}</p>" if row["message"] else ""
    return (
        f"<details><summary>{escaped(head)}</summary><pre>{_text(row['program'])}</pre>"
        f"<pre>{_text(pairs)}</pre>{message}</details>"
    )


def _text(text: str) -> str:
    return escaped(cut(text, TEXT_CHARS)[0])
