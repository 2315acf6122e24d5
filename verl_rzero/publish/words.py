"""What a model's card says of its method: the same places filled with other words. Markdown, pure functions."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from verl_rzero.methods import plan
from verl_rzero.publish import markdown
from verl_rzero.publish.lineage import Origin
from verl_rzero.settings import Settings
from verl_rzero.settings.benchmarks import source


@dataclass(frozen=True)
class Words:
    """The places.

    Args:
        tags: on the Hub.
        what: behind the paper's name: what it learned from, and how.
        messages: which messages the model was trained with.
        measured: what the benchmarks' scores are of.
        not_held_out: sentences on which of them are no evidence.
        columns: of the table of rounds: name, and the cell of a round.
        lineage: what that table shows.
        limits: what to be careful with.
        datasets: on the Hub, that it was trained on.
    """

    tags: list[str]
    what: str
    messages: str
    measured: str
    not_held_out: list[str]
    columns: dict[str, Callable[[Origin], str]]
    lineage: str
    limits: str
    datasets: list[str]


def words(settings: Settings, role: str) -> Words:
    """Of the run's method, for the model of a role."""
    return {"rzero": _rzero, "ttrl": _ttrl, "absolute_zero": _absolute_zero}[settings.algorithm](settings, role)


def paper(settings: Settings) -> str:
    """The method's name, a link to its paper."""
    method = plan.method(settings)
    return f"[{method.title}]({method.paper})"


_OWN_LABELS = (
    "Its labels were its own majority votes, some of them wrong; training on them can make a model surer of what it "
    "gets wrong."
)
_NOT_TESTED = "It was not tested for safety, nor on anything but the benchmarks above."


def _rzero(settings: Settings, role: str) -> Words:
    data = "with some examples by people (`anchors`)" if settings.anchors.path else "without data"
    task, limits = {
        "solver": (
            "It answers questions: GRPO trained it on its own majority votes on questions that a second model, the "
            "Challenger, learned to ask.",
            f"{_OWN_LABELS} {_NOT_TESTED}",
        ),
        "challenger": (
            "It asks questions: GRPO trained it to ask what a second model, the Solver, does not always answer alike.",
            "It was paid for questions that split one Solver's answers, whether or not they have an answer. It was not "
            "tested for safety, nor on anything else.",
        ),
    }[role]
    how = (
        "Models by the SHA-256 of their weights, in short (or their hub name). In each round the Challenger is trained "
        "against the Solver that there is, asks the questions, and these, labelled by the Solver's vote, train the "
        'next Solver. "true labels": share of labels that are right, where truth is known ("-": it is not).'
    )
    if settings.roles == "shared":
        how += " One model plays both parts (`roles: shared`): each training starts from what the one before made."
    return Words(
        tags=["r-zero", "self-play", "verl"],
        what=f"self-play {data}. {task}",
        messages="It was trained with exactly these messages:",
        measured="Accuracy on held-out questions",
        not_held_out=[],
        columns={
            "Challenger": lambda origin: f"`{origin.challenger}`",
            "Solver": lambda origin: f"`{origin.solver}`",
            "questions": lambda origin: _count(origin.questions),
            "kept": lambda origin: _count(origin.kept),
            "mean agreement": lambda origin: _share(origin.mean_agreement),
            "true labels": lambda origin: _share(origin.label_accuracy),
            "of kept": lambda origin: _share(origin.kept_label_accuracy),
        },
        lineage=how,
        limits=limits,
        datasets=[],
    )


def _ttrl(settings: Settings, role: str) -> Words:
    name = f"`{markdown.cell(given(settings))}`"
    hub = _on_the_hub(settings)
    linked = f"{name} ([{hub}](https://huggingface.co/datasets/{hub}))" if hub else name
    votes, trained = settings.ttrl.votes, settings.solver.rollouts
    same = f"The questions of {name} are the ones it was trained on, and not held-out."
    if settings.data not in settings.evaluation.benchmarks:
        same = f"Where questions are also among those of {name}, it was trained on them, and they are not held-out."
    return Words(
        tags=["ttrl", "test-time-reinforcement-learning", "verl"],
        what=(
            f"test-time reinforcement learning: training on given questions without their answers. The questions are "
            f"those of {linked}. In a step of GRPO it answered each question {votes} times; the most frequent answer "
            f"was taken for right, and {trained} of the answers were trained on, rewarded where they agreed with it."
        ),
        messages=f"It was trained with exactly these messages, with a question of {name} in place of `{EXAMPLE}`:",
        measured="Accuracy on questions with known answers",
        not_held_out=[same],
        columns={
            "Solver": lambda origin: f"`{origin.solver}`",
            "majority share": lambda origin: _share(origin.mean_agreement),
            "true labels": lambda origin: _share(origin.label_accuracy),
            "true rewards": lambda origin: _share(origin.reward_accuracy),
        },
        lineage=(
            "Models by the SHA-256 of their weights, in short (or their hub name); shares in the last step of a round. "
            '"majority share": of all answers to a question, those that agree with the most frequent one. '
            '"true labels" and "true rewards": share of labels that are right, and of rewards that the true answer '
            'would have given too, where truth is known ("-": it is not); it was only read to measure.'
        ),
        limits=(
            f"**Scores on the questions of {name} are not held-out**: it was trained on these same questions, though "
            f"without their answers, and how it does on them says little about others. {_OWN_LABELS} {_NOT_TESTED}"
        ),
        datasets=[hub] if hub else [],
    )


def _absolute_zero(settings: Settings, role: str) -> Words:
    kinds = " and ".join(settings.self_play.kinds)
    return Words(
        tags=["absolute-zero", "self-play", "verl"],
        what=(
            f"self-play without data. It proposed programs and tasks about them to itself ({kinds}) and solved them; "
            "what is right was found by running the programs. It was paid for right solutions, and for tasks that it "
            "solved sometimes, not always."
        ),
        messages="As a solver it was trained with messages of this form (the deduction of a program's output):",
        measured="Accuracy on held-out tasks and questions",
        not_held_out=[],
        columns={
            "model": lambda origin: f"`{origin.solver}`",
            "valid proposals": lambda origin: _share(origin.valid_share),
            "solved": lambda origin: _share(origin.solve_rate),
            "learnability": lambda origin: _share(origin.learnability),
        },
        lineage=(
            "Models by the SHA-256 of their weights, in short (or their hub name); shares in the last step of a round. "
            '"valid proposals": share of its proposals that are tasks whose program runs and always gives the same; '
            '"solved": share of right ones among its own solutions to them; "learnability": what a valid task earned.'
        ),
        limits=(
            "It writes programs that nobody has read: run them only where they can do no harm, as "
            f"`verl_rzero.executor` does. {_NOT_TESTED}"
        ),
        datasets=[],
    )


EXAMPLE = "1+2"
"""A question for a card whose run has none of its own: given ones may be private."""


def given(settings: Settings) -> str:
    """What the given questions are called: a benchmark, or their file without its directory."""
    assert settings.data is not None  # checked with the settings
    return settings.data if settings.data in settings.evaluation.benchmarks else Path(settings.data).name


def _on_the_hub(settings: Settings) -> str | None:
    """The dataset that the given questions come from; None for a file, or where the model's build makes them."""
    benchmark = settings.evaluation.benchmarks.get(settings.data or "")
    return source(given(settings)).hub if benchmark is not None and benchmark.path is None else None


def _count(value: int | None) -> str:
    return "-" if value is None else str(value)


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
