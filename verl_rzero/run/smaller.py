"""What fits a GPU on which a run does not: another way to train its model, or the nearest of the recipes' models."""

from collections.abc import Iterator, Sequence

import yaml

from verl_rzero.engine import jobs, memory, model_check
from verl_rzero.engine.memory import GIB, Shape
from verl_rzero.settings import Settings, changed, compose

ADAPTER = ("lora.rank=32",)
_FSDP = "hardware.verl.actor_rollout_ref.actor.fsdp_config"
OFFLOADED = (f"{_FSDP}.param_offload=true", f"{_FSDP}.optimizer_offload=true")
HALF = (f"{_FSDP}.model_dtype=bfloat16",)
WAYS = (ADAPTER, OFFLOADED, (*ADAPTER, *OFFLOADED), (*ADAPTER, *OFFLOADED, *HALF))
"""What to write for less memory, in the order of what it costs."""

PREFIXES = {"rzero": "", "ttrl": "ttrl_", "absolute_zero": "az_"}
"""Algorithm -> how the names of its models' recipes begin."""


def instead(settings: Settings, model: Shape, gpu: int, roles: Sequence[str]) -> str:
    """What to take on GPUs of `gpu` bytes in place of these settings, each with what it takes at most."""
    sentences = []
    if not settings.lora.rank:
        sentences.append(f"With {ADAPTER[0]} it may take {_gib(most(settings, model, gpu, roles, ADAPTER))}.")
    for way in WAYS:
        if (size := most(settings, model, gpu, roles, way)) <= gpu:
            new = [word for word in way if changed(settings, [word]) != settings]
            sentences.append(f"What fits is {' '.join(new)}: up to {_gib(size)}.")
            break
    for name, shape in recipes(settings.algorithm, model):
        fits = [way for way in ((), ADAPTER) if most(settings, shape, gpu, roles, way) <= gpu]
        if fits:
            sentences.append(f"The nearest model that fits is {' '.join([f'model={name}', *fits[0]])}.")
            break
    return " ".join([*sentences, "docs/gpu.md has more."])


def most(settings: Settings, model: Shape, gpu: int, roles: Sequence[str], words: Sequence[str]) -> int:
    """Bytes that a GPU has in it in the fullest moment of these jobs, with `words` laid over the settings."""
    asked = changed(settings, list(words))
    files = {"model": "model", "train_file": "rows", "stage_dir": "round/stage", "solver": "model"}
    moments = [
        parts
        for role in roles
        for parts in memory.on_a_gpu(jobs.verl_config(asked, role, **files, shape=model), model, gpu).values()
    ]
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


def _gib(size: int) -> str:
    return f"{size / GIB:.1f} GiB"
