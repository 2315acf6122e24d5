"""How much there is to do in a stage, in a few words for the plan."""

from verl_rzero.methods.policies import trains
from verl_rzero.settings import Settings
from verl_rzero.settings.benchmarks import source


def base(settings: Settings) -> str:
    model = settings.model
    if model.build == "smollm2":
        return f"{model.path or 'SmolLM2-135M-Instruct'}, prepared"
    return f"{model.build_steps} training steps" if model.build else f"from {model.path}"


def challenger(settings: Settings, round_: int) -> str:
    job = settings.challenger
    if not trains(settings, "challenger", round_):
        return "not trained"
    return f"{job.steps_in_all} steps x {job.batch_size * job.rollouts} questions x {settings.votes} answers"


def votes(settings: Settings) -> str:
    return f"{settings.votes_of_dataset} answers to each question"


def curation(settings: Settings) -> str:
    low, high = settings.band
    return f"agreement from {low:g} to {high:g}"


def solver(settings: Settings) -> str:
    job = settings.solver
    return f"{job.steps_in_all} steps x {job.batch_size} questions x {job.rollouts} answers"


def own_majority(settings: Settings) -> str:
    job, votes = settings.solver, settings.ttrl.votes
    return f"{job.steps_in_all} steps x {job.batch_size} questions x {votes} votes, {job.rollouts} trained on"


def seeds(settings: Settings) -> str:
    return f"{settings.self_play.seeds} valid tasks of each kind"


def self_play(settings: Settings) -> str:
    job, kinds = settings.solver, settings.self_play.kinds
    return f"{job.steps_in_all} steps x {job.batch_size} tasks of {' and '.join(kinds)} x {job.rollouts} solutions"


def evaluation(settings: Settings) -> str:
    asked = settings.evaluation
    sizes = {name: each.n or source(name).size or "all" for name, each in asked.benchmarks.items()}
    return ", ".join(f"{name}: {size} questions x {asked.k_of(name) + 1} answers" for name, size in sizes.items())
