"""The estimate of memory, against numbers worked out by hand."""

import pytest

from verl_rzero import settings
from verl_rzero.engine import jobs, known_models, memory, on_cpu
from verl_rzero.engine.memory import GIB, Shape
from verl_rzero.settings import machine
from verl_rzero.tiny_world.shape import SHAPE

SMOLLM2 = {
    "hidden_size": 576, "num_hidden_layers": 30, "num_attention_heads": 9, "num_key_value_heads": 3, "head_dim": 64,
    "intermediate_size": 1536, "vocab_size": 49152, "tie_word_embeddings": True,
}  # fmt: skip
QWEN3_4B = {
    "hidden_size": 2560, "num_hidden_layers": 36, "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128,
    "intermediate_size": 9728, "vocab_size": 151936, "tie_word_embeddings": True,
}  # fmt: skip


def shape(config: dict) -> Shape:
    found = memory.shape(config, None)
    assert found is not None
    return found


def job(role: str, *overrides: str):
    one = [] if any(word.startswith("hardware=") for word in overrides) else ["hardware.gpus_per_node=1"]
    asked = settings.load(["hardware=cpu", "hardware.cpu_dtype=float32", *one, *overrides])
    return jobs.verl_config(asked, role, model="m", train_file="f", stage_dir="run/round_1", solver="m")


def test_parameters_of_a_dense_model():
    # SmolLM2: a layer has q and o of 576 x 576, k and v of 576 x 192, three matrices of 576 x 1536 and two norms:
    # 663,552 + 221,184 + 2,654,208 + 1,152 = 3,540,096; 30 of them, 49,152 x 576 embeddings and the last norm.
    assert shape(SMOLLM2).parameters == 30 * 3_540_096 + 28_311_552 + 576 == 134_515_008
    # Qwen3-4B: 2 x 2560 x 4096 + 2 x 2560 x 1024 + 3 x 2560 x 9728 + 2 x 2560 = 100,930,560 a layer.
    assert shape(QWEN3_4B).parameters == 36 * 100_930_560 + 388_956_160 + 2560 == 4_022_458_880
    # Its own table for the output: as many weights again as the embeddings.
    assert shape(SMOLLM2 | {"tie_word_embeddings": False}).parameters == 134_515_008 + 28_311_552


@pytest.mark.parametrize(
    ("name", "billions"),
    [
        ("Qwen/Qwen3-0.6B-Base", 0.6), ("Qwen/Qwen3-1.7B-Base", 1.72), ("Qwen/Qwen3-4B-Base", 4.02),
        ("Qwen/Qwen3-8B-Base", 8.19), ("Qwen/Qwen2.5-Math-1.5B", 1.54), ("Qwen/Qwen2.5-3B", 3.09),
        ("Qwen/Qwen2.5-Coder-3B", 3.09), ("Qwen/Qwen2.5-7B", 7.62), ("Qwen/Qwen2.5-Math-7B", 7.62),
        ("Qwen/Qwen2.5-Coder-7B", 7.62), ("OctoThinker/OctoThinker-3B-Hybrid-Base", 3.21),
        ("OctoThinker/OctoThinker-8B-Hybrid-Base", 8.03), ("meta-llama/Llama-3.1-8B", 8.03),
    ],
)  # fmt: skip
def test_the_recipes_models_have_as_many_weights_as_is_published(name, billions):
    assert shape(known_models.SIZES[name]).parameters / 1e9 == pytest.approx(billions, rel=0.01)


def test_every_known_model_is_held_against_what_is_published():
    (marked,) = test_the_recipes_models_have_as_many_weights_as_is_published.pytestmark
    assert {name for name, _ in marked.args[1]} == set(known_models.SIZES)


def test_the_shape_of_the_tiny_model_is_that_of_the_model_that_is_made():
    from verl_rzero.tiny_world.base_model import make_model
    from verl_rzero.tiny_world.tokenizer import VOCABULARY, make_tokenizer

    model = make_model(make_tokenizer(), 0)
    assert len(VOCABULARY) == SHAPE["vocab_size"]
    # Qwen3 also has a norm of queries and one of keys in each layer, which the formula leaves out: 3 x 2 x 32.
    assert model.num_parameters() == shape(SHAPE).parameters + 192
    assert max(weight.numel() for weight in model.parameters()) == shape(SHAPE).largest == 64 * 192


