"""report.html of one run."""

import base64
import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from verl_rzero.base.files import read_json, write_atomically
from verl_rzero.data import run_dir
from verl_rzero.watch.reported import method_of
from verl_rzero.watch.web import charts, own_majority, pack, self_play, step_charts, story, tables
from verl_rzero.watch.web.charts import REASONS
from verl_rzero.watch.web.figures import section
from verl_rzero.watch.web.text import escaped

PAGE = "report.html"


@dataclass(frozen=True)
class Part:
    """A section that the navigation names."""

    anchor: str
    title: str
    html: str


def write(run: Path, reply_chars: int | None = None) -> Path:
    """Make <run>/report.html anew from <run>/report.json and the stages' files; returns its path.

    `reply_chars` is the length to which replies are cut; None for one that suits their number.
    """
    report, path = read_json(run / run_dir.REPORT), run / PAGE
    write_atomically(path, html_of_run(run, report, pack.packed_rounds(run, report, reply_chars)))
    return path


def html_of_run(run: Path, report: dict[str, Any], packed: Sequence[pack.Packed]) -> str:
    """The whole page as HTML."""
    missing = story.missing(report)
    accuracy = charts.accuracy(report)
    parts = [
        *_drawn(run, report, accuracy),
        Part("questions", "Questions", _browser(report, packed)),
        Part("tasks", "Tasks", self_play.tasks(run, report)),
        Part("settings", "Settings", _settings(run, report)),
    ]
    name, method = run.resolve().name, method_of(report).title
    return document(
        title=f"{name}: {method} on {report['settings']['model']['name']}",
        kicker=f"{method} on <b>{escaped(report['settings']['model']['name'])}</b> \u00b7 {escaped(name)}",
        headline=story.headline(report),
        lead=story.sentences(report, missing),
        after_lead=story.alarms(report),
        hero=accuracy[0] + f"<p>{_measured_on(report)}</p>" if len(accuracy) == 1 else "",
        below=tables.rounds_table(report),
        parts=[part for part in parts if part.html],
        blocks=[line for one in packed for line in one.lines],
        scripts=["temml.min.js", "texts.js", "questions.js"],
    )


def document(
    *,
    title: str,
    kicker: str,
    headline: str,
    lead: Sequence[str],
    after_lead: str,
    hero: str,
    below: str,
    parts: Sequence[Part],
    blocks: Sequence[str] = (),
    scripts: Sequence[str] = (),
) -> str:
    """A page from its pieces; all but `title` are HTML. Only the named scripts can run in it (their hashes are in its
    content security policy), and nothing can be fetched.
    """
    codes = [asset(name) for name in scripts]
    links = " ".join(f'<a href="#{part.anchor}">{escaped(part.title)}</a>' for part in parts)
    return Template(asset("page.html")).substitute(
        title=escaped(title),
        hashes=" ".join(_hash(code) for code in codes) or "'none'",
        style=asset("page.css"),
        kicker=kicker,
        headline=headline,
        lead="".join(f"<p>{text}</p>" for text in lead),
        after_lead=after_lead,
        hero=f'<div class="hero">{hero}</div>' if hero else "",
        below=below,
        links=links,
        parts="\n".join(part.html for part in parts),
        blocks="\n".join(blocks),
        scripts="\n".join(f"<script>{code}</script>" for code in codes),
    )


def asset(name: str) -> str:
    return files("verl_rzero.watch.web").joinpath("assets", name).read_text(encoding="utf-8")


def _hash(code: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()}'"


def _measured_on(report: dict[str, Any]) -> str:
    held_out = "Held-out questions with known answers, never trained on."
    return f"{own_majority.measured_on(report) or held_out} Pale bars are 95\u202f% intervals."


def _drawn(run: Path, report: dict[str, Any], accuracy: Sequence[str]) -> list[Part]:
    low, high = report["settings"]["band"]
    sections = [
        ("accuracy", "Accuracy", _measured_on(report), accuracy if len(accuracy) > 1 else []),
        ("difficulty", "How hard the questions were", "How many of the Solver\u2019s answers to a question were the "
         f"same. In colour: questions in the band from {low:g} to {high:g}, which are learned from. Figures are "
         "percentages.", charts.agreement(report)),
        ("outcomes", "What became of them", "", [*charts.outcomes(report), *charts.labels(report)]),
        ("audit", "Audit", "", tables.audited(run)),
        ("challenger", "The Challenger\u2019s training", "", _challenger(report)),
        ("solver", "The Solver\u2019s training", "", _solver(report)),
        ("time", "Where the time went", "", step_charts.time_spent(report)),
    ]  # fmt: skip
    return [Part(anchor, title, section(anchor, title, lead, figures)) for anchor, title, lead, figures in sections]


