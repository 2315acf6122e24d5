"""Whether the run's model fits the method and this machine: looked at before anything starts."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from omegaconf import DictConfig

from verl_rzero.base.display import say
from verl_rzero.base.errors import refusal
from verl_rzero.code_world import shape as code_world
from verl_rzero.data import anchors
from verl_rzero.engine import environment, memory, model_check
from verl_rzero.engine.lengths import longest
from verl_rzero.engine.memory import GIB, Process, Shape
from verl_rzero.english_sums import shape as english_sums
from verl_rzero.methods import plan
from verl_rzero.rules import code_tasks
from verl_rzero.rules.prompts import RolePrompt, not_asked_for, role_prompts
from verl_rzero.run import smaller
from verl_rzero.settings import Hardware, Settings, machine
from verl_rzero.tiny_world import shape as tiny_world

SHAPES = {"tiny_world": tiny_world.SHAPE, "code_world": code_world.SHAPE, "smollm2": english_sums.SHAPE}
"""model.build -> the sizes of what it makes, by the names of a config.json."""

POSITIONS = {
    "tiny_world": tiny_world.POSITIONS, "code_world": tiny_world.POSITIONS, "smollm2": english_sums.POSITIONS
}  # fmt: skip
"""model.build -> how many tokens a sequence may have."""

LESS = "Smaller hardware.actor_tokens_per_gpu, model.question_tokens or model.answer_tokens take less."


def check(settings: Settings, configs: Mapping[str, DictConfig]) -> list[str]:
    """Print what may be wrong with the model, and return what memory its jobs take, a line or more for each.

    Args:
        configs: verl's configuration of each role's job.

    Raises:
        UserError: no run can be made with the model, or none on this machine.
    """
    if settings.model.build is not None:
        check_length(settings, POSITIONS[settings.model.build])
    model = shape(settings) if settings.model.path is None else given(settings)
    gpu = gpu_memory(settings.hardware) if settings.hardware.device == "cuda" else None
    if model is None or (settings.hardware.device == "cuda" and gpu is None):
        return []
    elsewhere = environment.joins_a_cluster() or settings.hardware.nodes > 1
    jobs = [*configs.values()]
    instead = less if gpu is None else partial(smaller.instead, settings.algorithm, model, gpu, jobs)
    lines = []
    for role, config in configs.items():
        if gpu is None:
            check_bucket(config, model)
        for what, there, parts in needs(role, config, model, gpu):
            most = in_gib(sum(part.size for part in parts))
            if not elsewhere:
                check_fits(what, there, parts, settings.model.name, instead)
            lines.append(f"{what}: up to {most}." if elsewhere else f"{what}: up to {most} of {in_gib(there)}.")
            lines += ["  " + in_words(part.name, part.count, part.certain | part.estimated) for part in parts]
    return lines


def check_length(settings: Settings, positions: int) -> None:
    """Raises UserError where sequences get longer than the model that the run makes."""
    model = settings.model
    tokens = {"prompt": model.prompt_tokens, "question": model.question_tokens, "answer": model.answer_tokens}
    if longest(settings) > positions:
        most = max(tokens, key=lambda name: tokens[name])
        room = positions - longest(settings) + tokens[most]
        instead = f"Write at most {room}, or less of the others." if room > 0 else "Write less of the others too."
        why = f"a prompt, a question and an answer are up to {longest(settings)} tokens, this model takes {positions}"
        raise refusal(f"model.{most}_tokens", tokens[most], why, instead)


def shape(settings: Settings) -> Shape | None:
    """The sizes of the run's base model; None where they can't be known before it is there."""
    path = settings.model.path
    return memory.shape(SHAPES[str(settings.model.build)], None) if path is None else model_check.shape(path)


def given(settings: Settings) -> Shape | None:
    """Look at a model that somebody brought; its sizes, where they can be known."""
    path = settings.model.path
    assert path is not None
    prompts = asked_first(settings)
    found = model_check.check(model_check.Asked(path, prompts, longest(settings)))
    for warning in found.warnings:
        say(f"warning: {warning}")
    if found.config is None:
        say(f"{path} is not on this machine yet: its files and chat template could not be looked at.")
        for prompt in prompts:
            for warning in not_asked_for(prompt, "\n".join(turn["content"] for turn in prompt.messages)):
                say(f"warning: {warning}")
        return model_check.shape(path)
    return memory.shape(found.config, found.tensors)


def asked_first(settings: Settings) -> list[RolePrompt]:
    """The prompt of each role that the method has, with the longest human examples that it may show."""
    if settings.algorithm == "absolute_zero":
        return code_tasks.role_prompts(settings)
    roles = [kind.name for kind in plan.method(settings).kinds if kind.trains]
    human: list[str] = []
    if settings.anchors.path is not None and settings.anchors.in_prompt:
        texts = (item.question for item in anchors.load(Path(settings.anchors.path).expanduser()))
        human = sorted(texts, key=len)[-settings.anchors.in_prompt :]
    return role_prompts(settings, roles, human)


def needs(role: str, config: DictConfig, model: Shape, gpu: int | None) -> Iterator[tuple[str, int, list[Process]]]:
    """(whose memory at which moment, how much of it there is, who takes it) of a job on this machine, or its GPU."""
    if gpu is not None:
        for moment, parts in memory.on_a_gpu(config, model, gpu).items():
            yield f"Memory of a GPU while the {role} is {moment}", gpu, parts
    else:
        yield f"Memory for the {role}'s job", machine.memory_bytes(), memory.on_a_cpu(config, model)


def gpu_memory(hardware: Hardware) -> int | None:
    """Bytes of a GPU's memory, as the setting says or nvidia-smi; None where neither does."""
    return machine.gpu_memory_bytes() if hardware.gpu_gib is None else round(hardware.gpu_gib * GIB)


