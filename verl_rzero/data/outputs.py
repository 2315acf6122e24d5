"""What a stage reads: the run's settings, the models and files of the stages before it."""

import inspect
import os
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from verl_rzero.base.errors import refusal
from verl_rzero.base.files import read_json
from verl_rzero.data import records, run_dir
from verl_rzero.settings import Settings


def model_of(stage_dir: Path) -> Path | str:
    """The model that a stage made or chose: a directory of the run, or a path or hub name from outside."""
    named = read_json(stage_dir / run_dir.RESULT)["model"]
    inside = named == "model" or str(named).startswith("../")  # a stage before this one made it
    return Path(os.path.normpath(stage_dir / named)) if inside else str(named)


def solver_of(run: Path, round_: int) -> Path | str:
    """S(round_); S(0) is the base model."""
    return model_of(run / (f"round_{round_}/solver" if round_ else "base/model"))


def kept_questions(run: Path, round_: int) -> list[records.VotedQuestion]:
    """The questions of a round that its curation kept, in the order of their ids."""
    here = run / f"round_{round_}"
    decided = records.read(here / "curation/decisions.parquet", records.Decision)
    kept = {item.id for item in decided if item.reason is None}
    return [item for item in votes_in(here / "votes") if item.id in kept]


def votes_in(stage_dir: Path) -> list[records.VotedQuestion]:
    """The votes of a stage without the whole replies, which are most of the file."""
    return records.read(stage_dir / "votes.parquet", records.VotedQuestion, without=["raws"])


def kept_before(run: Path, round_: int) -> list[records.VotedQuestion]:
    """The questions that the rounds before this one kept."""
    return [item for t in range(1, round_) for item in kept_questions(run, t)]


def truth_of(asked: Settings) -> Callable[[str], str | None] | None:
    """The function that `model.truth` names.

    Raises:
        UserError: its module can't be imported, or there is no Python function of one argument of that name. It is not
            called to find out.
    """
    if asked.model.truth is None:
        return None
    module, _, name = asked.model.truth.partition(":")
    try:
        known: Callable[[str], str | None] | None = getattr(import_module(module), name, None)
        if not inspect.isfunction(known):
            raise TypeError(f"{module} has no function {name} written in Python")
        inspect.signature(known).bind("1+1")
    except (ImportError, TypeError) as error:
        instead = (
            "Write pkg.module:function of a function that takes a question and returns its answer or None, or null."
        )
        raise refusal("model.truth", asked.model.truth, f"it can't be used ({error})", instead) from error
    return known


def label_accuracy(voted: list[records.VotedQuestion]) -> float | None:
    """Share of right pseudo-labels among the questions whose truth is known."""
    from verl_rzero.grading.grader import same_answer

    known = [(item.label, item.truth) for item in voted if item.truth is not None]
    right = sum(label is not None and same_answer(label, truth) for label, truth in known)
    return right / len(known) if known else None


def model_hash(model: Path | str) -> str:
    """SHA-256 of a model directory's weights, in short; a hub name stands for itself.

    It says in the records of a run who wrote a text: the same weights have it wherever they lie, with any tokenizer
    beside them. Which replies of a model may be used again is `store.model_key`'s to say.
    """
    from hashlib import file_digest, sha256

    files = sorted(Path(model).glob("*.safetensors"))
    if not files:
        return str(model)
    digest = sha256()
    for path in files:
        with path.open("rb") as file:
            digest.update(file_digest(file, "sha256").digest())
    return digest.hexdigest()[:16]
