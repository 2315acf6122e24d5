"""The methods side by side: each is the order of its stages, over the same kinds, policies and rules.

R-Zero with one shared model is `rzero` with other policies (`policies.policies`).
"""

from collections.abc import Iterator
from dataclasses import replace

from verl_rzero.methods import disk, self_play, sizes, work
from verl_rzero.methods.kinds import Kind, Method, Stage
from verl_rzero.methods.policies import BASE, policies
from verl_rzero.methods.readings import of_curation, of_evaluation, of_questions, of_training, of_votes
from verl_rzero.settings import Settings

ASK = (
    "prompts.challenger_system",
    "prompts.challenger_user",
    "model.prompt_tokens",
    "model.question_tokens",
    "question_box",
    "anchors.path",
    "anchors.in_prompt",
)
ANSWER = ("prompts.solver_system", "prompts.solver_user", "model.prompt_tokens", "model.answer_tokens")
VOTE = (*ANSWER, "prompts.validity", "curation.ill_posed_share", "unanswered", "roles")
SCORES = ("evaluation.benchmarks", "evaluation.k", "evaluation.temperature", "evaluation.judge.model")
PREPARED_FOR = ("prompts.challenger_system", "prompts.challenger_user", "prompts.solver_system", "prompts.solver_user")
LENGTHS = ("model.prompt_tokens", "model.question_tokens", "model.answer_tokens")
JOB = ("hardware.device", "hardware.verl", "lora", "sampling.wait_for")

BUILD = ("model.path", "model.build", "model.build_seed", "model.build_steps")

MODEL = Kind("model", work.base_model, BUILD, disk.base)
PREPARED_MODEL = replace(MODEL, depends=(*MODEL.depends, *PREPARED_FOR))
EVALUATION = Kind(
    "evaluation",
    work.evaluation,
    (*SCORES, *ANSWER, "grading", "seed", "hardware.device"),
    disk.evaluation,
    of_evaluation,
    uses_engine=True,
)
CHALLENGER = Kind(
    "challenger",
    work.challenger,
    ("challenger", "votes", "sampling.votes", *ASK, *VOTE, "grading", "seed", *JOB),
    disk.challenger,
    of_training,
    uses_engine=True,
    trains=True,
    serves=("questions", "votes", "curation", "solver"),
)
QUESTIONS = Kind(
    "questions",
    work.questions,
    ("candidates", "sampling.questions", "sampling.wait_for", *ASK, "seed", "hardware.device"),
    disk.questions,
    of_questions,
    uses_engine=True,
)
VOTES = Kind(
    "votes",
    work.votes,
    (
        *("votes", "dataset_votes", "sampling.votes", "sampling.wait_for", *VOTE),
        *("grading", "model.truth", "seed", "hardware.device"),
    ),
    disk.votes,
    of_votes,
    uses_engine=True,
)
CURATION = Kind(
    "curation",
    work.curation,
    ("band", "unanswered", "curation", "anchors", "too_few", "solver.batch_size", "seed", *ANSWER),
    disk.curation,
    of_curation,
)
SOLVER = Kind(
    "solver",
    work.solver,
    ("solver", "roles", *ANSWER, "grading", "seed", *JOB),
    disk.solver,
    of_training,
    uses_engine=True,
    trains=True,
    serves=("evaluation",),
)
OWN_MAJORITY = Kind(
    "solver",
    work.solver_on_own_majority,
    ("solver", "data", "too_few", "ttrl", "unanswered", *ANSWER, "grading", "seed", *JOB),
    disk.solver,
    of_training,
    uses_engine=True,
    trains=True,
    serves=("evaluation",),
)

SEEDS = Kind(
    "seeds",
    self_play.seeds,
    ("self_play", "execution", "sampling.questions", *LENGTHS, "seed", "hardware.device"),
    disk.seeds,
    uses_engine=True,
)
SELF_PLAY = Kind(
    "solver",
    self_play.self_play,
    ("solver", "self_play", "execution", *LENGTHS, "seed", *JOB),
    disk.self_play,
    of_training,
    uses_engine=True,
    trains=True,
    serves=("evaluation",),
)


