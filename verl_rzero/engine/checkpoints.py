"""A trained model as a directory that any Hugging Face program can load."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from verl_rzero.base.files import read_json, write_json
from verl_rzero.engine.memory import width_of

WHOLE = "whole"
"""Beside what verl saves of a model with an adapter: the model with the adapter added to its weights."""

MEAN = "mean"
"""Beside what was trained: its mean with what training began with."""

_WHOLE_MODEL_BYTES = 4
"""Of a weight of the model that an adapter is added to."""


def bytes_saved(config: DictConfig, parameters: int, adapter: int = 0) -> int:
    """What a GRPO job saves, all checkpoints that it keeps together: in the precision that it trains in, float32 if
    nobody has asked for another.

    Args:
        parameters: weights of the model.
        adapter: weights of the adapter that is trained in their place, 0 where there is none.
    """
    actor, trainer = config.actor_rollout_ref.actor, config.trainer
    trained = adapter or parameters
    numbers = {"hf_model": parameters + adapter, "model": trained, "optimizer": 2 * trained}  # AdamW's two averages
    of_one = sum(numbers.get(name, 0) for name in actor.checkpoint.save_contents)
    saves = -(-trainer.total_training_steps // trainer.save_freq) if trainer.save_freq > 0 else 0
    kept = min(saves, trainer.max_actor_ckpt_to_keep or saves)
    whole = _WHOLE_MODEL_BYTES * parameters if adapter else 0
    return int(kept * of_one * width_of(actor.fsdp_config.model_dtype)) + whole


def add_adapter(saved: Path, start: Path | str, config: DictConfig) -> Path:
    """The directory of a whole model: `start`, the model that training began with, plus the adapter in `saved`.

    Of a model with an adapter verl saves the weights from before beside the adapter's, both under the adapter's names,
    which nothing loads. Weights are added up and written in float32, as those of a training without an adapter.

    Args:
        saved: the Hugging Face directory that verl saved.
        config: verl's configuration of the job, which has the adapter's.

    Raises:
        RuntimeError: what was saved is not the adapter of this model.
    """
    import torch
    from peft import LoraConfig, get_peft_model, set_peft_model_state_dict
    from transformers import AutoModelForCausalLM

    asked: Any = OmegaConf.to_container(config.actor_rollout_ref.model, resolve=True)
    adapter = LoraConfig(
        r=asked["lora_rank"],
        lora_alpha=asked["lora_alpha"],
        target_modules=asked["target_modules"],
        exclude_modules=asked["exclude_modules"],
        task_type="CAUSAL_LM",
    )
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(start, dtype=torch.float32), adapter)
    found: Any = set_peft_model_state_dict(model, dict(_adapter(saved)))
    missing = [name for name in found.missing_keys if "lora_" in name]
    if missing or found.unexpected_keys:
        different = ", ".join([*missing, *found.unexpected_keys][:3])
        raise RuntimeError(f"{saved} does not hold the adapter that was trained: {different}")
    whole = saved.with_name(WHOLE)
    model.merge_and_unload().save_pretrained(whole)
    for file in saved.iterdir():
        if not file.name.startswith("model"):  # its config, tokenizer and chat template
            shutil.copy2(file, whole)
    return whole


def _adapter(saved: Path) -> Iterator[tuple[str, Any]]:
    """The adapter's matrices in a directory that verl saved, by peft's names."""
    from safetensors import safe_open

    for path in sorted(saved.glob("*.safetensors")):
        with safe_open(path, "pt") as file:
            names = file.keys()
            for name in names:
                if "lora_" in name:
                    yield name.replace(".default.", "."), file.get_tensor(name)


def towards(start: Path | str, trained: Path, share: float) -> Path:
    """The directory of the mean of two models: each weight is (1 - share) of the one in `trained` plus `share` of the
    one in `start`: linear interpolation towards the initialization (WARP, arXiv 2406.16768).

    Args:
        start: Hugging Face directory or hub name.
        trained: Hugging Face directory of what was trained from it; stays as it is, so that a stage that was broken off
            here may do it again.

    Raises:
        RuntimeError: a weight is not there in `start`, or has another shape.
    """
    import torch
    from safetensors import safe_open
    from safetensors.torch import load_file, save_file
    from transformers import AutoModelForCausalLM

    # Not in the type that config.json names: after a round the weights are finer than that of a bfloat16 base model.
    before = AutoModelForCausalLM.from_pretrained(start, dtype=torch.float32).state_dict()
    mean = trained.with_name(MEAN)
    shutil.copytree(trained, mean, ignore=shutil.ignore_patterns("*.safetensors"), dirs_exist_ok=True)
    for path in sorted(trained.glob("*.safetensors")):
        weights = load_file(path)
        for name, weight in weights.items():
            if name not in before or before[name].shape != weight.shape:
                raise RuntimeError(f"{path}: {name} is not in {start} as it is here, so there is no mean of both")
            weights[name] = torch.lerp(weight, before[name].to(weight.dtype), share)
        with safe_open(path, "pt") as file:
            metadata = file.metadata()
        save_file(weights, mean / path.name, metadata)
    return mean


def make_portable(model: Path, start: Path | str) -> None:
    """Take out of `model`'s config.json what belongs to the machine that trained it.

    verl saves the attention that it trained with, which is not there elsewhere (`packed_sdpa` on a CPU,
    `flash_attention_2` on GPUs), and calls the weights bfloat16 whatever they are; transformers then refuses to load
    the directory, or rounds its weights. The dtype becomes that of `start`, the model that training began with, where
    that is a directory.
    """
    config = read_json(model / "config.json")
    config.pop("attn_implementation", None)
    began = Path(start) / "config.json"
    before = read_json(began) if began.is_file() else {}
    for name in ("torch_dtype", "dtype"):  # as it was called, and is
        if name in before:
            config["dtype"] = before[name]
    write_json(model / "config.json", config)
