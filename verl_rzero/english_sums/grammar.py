"""The questions of this world, and the truth about them.

Six kinds are drawn, each in several wordings (`WORDINGS`, `STORIES`):

| kind | numbers | example |
|---|---|---|
| sum | a + b, from 1, 20 in all at most | What is 12 + 7? |
| sum_two_digits | a + b, both from 10 to 99 | How much is 45 plus 38? |
| difference | a - b, a to 20, b below a | Subtract 5 from 9. |
| product | a x b, both from 2 to 12 | Find the product of 6 and 7. |
| three_terms | a + b + c or a + b - c, from 1 to 9, not below 0 | Calculate 3 + 8 - 4. |
| story | one step, numbers from 2 to 12 | Tom has 5 apples. He buys 3 more. How many apples does Tom have now? |

More can be read than is drawn: whole numbers of any size (digits, or words up to ninety-nine), chains of + - * / and
brackets with the usual precedence, in signs or words, after any of the usual ways to ask; stories of several changes,
about any names and things. What cannot be read, is ambiguous or does not come out even has no truth.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from verl_rzero.english_sums import arithmetic, stories
from verl_rzero.english_sums.arithmetic import Reading

KINDS = ("sum", "sum_two_digits", "difference", "product", "three_terms", "story")
OTHER = "other"
"""What has a truth and is of no kind: larger numbers, longer chains, divisions."""

HELD_OUT_ONE_IN = 3

_OPENINGS = ("What is {}?", "How much is {}?", "Calculate {}.", "Compute {}.", "Find {}.", "What is the value of {}?")
_SIGNS = {"+": ("{a} + {b}", "{a} plus {b}"), "-": ("{a} - {b}", "{a} minus {b}"), "*": ("{a} x {b}", "{a} times {b}")}
WORDINGS: dict[str, tuple[str, ...]] = {
    "+": (
        *(opening.format(form) for opening in _OPENINGS for form in (*_SIGNS["+"], "the sum of {a} and {b}")),
        "Add {a} and {b}.",
        "Add {a} to {b}.",
        "{a} + {b} = ?",
    ),
    "-": (
        *(opening.format(form) for opening in _OPENINGS for form in _SIGNS["-"]),
        "What is the difference between {a} and {b}?",
        "Subtract {b} from {a}.",
        "{a} - {b} = ?",
    ),
    "*": (
        *(opening.format(form) for opening in _OPENINGS for form in (*_SIGNS["*"], "the product of {a} and {b}")),
        "Multiply {a} by {b}.",
        "{a} x {b} = ?",
    ),
    "++": tuple(opening.format(form) for opening in _OPENINGS for form in ("{a} + {b} + {c}", "{a} plus {b} plus {c}")),
    "+-": tuple(
        opening.format(form) for opening in _OPENINGS for form in ("{a} + {b} - {c}", "{a} plus {b} minus {c}")
    ),
}
"""Operators -> wordings."""


@dataclass(frozen=True)
class Story:
    operator: str
    text: str


@dataclass(frozen=True)
class Person:
    name: str
    he: str
    him: str


STORIES = (
    Story("+", "{name} has {a} {things}. {he} buys {b} more. How many {things} does {name} have now?"),
    Story("+", "{name} has {a} {things}. {he} finds {b} more {things}. How many {things} does {name} have in total?"),
    Story("+", "{name} has {a} {things}. {other} gives {him} {b} more. How many {things} does {name} have now?"),
    Story("+", "{name} has {a} {things} and {other} has {b} {things}. How many {things} do they have together?"),
    Story("+", "{name} has {a} {things}. {other} has {b} more than {name}. How many {things} does {other} have?"),
    Story("-", "{name} has {a} {things}. {he} loses {b} of them. How many {things} does {name} have left?"),
    Story("-", "{name} has {a} {things}. {he} sells {b} {things}. How many {things} are left?"),
    Story("-", "{name} has {a} {things}. {he} gives {b} to {other}. How many {things} does {name} have left?"),
    Story("-", "{name} has {a} {things}. {other} has {b}. How many more {things} does {name} have than {other}?"),
    Story("*", "There are {a} {groups}. Each {group} has {b} {things}. How many {things} are there in total?"),
    Story("*", "{name} has {a} {groups} with {b} {things} in each {group}. How many {things} does {name} have?"),
    Story("*", "One {thing} costs {a} dollars. How many dollars do {b} {things} cost?"),
    Story("/", "{name} shares {a} {things} equally among {b} friends. How many {things} does each friend get?"),
    Story("/", "{name} puts {a} {things} equally into {b} {groups}. How many {things} are in each {group}?"),
)
PEOPLE = (
    *(Person(name, "He", "him") for name in ("Tom", "Ben", "Sam", "Max", "Leo", "Omar", "Raj", "Paul")),
    *(Person(name, "She", "her") for name in ("Anna", "Mia", "Eva", "Lily", "Zoe", "Sara", "Nina", "Emma")),
)
THINGS = ("apple", "book", "pen", "ball", "coin", "card", "cookie", "flower", "marble", "sticker", "egg", "toy")
GROUPS = ("box", "bag", "basket", "drawer", "case", "jar")


def draw(kind: str, rng: Random) -> str:
    """A question of the kind, numbers and wording drawn evenly; held out or not."""
    if kind == "story":
        return _story(rng)
    operators, numbers = _numbers(kind, rng)
    return rng.choice(WORDINGS[operators]).format(**dict(zip("abc", numbers, strict=False)))


def draw_held_out(kind: str, rng: Random, held_out: bool) -> str:
    """A question of the kind that is held out, or one that is not."""
    while is_held_out(question := draw(kind, rng)) is not held_out:
        pass
    return question


def truth(question: str) -> str | None:
    """The answer of any question that can be read (see above), or None. For measuring only."""
    reading = read(question)
    return None if reading is None else str(reading.value)


def read(question: str) -> Reading | None:
    return arithmetic.read(question) or stories.read(question)


def kind_of(question: str) -> str | None:
    """The kind of a question that has a truth, by its numbers, else `other`; None for one that has none."""
    reading = arithmetic.read(question)
    if reading is None:
        return None if stories.read(question) is None else "story"
    numbers, operators, largest = reading.numbers, reading.operators, max(reading.numbers)
    if min(numbers) < 0:
        return OTHER
    if operators == "+" and reading.value <= 20:
        return "sum"
    if operators == "+" and largest <= 99:
        return "sum_two_digits"
    if operators == "-" and largest <= 99 and reading.value >= 0:
        return "difference"
    if operators == "*" and largest <= 12:
        return "product"
    if len(operators) == 2 and set(operators) <= {"+", "-"} and largest <= 20:
        return "three_terms"
    return OTHER


def is_held_out(question: str) -> bool:
    """Whether a question is kept for benchmarks: one in three, by a hash of kind and numbers that no seed changes.

    The numbers count in any order, so that 3 + 5 and 5 + 3 go together, in every wording. False for what has no truth.
    """
    reading = read(question)
    if reading is None:
        return False
    digest = hashlib.sha256(f"{kind_of(question)} {sorted(reading.numbers)}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % HELD_OUT_ONE_IN == 0


def _numbers(kind: str, rng: Random) -> tuple[str, list[int]]:
    match kind:
        case "sum":
            total = rng.randint(2, 20)
            a = rng.randint(1, total - 1)
            return "+", [a, total - a]
        case "sum_two_digits":
            return "+", [rng.randint(10, 99), rng.randint(10, 99)]
        case "difference":
            a = rng.randint(2, 20)
            return "-", [a, rng.randint(1, a - 1)]
        case "product":
            return "*", [rng.randint(2, 12), rng.randint(2, 12)]
        case "three_terms":
            a, b, c = (rng.randint(1, 9) for _ in range(3))
            return ("+-", [a, b, c]) if rng.random() < 0.5 and a + b >= c else ("++", [a, b, c])
    raise KeyError(f"{kind} is none of {KINDS}")


def _story(rng: Random) -> str:
    story = rng.choice(STORIES)
    a, b = rng.randint(2, 12), rng.randint(2, 12)
    if story.operator == "-":
        a, b = max(a, b) + 1, min(a, b)
    elif story.operator == "/":
        b = rng.randint(2, 6)
        a = b * rng.randint(2, 6)
    elif story.operator == "*":
        a, b = rng.randint(2, 6), rng.randint(2, 9)
    return told(story, a, b, rng.sample(PEOPLE, 2), rng.choice(THINGS), rng.choice(GROUPS))


def told(story: Story, a: int, b: int, people: Sequence[Person], thing: str, group: str) -> str:
    """A story with its numbers, people and things filled in."""
    owner, other = people
    return story.text.format(
        a=a,
        b=b,
        name=owner.name,
        he=owner.he,
        him=owner.him,
        other=other.name,
        thing=thing,
        things=f"{thing}s",
        group=group,
        groups="boxes" if group == "box" else f"{group}s",
    )
