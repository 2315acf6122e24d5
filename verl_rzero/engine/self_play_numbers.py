"""The numbers of a step of self-play; its sampler has made the rewards (`self_play.py`)."""

import numpy as np

from verl_rzero.engine.batch_rewards import Judged, Rows
from verl_rzero.engine.self_play import ProposesAndSolves
from verl_rzero.rules.code_rewards import learnability
from verl_rzero.rules.code_tasks import KINDS


class SelfPlayNumbers:
    """Of all kinds of tasks and of each: shares of replies with the form, of valid proposals, of right solutions; how
    often proposed tasks are solved and what that makes them worth; the buffers' sizes; the seconds that running
    programs took.
    """

    reads: tuple[str, ...] = ("role", "kind", "has_form", "passed", "solved")

    def __init__(self, sampler: ProposesAndSolves) -> None:
        self.sampler = sampler

    def __call__(self, rows: Rows, step: int) -> Judged:
        role_B, kind_B = np.array(rows["role"]), np.array(rows["kind"])
        has_form_B, passed_B = np.array(rows["has_form"], float), np.array(rows["passed"], float)
        solved_B = np.array(rows["solved"], float)
        proposes_B = role_B == "propose"
        numbers = {
            **_means("answered_share", has_form_B[~proposes_B]),
            **_means("right_share", passed_B[~proposes_B]),
            **_means("well_formed_share", passed_B[proposes_B]),
            **_proposals("", solved_B[proposes_B & (solved_B >= 0)]),
            "seconds_programs": self.sampler.program_seconds,
        }
        for kind in KINDS:
            here_B = kind_B == kind
            if here_B.any():
                numbers |= {
                    **_means(f"{kind}_right_share", passed_B[here_B & ~proposes_B]),
                    **_means(f"{kind}_valid_share", passed_B[here_B & proposes_B]),
                    **_proposals(f"{kind}_", solved_B[here_B & proposes_B & (solved_B >= 0)]),
                    f"{kind}_buffer": float(self.sampler.buffers.size(kind)),
                }
        return Judged(None, numbers)


def _proposals(prefix: str, solved: np.ndarray) -> dict[str, float]:
    worth = np.array([learnability(share) for share in solved])
    return {**_means(f"{prefix}solve_rate", solved), **_means(f"{prefix}learnability", worth)}


def _means(name: str, values: np.ndarray) -> dict[str, float]:
    """Nothing of nothing."""
    return {name: float(values.mean())} if len(values) else {}
