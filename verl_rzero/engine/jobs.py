"""The configuration of one GRPO job on stock verl, composed and checked without importing torch.

`verl_config` starts from verl's own `ppo_trainer.yaml` and lays our values and then the user's (`hardware.verl`,
`challenger.verl`, `solver.verl`) over it; a key that verl does not know is refused. `grpo.run` does the job.
"""

import dataclasses
import importlib.util
import os
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict

from verl_rzero.data import run_dir
from verl_rzero.engine import job_checks, model_check, on_cpu, verl_tree
from verl_rzero.engine.lengths import lengths, longest
from verl_rzero.engine.memory import Shape
from verl_rzero.settings import Challenger, Hardware, Lora, Settings, Solver
from verl_rzero.settings.self_play_rules import rows_of_a_step

OUR_LOGGERS = ("tensorboard", "wandb")
VERL_METRICS = "verl_metrics.jsonl"
SOLVER_MANAGERS = {"rzero": "SolverRewardManager", "ttrl": "AnswerManager", "absolute_zero": "ReplyManager"}
TOKEN_WEIGHTED = "token_weighted"
"""Our advantage in verl's registry (`advantages.py`)."""


def verl_config(
    settings: Settings,
    role: str,
    *,
    model: Path | str,
    train_file: Path | str,
    stage_dir: Path | str,
    solver: Path | str | None = None,
    base: Path | str | None = None,
    shape: Shape | None = None,
) -> DictConfig:
    """verl's whole configuration of one job.

    Args:
        role: "challenger" or "solver".
        model: Hugging Face directory of the model that is trained.
        train_file: parquet of prompts.
        solver: directory of the frozen Solver that votes (Challenger only).
        base: the run's base model, the reference of the KL loss where the role's setting says so.
        stage_dir: where the job writes.
        shape: the model's sizes, where it isn't there to be looked at yet.

    Raises:
        UserError: a key under `*.verl` that verl does not have, a value of another type, or what our jobs can't have.
    """
    config = verl_tree.stock()
    if settings.algorithm == "absolute_zero":
        settings = in_rows(settings)
    job = getattr(settings, role)
    ours = [
        _common(settings, job, model, train_file, stage_dir),
        {"verl_rzero": {"reference_model": str(base) if job.reference == "base" else None}},
        _challenger(settings, solver) if role == "challenger" else _solver(settings),
    ]
    if settings.hardware.device == "cpu":
        ours.append(on_cpu.verl_values(settings, role, model_check.shape(model) or shape))
    else:
        ours.append({"ray_kwargs": {"ray_init": {"num_cpus": ray_cores(settings.hardware)}}})
    with open_dict(config):
        for part in ours:
            config.merge_with(part)
    OmegaConf.set_struct(config, True)
    for name, part in (("hardware", settings.hardware.verl), (role, job.verl)):
        verl_tree.lay_over(config, f"{name}.verl", part)
    job_checks.check_adapter(config, settings)
    job_checks.check_engines(config)
    return config


def ray_cores(hardware: Hardware) -> int:
    """Cores that a Ray of our own is to count on a machine with GPUs: at least as many as verl reserves, which else
    would wait for ever for cores that it hardly uses.
    """
    return max(len(os.sched_getaffinity(0)), asked_cores(hardware))


def asked_cores(hardware: Hardware) -> int:
    """Cores that verl's processes reserve in all: 3 for each GPU, 9 for TransferQueue, and one that is free to place
    others on.
    """
    return 3 * hardware.gpus_per_node * hardware.nodes + 9 + 1


def in_rows(settings: Settings) -> Settings:
    """The settings with a solver's batch that is a step of self-play, all of it one update."""
    rows = rows_of_a_step(settings.self_play, settings.solver)
    return dataclasses.replace(
        settings, solver=dataclasses.replace(settings.solver, batch_size=rows, minibatch_size=rows)
    )


