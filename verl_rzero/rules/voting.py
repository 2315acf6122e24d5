"""The Solver's vote on a question: answers grouped by mathematical equality, the largest group is the pseudo-label."""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from verl_rzero.grading.grader import normal_form, same_answer
from verl_rzero.grading.normal_form import MAX_CHARS

Denominator = Literal["all", "answered"]
_LONG_BLANK = re.compile(r"(?:[\s{}$~\u200b-\u200f\u2060\u2800\u3164\ufeff\x00]|\\(?:[,;:!> ]|q?quad(?![A-Za-z])))*+")
_BLANK_KEYS = ("=s:|", "=t:|")


@dataclass(frozen=True)
class Vote:
    """Outcome of m answers.

    label: the winning class's first-seen answer; None when nobody answered.
    agreement: size of the winning class / denominator (p-hat of R-Zero; 0.0 when nobody answered).
    margin: (winning class - runner-up) / denominator.
    answered: number of answers that say something.
    classes: per answer the number of its class, counted from 0 by first appearance; -1 for none.
    """

    label: str | None
    agreement: float
    margin: float
    answered: int
    classes: tuple[int, ...]

    @property
    def sizes(self) -> list[tuple[int, int]]:
        """(class, answers in it), the largest first; of one size the one seen first."""
        return Counter(number for number in self.classes if number >= 0).most_common()


def vote(
    answers: Sequence[str | None],
    same: Callable[[str, str], bool] = same_answer,
    *,
    denominator: Denominator = "all",
) -> Vote:
    """Group the answers and name the winner; of classes of one size the one seen first wins.

    None (no answer, or cut off) and what prints nothing (`is_blank`) are never a class; they count
    in the denominator "all" (the paper's m) and not in "answered". `same` is asked only where normal forms differ,
    about one answer per class: the first-seen one.

    Raises:
        ValueError: no answers at all, or an unknown denominator.
    """
    return _counted(answers, _classes(answers, same), denominator)


def vote_by_text(answers: Sequence[str | None], *, denominator: Denominator = "all") -> Vote:
    """As `vote`, but answers are of one class only where their text is the same (the rule of TTRL's authors' code)."""
    texts = dict.fromkeys(each for each in answers if each is not None and not is_blank(each))
    number = {text: place for place, text in enumerate(texts)}
    return _counted(answers, tuple(-1 if each is None else number.get(each, -1) for each in answers), denominator)


def is_blank(answer: str) -> bool:
    """Whether an answer prints nothing but closing marks: an empty text in any notation, at any length."""
    if len(answer) > MAX_CHARS:
        return _LONG_BLANK.fullmatch(answer) is not None
    return normal_form(answer) in _BLANK_KEYS or not answer.strip(" .,;:!")


def _counted(answers: Sequence[str | None], classes: tuple[int, ...], denominator: Denominator) -> Vote:
    if denominator not in ("all", "answered"):
        raise ValueError(f'denominator must be "all" or "answered", got {denominator!r}')
    if not answers:
        raise ValueError("a vote needs at least one answer (None for an unanswered one)")
    answered = sum(c >= 0 for c in classes)
    if not answered:
        return Vote(None, 0.0, 0.0, 0, classes)
    ranked = Counter(c for c in classes if c >= 0).most_common(2)  # equal counts stay in order of first appearance
    (winner, top), second = ranked[0], ranked[1][1] if len(ranked) > 1 else 0
    votes = len(answers) if denominator == "all" else answered
    return Vote(answers[classes.index(winner)], top / votes, (top - second) / votes, answered, classes)


def _classes(answers: Sequence[str | None], same: Callable[[str, str], bool]) -> tuple[int, ...]:
    class_of_text: dict[str, int] = {}
    class_of_form: dict[str, int] = {}
    representatives: list[str] = []
    classes = []
    for answer in answers:
        if answer is None:
            classes.append(-1)
            continue
        found = class_of_text.get(answer)
        if found is None:
            form = normal_form(answer)
            found = -1 if is_blank(answer) else class_of_form.get(form)
            if found is None:
                found = next(
                    (k for k, first in enumerate(representatives) if same(first, answer)), len(representatives)
                )
                if found == len(representatives):
                    representatives.append(answer)
                class_of_form[form] = found
            class_of_text[answer] = found
        classes.append(found)
    return tuple(classes)


def agreement_histogram(agreements: Sequence[float], m: int) -> list[int]:
    """How many questions have an agreement of 0/m, 1/m, ... m/m: m + 1 counts."""
    counts = [0] * (m + 1)
    for agreement in agreements:
        counts[round(agreement * m)] += 1
    return counts
