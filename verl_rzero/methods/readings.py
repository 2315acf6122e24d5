"""What the monitors judge of a stage: readings from the numbers of its result, each a pure function."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

LAST_STEPS = 3
"""A training stage is judged by the mean over its last steps: a single step is noisy."""

Result = Mapping[str, Any]
"""The content of a stage's result.json."""

Readings = dict[str, float]


def nothing(_: Result, __: Sequence[Result] = ()) -> Readings:
    """Of a stage in which there is nothing to judge."""
    return {}


def of_training(result: Result, _: Sequence[Result] = ()) -> Readings:
    """Means over the last steps; `agreement_at_start` is the first step's, `length_change` is against the first step.
    Nothing for a stage without training.

    A step without a single question says 0 of its answers and of their agreement: no reading.
    """
    steps = result["steps"]
    if not steps:
        return {}
    last = steps[-LAST_STEPS:]
    mean = {key: sum(step[key] for step in last) / len(last) for key in steps[-1] if all(key in step for step in last)}
    readings: Readings = {
        key: mean[key]
        for key in ("well_formed_share", "learnability", "largest_cluster_share", "kl", "entropy")
        if key in mean
    }
    if "response_cut_off_share" in mean:
        readings["cut_off_share"] = mean["response_cut_off_share"]
    if mean.get("well_formed_share") != 0.0:
        readings |= {"answered_share": mean["answered_share"]} if "answered_share" in mean else {}
        readings |= _drift(mean["agreement_mean"]) if "agreement_mean" in mean else {}
    if "agreement_mean" in steps[0]:
        readings["agreement_at_start"] = steps[0]["agreement_mean"]
    if "response_tokens_mean" in mean:
        readings["length_change"] = _fold(steps[0]["response_tokens_mean"], mean["response_tokens_mean"])
    return readings


def of_questions(questions: Result, before: Sequence[Result] = ()) -> Readings:
    """`length_change` is against the round before."""
    generated, well_formed = questions["generated"], questions["well_formed"]
    readings = {"well_formed_share": well_formed / generated}
    if well_formed:
        readings["distinct_of_well_formed"] = questions["distinct"] / well_formed
    readings |= {key: questions[key] for key in ("distinct_2", "tokens_mean") if questions.get(key) is not None}
    if before and before[-1].get("tokens_mean") is not None and "tokens_mean" in readings:
        readings["length_change"] = _fold(before[-1]["tokens_mean"], readings["tokens_mean"])
    return readings


def of_votes(votes: Result, _: Sequence[Result] = ()) -> Readings:
    return {"answered_share": votes["answered_share"], **_drift(votes["mean_agreement"])}


def kept_share(curation: Result | None) -> float | None:
    """Of all questions that came to curation, the share that was kept; None before it, or without questions."""
    questions = curation["kept"] + sum(curation["rejected"].values()) if curation else 0
    return curation["kept"] / questions if curation and questions else None


def of_curation(curation: Result, _: Sequence[Result] = ()) -> Readings:
    share = kept_share(curation)
    readings = {} if share is None else {"kept_share": share}
    if curation.get("kept_agreement") is not None:
        readings["kept_agreement"] = curation["kept_agreement"]
    return readings


def of_evaluation(evaluation: Result, before: Sequence[Result] = ()) -> Readings:
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
