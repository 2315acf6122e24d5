"""What comes of running a program: a value, or a failure that has a name."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from verl_rzero.executor import border


class Failure(StrEnum):
    """Why there is no value. What a program could say itself, it could also have made up: it is about itself only."""

    INPUTS = "inputs"  # the inputs are not literals (`literals.arguments`); nothing was run
    SYNTAX = "syntax"  # not Python, or longer than a program may be
    NO_FUNCTION = "no_function"  # it defines no function of that name, `f` unless said
    RAISED = "raised"  # `detail` is the exception's type; SystemExit too
    TIME = "time"  # a limit of processor time or of time by the clock
    MEMORY = "memory"
    OUTPUT_TOO_LARGE = "output_too_large"  # the result; it is never cut
    PRINTED_TOO_MUCH = "printed_too_much"
    NOT_DATA = "not_data"  # the result is, or holds, what is no plain data; `detail` is the type
    NONDETERMINISTIC = "nondeterministic"  # two processes did not come to equal values
    KILLED = "killed"  # the process ended without a result: a crash, os._exit
    FORGED = "forged"  # what came is not what our code writes, so the program wrote it


CLAIMABLE = {
    Failure.SYNTAX,
    Failure.NO_FUNCTION,
    Failure.RAISED,
    Failure.MEMORY,
    Failure.OUTPUT_TOO_LARGE,
    Failure.PRINTED_TOO_MUCH,
    Failure.NOT_DATA,
}
"""What a program's process may say of it; the rest is seen from outside."""

_MAX_DETAIL = 100


@dataclass(frozen=True, slots=True)
class Result:
    """`value` where `failure` is None.

    cpu_s: processor time of its process, or of both; 0 where a server ran it.
    """

    value: Any = None
    failure: Failure | None = None
    detail: str = ""
    cpu_s: float = 0.0

    @property
    def ok(self) -> bool:
        return self.failure is None


def read(message: bytes, cases: int, cpu_s: float) -> Result:
    """What a program's process says, trusted in nothing: as `program.message` writes it, with a value for each case."""
    try:
        said = border.loads(message)
        match said:
            case {"values": [*trees]} if len(said) == 1 and len(trees) == cases:
                return Result([border.value_of(tree) for tree in trees], cpu_s=cpu_s)
            case {"failure": str() as name, "detail": str() as detail} if len(said) == 2:
                if name in CLAIMABLE and len(detail) <= _MAX_DETAIL and detail.isprintable():
                    return Result(failure=Failure(name), detail=detail, cpu_s=cpu_s)
    except border.Malformed as error:
        return Result(failure=Failure.FORGED, detail=str(error)[:_MAX_DETAIL], cpu_s=cpu_s)
    return Result(failure=Failure.FORGED, detail="neither values nor a failure", cpu_s=cpu_s)
