"""What fits a GPU on which a run does not: another way to train its model, or the nearest of the recipes' models."""

import copy
from collections.abc import Iterator, Sequence
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf

from verl_rzero.engine import memory, model_check
from verl_rzero.engine.memory import GIB, Shape
from verl_rzero.settings import compose

ADAPTER = "lora.rank=32"
_FSDP = "actor_rollout_ref.actor.fsdp_config"
VERL_KEYS: dict[str, tuple[str, Any]] = {
    ADAPTER: ("actor_rollout_ref.model.lora_rank", 32),
    f"hardware.verl.{_FSDP}.param_offload=true": (f"{_FSDP}.param_offload", True),
    f"hardware.verl.{_FSDP}.optimizer_offload=true": (f"{_FSDP}.optimizer_offload", True),
    f"hardware.verl.{_FSDP}.model_dtype=bfloat16": (f"{_FSDP}.model_dtype", "bfloat16"),
}
"""What a user may write for less memory -> what it is in verl's configuration."""

_, PARAMETERS, ADAM, HALF = VERL_KEYS
WAYS = ((ADAPTER,), (PARAMETERS, ADAM), (ADAPTER, PARAMETERS, ADAM), (ADAPTER, PARAMETERS, ADAM, HALF))
"""In the order of what they cost."""

PREFIXES = {"rzero": "", "ttrl": "ttrl_", "absolute_zero": "az_"}
"""Algorithm -> how the names of its models' recipes begin."""


def instead(algorithm: str, model: Shape, gpu: int, configs: Sequence[DictConfig]) -> str:
    """What to take on GPUs of `gpu` bytes in place of a run's jobs, each with what it takes at most."""
    changed = {way: [laid_over(config, way) for config in configs] for way in ((), *WAYS)}
    fits = {way: most(jobs, model, gpu) for way, jobs in changed.items()}
    sentences = []
    if missing(configs[0], (ADAPTER,)):
        sentences.append(f"With {ADAPTER} it may take {fits[ADAPTER,] / GIB:.1f} GiB.")
    if way := next((way for way in WAYS if fits[way] <= gpu), None):
        words = " ".join(missing(configs[0], way))
        sentences.append(f"What fits is {words}: up to {fits[way] / GIB:.1f} GiB.")
    for name, shape in recipes(algorithm, model):
        if most(changed[()], shape, gpu) <= gpu:
            sentences.append(f"The nearest model that fits is model={name}.")
            break
        if most(changed[ADAPTER,], shape, gpu) <= gpu:
            sentences.append(f"The nearest model that fits is model={name} {ADAPTER}.")
            break
    return " ".join([*sentences, "docs/gpu.md has more."])


def missing(config: DictConfig, way: Sequence[str]) -> list[str]:
    """The words of a way that are not so already; an adapter of any size is one."""
    is_so = {word: OmegaConf.select(config, key) == value for word, (key, value) in VERL_KEYS.items()}
    is_so[ADAPTER] = config.actor_rollout_ref.model.lora_rank > 0
    is_so[HALF] = memory.width_of(config.actor_rollout_ref.actor.fsdp_config.model_dtype) == 2
    return [word for word in way if not is_so[word]]


def laid_over(config: DictConfig, way: Sequence[str]) -> DictConfig:
    """A job's configuration with the words of a way."""
    result = copy.deepcopy(config)
    for word in missing(config, way):
        OmegaConf.update(result, *VERL_KEYS[word])
    return result


def most(configs: Sequence[DictConfig], model: Shape, gpu: int) -> int:
    """Bytes that a GPU holds in the fullest moment of these jobs."""
    moments = [parts for config in configs for parts in memory.on_a_gpu(config, model, gpu).values()]
    return max(sum(part.size for part in parts) for parts in moments)


def recipes(algorithm: str, model: Shape) -> Iterator[tuple[str, Shape]]:
    """The recipes of an algorithm whose models are smaller than `model`, the largest first."""
    found = []
    for name in compose.choices("model"):
        content = yaml.safe_load((compose.recipes_dir() / "model" / f"{name}.yaml").read_text(encoding="utf-8"))
        shape = model_check.shape(content["model"]["path"]) if content["model"].get("path") else None
        prefix = next((each for each in PREFIXES.values() if each and name.startswith(each)), "")
        if shape is not None and prefix == PREFIXES[algorithm] and shape.parameters < model.parameters:
            found.append((name, shape))
    yield from sorted(found, key=lambda each: -each[1].parameters)
