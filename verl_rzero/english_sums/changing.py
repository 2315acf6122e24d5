"""Stories of a count that changes: "Tom has 5 apples. He buys 3 more. How many apples does Tom have now?"."""

import re
from dataclasses import dataclass

from verl_rzero.english_sums.arithmetic import Reading
from verl_rzero.english_sums.story_words import END, PLACE, PRONOUNS, THING, WHO, WORD, person, same

_GAIN = (
    "buys?|bought|gets?|got|finds?|found|receives?|received|collects?|collected|picks?(?: up)?|picked(?: up)?|wins?|won"
    "|earns?|earned|adds?|added|makes?|made|bakes?|baked|gathers?|gathered|catch(?:es)?|caught"
    "|is given|was given|am given"
)
_LOSS = (
    "eats?|ate|loses?|lost|sells?|sold|uses?|used|breaks?|broke|spends?|spent|donates?|donated|removes?|removed"
    "|throws? away|threw away|gives? away|gave away"
)
_GIVE = "gives?|gave"
_COME = "comes?|came|arrives?|arrived|joins?|joined|lands?|landed|get on|got on|enters?|entered"
_GO = "leaves?|left|fly away|flew away|run away|ran away|swim away|swam away|go away|went away|get off|got off"

_CLAUSE = re.compile(r"[.?!;,]+ *(?:and )?| and (?=[a-z])|(?<=[a-z]) then ")
LEAD = re.compile(r"(?:if|then|now|later|so|but|and|after that|today|yesterday) ")

_OPENING = re.compile(
    rf"(?:(?P<who>{WHO}) (?:has|have|had|{_GAIN})|there (?:are|is|were|was)) (?P<n>\d+) (?P<thing>{THING}){PLACE}"
)
_OF_THEM = rf"(?: (?:more|extra|additional))?(?: of (?:them|the|his|her|my|their|those))?(?: (?P<thing>{THING}))?"
_CHANGE = re.compile(
    rf"(?:(?P<who>{WHO}) )?(?:(?P<gain>{_GAIN})|(?P<loss>{_LOSS})) (?:another |an additional )?(?P<n>\d+){_OF_THEM}"
    rf"(?: from (?P<other>{WHO})|{PLACE})"
)
_GIVEN_AWAY = re.compile(
    rf"(?:(?P<who>{WHO}) )?(?:{_GIVE}) (?P<n>\d+){_OF_THEM}"
    rf" (?:away|to (?P<other>(?:(?:his|her|my|their|a|the) )?{WORD}))"
)
_GIVEN_TO = re.compile(rf"(?P<who>{WHO}) (?:{_GIVE}) (?P<to>{WORD}) (?:another )?(?P<n>\d+){_OF_THEM}")
_MOVED = re.compile(rf"(?:another )?(?P<n>\d+){_OF_THEM} (?:(?P<gain>{_COME})(?: them)?|(?P<loss>{_GO}))")
_ASKED = re.compile(
    rf"how many(?: (?P<thing>{THING}))?"
    rf"(?: (?:does|do) (?P<who>{WHO}) (?:still )?have| are (?:there|still there)| (?:are|remain)(?= left|$))"
    rf"(?P<end>{END}){PLACE}"
)


@dataclass
class _Count:
    """How many of which things somebody has (`who` None: they are somewhere), as the sentences go."""

    who: str | None
    thing: str
    value: int
    operators: str = ""
    others: bool = False  # whether another person was named, so that a pronoun may mean that one

    def is_owner(self, who: str | None, pronoun_is_safe: bool = False) -> bool:
        if who is None or self.who is not None and person(who) == person(self.who):
            return True
        first_person = self.who in ("i", "we", "you")
        return who in PRONOUNS and not first_person and (pronoun_is_safe or not self.others)


def read_changing(text: str) -> Reading | None:
    """The count that a story of changes ends with; None where it is no such story."""
    clauses = [LEAD.sub("", clause.strip()) for clause in _CLAUSE.split(text)]
    first, *changes = [clause for clause in clauses if clause] or [""]
    opening = _OPENING.fullmatch(first)
    if opening is None or len(changes) < 2 or opening["who"] in PRONOUNS:
        return None
    numbers = [int(opening["n"])]
    count = _Count(opening["who"], opening["thing"], numbers[0])
    for clause in changes[:-1]:
        change = _change(clause, count)
        if change is None or not same(change["thing"] or count.thing, count.thing):
            return None
        numbers.append(int(change["n"]))
        more = count.operators[-1:] == "+"
        count.value += numbers[-1] if more else -numbers[-1]
        if count.value < 0:
            return None
    asked = _ASKED.fullmatch(changes[-1])
    if asked is None or not same(asked["thing"] or count.thing, count.thing):
        return None
    if asked["who"] is not None and not count.is_owner(asked["who"], pronoun_is_safe=asked["end"] == " left"):
        return None
    return Reading(count.value, tuple(numbers), count.operators)


def _change(clause: str, count: _Count) -> re.Match[str] | None:
    """The clause as something that happens to the count, whose sign is noted in it."""
    if change := _CHANGE.fullmatch(clause):
        if not count.is_owner(change["who"]):
            return None
        count.operators += "+" if change["gain"] else "-"
        count.others |= change["other"] is not None
        return change
    if change := _GIVEN_AWAY.fullmatch(clause):
        if not count.is_owner(change["who"]) or change["other"] == count.who:
            return None
        count.operators += "-"
        count.others |= change["other"] is not None
        return change
    if change := _GIVEN_TO.fullmatch(clause):
        to_owner = change["to"] in ("him", "her", "them", "me", "us", count.who)
        from_owner = count.is_owner(change["who"])
        if to_owner == from_owner or count.who is None:
            return None
        count.operators += "+" if to_owner else "-"
        count.others = True
        return change
    if (change := _MOVED.fullmatch(clause)) and count.who is None:
        count.operators += "+" if change["gain"] else "-"
        return change
    return None
