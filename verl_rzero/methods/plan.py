"""The stages of a run: a pure function of its settings."""

from dataclasses import dataclass
from pathlib import Path

from verl_rzero.base.errors import UserError
from verl_rzero.data import run_dir
from verl_rzero.settings import Challenger, Settings, Solver
from verl_rzero.settings.benchmarks import source

_BASE_MODEL = ("model.path", "model.build", "model.build_seed", "model.build_steps")
_ASK = (
    "prompts.challenger_system",
    "prompts.challenger_user",
    "model.prompt_tokens",
    "model.question_tokens",
    "question_box",
    "anchors.path",
    "anchors.in_prompt",
)
_ANSWER = ("prompts.solver_system", "prompts.solver_user", "model.prompt_tokens", "model.answer_tokens")
_VOTE = (*_ANSWER, "prompts.validity", "curation.ill_posed_share", "unanswered", "roles")
_SCORES = ("evaluation.benchmarks", "evaluation.k", "evaluation.temperature", "evaluation.judge.model")
_JOB = ("hardware.device", "hardware.verl")

DEPENDS: dict[str, tuple[str, ...]] = {
    "model": _BASE_MODEL,
    "challenger": ("challenger", "votes", "sampling.votes", *_ASK, *_VOTE, "grading", "seed", *_JOB),
    "questions": ("candidates", "sampling.questions", *_ASK, "seed", "hardware.device"),
    "votes": ("votes", "dataset_votes", "sampling.votes", *_VOTE, "grading", "model.truth", "seed", "hardware.device"),
    "curation": ("band", "unanswered", "curation", "anchors", "too_few", "solver.batch_size", "seed", *_ANSWER),
    "solver": ("solver", "roles", *_ANSWER, "grading", "seed", *_JOB),
    "evaluation": (*_SCORES, *_ANSWER, "grading", "seed", "hardware.device"),
}
"""What each kind of stage depends on, beside its inputs: the settings at and below these names. The sizes of the
hardware are not among them, so that a run may be continued on another machine of the same sort."""

AFTER_TRAINING = {"challenger": ("questions", "votes"), "solver": ("evaluation",)}
"""The stages that can use the engines of a training stage of the same round."""

WITH_ENGINE = ("challenger", "questions", "votes", "solver", "evaluation")
"""The kinds of stages that start Ray and vLLM."""

ALL_DEPENDS = tuple(sorted({name for names in DEPENDS.values() for name in names}))


@dataclass(frozen=True)
class Stage:
    """One step of a run, done in its own process and its own directory.

    `id` is its directory below the run's, `round` counts from 1 and is 0 for the base model, `inputs` are the ids of
    the stages whose outputs it reads, `size` says in a few words how much there is to do.
    """

    id: str
    round: int
    inputs: tuple[str, ...]
    size: str

    @property
    def kind(self) -> str:
        return self.id.rpartition("/")[2]

    def directory(self, run: Path) -> Path:
        return run / self.id


def plan(settings: Settings) -> list[Stage]:
    """The stages in the order in which they are done; evaluations only where there is a benchmark."""
    evaluated = bool(settings.evaluation.benchmarks)
    stages = [Stage("base/model", 0, (), _base_size(settings))]
    if evaluated:
        stages.append(Stage("base/evaluation", 0, ("base/model",), _evaluation_size(settings)))
    for t in range(1, settings.rounds + 1):
        here = f"round_{t}"
        stages += [
            Stage(f"{here}/challenger", t, _challenger_inputs(settings, t), _challenger_size(settings, t)),
            Stage(f"{here}/questions", t, (f"{here}/challenger",), f"{settings.candidates} questions"),
            Stage(f"{here}/votes", t, (f"{here}/questions", model_before(settings, t, "votes")), _votes_size(settings)),
            Stage(f"{here}/curation", t, _curation_inputs(settings, t), _curation_size(settings)),
            Stage(f"{here}/solver", t, _solver_inputs(settings, t), _solver_size(settings)),
        ]
        if evaluated:
            stages.append(Stage(f"{here}/evaluation", t, (f"{here}/solver",), _evaluation_size(settings)))
    return stages


def model_before(settings: Settings, round_: int, kind: str) -> str:
    """Id of the stage whose model a stage of this round starts from: `kind` challenger; votes (who votes); solver.

    Two roles: C(t) comes from C(t-1), S(t) from S(t-1), which also votes. One shared model (roles=shared, the paper's
    ablation): it is trained as Challenger, votes and is trained as Solver in turn, each from the one before.
    """
    before = "base/model" if round_ == 1 else f"round_{round_ - 1}"
    if kind == "challenger":
        role = "challenger" if settings.roles == "two" else "solver"
        return before if round_ == 1 else f"{before}/{role}"
    if settings.roles == "shared":
        return f"round_{round_}/challenger"
    return before if round_ == 1 else f"{before}/solver"


