"""Is the run healthy: readings from report.json, and the alarms that they raise.

Everything here is a pure function of a report's content and the thresholds (settings part `monitors`), so that it can
be asked again of any run, with other thresholds too. A reading that a stage doesn't have (the entropy, where verl
doesn't compute it) raises nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from verl_rzero.methods.kinds import stage_id
from verl_rzero.methods.readings import Readings, nothing
from verl_rzero.settings.thresholds import Monitors
from verl_rzero.watch.reported import method_of

Report = Mapping[str, Any]


@dataclass(frozen=True)
class Alarm:
    """One thing that can go wrong.

    `stages` are the kinds of stages whose `reading` is judged against the setting `monitors.<threshold>`, raised when
    it is `side` ("below" or "above") of it; `saw` says it in words, with {value}; `instead` says what to try.
    """

    name: str
    stages: tuple[str, ...]
    reading: str
    threshold: str
    side: str
    saw: str
    instead: str


_TAMER = "a lower challenger.lr, a higher challenger.kl or fewer challenger.steps"
_SHORTER = "a lower {role}.lr, a higher {role}.kl or fewer {role}.steps"

ALARMS: tuple[Alarm, ...] = (
    Alarm(
        "malformed", ("challenger", "questions"), "well_formed_share", "well_formed", "below",
        "only {value} of the Challenger's texts hold a question", f"{_TAMER}; look at questions.parquet",
    ),
    Alarm(
        "unanswered", ("challenger", "votes", "solver", "evaluation"), "answered_share", "answered", "below",
        "only {value} of the Solver's replies hold an answer where one is looked for",
        "a larger model.answer_tokens if replies are cut off; else a lower solver.lr or a higher solver.kl",
    ),
    Alarm(
        "few_valid", ("solver",), "well_formed_share", "well_formed", "below",
        "only {value} of the proposals are valid tasks",
        "a larger model.answer_tokens if they are cut off, a lower solver.lr, or other self_play.prompts; "
        "tasks.parquet has the reasons",
    ),
    Alarm(
        "nothing_to_learn", ("solver",), "learnability", "learnability", "below",
        "a proposed task is worth only {value} on average: nearly all are always solved, or never",
        "self_play.references, more solver.rollouts, or a stronger or weaker start; look at tasks.parquet",
    ),
    Alarm(
        "cut_off", ("challenger", "solver", "evaluation"), "cut_off_share", "cut_off", "above",
        "{value} of the texts are cut off at the longest length",
        "a larger model.question_tokens (Challenger) or model.answer_tokens (Solver), or a higher kl",
    ),
    Alarm(
        "one_cluster", ("challenger",), "largest_cluster_share", "largest_cluster", "above",
        "{value} of a batch are one cluster of like questions: the Challenger is collapsing",
        f"a higher challenger.repetition_weight (1 is the paper's); {_TAMER}",
    ),
    Alarm(
        "repeating", ("questions",), "distinct_of_well_formed", "distinct", "below",
        "only {value} of the well-formed candidates are different questions",
        f"a higher challenger.repetition_weight or sampling.questions.temperature; {_TAMER}",
    ),
    Alarm(
        "few_pairs", ("questions",), "distinct_2", "distinct_2", "below",
        "only {value} of the pairs of neighbouring tokens are different ones (distinct-2): few questions in many words",
        f"a higher challenger.repetition_weight or sampling.questions.temperature; {_TAMER}",
    ),
    Alarm(
        "too_easy", ("challenger", "votes"), "above_half", "agreement_drift", "above",
        "the Solver's agreement with itself is on average {value} above 1/2: the questions are too easy for it",
        "more challenger.steps, or a lower challenger.kl (near the base model, as method=robust keeps it: a lower "
        "challenger.kl_times); without training (challenger.steps=0) this is to be expected",
    ),
    Alarm(
        "too_hard", ("challenger", "votes"), "below_half", "agreement_drift", "above",
        "the Solver's agreement with itself is on average {value} below 1/2: it can't answer the questions",
        f"{_TAMER}; more solver.steps",
    ),
    Alarm(
        "length", ("challenger", "solver", "questions"), "length_change", "length_change", "above",
        "the texts' length has changed by a factor of {value}",
        "a higher kl or a lower lr of the part that changed; look at its texts",
    ),
    Alarm(
        "kl", ("challenger", "solver"), "kl", "kl", "above",
        "the KL from the reference model (the stage's start, with reference=base the base) is {value}", _SHORTER,
    ),
    Alarm(
        "entropy", ("challenger", "solver"), "entropy", "entropy", "below",
        "the entropy of the next token is {value} nats: nearly always the same text is sampled", _SHORTER,
    ),
    Alarm(
        "few_kept", ("curation",), "kept_share", "kept", "below",
        "only {value} of the questions are kept for the Solver",
        "more challenger.steps, more candidates or a wider band; the reasons of rejection are in report.json",
    ),
    Alarm(
        "weak_labels", ("curation",), "kept_agreement", "kept_agreement", "below",
        "the labels of the kept questions have a mean agreement of only {value}",
        "a higher lower end of band, or more votes",
    ),
    Alarm(
        "weak_majority", ("solver",), "agreement_at_start", "kept_agreement", "below",
        "at its first step the majority of the answers to a question held on average only {value} of them: such labels "
        "are mostly wrong, and the model learns to agree with itself on them",
        "a stronger base model or easier questions; more ttrl.votes help only where the right answer leads",
    ),
    Alarm(
        "worse", ("evaluation",), "heldout_drop", "heldout_drop", "above",
        "greedy accuracy on a held-out benchmark is {value} below the best so far",
        "take the best round (evaluation.choose_by); a lower solver.lr, a higher solver.kl; see docs/keeps_rising.md",
    ),
)  # fmt: skip


def raised(report: Report, monitors: Monitors) -> list[dict[str, Any]]:
    """Every alarm of the report's done stages, in order: {round, stage, name, value, threshold, saw, try}."""
    return [
        _entry(alarm, stage_id, value, threshold)
        for stage_id, readings in all_readings(report).items()
        for alarm in ALARMS
        if (threshold := getattr(monitors, alarm.threshold)) is not None
        and stage_id.rpartition("/")[2] in alarm.stages
        and (value := readings.get(alarm.reading)) is not None
        and (value < threshold if alarm.side == "below" else value > threshold)
    ]


