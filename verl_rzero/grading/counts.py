"""What grading cost: how comparisons were decided, what ran into a limit or an error. Counted by `grading.Grader`,
logged by the stages (`result.json`) and, for each training step, by the trainers (`metrics.jsonl`).
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields

COLUMNS = ("grading_timeouts", "grading_kills", "grading_cached", "grading_asked", "grading_errors")
"""Numbers that a reward manager returns with each rollout, of the comparisons made for it."""


@dataclass(frozen=True, slots=True)
class GradingCounts:
    """comparisons = by_notation + by_cache + by_worker."""

    comparisons: int = 0
    by_notation: int = 0  # identical, or decided by normal forms
    by_cache: int = 0  # asked symbolic questions, all of which had been answered before
    by_worker: int = 0  # asked a worker at least once
    timeouts: int = 0  # comparisons that ran into the time limit; such a pair is not equal, this time
    errors: int = 0  # comparisons in which the engine raised or had raised for a remembered verdict; not equal
    killed_time: int = 0  # workers that were replaced: at the time limit
    killed_memory: int = 0  # ... at the memory limit
    died: int = 0  # ... since they had crashed or were killed from outside

    @property
    def kills(self) -> int:
        """Workers that were replaced, for whatever reason."""
        return self.killed_time + self.killed_memory + self.died

    def __add__(self, other: "GradingCounts") -> "GradingCounts":
        return GradingCounts(*[getattr(self, f.name) + getattr(other, f.name) for f in fields(self)])

    def as_dict(self) -> dict[str, int]:
        return asdict(self)


def as_columns(counts: GradingCounts) -> dict[str, float]:
    """The counts of one rollout's comparisons, as `COLUMNS`."""
    numbers = (counts.timeouts, counts.kills, counts.by_cache, counts.by_worker, counts.errors)
    return {name: float(number) for name, number in zip(COLUMNS, numbers, strict=True)}


def step_metrics(columns: Sequence[Sequence[float]]) -> dict[str, float]:
    """A step's sums of `COLUMNS`: timeouts, kills, errors, and of the comparisons that notation could not decide the
    share that the cache did (0 when there were none).
    """
    timeouts, kills, cached, asked, errors = (float(sum(map(float, column))) for column in columns)
    return {
        "rzero/grading_timeouts": timeouts,
        "rzero/grading_kills": kills,
        "rzero/grading_errors": errors,
        "rzero/grading_cache_share": cached / (cached + asked) if cached + asked else 0.0,
    }
