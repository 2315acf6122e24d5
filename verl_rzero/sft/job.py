"""One fine-tuning as verl's SFT trainer takes it; under torchrun, `python -m verl_rzero.sft.job <config.yaml>` does it.

`verl_config` starts from verl's own `sft_trainer_engine.yaml`; a key below `verl.` that it doesn't know is refused.
"""

import importlib.util
import sys
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict

from verl_rzero.engine import model_check, on_cpu, verl_tree
from verl_rzero.sft.sft_settings import Sft


def verl_config(asked: Sft, train_file: Path | str, checkpoints: Path | str) -> DictConfig:
    """verl's whole configuration. Raises UserError for a key below `verl.` that verl doesn't have."""
    config = verl_tree.stock("sft_trainer_engine")
    with open_dict(config):
        config.merge_with(_common(asked, train_file, checkpoints))
        if asked.hardware.device == "cpu":
            config.merge_with(_cpu(asked))
    OmegaConf.set_struct(config, True)
    verl_tree.lay_over(config, "verl", asked.verl)
    return config


def _common(asked: Sft, train_file: Path | str, checkpoints: Path | str) -> dict[str, Any]:
    """AdamW on verl's FSDP2 engine, micro-batches by tokens, no validation, one checkpoint at the end."""
    hardware = asked.hardware
    has_flash = importlib.util.find_spec("flash_attn") is not None
    return {
        "data": {
            "train_files": str(train_file),
            "val_files": None,
            "train_batch_size": asked.batch_size,
            "use_dynamic_bsz": True,
            "max_token_len_per_gpu": max(hardware.actor_tokens_per_gpu, asked.max_tokens),
            "max_length": asked.max_tokens,
            "pad_mode": "no_padding",
            "truncation": "error",
            "custom_cls": {"path": "pkg://verl_rzero.sft.dataset", "name": "LabelledDataset"},
            "num_workers": 0,
        },
        "model": {
            "path": asked.model,
            "use_remove_padding": True,
            "override_config": {"attn_implementation": "flash_attention_2" if has_flash else "sdpa"},
            "enable_gradient_checkpointing": hardware.device == "cuda",
        },
        "engine": {"strategy": "fsdp2", "seed": asked.seed},
        "optim": {
            "lr": asked.lr,
            "weight_decay": asked.weight_decay,
            "lr_scheduler_type": asked.schedule,
            "lr_warmup_steps_ratio": asked.warmup,
        },
        "checkpoint": {"save_contents": ["hf_model"]},
        "trainer": {
            "device": hardware.device,
            "nnodes": 1,
            "n_gpus_per_node": hardware.gpus_per_node,
            "total_epochs": asked.epochs,
            "seed": asked.seed,
            "save_freq": -1,
            "test_freq": -1,
            "resume_mode": "disable",
            "logger": ["file", *asked.logger],
            "project_name": "verl_rzero",
            "experiment_name": Path(str(asked.to)).name,
            "default_local_dir": str(checkpoints),
        },
    }


def _cpu(asked: Sft) -> dict[str, Any]:
    """Attention over packed rows without a GPU kernel, and bfloat16 where that is fast (docs/performance.md)."""
    dtype = on_cpu.cpu_dtype(asked.hardware, model_check.shape(str(asked.model)))
    return {
        "model": {"override_config": {"attn_implementation": "packed_sdpa"}},
        "engine": on_cpu.training_precision(dtype),
    }


def main(config_file: str) -> None:
    """Train; verl writes the model below `trainer.default_local_dir`."""
    from verl.trainer.sft_trainer import run_sft

    from verl_rzero.engine.cpu import training

    config = OmegaConf.load(config_file)
    OmegaConf.resolve(config)
    if config.trainer.device == "cpu":
        training.register()
    run_sft(config)


if __name__ == "__main__":
    main(*sys.argv[1:])