def frozen_solver(settings: Settings, round_: int) -> str:
    """Id of the stage whose model answers while this round's Challenger trains."""
    return model_before(settings, round_, "challenger" if settings.roles == "shared" else "votes")


def trains(settings: Settings, kind: str, round_: int) -> bool:
    """Whether the Challenger or the Solver is trained in this round."""
    if kind == "challenger" and settings.challenger.train_rounds is not None:
        return settings.challenger.steps > 0 and round_ <= settings.challenger.train_rounds
    job: Challenger | Solver = getattr(settings, kind)
    return job.steps > 0


def _challenger_inputs(settings: Settings, round_: int) -> tuple[str, ...]:
    models = (model_before(settings, round_, "challenger"), frozen_solver(settings, round_))
    references = ("base/model",) if settings.challenger.reference == "base" else ()
    remembers = settings.challenger.repetition_scope == "rounds"
    earlier = tuple(f"round_{t}/questions" for t in range(1, round_)) if remembers else ()
    return tuple(dict.fromkeys((*models, *references, *earlier)))


def _curation_inputs(settings: Settings, round_: int) -> tuple[str, ...]:
    earlier = range(1, round_) if looks_back(settings) else ()
    return (f"round_{round_}/votes", *(f"round_{t}/{kind}" for t in earlier for kind in ("votes", "curation")))


def looks_back(settings: Settings) -> bool:
    """Whether curation reads what earlier rounds kept."""
    return settings.curation.replay_share > 0 or settings.curation.duplicates == "drop_across_rounds"


def _solver_inputs(settings: Settings, round_: int) -> tuple[str, ...]:
    references = ("base/model",) if settings.solver.reference == "base" else ()
    return tuple(dict.fromkeys((f"round_{round_}/curation", model_before(settings, round_, "solver"), *references)))


def in_one_process(stages: list[Stage], settings: Settings) -> list[list[Stage]]:
    """The stages in groups that share a process, so that an engine which training leaves behind is used again.

    Only on a CPU: elsewhere each stage spreads over all devices.
    """
    groups: list[list[Stage]] = []
    for stage in stages:
        if groups and _can_follow(stage, groups[-1][0], settings):
            groups[-1].append(stage)
        else:
            groups.append([stage])
    return groups


def _can_follow(stage: Stage, first: Stage, settings: Settings) -> bool:
    """Whether `first` trains and leaves an engine that `stage` uses."""
    return (
        settings.hardware.device == "cpu"
        and stage.round == first.round
        and stage.kind in AFTER_TRAINING.get(first.kind, ())
        and trains(settings, first.kind, first.round)
    )


def settings_hash(stage: Stage, settings: Settings) -> str:
    """Hash of the settings that the stage depends on."""
    return run_dir.settings_hash(run_dir.chosen_settings(settings, DEPENDS[stage.kind]))


def check_done(stages: list[Stage], settings: Settings, run: Path) -> None:
    """Raises UserError where a done stage was made with other settings, or from an input that is no longer there."""
    for stage in stages:
        if not run_dir.is_done(stage.directory(run)):
            continue
        for needed in stage.inputs:
            if not run_dir.is_done(run / needed):
                raise UserError(
                    f"{run}: {needed} is not done, but {stage.id}, which was made from it, is. "
                    f"Put {needed} back, or delete {stage.id} and the stages after it to have them made again."
                )
        if run_dir.manifest(stage.directory(run)).settings_hash != settings_hash(stage, settings):
            raise UserError(
                f"{run}: {stage.id} was made with other settings than {run_dir.SETTINGS} now says. "
                "Put the file back as it was, or write run_dir=<a new directory>."
            )


def _base_size(settings: Settings) -> str:
    model = settings.model
    return f"{model.build_steps} training steps" if model.build else f"from {model.path}"


def _challenger_size(settings: Settings, round_: int) -> str:
    job = settings.challenger
    if not trains(settings, "challenger", round_):
        return "not trained"
    return f"{job.steps} steps x {job.batch_size * job.rollouts} questions x {settings.votes} answers"


def _votes_size(settings: Settings) -> str:
    return f"{settings.dataset_votes or settings.votes} answers to each question"


def _curation_size(settings: Settings) -> str:
    low, high = settings.band
    return f"agreement from {low:g} to {high:g}"


def _solver_size(settings: Settings) -> str:
    job = settings.solver
    return f"{job.steps} steps x {job.batch_size} questions x {job.rollouts} answers"


def _evaluation_size(settings: Settings) -> str:
    evaluation = settings.evaluation
    sizes = {name: asked.n or source(name).size or "all" for name, asked in evaluation.benchmarks.items()}
    parts = [f"{name}: {size} questions x {evaluation.k_of(name) + 1} answers" for name, size in sizes.items()]
    return ", ".join(parts)
