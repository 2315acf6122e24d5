"""What can't go together in Absolute Zero's settings, each with a refusal that says what to write instead."""

import math
from collections.abc import Iterator

from verl_rzero.base.errors import UserError, refusal
from verl_rzero.settings.parts import Solver
from verl_rzero.settings.run_settings import Settings
from verl_rzero.settings.self_play import SelfPlay

PLACES = {
    "propose_induction": ("program",),
    "solve_deduction": ("program", "input"),
    "solve_abduction": ("program", "output"),
    "solve_induction": ("pairs", "message"),
}
"""Parts of a task that a prompt has to show."""


def problems(settings: Settings) -> Iterator[UserError]:
    """Refusals of an Absolute Zero run's settings; none of another method's."""
    if settings.algorithm != "absolute_zero":
        return
    yield from _kind_problems(settings)
    yield from _step_problems(settings)
    for name, places in PLACES.items():
        template: str = getattr(settings.self_play.prompts, name)
        for place in places:
            if name.endswith(settings.self_play.kinds) and f"{{{place}}}" not in template:
                key, why = f"self_play.prompts.{name}", f"without {{{place}}} the task would not be seen whole"
                yield refusal(key, template, why, f"Put {{{place}}} where it belongs.")
    server = settings.execution.sandbox_fusion
    if server is not None and not server.startswith(("http://", "https://")):
        why = "this is no http address"
        yield refusal("execution.sandbox_fusion", server, why, "Write http://<host>:<port>, for example.")


def _kind_problems(settings: Settings) -> Iterator[UserError]:
    kinds = settings.self_play.kinds
    if not kinds or len({*kinds}) != len(kinds):
        why = "these are no different kinds of tasks"
        yield refusal("self_play.kinds", kinds, why, "Write self_play.kinds=[deduction, abduction, induction].")
    elif kinds == ("induction",):
        why = "programs of induction tasks come from deduction's and abduction's"
        yield refusal("self_play.kinds", kinds, why, "Write self_play.kinds=[deduction, induction], for example.")


def rows_of_a_step(asked: SelfPlay, job: Solver) -> int:
    """What a step trains on, in rows of `job.rollouts` responses (`engine/self_play.py`)."""
    singles = job.batch_size // job.rollouts
    solutions = job.batch_size if asked.estimates == "train" else singles
    return len(asked.kinds) * ((singles if asked.propose else 0) + solutions)


def _step_problems(settings: Settings) -> Iterator[UserError]:
    asked, job = settings.self_play, settings.solver
    rows, gpus = rows_of_a_step(asked, job), settings.hardware.train_gpus("solver")
    if job.batch_size % job.rollouts:
        why = f"a step's responses are stored in rows of solver.rollouts={job.rollouts}"
        more = -(-job.batch_size // job.rollouts) * job.rollouts
        yield refusal("solver.batch_size", job.batch_size, why, f"Write a multiple of it: solver.batch_size={more}.")
    elif rows * job.rollouts % gpus:
        why = f"a step's {rows} x {job.rollouts} responses can't be shared out evenly among {gpus} GPUs"
        of_the_least = rows * job.rollouts // (job.batch_size // job.rollouts)  # responses where a batch is one row
        multiple = job.rollouts * gpus // math.gcd(gpus, of_the_least)
        yield refusal("solver.batch_size", job.batch_size, why, f"Write a multiple of {multiple}.")
    if asked.estimates == "train" and asked.solves == "previous_step":
        why = "the solutions that estimate are of tasks of this step"
        yield refusal("self_play.estimates", asked.estimates, why, "Write self_play.solves=this_step with it.")
    if job.format_weight:
        why = "a reply's form is rewarded as equation 6 says"
        yield refusal("solver.format_weight", job.format_weight, why, "Write solver.format_weight=0.")
