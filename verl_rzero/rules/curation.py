"""Which voted questions the Solver learns from: the informative band, and a named reason for every rejection."""

import dataclasses
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

from verl_rzero.data.records import Decision, VotedQuestion
from verl_rzero.rules.answers import is_ill_posed
from verl_rzero.rules.voting import Denominator
from verl_rzero.settings import Settings

REASONS = (
    "ill_posed",
    "no_answer",
    "few_answers",
    "length",
    "dropped_text",
    "below_band",
    "above_band",
    "below_rank",
    "above_rank",
    "small_margin",
    "duplicate",
)
"""Reasons of rejection in the order in which the rules are asked; a question is counted under the first that applies.

ill_posed: `ill_posed_share` of the answers or more call it ILL-POSED.
no_answer: nobody answered, there is no label. few_answers: fewer than `min_answered` answered.
length: its text is shorter or longer than `question_chars`. dropped_text: question or label holds a word to be dropped.
below_band, above_band: agreement outside the band. below_rank, above_rank: its percentile outside `rank_band`.
small_margin: margin under `min_margin`, or the label has less than `min_margin_ratio` times the runner-up's votes.
duplicate: the same question text (blanks and case aside) was kept before.
"""

Duplicates = Literal["keep", "drop", "drop_across_rounds"]


@dataclass(frozen=True)
class Curated:
    """kept: the kept questions in their order; rejected: count of every reason of REASONS, 0 included;
    reasons: per input question its reason, None where it was kept."""

    kept: list[VotedQuestion]
    rejected: dict[str, int]
    reasons: list[str | None]


def curate(
    votes: Sequence[VotedQuestion],
    *,
    band: tuple[float, float] = (0.25, 0.75),
    denominator: Denominator = "all",
    min_answered: int = 1,
    ill_posed_share: float | None = None,
    question_chars: tuple[int, int] | None = None,
    drop_questions_with: Sequence[str] = (),
    drop_labels_with: Sequence[str] = (),
    rank_band: tuple[float, float] | None = None,
    min_margin: float = 0.0,
    min_margin_ratio: float = 1.0,
    duplicates: Duplicates = "keep",
    earlier: Sequence[str] = (),
) -> Curated:
    """Keep a question when lo <= agreement <= hi, both ends included (R-Zero: |p - 1/2| <= 0.25), and no rule says no.

    Bounds are taken as the decimals they are written as and compared with vote counts exactly: 3 of 10 votes are in a
    band that starts at 0.3. All rules but the band are off by default.

    Args:
        rank_band: percentiles of agreement, in [0, 1], among the questions that the rules before the band let pass;
            questions of one agreement have one percentile, the middle of their ranks.
        earlier: questions kept in earlier rounds, for duplicates="drop_across_rounds".

    Raises:
        ValueError: a band that is upside down or outside [0, 1]; `duplicates` unknown; a record whose agreement is not
            what its classes count to (votes made with another denominator).
    """
    low, high = _bounds("band", band)
    if duplicates not in ("keep", "drop", "drop_across_rounds"):
        raise ValueError(f'duplicates must be "keep", "drop" or "drop_across_rounds", got {duplicates!r}')
    shares = [_exact_shares(voted, denominator) for voted in votes]
    reasons = [
        _text_reason(voted, min_answered, ill_posed_share, question_chars, drop_questions_with, drop_labels_with)
        for voted in votes
    ]
    ranks = _percentiles([None if why else share.agreement for why, share in zip(reasons, shares, strict=True)])
    lowest, highest = _bounds("rank_band", rank_band) if rank_band else (Fraction(0), Fraction(1))
    seen = {_text_key(text) for text in earlier} if duplicates == "drop_across_rounds" else set()
    kept: list[VotedQuestion] = []
    for i, (voted, share, rank) in enumerate(zip(votes, shares, ranks, strict=True)):
        if reasons[i] is not None:
            continue
        if share.agreement < low:
            reasons[i] = "below_band"
        elif share.agreement > high:
            reasons[i] = "above_band"
        elif rank < lowest:
            reasons[i] = "below_rank"
        elif rank > highest:
            reasons[i] = "above_rank"
        elif share.margin < Fraction(str(min_margin)) or share.first < Fraction(str(min_margin_ratio)) * share.second:
            reasons[i] = "small_margin"
        elif duplicates != "keep" and _text_key(voted.question) in seen:
            reasons[i] = "duplicate"
        else:
            kept.append(voted)
            seen.add(_text_key(voted.question))
    return Curated(kept, {name: reasons.count(name) for name in REASONS}, reasons)


