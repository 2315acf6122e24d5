"""The Solver's training rows: the round's kept questions, replayed earlier ones and human anchors where asked for."""

from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import TypeVar

from verl_rzero.data.anchors import Anchor
from verl_rzero.data.records import SolverRow, VotedQuestion
from verl_rzero.rules.prompts import solver_messages
from verl_rzero.settings import Settings

ANCHOR = "anchor"
"""`data_source` of human rows."""


def kept_rows(settings: Settings, kept: Sequence[VotedQuestion]) -> list[SolverRow]:
    """A row to each kept question, labelled by the vote."""
    return [
        _row(settings, settings.model.name, item.question, str(item.label), item.id, item.round, item.agreement)
        for item in kept
    ]


def mixed(
    settings: Settings, new: Sequence[SolverRow], earlier: Sequence[SolverRow], anchors: Sequence[Anchor], round_: int
) -> list[SolverRow]:
    """`new`, `curation.replay_share` of the whole from `earlier`, and `anchors.share` of the whole from `anchors`;
    drawn without repetition, so fewer where there are not enough. Not shuffled: verl's data loader does that.
    """
    replay, human = settings.curation.replay_share, settings.anchors.share
    if replay + human >= 1:
        raise ValueError(f"replay and anchors leave no room for new questions: {replay} + {human}")
    whole = len(new) / (1 - replay - human)
    rng = Random(f"rows {settings.seed} {round_}")
    old = rng.sample(list(earlier), min(len(earlier), round(replay * whole)))
    chosen = rng.sample(list(anchors), min(len(anchors), round(human * whole)))
    labelled = [_row(settings, ANCHOR, item.question, item.answer, -1, 0, 1.0) for item in chosen]
    return [*new, *old, *labelled]


def added(rows: Sequence[SolverRow], round_: int) -> dict[str, int]:
    """How many of the rows, copies aside, are replayed and how many are human."""
    found = {
        (row.data_source, row.extra_info["round"], row.extra_info["id"], row.prompt[-1]["content"]) for row in rows
    }
    return {
        "replayed": sum(source != ANCHOR and number != round_ for source, number, _, _ in found),
        "anchors": sum(source == ANCHOR for source, _, _, _ in found),
    }


T = TypeVar("T")


def as_often_as_needed(items: Sequence[T], at_least: int) -> list[T]:
    """The items, all of them as often as `at_least` rows need."""
    return [*items] * max(1, -(-at_least // len(items)))


def copied(rows: Sequence[SolverRow], at_least: int) -> list[SolverRow]:
    """The rows, all of them as often as `at_least` rows need, numbered anew."""
    repeated = as_often_as_needed(rows, at_least)
    return [replace(row, extra_info={**row.extra_info, "index": i}) for i, row in enumerate(repeated)]


def _row(
    settings: Settings, source: str, question: str, label: str, number: int, round_: int, agreement: float
) -> SolverRow:
    return SolverRow(
        source,
        solver_messages(settings.prompts, question),
        "math",
        {"style": "rule", "ground_truth": label},
        {"index": 0, "id": number, "round": round_, "agreement": agreement},
    )