def test_weights_that_can_be_counted_are_counted():
    found = memory.shape(SMOLLM2, {"experts": 500, "embeddings": 700})
    assert found is not None
    assert (found.parameters, found.largest) == (1200, 700)


def test_the_language_model_inside_a_model_that_sees_images_is_looked_at():
    assert memory.shape({"model_type": "some_vl", "text_config": SMOLLM2}, None) == shape(SMOLLM2)


def test_a_config_with_other_names_gives_no_estimate():
    assert memory.shape({"n_embd": 768, "n_layer": 12}, None) is None


def test_sizes_that_a_config_may_leave_out():
    plain = {key: value for key, value in SMOLLM2.items() if key not in ("num_key_value_heads", "head_dim")}
    assert (shape(plain).kv_heads, shape(plain).head_dim) == (9, 64)


def test_training_takes_sixteen_bytes_a_parameter_in_float32():
    assert memory.training_state(10, 10, 4) == {"weights": 40, "gradients": 40, "AdamW": 80}


def test_activations():
    # A layer and token of SmolLM2: 6 x 576 + 2 x 9 x 64 (queries, output) + 2 x (9 + 3) x 64 (keys, values) + 4 x 1536
    # = 3,456 + 1,152 + 1,536 + 6,144 = 12,288 numbers. 1,000 tokens, 30 layers, 4 bytes:
    assert memory.activations(shape(SMOLLM2), 1000, 4, checkpointing=False) == 1000 * 30 * 12_288 * 4
    # With checkpointing a hidden state for each layer, and one layer's numbers; 2 bytes.
    assert memory.activations(shape(SMOLLM2), 1000, 2, checkpointing=True) == 1000 * (30 * 576 + 12_288) * 2


@pytest.mark.parametrize(
    ("kind", "width"), [("bf16", 2), ("float16", 2), ("fp32", 4), ("float32", 4), (None, 4), ("auto", 4)]
)
def test_bytes_of_a_number(kind, width):
    assert memory.width_of(kind) == width


def test_logits():
    # 1,000 tokens x 49,152 scores x 4 bytes, three times.
    assert memory.logits(shape(SMOLLM2), 1000, 4) == 589_824_000


def test_a_micro_batch_is_no_larger_than_an_update():
    # The tiny Challenger: 8 prompts x 8 responses of at most 40 + 32 tokens are 4,608; the budget is 4,096. On a CPU
    # logits are made of the 8 x 8 x 32 tokens of responses.
    assert memory.micro_batch_tokens(job("challenger")) == (4096, 2048)
    assert memory.micro_batch_tokens(job("challenger", "challenger.minibatch_size=4")) == (2304, 1024)
    # Two processes share an update: 8 x 8 / 2 sequences each.
    assert memory.micro_batch_tokens(job("challenger", "hardware.gpus_per_node=2")) == (2304, 1024)
    # 128 responses of 32 tokens are as many as the budget.
    assert memory.micro_batch_tokens(job("challenger", "challenger.rollouts=32")) == (4096, 4096)
    assert memory.micro_batch_tokens(job("challenger", "hardware=1gpu")) == (4608, 4608)


def test_the_challengers_job_on_a_cpu():
    trainer, engine, frozen, rest = memory.on_a_cpu(job("challenger"), shape(SMOLLM2))
    P = 134_515_008
    assert trainer.certain == {"weights": 4 * P, "gradients": 4 * P, "AdamW": 8 * P, "reference model": 4 * P}
    assert trainer.estimated == {
        "gathered weights": 2 * 4 * P,  # the model's and the reference's
        "activations of 4,096 tokens": 4096 * 30 * 12_288 * 4,
        "logits of 2,048": 3 * 2048 * 49_152 * 4,
        "process": memory.TRAINER_BASE,
    }
    assert engine.certain == frozen.certain == {"weights": 4 * P}
    assert engine.estimated["KV cache"] == on_cpu.LARGEST_CACHE
    assert engine.estimated["sampler"] == 24 * 256 * 49_152
    assert (engine.name, frozen.name, rest.at_least) == ("engine", "frozen Solver's engine", 0)


