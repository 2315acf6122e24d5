"""The models of a run that are trained, and which of their versions a stage reads."""

from collections.abc import Mapping
from dataclasses import dataclass

from verl_rzero.settings import Challenger, Settings, Solver

ORDER = ("challenger", "questions", "votes", "curation", "solver", "evaluation")
"""The kinds of stages in the order of a round; a method may leave some out."""

BASE = "base/model"


@dataclass(frozen=True)
class Policy:
    """A model that is trained by these kinds of stages, in this order in a round. It starts from the base model."""

    trained_by: tuple[str, ...]

    def at(self, round_: int, kind: str) -> str:
        """Id of the stage whose model this policy is when a stage of `kind` begins in round `round_`."""
        in_round = [by for by in self.trained_by if ORDER.index(by) < ORDER.index(kind)]
        if in_round:
            return f"round_{round_}/{in_round[-1]}"
        return f"round_{round_ - 1}/{self.trained_by[-1]}" if round_ > 1 else BASE


def policies(settings: Settings) -> Mapping[str, Policy]:
    """The policy behind each role. With roles=shared (the paper's ablation) one model plays both, trained in turn."""
    if settings.algorithm in ("ttrl", "absolute_zero"):
        return {"solver": Policy(("solver",))}
    if settings.roles == "shared":
        one = Policy(("challenger", "solver"))
        return {"challenger": one, "solver": one}
    return {"challenger": Policy(("challenger",)), "solver": Policy(("solver",))}


def trains(settings: Settings, role: str, round_: int) -> bool:
    """Whether the Challenger or the Solver is trained in this round."""
    if role == "challenger" and settings.challenger.train_rounds is not None:
        return settings.challenger.steps > 0 and round_ <= settings.challenger.train_rounds
    job: Challenger | Solver = getattr(settings, role)
    return job.steps > 0


def leaves_engines(settings: Settings, role: str) -> bool:
    """Whether the engines that a role was trained with hold the model that its stage leaves, and on all devices: where
    the frozen Solver has GPUs of its own, the Challenger's engines have only the others.
    """
    if role == "solver":
        return not settings.solver.towards_start
    return settings.hardware.device == "cpu" or not settings.hardware.solver_gpus
