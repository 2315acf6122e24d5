"""What verl's configuration of a job says on a machine without GPUs (docs/performance.md)."""

from typing import Any

from verl_rzero.engine.lengths import lengths, longest
from verl_rzero.engine.memory import Shape
from verl_rzero.settings import Hardware, Settings, machine

GAINS_BY_BFLOAT16 = 256
"""Hidden size from which on matrices of bfloat16 are multiplied faster on a CPU than it costs to round them."""

WORKER = "verl_rzero.engine.cpu.vllm_cpu.CPUWorkerExtension"
SYNCED_WORKER = "verl_rzero.engine.cpu.vllm_cpu.SyncedCPUWorkerExtension"
"""What extends vLLM's worker, where weights stay and where they are replaced by a training's."""

LOGITS_BYTES = 2**27
"""Of a micro-batch on a CPU, in float32. Larger pieces of memory are taken from the system anew each time."""


SEQUENCES = 256
"""Sampled together by one engine, at most."""

LARGEST_CACHE = 2**30
"""Bytes of an engine's keys and values."""


def verl_values(settings: Settings, role: str, model: Shape | None) -> dict[str, Any]:
    """No sleep mode, as few helper processes as possible, and sizes by the model."""
    dtype = cpu_dtype(settings.hardware, model)
    engine = {
        "dtype": dtype,
        "enforce_eager": True,
        "enable_sleep_mode": False,
        "free_cache_engine": False,
        "max_num_seqs": SEQUENCES,
        "enable_chunked_prefill": False,  # vLLM cannot rewind a CPU generator when a seeded request is cut in two
        "max_num_batched_tokens": max(2048, longest(settings)),
    }
    # Of vLLM's 128 tokens a block few prompts fill one, and only what fills a block is read once for all answers to it.
    worker = {
        "distributed_executor_backend": "uni",
        "block_size": 16,
        "kv_cache_memory_bytes": cache_bytes(settings, dtype, model),
        "worker_extension_cls": WORKER,
    }
    fsdp = training_precision(dtype)
    slots = settings.hardware.gpus_per_node + (settings.hardware.solver_gpus if role == "challenger" else 0)
    config: dict[str, Any] = {
        "algorithm": {"rollout_correction": {"bypass_mode": True}},  # both sides compute alike; saves a forward pass
        "actor_rollout_ref": {
            "model": {"override_config": {"attn_implementation": "packed_sdpa"}},
            "actor": {
                "use_torch_compile": False,
                "fsdp_config": fsdp,
                "optim": {"override_optimizer_config": {"fused": True}},
                "ppo_max_token_len_per_gpu": micro_batch_tokens(settings, role, model),
            },
            "ref": {"fsdp_config": {**fsdp, "model_dtype": dtype}},
            "rollout": {
                **engine,
                "engine_kwargs": {"vllm": {**worker, "worker_extension_cls": SYNCED_WORKER}},
                "agent": {"num_workers": 1},
                "checkpoint_engine": {"update_weights_bucket_megabytes": bucket_megabytes(model)},
            },
        },
        "reward": {"num_workers": 1},
        "transfer_queue": {"backend": {"SimpleStorage": {"num_data_storage_units": 1}}},
        "ray_kwargs": {"ray_init": {"num_cpus": 16, "num_gpus": slots, "include_dashboard": False}},
    }
    if role == "challenger":
        config["reward"]["reward_model"] = {"rollout": {**engine, "engine_kwargs": {"vllm": {**worker}}}}
    return config


def training_precision(dtype: str) -> dict[str, Any]:
    """verl's FSDP engine with weights, gradients and AdamW in float32, computing in `dtype`."""
    computed = {"param_dtype": dtype, "reduce_dtype": "float32", "buffer_dtype": "float32"}
    return {
        "model_dtype": "float32",
        "dtype": dtype,
        "use_torch_compile": False,
        "mixed_precision": computed,
        "reshard_after_forward": False,  # weights that a forward pass has gathered stay for the backward pass
    }


def cpu_dtype(hardware: Hardware, model: Shape | None) -> str:
    """What models compute in on a CPU: as the setting says, or by the processor and the model's width."""
    if hardware.cpu_dtype != "auto":
        return hardware.cpu_dtype
    wide = model is not None and model.hidden >= GAINS_BY_BFLOAT16
    return "bfloat16" if wide and machine.computes_bfloat16() else "float32"


def micro_batch_tokens(settings: Settings, role: str, model: Shape | None) -> int:
    """Tokens that a CPU trains on at once: the setting, or as many as have LOGITS_BYTES of logits; a sequence at
    least.
    """
    tokens = settings.hardware.actor_tokens_per_gpu
    if model is not None:
        tokens = min(tokens, LOGITS_BYTES // (4 * model.vocabulary))
    return max(tokens, sum(lengths(settings, role)))


def cache_bytes(settings: Settings, dtype: str, model: Shape | None) -> int:
    """Of one engine's keys and values: what SEQUENCES of half the greatest length have, and LARGEST_CACHE at most.

    Where that is too little, vLLM puts sequences off and reads them again later.
    """
    if model is None:
        return LARGEST_CACHE
    token = 2 * model.layers * model.kv_heads * model.head_dim * (2 if dtype == "bfloat16" else 4)
    return min(LARGEST_CACHE, SEQUENCES * -(-longest(settings) // 2) * token)


def bucket_megabytes(model: Shape | None) -> int:
    """Size of the pieces in which trained weights travel to an engine on a CPU: the largest tensor must fit."""
    return max(64, -(-4 * model.largest // 2**20) if model is not None else 0)