def test_in_bfloat16_a_reference_and_an_engine_are_half_as_large_and_what_is_trained_is_not():
    trainer, engine, *_ = memory.on_a_cpu(job("challenger", "hardware.cpu_dtype=bfloat16"), shape(SMOLLM2))
    P = 134_515_008
    assert trainer.certain == {"weights": 4 * P, "gradients": 4 * P, "AdamW": 8 * P, "reference model": 2 * P}
    assert trainer.estimated["activations of 4,096 tokens"] == 4096 * 30 * 12_288 * 2
    assert engine.certain == {"weights": 2 * P}


def test_few_layers_and_a_large_vocabulary_have_their_fullest_moment_after_the_backward_pass():
    wide = shape({**SMOLLM2, "num_hidden_layers": 2})
    few = ("challenger.rollouts=2", "model.question_tokens=8", "hardware.cpu_dtype=bfloat16")
    trainer, *_ = memory.on_a_cpu(job("challenger", *few), wide)
    P, table = wide.parameters, 49_152 * 576
    assert trainer.estimated == {
        "gathered weights": 2 * 2 * P,
        "gradients before they are shared": 4 * P + 2 * table,
        "process": memory.TRAINER_BASE,
    }


def test_two_trainers_share_the_state_and_have_an_engine_each():
    trainer, engine, *_ = memory.on_a_cpu(job("challenger", "hardware.gpus_per_node=2"), shape(SMOLLM2))
    assert (trainer.count, engine.count) == (2, 2)
    assert trainer.certain["AdamW"] == 4 * 134_515_008
    assert trainer.at_least == 2 * 10 * 134_515_008
    assert engine.size == 2 * (4 * 134_515_008 + GIB + 24 * 256 * 49_152 + memory.ENGINE_BASE + memory.SERVER_BASE)


def test_without_a_kl_loss_there_is_no_reference():
    trainer, *_ = memory.on_a_cpu(job("solver", "solver.kl=0"), shape(SMOLLM2))
    assert "reference model" not in trainer.certain
    assert trainer.estimated["gathered weights"] == 4 * 134_515_008


def test_the_solvers_job_has_one_engine():
    names = [part.name for part in memory.on_a_cpu(job("solver"), shape(SMOLLM2))]
    assert names == ["trainer", "engine", "the rest"]


def test_a_gpu_while_it_trains_and_while_it_samples():
    config = job("challenger", "model=qwen3_4b_base", "hardware=8gpu")
    found = memory.on_a_gpu(config, shape(QWEN3_4B), gpu=80 * GIB)
    # Four GPUs train: a quarter of the state each, 1,005,614,720 weights. The reference lies in the host's memory.
    Q = 1_005_614_720
    (training,) = found["training"]
    assert training.certain == {"weights": 4 * Q, "gradients": 4 * Q, "AdamW": 8 * Q}
    # 16,384 tokens in bfloat16; a layer of Qwen3-4B: 6 x 2560 + 2 x 4096 + 2 x (4096 + 1024) + 4 x 9728 = 72,704.
    assert training.estimated == {
        "activations of 16,384 tokens": 16_384 * (36 * 2560 + 72_704) * 2,
        "logits of 16,384": 3 * 16_384 * 151_936 * 2,
    }
    stays, engine = found["sampling"]
    assert stays.certain == {"weights": 4 * Q, "AdamW": 8 * Q}
    # Two GPUs share an engine (tensor_parallel), which has 0.6 of each.
    assert engine.certain["weights"] == 2 * 4_022_458_880 // 2
    assert engine.at_least == engine.size == int(0.6 * 80 * GIB)


def test_the_size_of_an_adapter():
    # Qwen3-4B: queries of 2560 x 4096 and back again, keys and values of 2560 x 1024, three matrices of 2560 x 9728:
    # 2 x 6656 + 2 x 3584 + 3 x 12288 = 57,344 numbers a layer for each of 32.
    assert memory.adapter_size(shape(QWEN3_4B), 32) == 32 * 36 * 57_344 == 66_060_288
    assert memory.adapter_size(shape(QWEN3_4B), 0) == 0


