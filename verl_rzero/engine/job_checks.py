"""What of verl's configuration our jobs can't have, refused before a GPU is taken."""

from omegaconf import DictConfig, OmegaConf

from verl_rzero.base.errors import refusal
from verl_rzero.settings import Settings


def check_adapter(config: DictConfig, settings: Settings) -> None:
    """Raises UserError where an adapter is asked for in verl's own words, which we would take for a whole model."""
    model, lora = config.actor_rollout_ref.model, settings.lora
    asked = {"lora_rank": lora.rank, "lora_adapter_path": None, "lora.rank": 0, "lora.merge": bool(lora.rank)}
    for name, ours in asked.items():
        if (value := OmegaConf.select(model, name)) != ours:
            instead = "Write lora.rank and lora.alpha instead, which are for both jobs."
            raise refusal(f"actor_rollout_ref.model.{name}", value, "adapters have a setting of ours", instead)


def check_engines(config: DictConfig) -> None:
    """Raises UserError for engines of verl's that ours can't be put around: they would fail on the GPUs."""
    sampled = "batches are sampled by a subclass of verl's vLLM server, and verl's other servers lack its method"
    trained = "the reference, the model that a stage leaves and the estimates of memory are made for verl's FSDP"
    engines = {
        "model_engine": (("dp",), trained),
        "actor_rollout_ref.actor.strategy": (("fsdp2", "fsdp"), trained),
        "actor_rollout_ref.ref.strategy": (("fsdp2", "fsdp"), trained),
        "actor_rollout_ref.rollout.name": (("vllm",), sampled),
        "reward.reward_model.rollout.name": (("vllm", None), sampled),  # None: nothing is served
    }
    for key, (known, why) in engines.items():
        if (value := OmegaConf.select(config, key)) not in known:
            raise refusal(key, value, why, f"Write {key}={known[0]}, or nothing: docs/gpu.md.")
