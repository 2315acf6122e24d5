"""The programs of the code world: real Python functions of one number, a line for each operation.

    def f(a):
        a = a + 6
        a = a % 7
        return a

A line is an operation and a constant; a program's level is its number of lines, 1 to 4. Wherever the corpus runs a
program, every value on the way is 0 to LARGEST.

Everything here is pure: the same generator state gives the same program.
"""

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from random import Random
from typing import NamedTuple

LARGEST = 39
LEVELS = range(1, 5)
HELD_OUT_LEVELS = range(2, 5)
HELD_OUT_ONE_IN = 5
FEWEST_INPUTS = 8  # on which a program of the corpus stays in range, so that any task can be made of it
FEWEST_OUTPUTS = 3  # different ones: a program that forgets its input is no task

HEAD, RETURN = "def f(a):", "    return a"
SAME = "same"
"""The message about a program without a line."""


@dataclass(frozen=True)
class Operation:
    """`text` is the line of Python with {} for the constant; `constants` are those that the corpus shows."""

    text: str
    constants: tuple[int, ...]
    apply: Callable[[int, int], int]


OPERATIONS: dict[str, Operation] = {
    "plus": Operation("a = a + {}", (1, 2, 3, 4, 5, 6), lambda a, c: a + c),
    "minus": Operation("a = a - {}", (1, 2, 3, 4, 5, 6), lambda a, c: a - c),
    "times": Operation("a = a * {}", (2, 3, 4), lambda a, c: a * c),
    "mod": Operation("a = a % {}", (4, 5, 6, 7, 8, 9), lambda a, c: a % c),
    "from": Operation("a = {} - a", (10, 15, 20, 25, 30, 35), lambda a, c: c - a),
    "max": Operation("a = max(a, {})", (5, 10, 15, 20, 25, 30), max),
    "min": Operation("a = min(a, {})", (5, 10, 15, 20, 25, 30), min),
}
"""By the word that stands for the operation in messages."""


class Line(NamedTuple):
    operation: str
    constant: int


Program = tuple[Line, ...]

LINES = tuple(Line(name, c) for name, operation in OPERATIONS.items() for c in operation.constants)
"""All lines that the corpus shows."""

_PATTERNS = {
    name: re.compile(re.escape(f"    {each.text}").replace(r"\{\}", r"(-?(?:0|[1-9][0-9]*))"))
    for name, each in OPERATIONS.items()
}


def text(program: Program) -> str:
    """The program as Python."""
    lines = [f"    {OPERATIONS[line.operation].text.format(line.constant)}" for line in program]
    return "\n".join([HEAD, *lines, RETURN])


def parse(program: str) -> Program | None:
    """The program of a text, with any constants and any number of lines; None for any other text."""
    head, *lines = program.split("\n")
    if head != HEAD or not lines or lines.pop() != RETURN:
        return None
    found = [_line(line) for line in lines]
    return tuple(line for line in found if line is not None) if None not in found else None


def _line(line: str) -> Line | None:
    matches = ((name, pattern.fullmatch(line)) for name, pattern in _PATTERNS.items())
    return next((Line(name, int(match[1])) for name, match in matches if match), None)


def run(program: Program, given: int) -> int | None:
    """What the program returns, without limits; None where it would raise."""
    for operation, constant in program:
        if operation == "mod" and constant == 0:
            return None
        given = OPERATIONS[operation].apply(given, constant)
    return given


def values(program: Program, given: int) -> tuple[int, ...] | None:
    """The input and the value after each line; None where one of them isn't 0 to LARGEST."""
    found = [given]
    for line in program:
        after = _table(line)[found[-1]]
        if after is None:
            return None
        found.append(after)
    return tuple(found)


@lru_cache(maxsize=4096)
def ways(program: Program) -> tuple[tuple[int, ...], ...]:
    """The values on each input on which all stay in range, by the input."""
    found = (values(program, given) for given in range(LARGEST + 1))
    return tuple(way for way in found if way is not None)


def inputs(program: Program) -> list[int]:
    """The inputs on which every value stays in range, in order."""
    return [way[0] for way in ways(program)]


def message(program: Program, told: Sequence[bool]) -> str:
    """The operations' names, each with its constant where that is told, as `plus, mod 7`."""
    named = zip(program, told, strict=True)
    return ", ".join(f"{line.operation} {line.constant}" if tell else line.operation for line, tell in named) or SAME


@lru_cache(maxsize=4096)
def is_held_out(program: Program) -> bool:
    """Whether this program is kept out of the corpus: one in five of those of two lines or more, by a hash that no seed
    changes. Of one line there are so few that to hold one out would be to teach that it is never the answer.
    """
    digest = hashlib.sha256(text(program).encode()).digest()
    return len(program) > 1 and int.from_bytes(digest[:8], "big") % HELD_OUT_ONE_IN == 0


def draw_program(level: int, rng: Random, held_out: bool = False) -> Program:
    """A program of the level, one of those that are held out or one of the others; operations are drawn evenly.

    Raises ValueError where none of the level is held out.
    """
    if held_out and level not in HELD_OUT_LEVELS:
        raise ValueError(f"no program of level {level} is held out")
    names = tuple(OPERATIONS)
    while True:
        drawn = (rng.choice(names) for _ in range(level))
        program = tuple(Line(name, rng.choice(OPERATIONS[name].constants)) for name in drawn)
        if is_held_out(program) == held_out and _is_task(program):
            return program


@lru_cache(maxsize=4096)
def _is_task(program: Program) -> bool:
    found = ways(program)
    return len(found) >= FEWEST_INPUTS and len({way[-1] for way in found}) >= FEWEST_OUTPUTS


@cache
def _table(line: Line) -> tuple[int | None, ...]:
    """The value after the line for each value before it, None out of range."""
    after = [OPERATIONS[line.operation].apply(value, line.constant) for value in range(LARGEST + 1)]
    return tuple(value if 0 <= value <= LARGEST else None for value in after)
