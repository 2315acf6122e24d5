"""A run in plain sentences, from its report.json. What comes back is HTML with all values escaped."""

from dataclasses import dataclass
from typing import Any

from verl_rzero.methods.readings import kept_share
from verl_rzero.watch.reported import benchmarks, marked, method_of, points_of_time, replies_to_a_question
from verl_rzero.watch.web import own_majority, self_play
from verl_rzero.watch.web.interval_bars import difference, greedy_interval
from verl_rzero.watch.web.step_charts import STAGES, number_of
from verl_rzero.watch.web.text import duration, escaped, listed, percent, signed


@dataclass(frozen=True)
class Change:
    """A benchmark's greedy accuracy of the base model and of the last evaluated round.

    `sure` is whether the 95 % interval of the difference leaves out 0.
    """

    benchmark: str
    before: float
    after: float
    round: int
    interval: tuple[float, float]

    @property
    def sure(self) -> bool:
        return self.interval[0] > 0 or self.interval[1] < 0

    @property
    def verb(self) -> str:
        return "rose" if self.after > self.before else "fell"


def changes(report: dict[str, Any]) -> list[Change]:
    """Per benchmark that the base model and a round were measured on, but for the one that chooses the best round."""
    found = []
    for name in benchmarks(report):
        if name == report["settings"]["evaluation"].get("choose_by"):
            continue
        scores = [
            (number, part["evaluation"][name])
            for number, (_, part) in enumerate(points_of_time(report))
            if part["evaluation"] and name in part["evaluation"]
        ]
        if len(scores) > 1 and scores[0][0] == 0:
            (_, first), (number, last) = scores[0], scores[-1]
            interval = difference(first["greedy"], greedy_interval(first), last["greedy"], greedy_interval(last))
            found.append(Change(name, first["greedy"], last["greedy"], number, interval))
    return found


def headline(report: dict[str, Any]) -> str:
    """One sentence: what became of the accuracy."""
    found = changes(report)
    if not found:
        return "No accuracy to compare with the base model yet"
    rounds = f"{found[0].round} round{'s' if found[0].round > 1 else ''}"
    if len(found) == 1:
        (one,) = found
        if one.sure:
            return f"Accuracy {one.verb} from {percent(one.before)} to {percent(one.after)} in {rounds}"
        return f"Accuracy did not clearly change in {rounds}: {percent(one.before)} before, {percent(one.after)} after"
    better = sum(one.sure and one.after > one.before for one in found)
    worse = sum(one.sure and one.after < one.before for one in found)
    fell = f" and fell on {worse}" if worse else ""
    return f"Accuracy rose on {better} of {len(found)} benchmarks{fell} in {rounds}"


def sentences(report: dict[str, Any], missing: str) -> list[str]:
    """The story, a paragraph each; `missing` says what isn't done yet."""
    told = [
        _accuracy(report),
        _best_round(report),
        _questions(report),
        own_majority.story(report),
        self_play.story(report),
        " ".join([_labels(report), _time(report)]).strip(),
    ]
    return [text for text in (escaped(missing), *told) if text]


def missing(report: dict[str, Any]) -> str:
    """What the run still has to do, as a sentence; empty when it is whole."""
    evaluation = ["evaluation"] if report["settings"]["evaluation"]["benchmarks"] else []
    left = [kind for kind in ("model", *evaluation) if report["base"][kind] is None]
    if left:
        return f"This run is not finished: {STAGES[left[0]]} is not done yet."
    rounds, parts = report["settings"]["rounds"], {part["round"]: part for part in report["rounds"]}
    for number in range(1, rounds + 1):
        kinds = [kind.name for kind in method_of(report).in_a_round if kind.name != "evaluation" or evaluation]
        left = [kind for kind in kinds if number not in parts or parts[number][kind] is None]
        if left:
            return f"This run is not finished: round {number} of {rounds} is at {STAGES[left[0]]}."
    return ""


