"""Word problems: any names and things, with the sentences and verbs that stand here. Others are not read.

A story is either a count that changes (`changing.py`) or one of `_FIXED`: two owners, two kinds of things, equal
groups, prices, sharing.
"""

import re
from collections.abc import Callable

from verl_rzero.english_sums.arithmetic import MAX_CHARS, Reading, normal
from verl_rzero.english_sums.changing import LEAD, read_changing
from verl_rzero.english_sums.story_words import END, PLACE, PRONOUNS, THING, TOTAL, WHO, WORD, person, singular

Form = Callable[[int, int], int | None]


def _add(a: int, b: int) -> int | None:
    return a + b


def _less(a: int, b: int) -> int | None:
    return a - b if a >= b else None


def _times(a: int, b: int) -> int | None:
    return a * b


def _shared(a: int, b: int) -> int | None:
    return a // b if b and a % b == 0 else None


_S = r"[.?!,;]+ *(?:and )?"  # between sentences
_HOLDS = r"(?:has|have|holds?|contains?)"
_EVEN = "(?:equally|evenly)"
_SPLIT = "(?:shared|divided|split)"
_AMONG = "(?:among|between|amongst)"
_MONEY = "dollars?|euros?|cents?|pounds?|coins?"
_ONE_HAS = rf"(?P<w>{WHO}) has (?P<a>\d+) (?P<t1>{THING})"
_OTHER_HAS = rf"(?!he |she |they )(?P<o>{WHO}) has (?P<b>\d+)"
_OF_T = rf"(?: (?P<t2>{THING}))?"
_T_ASKED = rf"how many (?P<t3>{THING})"
_THERE = rf"(?:(?P<w>{WHO}) (?:has|have|had|buys?|bought)|there are) (?P<a>\d+)"
_HOW_MANY = rf"{_T_ASKED} (?:(?:does|do) (?P<w2>{WHO}) have|are there){END}{PLACE}"
_EACH_GETS = rf"{_T_ASKED} (?:does|will|did) each(?: (?P<x2>{WORD}))? (?:get|have|receive)"
_FIXED: list[tuple[re.Pattern[str], str, Form]] = [
    (re.compile("".join(pattern)), sign, form)
    for sign, form, *pattern in (
        # Two owners.
        (
            "+",
            _add,
            rf"{_ONE_HAS}(?:{_S}| and ){_OTHER_HAS}{_OF_T}{_S}",
            rf"{_T_ASKED} do (?:they|(?P<w2>{WHO}) and (?P<o2>{WHO})) have{TOTAL}",
        ),
        (
            "-",
            _less,
            rf"{_ONE_HAS}(?:{_S}| and ){_OTHER_HAS}{_OF_T}{_S}",
            rf"how many more (?P<t3>{THING}) does (?P<w2>{WHO}) have than (?P<o2>{WHO})",
        ),
        (
            "+",
            _add,
            rf"{_ONE_HAS}{_S}{_OTHER_HAS} more{_OF_T} than (?P<w2>{WHO}){_S}",
            rf"{_T_ASKED} does (?P<o2>{WHO}) have{END}",
        ),
        (
            "-",
            _less,
            rf"{_ONE_HAS}{_S}{_OTHER_HAS} fewer{_OF_T} than (?P<w2>{WHO}){_S}",
            rf"{_T_ASKED} does (?P<o2>{WHO}) have{END}",
        ),
        # Two kinds of things.
        (
            "+",
            _add,
            rf"{_THERE} (?P<k1>{THING}) and (?P<b>\d+) (?P<k2>{THING}){PLACE}{_S}",
            rf"how many (?P<k3>{THING}) (?:(?:does|do) (?P<w2>{WHO}) have|are there){TOTAL}",
        ),
        # Equal groups.
        (
            "*",
            _times,
            rf"{_THERE} (?P<x1>{THING})(?:{_S}| and )(?:each|every)(?: (?P<x2>{WORD}))? {_HOLDS} (?P<b>\d+) ",
            rf"(?P<t1>{THING}){_S}{_HOW_MANY}",
        ),
        (
            "*",
            _times,
            rf"{_THERE} (?P<x1>{THING}) (?:with|of|containing) (?P<b>\d+) (?P<t1>{THING})",
            rf"(?: (?:in )?each(?: (?P<x2>{WORD}))?)?{_S}{_HOW_MANY}",
        ),
        (
            "*",
            _times,
            rf"(?:each|every|an?|1) (?P<x1>{WORD}) {_HOLDS} (?P<a>\d+) (?P<t1>{THING}){_S}{_T_ASKED} ",
            rf"(?:are (?:there )?in (?P<b>\d+) (?P<x2>{WORD})|do (?P<b2>\d+) (?P<x3>{WORD}) {_HOLDS}){END}",
        ),
        (
            "*",
            _times,
            rf"(?:each|every|an?|1) (?P<x1>{WORD}) costs (?P<a>\d+) (?P<t1>{_MONEY}){_S}",
            rf"how (?:much|many (?P<t3>{_MONEY})) ",
            rf"(?:do (?P<b>\d+) (?P<x2>{WORD}) cost|(?:does|do) {WHO} pay for (?P<b2>\d+) (?P<x3>{WORD})){END}",
        ),
        # Sharing.
        (
            "/",
            _shared,
            rf"{WHO} (?:shares?|shared|divides?|divided|splits?) (?P<a>\d+) (?P<t1>{THING}) {_EVEN} {_AMONG} ",
            rf"(?:(?:his|her|my|their) )?(?P<b>\d+) (?P<x1>{WORD}){_S}{_EACH_GETS}",
        ),
        (
            "/",
            _shared,
            rf"(?P<a>\d+) (?P<t1>{THING}) are (?:{_SPLIT} {_EVEN}|{_EVEN} {_SPLIT}) {_AMONG} (?P<b>\d+) (?P<x1>{WORD})",
            rf"{_S}{_EACH_GETS}",
        ),
        (
            "/",
            _shared,
            rf"{WHO} (?:puts?|packs?|places?|packed|placed) (?P<a>\d+) (?P<t1>{THING}) {_EVEN} ",
            rf"(?:into|in) (?P<b>\d+) (?P<x1>{WORD}){_S}{_T_ASKED} ",
            rf"(?:are (?:there )?in each(?: (?P<x2>{WORD}))?|does each (?P<x3>{WORD}) {_HOLDS})",
        ),
    )
]


