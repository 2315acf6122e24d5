"""Is the run healthy: readings from report.json, and the alarms that they raise.

Everything here is a pure function of a report's content and the thresholds (settings part `monitors`), so that it can
be asked again of any run, with other thresholds too. A reading that a stage doesn't have (the entropy, where verl
doesn't compute it) raises nothing.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from verl_rzero.settings.thresholds import Monitors

LAST_STEPS = 3
"""A training stage is judged by the mean over its last steps: a single step is noisy."""

Report = Mapping[str, Any]
Readings = dict[str, float]


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
        "only {value} of the Solver's replies hold an answer in a box",
        "a larger model.answer_tokens if replies are cut off; else a lower solver.lr or a higher solver.kl",
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
        "repeating", ("questions",), "distinct_share", "distinct", "below",
        "only {value} of the candidates are different questions",
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
        "more challenger.steps, or a lower challenger.kl; without training (challenger.steps=0) this is to be expected",
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
        "the KL from the model at the start of the stage is {value}", _SHORTER,
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
        "worse", ("evaluation",), "heldout_drop", "heldout_drop", "above",
        "greedy accuracy on a held-out benchmark is {value} below the best so far",
        "take the best round (evaluation.choose_by); a lower solver.lr, a higher solver.kl, a narrower band",
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
    scores: list[Mapping[str, Any]] = []
    for where, part in [("base", report["base"]), *((f"round_{part['round']}", part) for part in report["rounds"])]:
        if part.get("challenger"):
            found[f"{where}/challenger"] = _of_training(part["challenger"]["steps"])
        if part.get("questions"):
            before = found.get(f"round_{part['round'] - 1}/questions")
            found[f"{where}/questions"] = _of_questions(part["questions"], before)
        if part.get("votes"):
            found[f"{where}/votes"] = _of_votes(part["votes"])
        if part.get("curation"):
            found[f"{where}/curation"] = _of_curation(part["curation"])
        if part.get("solver"):
            found[f"{where}/solver"] = _of_training(part["solver"]["steps"])
        if part.get("evaluation"):
            found[f"{where}/evaluation"] = _of_evaluation(part["evaluation"], scores)
            scores.append(part["evaluation"])
    return found


def _of_training(steps: Sequence[Mapping[str, float]]) -> Readings:
    """Means over the last steps; `length_change` is against the first step. Nothing for a stage without training.

    A step without a single question says 0 of its answers and of their agreement: no reading.
    """
    if not steps:
        return {}
    last = steps[-LAST_STEPS:]
    mean = {key: sum(step[key] for step in last) / len(last) for key in steps[-1] if all(key in step for step in last)}
    readings: Readings = {
        key: mean[key] for key in ("well_formed_share", "largest_cluster_share", "kl", "entropy") if key in mean
    }
    if "response_cut_off_share" in mean:
        readings["cut_off_share"] = mean["response_cut_off_share"]
    if mean.get("well_formed_share") != 0.0:
        readings |= {"answered_share": mean["answered_share"]} if "answered_share" in mean else {}
        readings |= _drift(mean["agreement_mean"]) if "agreement_mean" in mean else {}
    if "response_tokens_mean" in mean:
        readings["length_change"] = _fold(steps[0]["response_tokens_mean"], mean["response_tokens_mean"])
    return readings


def _of_questions(questions: Mapping[str, Any], before: Readings | None) -> Readings:
    """`length_change` is against the round before."""
    generated, well_formed = questions["generated"], questions["well_formed"]
    readings = {"well_formed_share": well_formed / generated}
    if well_formed:
        readings["distinct_share"] = questions["distinct"] / well_formed
    readings |= {key: questions[key] for key in ("distinct_2", "tokens_mean") if questions.get(key) is not None}
    if before and "tokens_mean" in before and "tokens_mean" in readings:
        readings["length_change"] = _fold(before["tokens_mean"], readings["tokens_mean"])
    return readings


def _of_votes(votes: Mapping[str, Any]) -> Readings:
    return {"answered_share": votes["answered_share"], **_drift(votes["mean_agreement"])}


def _of_curation(curation: Mapping[str, Any]) -> Readings:
    questions = curation["kept"] + sum(curation["rejected"].values())
    readings = {"kept_share": curation["kept"] / questions} if questions else {}
    if curation.get("kept_agreement") is not None:
        readings["kept_agreement"] = curation["kept_agreement"]
    return readings


def _of_evaluation(evaluation: Mapping[str, Any], before: Sequence[Mapping[str, Any]]) -> Readings:
    """The worst over the benchmarks; `heldout_drop` is the best greedy accuracy before less that of now."""
    readings = {}
    for key, worst in (("answered_share", min), ("cut_off_share", max)):
        values = [scores[key] for scores in evaluation.values() if key in scores]
        if values:
            readings[key] = worst(values)
    drops = list(_drops(evaluation, before))
    if drops:
        readings["heldout_drop"] = max(drops)
    return readings


def _drops(evaluation: Mapping[str, Any], before: Sequence[Mapping[str, Any]]) -> Iterator[float]:
    """Only drops that are larger than chance: the best so far lies above the 95 % interval of now."""
    for name, scores in evaluation.items():
        earlier = [scores_before[name]["greedy"] for scores_before in before if name in scores_before]
        highest = scores.get("greedy_interval", [0.0, scores["greedy"]])[1]
        if earlier and max(earlier) > highest:
            yield max(earlier) - scores["greedy"]


def _drift(agreement: float) -> Readings:
    return {"agreement": agreement, "above_half": agreement - 0.5, "below_half": 0.5 - agreement}


def _fold(before: float, after: float) -> float:
    """2 for twice as long and for half as long."""
    shorter, longer = sorted((max(before, 1e-9), max(after, 1e-9)))
    return longer / shorter