def less() -> str:
    """What to do about a machine that is too small."""
    return "Take a smaller model, or more memory: docs/models.md."


def check_fits(what: str, there: int, parts: Sequence[Process], name: str, instead: Callable[[], str] = less) -> None:
    """Say where the estimate is more than there is. Raises UserError where the certain part of it is, with what to take
    instead.
    """
    least, most = sum(part.at_least for part in parts), sum(part.size for part in parts)
    if least > there:
        takes = "; ".join(in_words(part.name, part.count, part.certain) for part in parts if part.certain)
        why = f"{what}: {in_gib(there)} is there, and {in_gib(least)} the least that it takes ({takes})"
        raise refusal("model", name, why, instead())
    if most > there:
        say(f"warning: {what}: {in_gib(there)} is there, and it may take {in_gib(most)}. {LESS}")


def check_bucket(config: DictConfig, model: Shape) -> None:
    """Raises UserError where a tensor is larger than what trained weights travel in, on a CPU."""
    megabytes = config.actor_rollout_ref.rollout.checkpoint_engine.update_weights_bucket_megabytes
    width = memory.width_of(config.actor_rollout_ref.actor.fsdp_config.model_dtype)
    needed = -(-width * model.largest // 2**20)
    if needed > megabytes:
        key = "actor_rollout_ref.rollout.checkpoint_engine.update_weights_bucket_megabytes"
        why = f"the model's largest tensor has {needed} MiB, and trained weights travel in one piece of that size"
        raise refusal(f"hardware.verl.{key}", megabytes, why, f"Write hardware.verl.{key}={needed}.")


def in_words(name: str, count: int, sizes: Mapping[str, int]) -> str:
    """A process with what each like it needs: trainer 2 x 3.1 GiB: weights 0.5, AdamW 1.0, ..."""
    times = f"{count} x " if count > 1 else ""
    large = [f"{what} {size / GIB:.1f}" for what, size in sizes.items() if size >= 0.05 * GIB]
    return f"{name} {times}{in_gib(sum(sizes.values()))}" + (f": {', '.join(large)}" if len(large) > 1 else "")


def in_gib(size: int) -> str:
    return f"{size / GIB:.1f} GiB"