def in_words(alarm: Mapping[str, Any]) -> str:
    """An entry of `raised` for the terminal, in two lines."""
    return f"ALARM {alarm['stage']}, {alarm['name']}: {alarm['saw']}.\n      Try {alarm['try']}."


def _entry(alarm: Alarm, stage_id: str, value: float, threshold: float) -> dict[str, Any]:
    where, kind = stage_id.split("/")
    return {
        "round": 0 if where == "base" else int(where.removeprefix("round_")),
        "stage": stage_id,
        "name": alarm.name,
        "value": value,
        "threshold": threshold,
        "saw": f"{alarm.saw.format(value=f'{value:.3g}')} ({alarm.side} monitors.{alarm.threshold}={threshold:g})",
        "try": alarm.instead.format(role=kind),
    }


def all_readings(report: Report) -> dict[str, Readings]:
    """What there is to judge of each done stage, {stage id: {reading: value}}."""
    found: dict[str, Readings] = {}
    before: dict[str, list[Mapping[str, Any]]] = {}
    kinds = method_of(report).kinds
    for number, part in enumerate([report["base"], *report["rounds"]]):
        for kind in kinds:
            if kind.readings is not nothing and (result := part.get(kind.name)):
                found[stage_id(number, kind.name)] = kind.readings(result, before.setdefault(kind.name, []))
                before[kind.name].append(result)
    return found
