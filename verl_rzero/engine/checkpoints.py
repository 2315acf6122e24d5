"""A trained model as a directory that any Hugging Face program can load."""

from pathlib import Path

from omegaconf import DictConfig

from verl_rzero.base.files import read_json, write_json
from verl_rzero.engine.memory import width_of

_NUMBERS = {"hf_model": 1, "model": 1, "optimizer": 2}
"""What verl can save of each weight: itself for Hugging Face programs, itself for verl, AdamW's two averages."""


def bytes_saved(config: DictConfig, parameters: int) -> int:
    """What a GRPO job saves of so many weights, all checkpoints that it keeps together: in the precision that it trains
    in, float32 if nobody has asked for another.
    """
    actor, trainer = config.actor_rollout_ref.actor, config.trainer
    numbers = sum(_NUMBERS.get(name, 0) for name in actor.checkpoint.save_contents)
    saves = -(-trainer.total_training_steps // trainer.save_freq) if trainer.save_freq > 0 else 0
    kept = min(saves, trainer.max_actor_ckpt_to_keep or saves)
    return int(kept * numbers * width_of(actor.fsdp_config.model_dtype) * parameters)


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
    if began.is_file() and "dtype" in (before := read_json(began)):
        config["dtype"] = before["dtype"]
    write_json(model / "config.json", config)