def test_with_an_adapter_a_gpu_keeps_the_weights_and_little_else():
    offload = "hardware.verl.actor_rollout_ref.actor.fsdp_config.param_offload=true"
    config = job("solver", "model=qwen3_4b_base", "hardware=1gpu", "lora.rank=32", offload)
    found = memory.on_a_gpu(config, shape(QWEN3_4B), gpu=80 * GIB)
    P, A = 4_022_458_880, 66_060_288
    (training,) = found["training"]
    assert training.certain == {"weights": 4 * (P + A), "gradients": 4 * A, "AdamW": 8 * A}
    stays, _ = found["sampling"]
    assert stays.certain == {"weights": 0, "AdamW": 8 * A}
    # verl adds the adapter to the weights on the GPU, while the engine has its own there.
    trainer, engine = found["handing over its weights"]
    assert trainer.certain == {"weights": 4 * (P + A), "AdamW": 8 * A}
    assert engine.certain == {"weights": 2 * P}


def test_with_an_adapter_a_cpu_has_no_reference_but_the_base_and_for_a_moment_the_weights_twice():
    wide = shape({**SMOLLM2, "num_hidden_layers": 2})
    few = ("solver.rollouts=2", "solver.minibatch_size=2", "model.question_tokens=8", "model.answer_tokens=8")
    trainer, *_ = memory.on_a_cpu(job("solver", "lora.rank=8", *few), wide)
    # q and o 1152 each, k and v 768 each, three of 2112: 10,176 a layer for each of 8.
    P, A = wide.parameters, 8 * 2 * 10_176
    assert trainer.certain == {"weights": 4 * (P + A), "gradients": 4 * A, "AdamW": 8 * A}
    assert trainer.estimated["copy of the weights"] == 4 * (P + A)
    beside, *_ = memory.on_a_cpu(job("solver", "lora.rank=8", "solver.reference=base", *few), wide)
    assert beside.certain == trainer.certain | {"reference model": 4 * P}


def test_what_is_offloaded_does_not_stay_beside_an_engine():
    key = "hardware.verl.actor_rollout_ref.actor.fsdp_config"
    config = job("solver", "model=small", "hardware=1gpu", f"{key}.param_offload=true", f"{key}.optimizer_offload=true")
    stays, _ = memory.on_a_gpu(config, shape(QWEN3_4B), gpu=80 * GIB)["sampling"]
    assert stays.size == 0


@pytest.mark.parametrize(
    ("line", "file", "content", "limit"),
    [
        ("0::/a/b", "sys/fs/cgroup/a/b/memory.max", "1000\n", 1000),
        ("0::/a/b", "sys/fs/cgroup/a/memory.max", "1000\n", 1000),
        ("0::/a/b", "sys/fs/cgroup/memory.max", "max\n", None),
        ("4:cpu,memory:/a", "sys/fs/cgroup/memory/a/memory.limit_in_bytes", "1000\n", 1000),
        ("4:cpu,memory:/not/seen/here", "sys/fs/cgroup/memory/memory.limit_in_bytes", "1000\n", 1000),
        ("4:cpu,memory:/a", "sys/fs/cgroup/memory/a/memory.limit_in_bytes", "9223372036854771712\n", None),
    ],
)
def test_a_control_group_may_allow_less_than_the_machine_has(tmp_path, line, file, content, limit):
    for path, text in (("proc/self/cgroup", f"3:cpuset:/\n{line}\n"), (file, content)):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    everything = machine.memory_bytes()
    assert machine.memory_bytes(tmp_path) == (limit or everything) <= everything


@pytest.mark.parametrize(
    ("program", "size"),
    [("printf '81559\\n40960\\n'", 40960 * 2**20), ("echo '[N/A]'", None), ("exit 9", None), ("true", None)],
)
def test_a_gpus_memory_is_known_where_nvidia_smi_tells(tmp_path, monkeypatch, program, size):
    (tmp_path / "nvidia-smi").write_text(f"#!/bin/sh\n{program}\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert machine.gpu_memory_bytes() == size
