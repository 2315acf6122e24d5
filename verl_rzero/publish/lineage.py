"""How a model of a run came about, round by round, as its cards tell it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from verl_rzero.data import run_dir
from verl_rzero.data.outputs import model_hash, model_of
from verl_rzero.evaluation.intervals import clustered, wilson
from verl_rzero.methods.kinds import Method


@dataclass(frozen=True)
class Score:
    """Accuracy on one benchmark with its 95 % interval over questions. `metric`: greedy, or mean@k."""

    benchmark: str
    metric: str
    value: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class Origin:
    """The base model (round 0, no questions), or what one round made; hashes are those of the dataset's columns.

    What the method doesn't have, or nobody knows, is None.
    """

    round: int
    solver: str
    scores: list[Score]
    challenger: str | None = None
    questions: int | None = None
    kept: int | None = None
    mean_agreement: float | None = None
    label_accuracy: float | None = None
    kept_label_accuracy: float | None = None
    reward_accuracy: float | None = None
    valid_share: float | None = None
    solve_rate: float | None = None
    learnability: float | None = None


def lineage(run: Path, upto: int, method: Method) -> list[Origin]:
    """From the base model to round `upto`, whose stages up to the Solver's must be done."""
    base = model_hash(model_of(run / "base/model"))
    challenger = base if method.has("challenger") else None
    origins = [Origin(0, base, scores(run / "base/evaluation"), challenger)]
    for number in range(1, upto + 1):
        here = run / f"round_{number}"
        made = _from_votes(here) if method.has("votes") else _from_last_step(here)
        solver = model_hash(model_of(here / "solver"))
        origins.append(Origin(number, solver, scores(here / "evaluation"), **made))
    return origins


def _from_votes(here: Path) -> dict[str, Any]:
    """What there is of a round whose Solver learns from votes on the Challenger's questions."""
    votes, curation = _numbers(here / "votes"), _numbers(here / "curation")
    return {
        "challenger": model_hash(model_of(here / "challenger")),
        "questions": votes["questions"],
        "kept": curation["kept"],
        "mean_agreement": votes["mean_agreement"],
        "label_accuracy": votes["pseudo_label_accuracy"],
        "kept_label_accuracy": curation["kept_label_accuracy"],
    }


def _from_last_step(here: Path) -> dict[str, Any]:
    """What there is of a round that is one training: its last step; what the method doesn't have is no number."""
    steps = _numbers(here / "solver")["steps"]
    last = steps[-1] if steps else {}
    return {
        "mean_agreement": last.get("agreement_mean"),
        "label_accuracy": last.get("label_accuracy"),
        "reward_accuracy": last.get("reward_accuracy"),
        "valid_share": last.get("well_formed_share"),
        "solve_rate": last.get("solve_rate"),
        "learnability": last.get("learnability"),
    }


def scores(stage_dir: Path) -> list[Score]:
    """Greedy and sampled accuracy of each benchmark; none when the evaluation isn't done."""
    import pyarrow.parquet as pq

    if not run_dir.is_done(stage_dir):
        return []
    rows = pq.read_table(stage_dir / "answers.parquet", columns=["benchmark", "right"]).to_pylist()
    found = []
    for name in dict.fromkeys(row["benchmark"] for row in rows):
        right_QR = [row["right"] for row in rows if row["benchmark"] == name]
        n, k = len(right_QR), len(right_QR[0]) - 1
        greedy = sum(row[0] for row in right_QR)
        found.append(Score(name, "greedy", greedy / n, *wilson(greedy / n, n), n))
        if k:
            shares_Q = [sum(row[1:]) / k for row in right_QR]
            found.append(Score(name, f"mean@{k}", sum(shares_Q) / n, *clustered(shares_Q, k), n))
    return found


def _numbers(stage_dir: Path) -> dict[str, Any]:
    numbers = run_dir.result(stage_dir)
    assert numbers is not None, f"{stage_dir} is not done"  # the Solver was made from it
    return numbers
