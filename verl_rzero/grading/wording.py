r"""Answers that are words or signs of their own: text, number words, labels of a choice, times of day, dates, residues.

Input is the notation of `notation.clean`; a `plain` one has no quotation marks any more.
"""

import re

from verl_rzero.grading.notation import FUNCTIONS

# fmt: off
_NUMBERS = {
    word: number for number, word in enumerate(
        ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
    )
} | {word: number for number, word in enumerate("零一二三四五六七八九十")} | {"两": 2, "〇": 0}
# fmt: on
# Natural language: four letters in a row that are no command, or one of a few short words.
_WORD = re.compile(
    r"(?<![\\A-Za-z])[A-Za-z]{4,}|(?<![\\A-Za-z])(?:yes|no|Yes|No|YES|NO|all|not|and|or|the|is)(?![A-Za-z])"
)
_ONLY_WORDS = re.compile(r"[A-Za-z]{3,}|[A-Za-z]+(?:[ '-][A-Za-z]+)+")
_QUOTED_WORD = re.compile(r'"[^"]*[A-Za-z]{2}[^"]*"')
_QUOTED_FUNCTION = re.compile(rf'"\s*(?:{"|".join(sorted(FUNCTIONS))})\s*"')
_BLANK = re.compile(r"(?<![A-Za-z0-9]) | (?![A-Za-z0-9])|(?<=[0-9]) (?=[A-Za-z])|(?<=[A-Za-z]) (?=[0-9])")
_CHOICE = re.compile(r"(?:(?i:option|choice|answer) ?:? ?)?\(? ?([A-Za-z]) ?\)?")
_TIME = re.compile(r"([0-9]{1,2}) ?: ?([0-9]{2}) ?(?:([AaPp])\.? ?[Mm]\.?)?")
_RESIDUE = re.compile(
    r"(?:([A-Za-z]) ?\\equiv ?)?([+-]?[0-9]{1,50}) ?"
    r"(?:\\pmod ?\{? ?|\( ?(?:\\[bp]?mod|mod) ?|\( ?\\[bp]?mod ?\{ ?)([0-9]{1,50}) ?\}? ?\)?"
)
_DATE = re.compile(r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}")


def number_word(plain: str) -> int | None:
    """The number that a word names, up to twelve, in English or Chinese (up to ten)."""
    return _NUMBERS.get(plain.casefold())


def choice(plain: str) -> str | None:
    """The letter of `B`, `(B)`, `B)`, `Option B`."""
    match = _CHOICE.fullmatch(plain)
    return match[1] if match else None


def moment(plain: str) -> str | None:
    """One writing of a time of day or a date: `3:05 PM` is 15:05. A ratio `3:05` is kept apart from 3/5 by this too."""
    if _DATE.fullmatch(plain):
        return plain
    match = _TIME.fullmatch(plain)
    if match is None:
        return None
    hour, half = int(match[1]), (match[3] or "").lower()
    if half and not 1 <= hour <= 12:
        return None
    return f"{hour % 12 + 12 * (half == 'p') if half else hour}:{match[2]}"


def residue(text: str) -> tuple[str, str] | None:
    r"""(name or "", residue class) of `x \equiv 7 \pmod{3}`; 7 and 1 are one class."""
    match = _RESIDUE.fullmatch(text)
    if match is None or not int(match[3]):
        return None
    return match[1] or "", f"{int(match[2]) % int(match[3])} mod {int(match[3])}"


def is_text(text: str) -> bool:
    """Whether an answer is natural language and not mathematics."""
    if _WORD.search(text) or _QUOTED_WORD.search(_QUOTED_FUNCTION.sub("", text)):
        return not text.startswith(r"\begin")
    plain = text.replace('"', "").strip()
    return bool(_ONLY_WORDS.fullmatch(plain)) or any(char > "\x7f" and char.isalpha() for char in text)


def key(text: str) -> str:
    """Text without closing marks and blanks that mean nothing; words without case."""
    plain = text.replace('"', "").replace("\\ ", " ").strip(" .,;:!")
    if not plain.isascii():
        plain = re.sub(r"\s", "", plain)
    if _WORD.search(plain) or plain.istitle() or not plain.isascii():
        plain = plain.casefold()
    return without_blanks(" ".join(plain.split()))


def without_blanks(text: str) -> str:
    """Without the blanks that part no two words and no two numbers."""
    return _BLANK.sub("", text)
