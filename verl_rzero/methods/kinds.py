"""What a run is made of: kinds of stages, and the stages that a method orders."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from verl_rzero.methods.disk import Estimate
from verl_rzero.methods.inputs import StageInputs
from verl_rzero.methods.policies import ORDER
from verl_rzero.methods.readings import Readings, Result, nothing
from verl_rzero.settings import Settings


@dataclass(frozen=True)
class Kind:
    """One sort of stage.

    Args:
        name: of its directory in the round, and of its part in report.json.
        work: does it and returns the content of its result.json.
        depends: the settings, at and below these names, that its output depends on, beside its inputs. The sizes of the
            hardware are not among them, so that a run may be continued on another machine of the same sort.
        writes: how many bytes it leaves on the disk at most.
        readings: what the monitors judge, from its result and those of the same kind before, in order.
        uses_engine: whether it starts Ray and vLLM.
        trains: whether it is a GRPO job, whose steps are points in TensorBoard.
        serves: kinds of the same round that can use the engines that it leaves behind, and those between them.
    """

    name: str
    work: Callable[[StageInputs], dict[str, Any]]
    depends: tuple[str, ...]
    writes: Estimate
    readings: Callable[[Result, Sequence[Result]], Readings] = nothing
    uses_engine: bool = False
    trains: bool = False
    serves: tuple[str, ...] = ()


@dataclass(frozen=True)
class Stage:
    """One step of a run, in its own directory, and in a process that others may share (`plan.in_one_process`).

    `round` counts from 1 and is 0 for the base model, `inputs` are the ids of the stages whose outputs it reads, `size`
    says in a few words how much there is to do.
    """

    kind: Kind
    round: int
    inputs: tuple[str, ...]
    size: str

    @property
    def id(self) -> str:
        """Its directory below the run's."""
        return stage_id(self.round, self.kind.name)

    def directory(self, run: Path) -> Path:
        return run / self.id


@dataclass(frozen=True)
class Method:
    """A way in which a model improves itself: its `kinds` of stages, and `stages`, their order in a run.

    `name` is that of the setting `algorithm`, `title` what people call it, `paper` the address of its paper.
    """

    name: str
    title: str
    paper: str
    kinds: tuple[Kind, ...]
    stages: Callable[[Settings], list[Stage]]

    @property
    def opens_a_round(self) -> Kind:
        """The kind of stage that every round begins with: after the base model's, the first."""
        return self.kinds[1]

    @property
    def in_a_round(self) -> tuple[Kind, ...]:
        """The kinds of stages that every round has."""
        return tuple(kind for kind in self.kinds if kind.name in ORDER)

    def has(self, kind: str) -> bool:
        """Whether there are stages of this kind."""
        return any(each.name == kind for each in self.kinds)


def stage_id(round_: int, kind: str) -> str:
    """`base/model` for round 0, `round_2/votes` for round 2."""
    return f"round_{round_}/{kind}" if round_ else f"base/{kind}"