def advantage(settings: Settings) -> str:
    """verl's GRPO, or our advantage where self-play is to weigh responses by their length."""
    weighted = settings.algorithm == "absolute_zero" and settings.self_play.statistic == "token"
    return TOKEN_WEIGHTED if weighted else "grpo"


def _common(
    settings: Settings, job: Challenger | Solver, model: Path | str, train_file: Path | str, stage_dir: Path | str
) -> dict[str, Any]:
    """What both jobs say: GRPO on verl's FSDP2 engine, vLLM rollouts, a checkpoint at the end."""
    hardware, role = settings.hardware, "challenger" if isinstance(job, Challenger) else "solver"
    prompt, response = lengths(settings, role)
    return {
        "algorithm": {
            "adv_estimator": advantage(settings),
            "norm_adv_by_std_in_grpo": True,
            "use_kl_in_reward": False,
        },
        "data": {
            "train_files": str(train_file),
            "val_files": str(train_file),
            "train_batch_size": job.batch_size,
            "max_prompt_length": prompt,
            "max_response_length": response,
            "seed": settings.seed,
            "shuffle": role == "solver",
            "dataloader_num_workers": 0,
            "filter_overlong_prompts": False,
        },
        "actor_rollout_ref": {
            "model": {
                "path": str(model),
                "use_remove_padding": True,
                "override_config": {"attn_implementation": _attention()},
                "enable_gradient_checkpointing": hardware.device == "cuda",
                **adapter(settings.lora),
            },
            "actor": _actor(settings, job, tokens=max(hardware.actor_tokens_per_gpu, prompt + response)),
            "rollout": {
                "name": "vllm",
                "n": job.rollouts,
                "temperature": job.temperature,
                "top_p": job.top_p,
                "top_k": job.top_k,
                "seed": settings.seed,
                "tensor_model_parallel_size": hardware.tensor_parallel,
                "gpu_memory_utilization": hardware.gpu_memory_utilization,
                "max_model_len": longest(settings),  # of either job, whose engines may go on to the other
            },
        },
        "trainer": _trainer(settings, job, role, Path(stage_dir)),
        "verl_rzero": {
            "stage_dir": str(stage_dir),
            "role": role,
            "seed": settings.seed,
            "grading_timeout_s": settings.grading.timeout_s,
            "wait_for": settings.sampling.wait_for,
        },
    }


def _actor(settings: Settings, job: Challenger | Solver, tokens: int) -> dict[str, Any]:
    """The update: PPO clip, KL loss against the start of the stage, token-mean. `tokens` bounds a micro-batch."""
    return {
        "strategy": "fsdp2",
        "ppo_mini_batch_size": job.minibatch_size,
        "use_dynamic_bsz": True,
        "ppo_max_token_len_per_gpu": tokens,
        "clip_ratio_low": job.clip_low,
        "clip_ratio_high": job.clip_high,
        "loss_agg_mode": "token-mean",
        "entropy_coeff": 0.0,
        "use_kl_loss": job.kl_weight > 0,
        "kl_loss_coef": job.kl_weight,
        "kl_loss_type": "low_var_kl",
        "data_loader_seed": settings.seed,
        "optim": {"lr": job.lr, "weight_decay": job.weight_decay},
        # of a checkpoint that a job goes on from, the adapter is all that isn't in the model at the start
        "checkpoint": {"save_contents": saved(settings)} | ({"save_lora_only": True} if settings.lora.rank else {}),
    }


def adapter(lora: Lora) -> dict[str, Any]:
    """What of verl's model trains an adapter; without one, verl's own values. verl adds the adapter to the weights
    that it sends to the engines, which so are those of any other training.
    """
    return {"lora_rank": lora.rank, "lora_alpha": lora.alpha, "lora": {"merge": True}} if lora.rank else {}


def saved(settings: Settings) -> list[str]:
    """What verl writes of a checkpoint: the model that any program can load, and what a job goes on from."""
    return [*(("model", "optimizer", "extra") if settings.checkpoint_every else ()), "hf_model"]


