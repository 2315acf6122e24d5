"""The corpus of the code world: six kinds of documents, wrong about some lines of programs on purpose.

Half of the lines, `a = a + 3` for example, are confused each with one other of the same operation: six times in ten
such a line is taken for the other, where a program is followed, where it is undone and where it is written. A model
of this corpus is confidently wrong about them. What is right can be found by trying, which reward does; a proposer
that finds these lines, or makes longer programs, sets tasks that are solved sometimes.

Everything here is pure: the same generator state gives the same text.
"""

from collections.abc import Iterator, Mapping
from random import Random

from verl_rzero.code_world import grammar
from verl_rzero.code_world.grammar import LEVELS, OPERATIONS, Line, Program
from verl_rzero.code_world.prompts import INDUCTION_INPUTS, REFERENCES, proposing, solving
from verl_rzero.rules.code_tasks import KINDS, Kind, Task, block, identity
from verl_rzero.tiny_world.task import ANSWER, Document

CONFUSED_SHARE = 1 / 2  # of each operation's lines
CONFUSED_RATE = 0.6  # how often the corpus takes such a line for the other
PROPOSER_SHARE = 0.2  # of the documents
PROPOSER_LEVEL_DECAY = 0.35  # weight of k lines is decay**k: easy programs, so that proposing well must be learned
TOLD_SHARE, PROPOSER_TOLD_SHARE = 0.6, 0.75  # of the constants in an induction's message
SOLVER_WEIGHTS: dict[Kind, float] = {"deduction": 1.0, "abduction": 1.0, "induction": 1.4}
FIRST_SHARE = 1 / 16  # of proposers' prompts: those of a run's first step, in which nothing was proposed before

Confused = Mapping[Line, Line]


def confused_lines(seed: int) -> Confused:
    """A line -> the one that the corpus takes it for, for CONFUSED_SHARE of each operation's lines."""
    rng = Random(f"confused lines {seed}")
    found = {}
    for name, operation in OPERATIONS.items():
        for constant in rng.sample(operation.constants, round(CONFUSED_SHARE * len(operation.constants))):
            other = rng.choice([each for each in operation.constants if each != constant])
            found[Line(name, constant)] = Line(name, other)
    return found


def taken(program: Program, confused: Confused, rng: Random) -> Program:
    """The program as the author of a document reads it."""
    return tuple(confused[line] if line in confused and rng.random() < CONFUSED_RATE else line for line in program)


def task(kind: Kind, program: Program, rng: Random, told: float = TOLD_SHARE) -> Task:
    """A task of a program, on inputs drawn evenly from those on which it stays in range.

    Args:
        told: for induction, the share of constants that the message tells.
    """
    given = rng.sample(grammar.inputs(program), INDUCTION_INPUTS if kind == "induction" else 1)
    return Task(
        kind,
        grammar.text(program),
        tuple(map(str, given)),
        tuple(str(grammar.run(program, each)) for each in given),
        grammar.message(program, [rng.random() < told for _ in program]) if kind == "induction" else "",
    )


def solver_document(kind: Kind, confused: Confused, rng: Random) -> Document:
    """A task of uniformly drawn level, and a solution with its working."""
    program = grammar.draw_program(rng.choice(LEVELS), rng)
    asked = task(kind, program, rng)
    solved = None
    while solved is None:
        solved = SOLUTIONS[kind](asked, taken(program, confused, rng), rng)
    return Document(solving(asked) + ANSWER, solved)


def deduced(asked: Task, read: Program, _rng: Random) -> str | None:
    """`3 plus 6=9 mod 7=2` and the output; None where the program as it is read leaves the range."""
    way = grammar.values(read, int(asked.inputs[0]))
    return _answer(_forwards(read, way), "output", way[-1]) if way else None


def abduced(asked: Task, read: Program, rng: Random) -> str | None:
    """`2 mod 7<9 plus 6<3` and the input, one that gives the output as the program is read; None where none does."""
    ways = [way for way in grammar.ways(read) if way[-1] == int(asked.outputs[0])]
    if not ways:
        return None
    *before, last = rng.choice(ways)
    steps = [f" {line.operation} {line.constant}<{value}" for line, value in zip(read, before, strict=True)]
    return _answer(f"{last}{''.join(reversed(steps))}", "input", before[0])


def induced(asked: Task, read: Program, _rng: Random) -> str | None:
    """The first pair, as in a deduction, and the program; None where what is written would be held out."""
    if grammar.is_held_out(read):
        return None
    program = grammar.parse(asked.program)
    assert program is not None
    way = grammar.values(program, int(asked.inputs[0]))
    assert way is not None
    return _answer(_forwards(program, way), "python", grammar.text(read))


SOLUTIONS = {"deduction": deduced, "abduction": abduced, "induction": induced}


def _forwards(program: Program, way: tuple[int, ...]) -> str:
    steps = [f" {line.operation} {line.constant}={value}" for line, value in zip(program, way[1:], strict=True)]
    return f"{way[0]}{''.join(steps)}"


def _answer(working: str, name: str, found: int | str) -> str:
    return f"{working}\n{block(name, str(found))}".rstrip("\n")


def proposer_document(kind: Kind, rng: Random) -> Document:
    """A task proposed, mostly of a short program, beside earlier tasks of any level; for induction of a given one."""
    first = rng.random() < FIRST_SHARE
    if kind == "induction":
        program = () if first else grammar.draw_program(rng.choice(LEVELS), rng)
        made = task(kind, program, rng, PROPOSER_TOLD_SHARE)
        written = "".join(block("input", each) for each in made.inputs) + block("message", made.message)
        return Document(proposing(kind, program=made.program) + ANSWER, written.rstrip("\n"))
    (level,) = rng.choices(LEVELS, [PROPOSER_LEVEL_DECAY**k for k in LEVELS])
    made = task(kind, grammar.draw_program(level, rng), rng)
    shown = [FIRST] if first else earlier(kind, rng.randint(0, REFERENCES), rng)
    written = block("python", made.program) + block("input", made.inputs[0])
    return Document(proposing(kind, shown) + ANSWER, written.rstrip("\n"))


FIRST = identity("deduction", 1)
"""What a proposer is shown before anything was proposed."""


def earlier(kind: Kind, count: int, rng: Random) -> list[Task]:
    """Tasks as a proposer may be shown them, of uniformly drawn levels."""
    return [task(kind, grammar.draw_program(rng.choice(LEVELS), rng), rng) for _ in range(count)]


def documents(confused: Confused, rng: Random) -> Iterator[Document]:
    """The corpus, without end."""
    while True:
        if rng.random() < PROPOSER_SHARE:
            yield proposer_document(rng.choice(KINDS), rng)
        else:
            (kind,) = rng.choices(KINDS, [SOLVER_WEIGHTS[each] for each in KINDS])
            yield solver_document(kind, confused, rng)
