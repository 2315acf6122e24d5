"""How much a question is worth by the Solver's agreement with itself (R-Zero, arXiv 2508.05004)."""

from collections.abc import Callable, Sequence
from typing import overload

import numpy as np
from numpy.typing import NDArray

Float_B = NDArray[np.float64]

_ROUNDING = 1e-9


def _paper(p: Float_B) -> Float_B:
    """1 - 2|p - 1/2|: 1 at one half, 0 at both ends (the paper's formula)."""
    return 1.0 - 2.0 * np.abs(p - 0.5)


def _released(p: Float_B) -> Float_B:
    """min(p, 1-p): half of the paper's, as in the released R-Zero code."""
    return np.minimum(p, 1.0 - p)


def _variance(p: Float_B) -> Float_B:
    """4p(1-p): variance of the vote scaled to a peak of 1 (the term of the paper's motivation)."""
    return 4.0 * p * (1.0 - p)


def _learnability(p: Float_B) -> Float_B:
    """1 - p, which is 0 at p = 1, and 0 at p = 0 (Absolute Zero, arXiv 2505.03335)."""
    return np.where(p > 0.0, 1.0 - p, 0.0)


FORMS: dict[str, Callable[[Float_B], Float_B]] = {
    "paper": _paper,
    "released": _released,
    "variance": _variance,
    "learnability": _learnability,
}
"""The forms without a parameter."""

ALL_FORMS = (*FORMS, "band", "zpd", "random")


Rng = np.random.Generator


@overload
def uncertainty_reward(
    agreement: float, form: str = "paper", *, band: Sequence[float] = ..., peak: float = ..., rng: Rng | None = ...
) -> float: ...
@overload
def uncertainty_reward(
    agreement: Float_B, form: str = "paper", *, band: Sequence[float] = ..., peak: float = ..., rng: Rng | None = ...
) -> Float_B: ...
def uncertainty_reward(
    agreement: float | Float_B,
    form: str = "paper",
    *,
    band: Sequence[float] = (0.25, 0.75),
    peak: float = 0.75,
    rng: Rng | None = None,
) -> float | Float_B:
    """Reward of an agreement in [0, 1]; a float gives a float, an array an array of its shape.

    Beside the forms of FORMS there are
        band: 1 where lo <= p <= hi (the paper's informative band as a reward), else 0;
        zpd: p / peak up to the peak, (1 - p) / (1 - peak) beyond it, so that questions which the Solver mostly agrees
            on are worth most (Prism's zone of proximal development, peak 0.75); at peak 1/2 it is the paper's form;
        random: drawn evenly from [0, 1), a control whose Challenger is trained on nothing.

    Raises:
        ValueError: unknown form, an agreement that is not in [0, 1], or form random without `rng`.
    """
    if form not in ALL_FORMS:
        raise ValueError(f"uncertainty form {form!r} is unknown; use one of {', '.join(ALL_FORMS)}")
    p = np.asarray(agreement, dtype=np.float64)
    if not np.all((p >= 0.0) & (p <= 1.0)):
        raise ValueError(f"agreement must lie in [0, 1], got {agreement!r}")
    if form == "band":
        reward = np.where((p >= band[0] - _ROUNDING) & (p <= band[1] + _ROUNDING), 1.0, 0.0)
    elif form == "zpd":
        reward = np.where(p <= peak, p / peak, (1.0 - p) / (1.0 - peak))
    elif form == "random":
        if rng is None:
            raise ValueError("form random needs rng")
        reward = rng.random(p.shape)
    else:
        reward = FORMS[form](p)
    return reward if isinstance(agreement, np.ndarray) else float(reward)
