"""A step of Absolute Zero: one model proposes code tasks and solves them (arXiv 2505.03335, algorithm 1).

All kinds of a phase are sampled together: first the proposals, then, with what their programs have given, the
solutions. Rewards are made here, where programs are run; docs/absolute_zero.md has the paper beside the code.
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from random import Random
from statistics import mean
from typing import Any

from verl_rzero.data.records import ProposedTask
from verl_rzero.engine.code_checks import NO_FORM, Runner, right, validated
from verl_rzero.engine.samplers import Ask, Trajectory
from verl_rzero.grading.counts import GradingCounts, as_columns
from verl_rzero.rules.code_rewards import proposer_reward, solver_reward
from verl_rzero.rules.code_tasks import (
    Kind,
    Task,
    identity,
    proposal,
    propose_messages,
    solution,
    solve_messages,
)
from verl_rzero.rules.prompts import Messages
from verl_rzero.rules.task_buffers import TaskBuffers
from verl_rzero.settings import SelfPlay

TOO_LONG = "too_long"
"""Why a proposal is no task: a solver's prompt would not hold it."""

Fits = Callable[[Messages], bool]


@dataclass(frozen=True)
class Asked:
    """What a proposer was asked; for induction with a program that is given."""

    kind: Kind
    messages: Messages
    program: str


@dataclass(frozen=True)
class Solved:
    """One sampled solution to a task."""

    task: Task
    trajectory: Trajectory
    answer: str | None
    right: bool


def to_propose(asked: SelfPlay, kind: Kind, buffers: TaskBuffers, fits: Fits, rng: Random) -> Asked:
    """A proposer's prompt; with fewer earlier tasks where it would be too long, or for induction the identity."""
    program = buffers.program(rng) if kind == "induction" else ""
    references = [] if program else buffers.references(kind, asked.references, rng)
    for shown in range(len(references), 0, -1):
        messages = propose_messages(asked.prompts, kind, references[:shown], "", 0)
        if fits(messages):
            return Asked(kind, messages, "")
    messages = propose_messages(asked.prompts, kind, [], program, asked.induction_inputs)
    if program and not fits(messages):
        program = identity(kind, 1).program
        messages = propose_messages(asked.prompts, kind, [], program, asked.induction_inputs)
    return Asked(kind, messages, program)


def proposed_tasks(
    asked: SelfPlay, given: Sequence[Asked], replies: Sequence[str], fits: Fits, runner: Runner
) -> list[Task | str]:
    """The task in each reply, or why there is none."""
    proposals = [
        proposal(each.kind, reply, each.program, asked.induction_inputs, asked.think)
        for each, reply in zip(given, replies, strict=True)
    ]
    found = validated(proposals, asked.banned_imports, runner)
    return [
        TOO_LONG if isinstance(each, Task) and not fits(solve_messages(asked.prompts, each)) else each for each in found
    ]


