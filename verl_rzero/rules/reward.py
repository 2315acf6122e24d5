"""The Challenger's reward: uncertainty minus repetition (R-Zero, arXiv 2508.05004)."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from verl_rzero.rules.uncertainty import uncertainty_reward


def challenger_reward(
    agreements_B: ArrayLike,
    shares_B: ArrayLike,
    well_formed_B: ArrayLike,
    *,
    form: str = "paper",
    repetition_weight: float = 1.0,
    invalid_reward: float = 0.0,
    floor: float | None = 0.0,
    penalise_invalid: bool = False,
    memory_shares_B: ArrayLike | None = None,
    **form_parameters: Any,
) -> NDArray[np.float64]:
    """r = max(floor, uncertainty(p) - repetition_weight * share) for a well-formed question, else `invalid_reward`.

    Args:
        agreements_B: the Solver's agreement p in [0, 1] per question; not read (may be NaN) where malformed.
        shares_B: size of the question's cluster over the batch size, in [0, 1]; not read where malformed.
        well_formed_B: booleans; a malformed output has no question in it.
        form: name of the uncertainty form, see `challenger.uncertainty`; `form_parameters` are the form's own.
        penalise_invalid: a malformed output gets invalid_reward - repetition_weight * share (released code), its share
            is read then.
        memory_shares_B: share of the remembered earlier questions that are in the question's cluster, added to its
            share of the batch; none by default.
        floor: lower bound of a well-formed question's reward; None for no bound (released code).

    Returns:
        float64[B].

    Raises:
        ValueError: shapes differ, are not one-dimensional, or a value that is read lies outside its range.
    """
    agreements, well_formed = np.asarray(agreements_B, dtype=np.float64), np.asarray(well_formed_B)
    uncertainty_B = np.zeros(agreements.shape)
    if agreements.shape == well_formed.shape and well_formed.dtype == np.bool_:
        uncertainty_B[well_formed] = uncertainty_reward(agreements[well_formed], form, **form_parameters)
    return less_repetition(
        uncertainty_B,
        shares_B,
        well_formed_B,
        repetition_weight=repetition_weight,
        invalid_reward=invalid_reward,
        floor=floor,
        penalise_invalid=penalise_invalid,
        memory_shares_B=memory_shares_B,
    )


def less_repetition(
    uncertainty_B: ArrayLike,
    shares_B: ArrayLike,
    well_formed_B: ArrayLike,
    *,
    repetition_weight: float = 1.0,
    invalid_reward: float = 0.0,
    floor: float | None = 0.0,
    penalise_invalid: bool = False,
    memory_shares_B: ArrayLike | None = None,
) -> NDArray[np.float64]:
    """As `challenger_reward`, from uncertainties that are known already; not read where malformed."""
    uncertainty = np.asarray(uncertainty_B, dtype=np.float64)
    shares = np.asarray(shares_B, dtype=np.float64)
    well_formed = np.asarray(well_formed_B)
    if uncertainty.ndim != 1 or not uncertainty.shape == shares.shape == well_formed.shape:
        raise ValueError(
            "agreements, shares and well_formed must be three lists of one length, "
            f"got shapes {uncertainty.shape}, {shares.shape}, {well_formed.shape}"
        )
    if well_formed.size and well_formed.dtype != np.bool_:
        raise ValueError(f"well_formed must hold booleans, got {well_formed.dtype}")
    well_formed = well_formed.astype(np.bool_)
    memory = np.zeros(shares.shape) if memory_shares_B is None else np.asarray(memory_shares_B, dtype=np.float64)
    read = shares if penalise_invalid else shares[well_formed]
    if not all(np.all((part >= 0.0) & (part <= 1.0)) for part in (read, memory[well_formed])):
        raise ValueError("a cluster share must lie in [0, 1]")
    reward_B = np.full(uncertainty.shape, float(invalid_reward))
    if penalise_invalid:
        reward_B -= repetition_weight * shares
    valid = uncertainty[well_formed] - repetition_weight * (shares + memory)[well_formed]
    reward_B[well_formed] = valid if floor is None else np.maximum(floor, valid)
    return reward_B
