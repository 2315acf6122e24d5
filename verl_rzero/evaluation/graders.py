"""What a reply's final answer is, and whether it is right: one rule of each kind, none of which ever guesses."""

import re
from collections.abc import Callable

from verl_rzero.rules.answers import last_boxed
from verl_rzero.rules.code_tasks import ANSWERED_BY, block, blocks, fenced
from verl_rzero.settings.benchmarks import GraderName, letters

VERSION = 4
"""Raised whenever a rule below changes, or mathematical equality does (verl_rzero/grading), so that scores from
before are not taken for scores of now."""

_WRAPPED = re.compile(r"\\(?:text|textbf|textrm|texttt|mathrm|mathbf|boldsymbol|mathit)\s*\{([^{}]*)\}")
# Possessive (`\s*+`): blanks that one part has taken are never tried for the next, which takes cubic time.
_BOXED_LETTER = re.compile(r"(?:(?:the\s++)?(?:final\s++)?(?:answer|option|choice)\s*+(?:is)?\s*+:?\s*+)?(?:\(([A-Z])\)|([A-Z])(?![A-Z0-9']))(?P<rest>.*)", re.IGNORECASE | re.DOTALL)  # fmt: skip # noqa: E501
_SAID_LETTER = re.compile(
    r"\banswer\s*+(?:is|:)\s*+:?\s*+(?:option\s++)?[*$ ]*+(?:\(([A-Z])\)|([A-Z])(?=[*$\s]*(?:[.,:;)]|\n|$)))",
    # The word in either case, the letter in capitals: "the answer is a number" names no option.
)
LONGEST_OPTION = 2000
"""A longer box names no option."""

_BBEH_PREFIXES = ("the answer is:", "the final answer is ", "the final answer is: ", "the answer is ")


def final_answer(grader: GraderName, text: str, options: int) -> str | None:
    """The final answer of a whole reply, None where it gives none. `options` is the number of choices."""
    if grader == "choice":
        return chosen_letter(text, options)
    if grader == "program":
        return last_block(text)
    if grader == "tests":
        return last_program(text)
    return bbeh_answer(text) if grader == "bbeh" else last_boxed(text)


def last_block(text: str) -> str | None:
    """The last block of a reply that can answer a code task, whole; None where there is none."""
    closed = [block(name, inside) for name, inside in fenced(text) if name in ANSWERED_BY.values()]
    return closed[-1] if closed else None


def last_program(text: str) -> str | None:
    """The last Python block of a reply; None where there is none."""
    found = blocks(text, "python")
    return found[-1] if found else None


def right(grader: GraderName, given: str | None, gold: str, same: Callable[[str, str], bool]) -> bool:
    """Whether the final answer `given` is the true one; `same` is mathematical equality."""
    if given is None:
        return False
    if grader == "choice":
        return given == gold
    return bbeh_same(given, gold) if grader == "bbeh" else same(given, gold)


def chosen_letter(text: str, options: int) -> str | None:
    r"""The option that a reply chooses: the letter in the last box, else that of the last "answer is (X)".

    A box may hold `B`, `b`, `(B)`, `\text{B}`, `B. Paris` or `Answer: B`. A letter beyond the options is no answer,
    and so is a box or a sentence without a letter: nothing is drawn at random.
    """
    boxed = last_boxed(text)
    found = _letter_of_box(boxed) if boxed is not None else None
    if found is None:
        said = list(_SAID_LETTER.finditer(re.sub(r"(?i)\banswer\b", "answer", text)))
        found = (said[-1][1] or said[-1][2]) if said else None
    return found if found is not None and found in letters(options) else None


def _letter_of_box(boxed: str) -> str | None:
    if len(boxed) > LONGEST_OPTION:  # dress in dress, taken off one by one, takes quadratic time
        return None
    while (plain := _WRAPPED.sub(r"\1", boxed)) != boxed:
        boxed = plain
    match = _BOXED_LETTER.fullmatch(boxed.strip(" $*\n"))
    if match is None:
        return None
    rest = match["rest"].lstrip()
    # "B. Paris", "B) Paris" and "B: Paris" name an option; "A number" doesn't.
    if match[1] is None and rest and rest[0] not in ".:)":
        return None
    return (match[1] or match[2]).upper()


def bbeh_answer(text: str) -> str | None:
    """The final answer of a reply to BIG-Bench Extra Hard: what is boxed last, else what follows the last of the
    phrases that its authors' evaluation looks for; cleaned as there. None where there is neither.
    """
    boxed = last_boxed(text)
    return _bbeh_clean(boxed if boxed is not None else _after_phrase(text))


def _after_phrase(text: str) -> str:
    """What follows the last of the four phrases, each looked for in what the one before has left; "" without any."""
    left, lower, found = text.strip(), text.strip().lower(), False
    for phrase in _BBEH_PREFIXES:
        at = lower.rfind(phrase)
        if at >= 0:
            left = left[at + len(phrase) :].strip()
            lower, found = left.lower(), True
    return left if found else ""


def _bbeh_clean(given: str) -> str | None:
    given = given.strip().removesuffix(".")
    if len(given) > 1 and given.startswith("$") and given.endswith("$"):
        given = given[1:-1]
    for wrapper in ("boxed{", "text{", "texttt{"):
        if wrapper in given and given.endswith("}"):
            given = given[:-1].split(wrapper)[1]
    first_line = given.lower().replace(", ", ",").replace("**", "").split("\n")[0]
    return first_line.removesuffix(".").strip() or None


def bbeh_same(given: str, gold: str) -> bool:
    """The published rules of BIG-Bench Extra Hard: equal texts; `(a)` for `a`; equal numbers; quotes, one pair of
    brackets, or a question mark at the end don't matter.
    """
    gold = gold.strip().lower().replace(", ", ",")
    if given == gold:
        return True
    for one, other in ((given, gold), (gold, given)):
        if len(one) == 3 and one[0] == "(" and one[2] == ")":
            return one[1] == other
    if _number(given) is not None and _number(given) == _number(gold):
        return True
    return (
        given.replace("'", "") == gold.replace("'", "")
        or f"[{gold}]" == given
        or f"[{given}]" == gold
        or given == f"{gold}?"
    )


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