def rzero(settings: Settings) -> list[Stage]:
    """Rounds of: C is trained to split the votes of S, asks, S votes, the informative questions train S.

    arXiv 2508.05004, Figure 2.
    """
    stages = [*_base(settings)]
    C, S = (policies(settings)[role] for role in ("challenger", "solver"))
    remembers, looks_back = work.remembers(settings), work.looks_back(settings)
    for t in range(1, settings.rounds + 1):
        here = f"round_{t}"
        asked_before = _earlier(t, "questions") if remembers else ()
        kept_before = _earlier(t, "votes", "curation") if looks_back else ()
        to_c = (C.at(t, "challenger"), S.at(t, "challenger"), *_reference(settings, "challenger"), *asked_before)
        to_s = (f"{here}/curation", S.at(t, "solver"), *_reference(settings, "solver"))
        stages += [
            Stage(CHALLENGER, t, _once(*to_c), sizes.challenger(settings, t)),
            Stage(QUESTIONS, t, (f"{here}/challenger",), f"{settings.candidates} questions"),
            Stage(VOTES, t, (f"{here}/questions", S.at(t, "votes")), sizes.votes(settings)),
            Stage(CURATION, t, (f"{here}/votes", *kept_before), sizes.curation(settings)),
            Stage(SOLVER, t, _once(*to_s), sizes.solver(settings)),
            *_evaluated(settings, t),
        ]
    return stages


def ttrl(settings: Settings) -> list[Stage]:
    """S is trained on given questions; a right answer is the majority of its own to the same question.

    arXiv 2504.16084, section 2. Several rounds are one long training with evaluations in between.
    """
    stages = [*_base(settings)]
    S = policies(settings)["solver"]
    for t in range(1, settings.rounds + 1):
        stages += [
            Stage(OWN_MAJORITY, t, _once(BASE, S.at(t, "solver")), sizes.own_majority(settings)),
            *_evaluated(settings, t),
        ]
    return stages


def absolute_zero(settings: Settings) -> list[Stage]:
    """S proposes code tasks and solves them; what is right, an executor says.

    arXiv 2505.03335, algorithm 1. Several rounds are one long training with evaluations in between.
    """
    stages = [*_base(settings)]
    S, seeds = policies(settings)["solver"], settings.self_play.seeds > 0
    if seeds:
        stages.append(Stage(SEEDS, 0, (BASE,), sizes.seeds(settings)))
    for t in range(1, settings.rounds + 1):
        first = (self_play.SEEDS,) if seeds and t == 1 else ()
        stages += [
            Stage(SELF_PLAY, t, _once(BASE, S.at(t, "solver"), *first), sizes.self_play(settings)),
            *_evaluated(settings, t),
        ]
    return stages


METHODS = {
    "rzero": Method(
        "rzero",
        "R-Zero",
        "https://arxiv.org/abs/2508.05004",
        (MODEL, CHALLENGER, QUESTIONS, VOTES, CURATION, SOLVER, EVALUATION),
        rzero,
    ),
    "ttrl": Method("ttrl", "TTRL", "https://arxiv.org/abs/2504.16084", (MODEL, OWN_MAJORITY, EVALUATION), ttrl),
    "absolute_zero": Method(
        "absolute_zero",
        "Absolute Zero",
        "https://arxiv.org/abs/2505.03335",
        (MODEL, SELF_PLAY, SEEDS, EVALUATION),
        absolute_zero,
    ),
}


def _base(settings: Settings) -> Iterator[Stage]:
    kind = PREPARED_MODEL if settings.model.build == "smollm2" else MODEL
    yield Stage(kind, 0, (), sizes.base(settings))
    yield from _evaluated(settings, 0)


def _evaluated(settings: Settings, round_: int) -> Iterator[Stage]:
    """The round's Solver, or the base model, where there is a benchmark."""
    if settings.evaluation.benchmarks:
        yield Stage(EVALUATION, round_, (f"round_{round_}/solver" if round_ else BASE,), sizes.evaluation(settings))


def _earlier(round_: int, *kinds: str) -> tuple[str, ...]:
    return tuple(f"round_{t}/{kind}" for t in range(1, round_) for kind in kinds)


def _reference(settings: Settings, role: str) -> tuple[str, ...]:
    return (BASE,) if getattr(settings, role).reference == "base" else ()


def _once(*inputs: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(inputs))