def _challenger(report: dict[str, Any]) -> list[str]:
    draw = step_charts.over_steps
    reward = {
        "reward_mean": ("reward", "c1"),
        "uncertainty_mean": ("uncertainty", "c2"),
        "repetition_mean": ("repetition penalty", "grey"),
    }
    variety = {"distinct_share": ("distinct", "c1"), "largest_cluster_share": ("largest cluster", "c2")}
    form = {"well_formed_share": ("well formed", "grey"), "agreement_mean": ("agreement", "c1")}
    return [
        *draw(report, "challenger", "Reward and its parts", "mean over a GRPO step", reward),
        *draw(report, "challenger", "Diversity", "share of a step\u2019s questions", variety),
        *charts.variety(report),
        *draw(report, "challenger", "Agreement and form", "share, mean over a step", form),
        *_health(report, "challenger"),
    ]


_REWARDED = {
    "rzero": "share of rollouts that agree with the label",
    "ttrl": "share of answers that agree with the majority of their question",
    "absolute_zero": "mean over proposals and solutions",
}
"""What a Solver's mean reward is, by method."""

_MAJORITY = (
    "share of a question\u2019s answers; share of true labels; share of rewards that the true answer would give too, "
    "of all and (lucky) of those under a wrong label"
)


def _solver(report: dict[str, Any]) -> list[str]:
    draw, rewarded = step_charts.over_steps, _REWARDED[method_of(report).name]
    reward = {"reward_mean": ("reward", "c1")}
    majority = {
        "agreement_mean": ("majority", "c1"),
        "label_accuracy": ("true labels", "c2"),
        "reward_accuracy": ("right rewards", "c3"),
        "lucky_reward_accuracy": ("lucky rewards", "grey"),
    }
    answered = {"answered_share": ("answered", "c1"), "response_cut_off_share": ("cut off", "c2")}
    return [
        *draw(report, "solver", "Reward", rewarded, reward),
        *self_play.charts(report),
        *draw(report, "solver", "Majority", _MAJORITY, majority),
        *draw(report, "solver", "Votes", "different answers to a question, mean", {"distinct_answers": ("", "c1")}),
        *draw(report, "solver", "Entropy of the votes", "on a question, nats, mean", {"vote_entropy": ("", "c1")}),
        *draw(report, "solver", "Answers", "share of a step\u2019s rollouts", answered),
        *_health(report, "solver"),
    ]


def _health(report: dict[str, Any], role: str) -> list[str]:
    wanted = [("kl", "KL", "from the reference model"), ("entropy", "Entropy", "of the policy, nats"),
              ("response_tokens_mean", "Length", "tokens of a text, mean over a step")]  # fmt: skip
    return [
        drawn
        for name, title, about in wanted
        for drawn in step_charts.over_steps(report, role, title, about, {name: ("", "c1")})
    ]


def _browser(report: dict[str, Any], packed: Sequence[pack.Packed]) -> str:
    if not packed:
        return ""
    fates = {name: label for name, (label, _) in REASONS.items()}
    found = {name for part in report["rounds"] for name in (part["curation"] or {"rejected": ()})["rejected"]}
    reasons = [name for name in fates if name in found | {"not_well_formed"}]
    return Template(asset("questions.html")).substitute(
        rounds="".join(f'<option value="{one.round}">round {one.round}</option>' for one in packed),
        reasons="".join(f'<option value="{name}">{fates[name]}</option>' for name in reasons),
        shown=",".join(str(one.round) for one in packed),
        fates=escaped(json.dumps({**fates, "no_votes": "no votes", "not_curated": "not decided yet"})),
    )


def _settings(run: Path, report: dict[str, Any]) -> str:
    made = tables.manifests(run, report)
    return Template(asset("settings.html")).substitute(
        settings=tables.settings_table(report["settings"]),
        versions=tables.versions(made),
        making=tables.making(made),
    )


def link(page: Path, start: Path) -> str:
    """The address of one page from the directory of another."""
    return escaped(Path(os.path.relpath(page, start)).as_posix())