def read(question: str) -> Reading | None:
    """The reading of a story; None where there is none."""
    if len(question) > MAX_CHARS:
        return None
    text = re.sub(r"\$ ?(\d+)(?!\d|[.,]\d)", r"\1 dollars", normal(question))
    if re.search(r"\d[.,/:-]\d|-\d", text):  # no whole number, or not one
        return None
    return read_changing(text) or _fixed(text)


def _fixed(text: str) -> Reading | None:
    body = LEAD.sub("", text.rstrip(" ?.!"), count=1) if text.startswith("if ") else text.rstrip(" ?.!")
    for pattern, sign, form in _FIXED:
        if found := pattern.fullmatch(body):
            return _agreed(found.groupdict(), sign, form)
    return None


def _agreed(parts: dict[str, str | None], sign: str, form: Form) -> Reading | None:
    """The reading, where owners (`w`, `o`), things (`t`) and what holds them (`x`) are the same in all sentences."""
    given = {name: part for name, part in parts.items() if part is not None}
    for letter in "tx":
        if len({singular(part) for name, part in given.items() if name[0] == letter}) > 1:
            return None
    people = {name: person(part) for name, part in given.items() if name[0] in "wo"}
    owner, again = people.get("w"), people.get("w2")
    if again is not None and again != owner and (again not in PRONOUNS or owner is None or "o" in people):
        return None
    if "o" in people and (people["o"] == owner or people.get("o2", people["o"]) != people["o"]):
        return None
    if "k3" in given and not _covers(given["k3"], given["k1"], given["k2"]):
        return None
    a, b = int(given["a"]), int(given.get("b") or given["b2"])
    value = form(a, b)
    return None if value is None else Reading(value, (a, b), sign)


_COVERED = {
    "fruits": "apple orange pear banana peach plum lemon mango cherry grape kiwi melon strawberry",
    "animals": "cat dog cow pig sheep horse bird fish duck hen goat rabbit chicken",
    "pets": "cat dog bird fish rabbit hamster",
    "children": "boy girl",
    "people": "boy girl man woman child adult",
}


def _covers(asked: str, one: str, other: str) -> bool:
    """Whether what is asked for is all of both kinds: fruits of apples and pears, pens of red pens and blue pens."""
    kinds = [singular(one), singular(other)]
    if kinds[0] == kinds[1]:
        return False
    if asked in ("things", "items", "objects"):
        return True
    if asked in _COVERED:
        return all(kind in _COVERED[asked].split() for kind in kinds)
    return all(kind.split()[-1] == singular(asked) and " " in kind for kind in kinds)
