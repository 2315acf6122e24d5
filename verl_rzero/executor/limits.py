"""What a program may use."""

from dataclasses import dataclass, fields


@dataclass(frozen=True, slots=True)
class Limits:
    """For one run of a program, each greater than 0.

    cpu_s: processor time; a busy machine takes longer and says the same.
    wall_s: time by the clock, for programs that wait.
    memory_mb: address space beside the interpreter's own.
    result_bytes: of the result as tagged JSON (`border`).
    printed_chars: what it may write to sys.stdout and sys.stderr, all of it discarded.
    """

    cpu_s: float = 1.0
    wall_s: float = 20.0
    memory_mb: int = 256
    result_bytes: int = 65_536
    printed_chars: int = 1_000_000

    def __post_init__(self) -> None:
        for field in fields(self):
            if getattr(self, field.name) <= 0:
                raise ValueError(f"{field.name}={getattr(self, field.name)}: a limit is greater than 0")
