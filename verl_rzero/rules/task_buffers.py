"""The valid tasks that self-play has come to so far (Absolute Zero, arXiv 2505.03335, section 3.3.2)."""

from collections import deque
from collections.abc import Iterable
from random import Random

from verl_rzero.rules.code_tasks import KINDS, Kind, Task, identity


class TaskBuffers:
    """One buffer for each kind of task, of `most` tasks each: when it is full, the oldest goes.

    What proposers are shown and what fills a solver's batch are drawn evenly.
    """

    def __init__(self, most: int, tasks: Iterable[Task] = ()) -> None:
        self.most = most
        self.replace(tasks)

    def replace(self, tasks: Iterable[Task]) -> None:
        """Hold these instead."""
        self._of: dict[Kind, deque[Task]] = {kind: deque(maxlen=self.most) for kind in KINDS}
        for task in tasks:
            self.add(task)

    def add(self, task: Task) -> None:
        self._of[task.kind].append(task)

    def size(self, kind: Kind) -> int:
        return len(self._of[kind])

    def tasks(self) -> list[Task]:
        """All tasks, oldest first within a kind: buffers made of them are these."""
        return [task for kind in KINDS for task in self._of[kind]]

    def references(self, kind: Kind, most: int, rng: Random) -> list[Task]:
        """What a proposer is shown of its kind; of an empty buffer the identity function."""
        held = self._of[kind] or [identity(kind, 1)]
        return rng.sample(held, min(most, len(held)))

    def program(self, rng: Random) -> str:
        """A program to make an induction task of: from deduction's and abduction's tasks."""
        number = rng.randrange(self.size("deduction") + self.size("abduction") or 1)
        for kind in KINDS[:2]:
            if number < self.size(kind):
                return self._of[kind][number].program
            number -= self.size(kind)
        return identity("deduction", 1).program

    def drawn(self, kind: Kind, count: int, rng: Random) -> list[Task]:
        """As many tasks, the same one more than once only where there are not enough; none of an empty buffer."""
        held = list(self._of[kind])
        found: list[Task] = []
        while held and len(found) < count:
            found += rng.sample(held, min(len(held), count - len(found)))
        return found
