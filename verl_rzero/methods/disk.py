"""How many bytes a stage writes, by what they are: upper estimates, every text as long as it may be.

What is small in every run (a log, numbers, a tokenizer) is not counted here: `run/disk_space.py` adds a margin for it.
"""

from collections.abc import Callable
from pathlib import Path

from verl_rzero.methods.policies import trains
from verl_rzero.settings import Settings
from verl_rzero.settings.benchmarks import source

Estimate = Callable[[Settings, int, int], dict[str, int]]
"""Of the settings, the round, and the bytes in which the stage saves its model (0 where those can't be known)."""

TOKEN_BYTES = 6
"""A token of English is 4 or 5 bytes. Nothing is taken off for compression, which does the more the more alike texts
are.
"""


def base(settings: Settings, round_: int, model: int) -> dict[str, int]:
    """A model of somebody else's stays where it is."""
    return {"model": model} if settings.model.build is not None else {}


def challenger(settings: Settings, round_: int, model: int) -> dict[str, int]:
    if not trains(settings, "challenger", round_):
        return {}
    prompts = settings.challenger.batch_size * settings.model.prompt_tokens * TOKEN_BYTES
    return {"model": model, "prompts": prompts}


def questions(settings: Settings, round_: int, model: int) -> dict[str, int]:
    """Each text whole, and the question in it."""
    return {"questions": 2 * settings.candidates * settings.model.question_tokens * TOKEN_BYTES}


def votes(settings: Settings, round_: int, model: int) -> dict[str, int]:
    asked = settings.model
    of_one = asked.question_tokens + settings.votes_of_dataset * asked.answer_tokens
    return {"answers": settings.candidates * of_one * TOKEN_BYTES}


def curation(settings: Settings, round_: int, model: int) -> dict[str, int]:
    asked = settings.model
    new = 1 - settings.curation.replay_share - settings.anchors.share
    rows = max(round(settings.candidates / new), 2 * settings.solver.batch_size)  # the latter with too_few=repeat
    return {"training rows": rows * (asked.prompt_tokens + asked.question_tokens) * TOKEN_BYTES}


def solver(settings: Settings, round_: int, model: int) -> dict[str, int]:
    return {"model": model} if trains(settings, "solver", round_) else {}


def seeds(settings: Settings, round_: int, model: int) -> dict[str, int]:
    """The program of each task, and its inputs and outputs."""
    asked = settings.self_play
    return {"tasks": 2 * len(asked.kinds) * asked.seeds * settings.model.question_tokens * TOKEN_BYTES}


def self_play(settings: Settings, round_: int, model: int) -> dict[str, int]:
    """Every proposal whole and as a task, and the tasks that are remembered."""
    asked, job = settings.self_play, settings.solver
    proposed = job.steps_in_all * job.batch_size
    tasks = len(asked.kinds) * (proposed + min(asked.buffer, asked.seeds + round_ * proposed))
    return solver(settings, round_, model) | {"tasks": 2 * tasks * settings.model.question_tokens * TOKEN_BYTES}


def evaluation(settings: Settings, round_: int, model: int) -> dict[str, int]:
    asked, lengths = settings.evaluation, settings.model
    tokens = 0
    for name in asked.benchmarks:
        replies = 1 + asked.k_of(name)
        tokens += _questions(settings, name) * (lengths.question_tokens + replies * lengths.answer_tokens)
    return {"answers": tokens * TOKEN_BYTES}


def _questions(settings: Settings, name: str) -> int:
    """Questions of a benchmark; of a directory whose `n` isn't set, none, as it would have to be loaded."""
    asked = settings.evaluation.benchmarks[name]
    known = asked.n or source(name).size
    if known is not None:
        return known
    path = Path(str(asked.path)).expanduser()
    if path.suffix == ".parquet":
        import pyarrow.parquet as pq

        return int(pq.read_metadata(path).num_rows)
    if not path.is_file():
        return 0
    with path.open("rb") as file:
        return sum(1 for _ in file)
