"""What proposing and solving a code task earn (Absolute Zero, arXiv 2505.03335, equations 4 to 6)."""

from typing import Literal

WRONG, NO_FORM = -0.5, -1.0

Form = Literal["paper", "released"]


def learnability(solved: float) -> float:
    """Equation 4: 1 - the share of sampled solutions that are right, 0 where that share is 0 or 1."""
    return 1.0 - solved if 0.0 < solved < 1.0 else 0.0


def proposer_reward(has_form: bool, solved: float | None, form: Form = "paper") -> float:
    """Equation 6 for a proposer: its learnability; -0.5 where the task is not valid; -1 without the form.

    The released code gives -1 to a task that is not valid, and -0.5 to one that is always or never solved.

    Args:
        solved: share of the sampled solutions that are right; None where the task is not valid.
    """
    if not has_form:
        return NO_FORM
    if solved is None:
        return NO_FORM if form == "released" else WRONG
    earned = learnability(solved)
    return WRONG if form == "released" and earned == 0.0 else earned


def solver_reward(has_form: bool, right: bool) -> float:
    """Equations 5 and 6 for a solver: 1, -0.5 where the answer is wrong, -1 without the form."""
    return 1.0 if right else WRONG if has_form else NO_FORM