def rules(settings: Settings) -> dict[str, Any]:
    """The keyword arguments of `curate` that a run's settings stand for."""
    asked = dataclasses.asdict(settings.curation)
    del asked["replay_share"]
    return {**asked, "band": settings.band, "denominator": settings.unanswered}


def decisions(votes: Sequence[VotedQuestion], curated: Curated) -> list[Decision]:
    """A record to each voted question."""
    return [
        Decision(voted.id, "kept" if reason is None else "rejected", reason)
        for voted, reason in zip(votes, curated.reasons, strict=True)
    ]


@dataclass(frozen=True)
class _Shares:
    """Vote counts of the label and the runner-up; agreement and margin as exact fractions."""

    first: int
    second: int
    agreement: Fraction
    margin: Fraction


def _text_reason(
    voted: VotedQuestion,
    min_answered: int,
    ill_posed_share: float | None,
    question_chars: tuple[int, int] | None,
    drop_questions_with: Sequence[str],
    drop_labels_with: Sequence[str],
) -> str | None:
    """The first rule before the band that rejects the question."""
    refusals = sum(answer is not None and is_ill_posed(answer) for answer in voted.answers)
    if ill_posed_share is not None and refusals >= Fraction(str(ill_posed_share)) * len(voted.answers):
        return "ill_posed"
    if voted.answered == 0:
        return "no_answer"
    if voted.answered < min_answered:
        return "few_answers"
    if question_chars is not None and not question_chars[0] <= len(voted.question) <= question_chars[1]:
        return "length"
    text, label = voted.question.casefold(), voted.label or ""
    if any(word.casefold() in text for word in drop_questions_with) or any(word in label for word in drop_labels_with):
        return "dropped_text"
    return None


def _percentiles(values: Sequence[Fraction | None]) -> list[Fraction]:
    """Per value (questions below it + half of those at it) / all; 0 for None, which is not counted."""
    counted = Counter(value for value in values if value is not None)
    below, middle, total = 0, {}, sum(counted.values())
    for value, count in sorted(counted.items()):
        middle[value] = Fraction(2 * below + count, 2 * total)
        below += count
    return [Fraction(0) if value is None else middle[value] for value in values]


def _bounds(name: str, band: tuple[float, float]) -> tuple[Fraction, Fraction]:
    low, high = (Fraction(str(bound)) for bound in band)
    if not 0 <= low <= high <= 1:
        raise ValueError(f"{name} must be [low, high] with 0 <= low <= high <= 1, got {list(band)}")
    return low, high


def _exact_shares(voted: VotedQuestion, denominator: Denominator) -> _Shares:
    sizes = sorted(Counter(c for c in voted.classes if c >= 0).values(), reverse=True) + [0, 0]
    votes = len(voted.classes) if denominator == "all" else sum(sizes)
    agreement, margin = (Fraction(n, votes) if votes else Fraction(0) for n in (sizes[0], sizes[0] - sizes[1]))
    if sum(sizes) != voted.answered or not math.isclose(agreement, voted.agreement, abs_tol=1e-9):
        raise ValueError(
            f"question {voted.id}: agreement {voted.agreement} of {voted.answered} answers is not what its classes "
            f"{list(voted.classes)} give with denominator {denominator!r} ({float(agreement)})"
        )
    return _Shares(sizes[0], sizes[1], agreement, margin)


def _text_key(question: str) -> str:
    return " ".join(question.split()).casefold()