def _accuracy(report: dict[str, Any]) -> str:
    """One or two benchmarks in full, more of them in groups."""
    found, texts = changes(report), []
    if len(found) > 2:
        groups = [
            ("clearly rose on", [one for one in found if one.sure and one.after > one.before]),
            ("clearly fell on", [one for one in found if one.sure and one.after < one.before]),
            ("did not clearly change on", [one for one in found if not one.sure]),
        ]
        named = [
            f"{verb} "
            + listed(
                [f"{escaped(marked(report, o.benchmark))} ({percent(o.before)} to {percent(o.after)})" for o in group]
            )
            for verb, group in groups
            if group
        ]
        return f"Greedy accuracy {'; it '.join(named)}. Clear is a change whose 95\u202f% interval leaves out 0."
    for one in found:
        low, high = one.interval
        gain = f"{signed(one.after - one.before)} points, 95\u202f% interval {signed(low)} to {signed(high)}"
        name = escaped(marked(report, one.benchmark))
        text = f"Greedy accuracy on {name} went from {percent(one.before)} to {percent(one.after)} ({gain})"
        text += "." if one.sure else ", which as many questions could show by chance."
        best = _best(report, one.benchmark)
        if best != one.round:
            text += f" It was highest {'in the base model' if best == 0 else f'after round {best}'}."
        texts.append(text)
    return " ".join(texts)


def _best(report: dict[str, Any], benchmark: str) -> int:
    """The first round with the highest greedy accuracy; 0 is the base model."""
    scores = {
        number: part["evaluation"][benchmark]["greedy"]
        for number, (_, part) in enumerate(points_of_time(report))
        if part["evaluation"] and benchmark in part["evaluation"]
    }
    return max(scores, key=lambda number: (scores[number], -number))


def _best_round(report: dict[str, Any]) -> str:
    """The round that the benchmark for choosing found best, where there is one."""
    best = report.get("best_round")
    if not best:
        return ""
    which = f"round {best['round']}" if best["round"] else "the base model"
    return f"{escaped(best['benchmark'])}, which is there for choosing and not reported, chose {which}."


def _questions(report: dict[str, Any]) -> str:
    """How hard the questions were and how many were used."""
    voted = [part for part in report["rounds"] if part["votes"]]
    if not voted:
        return ""
    m = replies_to_a_question(voted[0]["votes"])
    shares = listed([percent(part["votes"]["mean_agreement"], 0) for part in voted])
    text = f"Of the Solver\u2019s {m} answers to a question, {shares} agreed on average" + _in_rounds(voted)
    trained = any((part["challenger"] or {}).get("steps") for part in voted)
    at_half = report["settings"]["challenger"]["uncertainty"] in ("paper", "released", "variance")
    text += "; the Challenger is rewarded for one half." if trained and at_half else "."
    curated = [part for part in report["rounds"] if part["curation"]]
    if curated:
        kept = listed([percent(kept_share(part["curation"]), 0) for part in curated])
        text += f" {kept} of the questions were kept to learn from."
    return text


def _labels(report: dict[str, Any]) -> str:
    known = [part for part in report["rounds"] if (part["curation"] or {}).get("kept_label_accuracy") is not None]
    if not known:
        return ""
    shares = listed([percent(part["curation"]["kept_label_accuracy"], 0) for part in known])
    rounds = _in_rounds(known)
    return f"The majority answer that the Solver learned from was true in {shares} of the kept questions{rounds}."


def _in_rounds(parts: list[dict[str, Any]]) -> str:
    numbers = listed([str(part["round"]) for part in parts])
    return f" in round{'s' if len(parts) > 1 else ''} {numbers}"


def _time(report: dict[str, Any]) -> str:
    seconds = sum(value for _, part in points_of_time(report) for value in part["seconds"].values())
    return f"It took {duration(seconds)}." if seconds else ""


def alarms(report: dict[str, Any]) -> str:
    """The alarms as a box; that there were none, where the run watched for them; nothing where it didn't."""
    if "alarms" not in report:
        return ""
    if not report["alarms"]:
        return '<p class="calm">No alarm was raised.</p>'
    items = "".join(
        f"<li><b>Round {escaped(alarm['round'])}, {escaped(alarm['name'])}</b> {_against(alarm)}. "
        f"{escaped(alarm['saw'])} <em>{escaped(alarm['try'])}</em></li>"
        for alarm in report["alarms"]
    )
    count = len(report["alarms"])
    return f'<aside class="alarms"><h2>{count} alarm{"s" if count > 1 else ""}</h2><ul>{items}</ul></aside>'


def _against(alarm: dict[str, Any]) -> str:
    value, threshold = (
        number_of(number) if isinstance(number, int | float) else escaped(number)
        for number in (alarm["value"], alarm["threshold"])
    )
    return f"{value} against the threshold {threshold}"