class ProposesAndSolves:
    """A sampler: a step's proposals of every kind, and solutions to the tasks that came of them.

    What is stored are, in this order, the proposals of each kind (where they are trained on) and the solutions to each
    kind, in rows of `estimates` responses; their groups are a role and a kind each, within which advantages are
    normalised (equation 8).

    Args:
        asked: the method's settings.
        size: tasks of each kind that are proposed, and that are solved.
        estimates: solutions to each proposed task that say how often it is solved; `size` is a multiple.
        buffers: the tasks before; the valid ones of each step are added.
        fits: whether a prompt is short enough.

    Attributes:
        proposed: all proposals, in order.
        program_seconds: how long the last step waited for programs to be run.
    """

    def __init__(
        self, asked: SelfPlay, size: int, estimates: int, buffers: TaskBuffers, runner: Runner, fits: Fits, seed: str
    ) -> None:
        self.asked, self.size, self.estimates = asked, size, estimates
        self.buffers, self.runner, self.fits, self.seed = buffers, runner, fits, seed
        self.kinds: tuple[Kind, ...] = asked.kinds  # type: ignore[assignment]
        self.proposed: list[ProposedTask] = []
        self.program_seconds = 0.0
        self._step = 0
        self._of_last_step: list[Task] = []

    async def __call__(self, ask: Ask) -> list[Trajectory]:
        asked, rng = self.asked, Random(f"self-play {self.seed} {self._step}")
        self._step += 1
        self.program_seconds = 0.0
        given = [to_propose(asked, kind, self.buffers, self.fits, rng) for kind in self.kinds for _ in range(self.size)]
        batch = self._to_solve(self._of_last_step, rng) if asked.solves == "previous_step" else []
        first = await ask(1, [(0, each.messages) for each in given] + self._prompts(batch))
        proposals, solutions = first[: len(given)], first[len(given) :]

        replies = [_text(each) for each in proposals]
        with self._timed():
            found = await asyncio.to_thread(proposed_tasks, asked, given, replies, self.fits, self.runner)
        tasks = [each for each in found if isinstance(each, Task)]
        if asked.solves == "this_step":
            batch = self._to_solve(tasks, rng)
        for task in tasks:
            self.buffers.add(task)
        self._of_last_step = tasks

        estimated, trained = await self._solutions(ask, tasks, batch, solutions)
        rewarded = self._rewarded(given, proposals, found, estimated)
        stored = [*(rewarded if asked.propose else ()), *(self._of_solver(each) for each in trained)]
        return [replace(each, row=number // self.estimates) for number, each in enumerate(stored)]

    async def _solutions(
        self, ask: Ask, tasks: Sequence[Task], batch: Sequence[Task], sampled: Sequence[Trajectory]
    ) -> tuple[Sequence[float | None], list[Solved]]:
        """The share of right solutions to each new task, and the solutions that are trained on. None of a share that
        would be sampled for nothing, as proposals aren't trained on.
        """
        n, wanted = self.estimates, [task for task in tasks if self.asked.propose for _ in range(self.estimates)]
        if self.asked.estimates == "train":
            every = [task for task in batch for _ in range(n)]
            solved = await self._solved(every, await ask(1, self._prompts(every)))
            rights: dict[int, list[bool]] = {id(task): [] for task in batch}
            for each in solved:
                rights[id(each.task)].append(each.right)
            return [mean(rights[id(task)]) for task in tasks], solved
        of_batch = [] if self.asked.solves == "previous_step" else batch
        second = await ask(1, self._prompts([*wanted, *of_batch])) if wanted or of_batch else []
        solved = await self._solved([*wanted, *batch], [*second, *sampled])
        rights_T = [each.right for each in solved[: len(wanted)]]
        shares = [mean(rights_T[first : first + n]) for first in range(0, len(wanted), n)]
        return shares or [None] * len(tasks), solved[len(wanted) :]

    async def _solved(self, tasks: Sequence[Task], trajectories: Sequence[Trajectory]) -> list[Solved]:
        pairs = list(zip(tasks, trajectories, strict=True))
        answers = [solution(task.kind, _text(each), self.asked.think) for task, each in pairs]
        with self._timed():
            rights = await asyncio.to_thread(right, tasks, answers, self.runner)
        return [
            Solved(task, trajectory, answer, fine)
            for (task, trajectory), answer, fine in zip(pairs, answers, rights, strict=True)
        ]

    def state(self) -> dict[str, Any]:
        return {
            "step": self._step,
            "buffers": [asdict(task) for task in self.buffers.tasks()],
            "of_last_step": [asdict(task) for task in self._of_last_step],
            "proposed": [asdict(task) for task in self.proposed],
        }

    def restore(self, state: dict[str, Any]) -> None:
        self._step = state["step"]
        self.buffers.replace(map(Task.of, state["buffers"]))
        self._of_last_step = [Task.of(each) for each in state["of_last_step"]]
        self.proposed = [ProposedTask(**each) for each in state["proposed"]]

    @contextmanager
    def _timed(self) -> Iterator[None]:
        begin = time.monotonic()
        yield
        self.program_seconds += time.monotonic() - begin

    def _to_solve(self, tasks: Sequence[Task], rng: Random) -> list[Task]:
        """`size` tasks of each kind: these, where they are too few earlier ones, at the very start the identity."""
        chosen: list[Task] = []
        for kind in self.kinds:
            own = [task for task in tasks if task.kind == kind][: self.size]
            own += self.buffers.drawn(kind, self.size - len(own), rng)
            chosen += own + [identity(kind, self.asked.induction_inputs)] * (self.size - len(own))
        return chosen

    def _prompts(self, tasks: Sequence[Task]) -> list[tuple[int, Messages]]:
        return [(0, solve_messages(self.asked.prompts, task)) for task in tasks]

    def _rewarded(
        self,
        given: Sequence[Asked],
        proposals: Sequence[Trajectory],
        found: Sequence[Task | str],
        shares: Sequence[float | None],
    ) -> list[Trajectory]:
        """The proposals with their rewards; all are remembered in `proposed`."""
        rewarded, share_of_next = [], iter(shares)
        for each, trajectory, task in zip(given, proposals, found, strict=True):
            valid, has_form = isinstance(task, Task), task != NO_FORM
            solved = next(share_of_next) if valid else None
            reward = 0.0
            if self.asked.propose:
                reward = proposer_reward(has_form, solved, self.asked.rewards)  # type: ignore[arg-type]
            rewarded.append(_result(trajectory, "propose", each.kind, reward, has_form, valid, solved))
            self.proposed.append(_record(self._step, each, _text(trajectory), task, solved, reward))
        return rewarded

    def _of_solver(self, solved: Solved) -> Trajectory:
        has_form = solved.answer is not None
        reward = solver_reward(has_form, solved.right)
        return _result(solved.trajectory, "solve", solved.task.kind, reward, has_form, solved.right, None)


def _result(
    trajectory: Trajectory, role: str, kind: Kind, reward: float, has_form: bool, passed: bool, solved: float | None
) -> Trajectory:
    columns: dict[str, Any] = {
        "role": role,
        "kind": kind,
        "has_form": has_form,
        "passed": passed,  # a valid task, or a right solution
        "solved": -1.0 if solved is None else solved,
        **as_columns(GradingCounts()),
    }
    result = {"reward_score": reward, "reward_extra_info": columns}
    return replace(trajectory, result=result, group=f"{role} {kind}")


def _record(step: int, asked: Asked, raw: str, task: Task | str, solved: float | None, reward: float) -> ProposedTask:
    if isinstance(task, str):
        return ProposedTask(step, asked.kind, asked.program, [], [], "", False, task, solved, reward, raw)
    inputs, outputs = list(task.inputs), list(task.outputs)
    return ProposedTask(step, task.kind, task.program, inputs, outputs, task.message, True, None, solved, reward, raw)


def _text(trajectory: Trajectory) -> str:
    """The reply; of one that was cut off too, since its closed blocks count."""
    assert trajectory.result is not None, "the replies' reward manager runs beside the rollout"
    return str(trajectory.result["reward_extra_info"]["text"])