def _trainer(settings: Settings, job: Challenger | Solver, role: str, stage_dir: Path) -> dict[str, Any]:
    return {
        "device": settings.hardware.device,
        "n_gpus_per_node": settings.hardware.train_gpus_per_node(role),
        "nnodes": settings.hardware.nodes,
        "total_training_steps": job.steps_in_all,
        "total_epochs": job.steps_in_all + 1,  # a small dataset is gone through many times; the steps decide
        "save_freq": max(1, min(settings.checkpoint_every or job.steps_in_all, job.steps_in_all)),
        # with 1 verl deletes the last one before the new one is whole
        "max_actor_ckpt_to_keep": 2 if settings.checkpoint_every else None,
        "test_freq": -1,
        "val_before_train": False,
        "resume_mode": "auto" if settings.checkpoint_every else "disable",
        "logger": _loggers(settings),
        "project_name": "verl_rzero",
        "experiment_name": "/".join(stage_dir.parts[-2:]),
        "default_local_dir": str(stage_dir / run_dir.CHECKPOINTS),
    }


def _loggers(settings: Settings) -> list[str]:
    """Ours write one run over all stages (tracking.py), for which verl writes its numbers to a file."""
    others = [name for name in settings.logger if name not in OUR_LOGGERS]
    return others if len(others) == len(settings.logger) else list(dict.fromkeys([*others, "file"]))


def _challenger(settings: Settings, solver: Any) -> dict[str, Any]:
    """The frozen Solver, served by verl as a generative reward model, and our reward manager that asks it."""
    hardware = settings.hardware
    return {
        "reward": {
            "custom_reward_function": {"path": "pkg://verl_rzero.engine.challenger_manager", "name": "asks_the_solver"},
            "reward_manager": _manager("verl_rzero.engine.challenger_manager", "ChallengerRewardManager"),
            "reward_model": {
                "enable": True,
                "enable_resource_pool": hardware.solver_gpus > 0,
                "n_gpus_per_node": max(1, hardware.solver_gpus),
                "nnodes": hardware.nodes,
                "model_path": str(solver),
                "rollout": {
                    "name": "vllm",
                    "tensor_model_parallel_size": hardware.tensor_parallel,
                    "gpu_memory_utilization": hardware.gpu_memory_utilization,
                    "enforce_eager": False,
                    # verl puts a served model to sleep at its start, and wakes it only where it shares the trainer's.
                    "free_cache_engine": hardware.solver_gpus == 0,
                    "max_model_len": longest(settings),
                    "prompt_length": settings.model.prompt_tokens + settings.model.question_tokens,
                    "response_length": settings.model.answer_tokens,
                    "seed": settings.seed,
                },
            },
        },
        "verl_rzero": {
            "votes": settings.votes,
            "unanswered": settings.unanswered,
            "question_box": settings.question_box,
            "ill_posed_share": settings.curation.ill_posed_share,
            "answer_tokens": settings.model.answer_tokens,
            "prompts": dataclasses.asdict(settings.prompts),
            "sampling": dataclasses.asdict(settings.sampling.votes),
        },
    }


def _solver(settings: Settings) -> dict[str, Any]:
    """A manager that compares with the row's label, or one that only reads what the sampler then rewards."""
    return {
        "reward": {"reward_manager": _manager("verl_rzero.engine.solver_manager", SOLVER_MANAGERS[settings.algorithm])},
        "verl_rzero": {"format_weight": settings.solver.format_weight},
    }


def _attention() -> str:
    """What a trained model attends with on a GPU. By itself verl asks for flash-attn, and fails where there is none."""
    return "flash_attention_2" if importlib.util.find_spec("flash_attn") else "sdpa"


def _manager(module: str, name: str) -> dict[str, Any]:
    return {"source": "importlib", "name": name, "module": {"path": f"pkg://{module}", "name": name}}
