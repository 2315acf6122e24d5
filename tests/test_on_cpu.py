"""What a job's configuration is on a machine without GPUs, by the model's sizes and the processor."""

import json
from pathlib import Path

import pytest

from verl_rzero import settings
from verl_rzero.engine import jobs, memory, on_cpu
from verl_rzero.english_sums.shape import SHAPE as SMOLLM2
from verl_rzero.settings import machine
from verl_rzero.tiny_world.shape import SHAPE as TINY


def job(role: str, model: dict | None, *overrides: str, path: Path | str = "nowhere"):
    asked = settings.load(["hardware=cpu", *overrides])
    shape = None if model is None else memory.shape(model, None)
    return jobs.verl_config(
        asked, role, model=path, train_file="f", stage_dir="run/round_1", solver="m", shape=shape
    ).actor_rollout_ref


@pytest.fixture
def bfloat16(monkeypatch):
    monkeypatch.setattr(machine, "computes_bfloat16", lambda: True)


@pytest.mark.parametrize("model", [None, TINY])
def test_small_and_unknown_models_have_the_settings_sizes_and_float32(bfloat16, model):
    found = job("solver", model)
    assert found.rollout.checkpoint_engine.update_weights_bucket_megabytes == 64
    assert found.actor.ppo_max_token_len_per_gpu == 4096
    assert (found.rollout.dtype, found.actor.fsdp_config.dtype) == ("float32", "float32")
    assert found.actor.fsdp_config.mixed_precision.param_dtype == "float32"


def test_a_large_vocabulary_has_larger_pieces_and_smaller_micro_batches(bfloat16):
    found = job("solver", SMOLLM2)
    # 49,152 x 576 numbers of 4 bytes are 108 MiB; 128 MiB of logits are 2^27 / (4 x 49,152) tokens
    assert found.rollout.checkpoint_engine.update_weights_bucket_megabytes == 108
    assert found.actor.ppo_max_token_len_per_gpu == 682
    assert found.ref.log_prob_max_token_len_per_gpu == 682


@pytest.mark.parametrize("role", ["challenger", "solver"])
def test_an_engines_cache_is_as_large_as_its_sequences_need(bfloat16, role):
    def cache(*given, **more):
        return job(role, *given, **more).rollout.engine_kwargs.vllm.kv_cache_memory_bytes

    # 256 x 72 tokens, half of 144, each of 2 x 30 layers x 3 heads x 64 numbers of 2 bytes; tiny: 2 x 3 x 4 x 32 of 4
    assert cache(SMOLLM2) == 256 * 72 * 2 * 30 * 3 * 64 * 2
    assert cache(TINY) == 256 * 72 * 2 * 3 * 4 * 32 * 4
    assert cache(SMOLLM2, "model.answer_tokens=4000") == cache(None) == 2**30


def test_the_frozen_solvers_engines_have_the_same_cache(bfloat16):
    asked = settings.load(["hardware=cpu"])
    shape = memory.shape(SMOLLM2, None)
    whole = jobs.verl_config(
        asked, "challenger", model="m", train_file="f", stage_dir="run/round_1", solver="m", shape=shape
    )
    served = whole.reward.reward_model.rollout.engine_kwargs.vllm.kv_cache_memory_bytes
    assert served == whole.actor_rollout_ref.rollout.engine_kwargs.vllm.kv_cache_memory_bytes


def test_a_micro_batch_holds_the_longest_sequence(bfloat16):
    longer = job("solver", SMOLLM2, "model.prompt_tokens=1000", "model.question_tokens=200", "model.answer_tokens=300")
    assert longer.actor.ppo_max_token_len_per_gpu == 1500
    assert job("solver", TINY, "hardware.actor_tokens_per_gpu=100").actor.ppo_max_token_len_per_gpu == 144


def test_weights_stay_float32_and_are_computed_with_in_bfloat16(bfloat16):
    found = job("challenger", SMOLLM2)
    fsdp = found.actor.fsdp_config
    assert (fsdp.model_dtype, fsdp.dtype) == ("float32", "bfloat16")
    assert (fsdp.mixed_precision.param_dtype, fsdp.mixed_precision.reduce_dtype) == ("bfloat16", "float32")
    assert found.ref.fsdp_config.model_dtype == "bfloat16"
    assert found.rollout.dtype == "bfloat16"


@pytest.mark.parametrize(
    ("can", "setting", "model", "expected"),
    [
        (True, "auto", SMOLLM2, "bfloat16"),
        (True, "auto", TINY, "float32"),
        (True, "auto", None, "float32"),
        (False, "auto", SMOLLM2, "float32"),
        (True, "float32", SMOLLM2, "float32"),
        (False, "bfloat16", TINY, "bfloat16"),
    ],
)
def test_what_is_computed_in(monkeypatch, can, setting, model, expected):
    monkeypatch.setattr(machine, "computes_bfloat16", lambda: can)
    hardware = settings.load(["hardware=cpu", f"hardware.cpu_dtype={setting}"]).hardware
    assert on_cpu.cpu_dtype(hardware, model and memory.shape(model, None)) == expected


def test_a_model_that_is_there_is_looked_at(bfloat16, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(SMOLLM2))
    assert job("solver", TINY, path=tmp_path).rollout.checkpoint_engine.update_weights_bucket_megabytes == 108


@pytest.mark.parametrize(
    ("flags", "expected"),
    [("fpu avx2 avx512_bf16", True), ("amx_tile amx_bf16", True), ("avx512f avx512_vnni", False), ("", False)],
)
def test_instructions_for_bfloat16(tmp_path, flags, expected):
    (tmp_path / "cpuinfo").write_text(f"processor\t: 0\nflags\t\t: {flags}\nbugs\t\t: none\n")
    assert machine.computes_bfloat16(tmp_path / "cpuinfo") is expected


def test_a_machine_that_does_not_tell_has_none(tmp_path):
    assert machine.computes_bfloat16(tmp_path / "cpuinfo") is False


def test_on_gpus_nothing_of_it_is_said(bfloat16):
    found = job("solver", SMOLLM2, "hardware=1gpu")
    assert found.actor.ppo_max_token_len_per_gpu == 16384
    assert found.rollout.checkpoint_engine.update_weights_bucket_megabytes == 2048
