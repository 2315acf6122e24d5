"""Every shipped recipe as verl's configuration of both jobs: the paper's numbers, sizes, GPUs, verl's own checks."""

import copy
import functools
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from omegaconf import DictConfig, OmegaConf

from verl_rzero import settings
from verl_rzero.base.errors import UserError
from verl_rzero.engine import jobs, verl_tree
from verl_rzero.settings import Settings, compose

HERE = Path(__file__).parent
PAPER = ("qwen3_4b_base", "qwen3_8b_base")
SENSIBLE = {
    "tiny": ("cpu", "1gpu", "8gpu"),
    "code_tiny": (),  # its jobs are not those of a Challenger and a Solver
    "small": ("24gb", "1gpu", "2gpu", "4gpu", "8gpu"),
    "smollm2": ("cpu", "1gpu", "8gpu"),
    "qwen3_1_7b_base": ("24gb", "1gpu", "2gpu", "4gpu", "8gpu"),
    "qwen3_4b_base": ("4gpu", "8gpu", "cluster"),
    "qwen3_8b_base": ("8gpu", "cluster"),
    "qwen2_5_3b": ("8gpu",),
    "qwen2_5_7b": ("8gpu",),
    "octothinker_3b": ("8gpu",),
    "octothinker_8b": ("8gpu",),
    "llama_3_1_8b": ("8gpu",),
    "ttrl_tiny": ("cpu", "1gpu", "8gpu"),
    "ttrl_smollm2": ("cpu", "1gpu", "8gpu"),
    "ttrl_qwen2_5_math_1_5b": ("1gpu", "8gpu"),
    "ttrl_qwen2_5_math_7b": ("8gpu",),
    "ttrl_qwen3_4b_base": ("8gpu",),
    "az_qwen2_5_7b": ("8gpu",),
    "az_qwen2_5_coder_7b": ("8gpu",),
    "az_qwen2_5_coder_3b": ("8gpu",),
}


def roles(model: str) -> tuple[str, ...]:
    return ("solver",) if model.startswith(("ttrl_", "az_", "code_")) else ("challenger", "solver")


def method_of(model: str) -> str:
    of_prefix = {"ttrl": "ttrl", "az": "absolute_zero", "code": "absolute_zero"}
    return of_prefix.get(model.partition("_")[0], "paper")


COMBINATIONS = [(model, hardware) for model, several in SENSIBLE.items() for hardware in several]
JOBS = [(model, hardware, role) for model, hardware in COMBINATIONS for role in roles(model)]
EVERY = [
    (model, hardware, role) for model in SENSIBLE for hardware in compose.choices("hardware") for role in roles(model)
]
"""Whether it is sensible or not."""
ON_GPUS = [job for job in JOBS if job[1] != "cpu"]


@functools.cache
def loaded(model: str, hardware: str) -> Settings:
    return settings.load([f"model={model}", f"hardware={hardware}", f"method={method_of(model)}"])


@functools.cache
def stock() -> DictConfig:
    return verl_tree.stock()


@functools.cache
def job(model: str, hardware: str, role: str) -> DictConfig:
    """verl's configuration of a recipe's job; verl's own part is composed once."""
    with pytest.MonkeyPatch.context() as patch:
        kept = copy.deepcopy(stock())
        patch.setattr(verl_tree, "stock", lambda: kept)
        return jobs.verl_config(
            loaded(model, hardware), role, model="model", train_file="train.parquet", stage_dir="stage", solver="solver"
        )


def value(config: DictConfig, key: str) -> object:
    found = OmegaConf.select(config, key, throw_on_missing=True)
    return list(found) if OmegaConf.is_list(found) else found


def train_gpus(config: DictConfig) -> int:
    return config.trainer.n_gpus_per_node * config.trainer.nnodes


def test_every_shipped_recipe_is_looked_at_here():
    assert compose.choices("model") == sorted(SENSIBLE)
    assert compose.choices("hardware") == sorted({hardware for _, hardware in COMBINATIONS})


@pytest.mark.parametrize("method", compose.choices("method"))
def test_every_method_fits_every_model(method):
    ttrl = method.startswith("ttrl")
    for model in SENSIBLE:
        if ttrl or not model.startswith("ttrl_"):
            given = [f"data={__file__}"] if ttrl else []
            given += ["self_play.estimates=discard"] if method == "absolute_zero_released" else []
            assert settings.load([f"model={model}", f"method={method}", "hardware=cpu", *given]).model.name == model


# What the recipes for the paper's models claim to be: R-Zero (arXiv 2508.05004) and, where it is silent, its authors'
# scripts. Written down by hand, by verl's names.
BOTH = {
    "data.train_batch_size": 512,
    "actor_rollout_ref.actor.optim.lr": 1e-6,
    "actor_rollout_ref.actor.optim.weight_decay": 1e-2,
    "actor_rollout_ref.actor.optim.optimizer": "AdamW",
    "actor_rollout_ref.actor.optim.betas": [0.9, 0.999],
    "actor_rollout_ref.actor.optim.clip_grad": 1.0,
    "actor_rollout_ref.actor.optim.lr_scheduler_type": "constant",
    "actor_rollout_ref.actor.optim.lr_warmup_steps_ratio": 0.0,
    "actor_rollout_ref.actor.ppo_epochs": 1,
    "actor_rollout_ref.actor.clip_ratio_low": 0.2,
    "actor_rollout_ref.actor.clip_ratio_high": 0.3,
    "actor_rollout_ref.actor.clip_ratio_c": 3.0,
    "actor_rollout_ref.actor.loss_agg_mode": "token-mean",
    "actor_rollout_ref.actor.entropy_coeff": 0.0,
    "actor_rollout_ref.actor.use_kl_loss": True,
    "actor_rollout_ref.actor.kl_loss_coef": 1e-2,
    "actor_rollout_ref.actor.kl_loss_type": "low_var_kl",
    "actor_rollout_ref.actor.fsdp_config.dtype": "bfloat16",
    "actor_rollout_ref.rollout.dtype": "bfloat16",
    "actor_rollout_ref.rollout.temperature": 1.0,
    "actor_rollout_ref.rollout.top_p": 0.99,
    "actor_rollout_ref.rollout.top_k": -1,
    "algorithm.adv_estimator": "grpo",
    "algorithm.norm_adv_by_std_in_grpo": True,
    "algorithm.use_kl_in_reward": False,
    "trainer.nnodes": 1,
}
CHALLENGER = {
    "actor_rollout_ref.rollout.n": 4,
    "actor_rollout_ref.actor.ppo_mini_batch_size": 16,
    "trainer.total_training_steps": 5,
    "data.max_prompt_length": 2048,
    "data.max_response_length": 4096,
    "trainer.n_gpus_per_node": 4,
    "reward.reward_model.n_gpus_per_node": 4,
    "reward.reward_model.rollout.tensor_model_parallel_size": 2,
    "verl_rzero.votes": 10,
    "verl_rzero.answer_tokens": 4096,
}
SOLVER = {
    "actor_rollout_ref.rollout.n": 5,
    "actor_rollout_ref.actor.ppo_mini_batch_size": 128,
    "trainer.total_training_steps": 15,
    "data.max_prompt_length": 6144,  # 2048 as in the scripts, and a question of up to 4096, so that none is cut
    "data.max_response_length": 4096,
    "trainer.n_gpus_per_node": 8,
    "actor_rollout_ref.rollout.tensor_model_parallel_size": 2,
}


@pytest.mark.parametrize("model", PAPER)
@pytest.mark.parametrize(("role", "own"), [("challenger", CHALLENGER), ("solver", SOLVER)])
def test_the_paper_s_models_train_with_the_paper_s_numbers(model, role, own):
    config = job(model, "8gpu", role)
    expected = BOTH | own
    assert {key: value(config, key) for key in expected} == expected


@pytest.mark.parametrize("model", PAPER)
def test_the_paper_s_dataset_and_rounds(model):
    asked = loaded(model, "8gpu")
    challenger = asked.challenger
    assert (challenger.uncertainty, challenger.invalid_reward, challenger.floor) == ("paper", 0.0, 0.0)
    assert (challenger.repetition_weight, challenger.repetition_threshold) == (1.0, 0.5)
    assert challenger.repetition_tokens == "whitespace"
    assert (asked.rounds, asked.candidates, asked.votes, asked.band) == (3, 8000, 10, (0.25, 0.75))
    assert (asked.sampling.questions.temperature, asked.sampling.questions.top_p) == (1.0, 0.95)
    assert asked.model.path == {"qwen3_4b_base": "Qwen/Qwen3-4B-Base", "qwen3_8b_base": "Qwen/Qwen3-8B-Base"}[model]


@pytest.mark.parametrize("model", PAPER)
def test_the_paper_s_optimizer_updates_in_a_step(model):
    # Challenger: 512 prompts / 16 = 32 updates of 16 x 4 texts; Solver: 512 / 128 = 4 updates of 128 x 5 answers.
    for role, updates, sequences in (("challenger", 32, 64), ("solver", 4, 640)):
        config = job(model, "8gpu", role)
        in_update = config.actor_rollout_ref.actor.ppo_mini_batch_size
        assert config.data.train_batch_size / in_update == updates
        assert in_update * config.actor_rollout_ref.rollout.n == sequences


@pytest.mark.parametrize(("model", "hardware", "role"), JOBS)
def test_batches_divide(model, hardware, role):
    config = job(model, hardware, role)
    actor, rollout = config.actor_rollout_ref.actor, config.actor_rollout_ref.rollout
    assert config.data.train_batch_size % actor.ppo_mini_batch_size == 0
    # verl shares an update's sequences out evenly among the GPUs that train, and else stops in a worker.
    assert actor.ppo_mini_batch_size * rollout.n % train_gpus(config) == 0
    assert train_gpus(config) % rollout.tensor_model_parallel_size == 0


@pytest.mark.parametrize(("model", "hardware", "role"), JOBS)
def test_the_longest_sequence_fits_everywhere(model, hardware, role):
    config, asked = job(model, hardware, role), loaded(model, hardware).model
    question, answer = asked.prompt_tokens + asked.question_tokens, asked.answer_tokens
    longest = question if role == "challenger" else question + answer
    rollout = config.actor_rollout_ref.rollout
    assert rollout.prompt_length + rollout.response_length == longest
    assert rollout.max_model_len >= longest
    resolved = [config.actor_rollout_ref.actor.ppo_max_token_len_per_gpu, rollout.log_prob_max_token_len_per_gpu]
    assert min(*resolved, config.actor_rollout_ref.ref.log_prob_max_token_len_per_gpu) >= longest
    if role == "challenger":
        assert config.reward.reward_model.rollout.max_model_len >= question + answer


@pytest.mark.parametrize(("model", "hardware", "role"), JOBS)
def test_micro_batches_are_made_by_tokens_in_every_pass(model, hardware, role):
    parts = job(model, hardware, role).actor_rollout_ref
    assert parts.actor.use_dynamic_bsz
    assert parts.rollout.log_prob_use_dynamic_bsz
    assert parts.ref.log_prob_use_dynamic_bsz
    assert parts.ref.strategy == parts.actor.strategy == "fsdp2"


@pytest.mark.parametrize(("model", "hardware", "role"), JOBS)
def test_nothing_foreign_is_trained_on_or_measured(model, hardware, role):
    config = job(model, hardware, role)
    assert config.data.train_files == config.data.val_files == "train.parquet"
    assert (config.trainer.val_before_train, config.trainer.test_freq) == (False, -1)
    assert value(config, "actor_rollout_ref.actor.checkpoint.save_contents") == jobs.saved(loaded(model, hardware))


@pytest.mark.parametrize(("every", "freq"), [(0, 15), (5, 5), (100, 15)])
def test_a_checkpoint_that_a_job_can_go_on_from_is_asked_for(every, freq):
    asked = settings.load(["model=qwen3_4b_base", "hardware=8gpu", f"checkpoint_every={every}"])
    config = jobs.verl_config(asked, "solver", model="m", train_file="t.parquet", stage_dir="/run/stage")
    saved = ["model", "optimizer", "extra", "hf_model"] if every else ["hf_model"]
    assert value(config, "actor_rollout_ref.actor.checkpoint.save_contents") == saved == jobs.saved(asked)
    assert value(config, "actor_rollout_ref.actor.checkpoint.load_contents") == saved
    assert config.trainer.save_freq == freq
    assert config.trainer.resume_mode == ("auto" if every else "disable")
    assert config.trainer.max_actor_ckpt_to_keep == (2 if every else None)


@pytest.mark.parametrize(("model", "hardware"), [pair for pair in COMBINATIONS if pair[1] in ("1gpu", "24gb")])
def test_on_one_gpu_challenger_and_solver_take_turns(model, hardware):
    config = job(model, hardware, "challenger")
    served = config.reward.reward_model
    assert served.enable
    assert not served.enable_resource_pool
    assert (train_gpus(config), served.rollout.tensor_model_parallel_size) == (1, 1)
    for rollout in (config.actor_rollout_ref.rollout, served.rollout):
        assert rollout.free_cache_engine  # verl puts each to sleep while the other works
        assert rollout.get("enable_sleep_mode", True)


@pytest.mark.parametrize("role", ["challenger", "solver"])
def test_on_small_gpus_nothing_that_is_idle_stays_beside_an_engine(role):
    fsdp = job("small", "24gb", role).actor_rollout_ref.actor.fsdp_config
    assert (fsdp.param_offload, fsdp.optimizer_offload) == (True, True)
    fsdp = job("small", "1gpu", role).actor_rollout_ref.actor.fsdp_config
    assert (fsdp.param_offload, fsdp.optimizer_offload) == (False, False)


@pytest.mark.parametrize(("model", "hardware"), [pair for pair in COMBINATIONS if pair[1] == "8gpu"])
def test_on_eight_gpus_the_solver_has_four_of_its_own(model, hardware):
    config = job(model, hardware, "challenger")
    served = config.reward.reward_model
    assert served.enable
    assert served.enable_resource_pool
    assert (served.n_gpus_per_node * served.nnodes, train_gpus(config)) == (4, 4)
    assert train_gpus(job(model, hardware, "solver")) == 8
    assert not job(model, hardware, "solver").reward.reward_model.enable


@pytest.mark.parametrize(("hardware", "machines", "half"), [("2gpu", 1, 1), ("4gpu", 1, 2), ("cluster", 2, 4)])
def test_on_other_numbers_of_gpus_half_of_each_machine_serve_the_solver(hardware, machines, half):
    config = job("qwen3_4b_base", hardware, "challenger")
    served = config.reward.reward_model
    assert served.enable_resource_pool
    assert (served.n_gpus_per_node, served.nnodes) == (half, machines)
    assert (config.trainer.n_gpus_per_node, config.trainer.nnodes) == (half, machines)
    assert train_gpus(job("qwen3_4b_base", hardware, "solver")) == 2 * half * machines


@pytest.mark.parametrize(("model", "hardware"), [pair for pair in COMBINATIONS if pair[1] == "8gpu"])
def test_a_solver_on_gpus_of_its_own_never_sleeps(model, hardware):
    """verl puts a served model to sleep when it starts and wakes it only where it shares the trainer's GPUs."""
    assert not job(model, hardware, "challenger").reward.reward_model.rollout.free_cache_engine


@pytest.mark.parametrize(("model", "hardware", "role"), ON_GPUS)
def test_what_is_for_a_cpu_stays_there(model, hardware, role):
    config = job(model, hardware, role)
    text = OmegaConf.to_yaml(config)
    assert config.trainer.device == "cuda"
    assert "packed_sdpa" not in text
    assert "vllm_cpu" not in text
    assert not config.algorithm.rollout_correction.bypass_mode
    assert "num_gpus" not in config.ray_kwargs.ray_init


@pytest.mark.parametrize("hardware", ["1gpu", "8gpu"])
def test_ray_counts_as_many_cores_as_verl_reserves(hardware, monkeypatch):
    """A machine with fewer would wait for ever; 3 for each GPU, 1 + 8 for TransferQueue, 1 to place servers on."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 2, 3})
    config = jobs.verl_config(
        loaded("small", hardware), "solver", model="m", train_file="t.parquet", stage_dir="s", solver="s"
    )
    queue = config.transfer_queue.backend.SimpleStorage.num_data_storage_units
    gpus = config.trainer.n_gpus_per_node
    assert config.ray_kwargs.ray_init.num_cpus == 3 * gpus + 1 + queue + 1 == {"1gpu": 13, "8gpu": 34}[hardware]


@pytest.mark.parametrize("role", ["challenger", "solver"])
@pytest.mark.parametrize(
    ("word", "instead"),
    [
        ("actor_rollout_ref.rollout.name=sglang", "vllm"),
        ("reward.reward_model.rollout.name=sglang", "vllm"),
        ("actor_rollout_ref.actor.strategy=megatron", "fsdp2"),
        ("actor_rollout_ref.ref.strategy=megatron", "fsdp2"),
        ("model_engine=megatron", "dp"),
    ],
)
def test_engines_of_verls_that_ours_do_not_work_with_are_refused_before_any_gpu_is_taken(word, instead, role):
    asked = settings.load(["model=small", "hardware=8gpu", f"hardware.verl.{word}"])
    with pytest.raises(UserError, match=f"^{re.escape(word)}: .* Write {word.partition('=')[0]}={instead}, or nothing"):
        jobs.verl_config(asked, role, model="m", train_file="f", stage_dir="s", solver="m")


def test_verl_accepts_every_job(tmp_path):
    for each in EVERY:
        OmegaConf.save(job(*each), tmp_path / f"{'-'.join(each)}.yaml")
    adapted = settings.load(["model=qwen3_8b_base", "hardware=1gpu", "lora.rank=32"])
    for role in ("challenger", "solver"):
        config = jobs.verl_config(adapted, role, model="m", train_file="t.parquet", stage_dir="s", solver="s")
        OmegaConf.save(config, tmp_path / f"adapter-{role}.yaml")
    # The checkout first, so that verl finds our plug-in where it isn't installed.
    path = os.pathsep.join([str(HERE.parent), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(HERE / "verl_accepts.py"), str(tmp_path)],
        env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert [line for line in done.stdout.splitlines() if line.startswith("REFUSED")] == []
    assert f"LOOKED AT {len(EVERY) + 2}" in done.stdout, done.stderr[-2000:]


@pytest.mark.parametrize("model", ["ttrl_qwen2_5_math_1_5b", "ttrl_qwen2_5_math_7b", "ttrl_qwen3_4b_base"])
def test_ttrl_trains_with_its_paper_s_numbers(model):
    """arXiv 2504.16084, section 3.1 and examples/ttrl: 64 votes, 32 trained on, 8 questions a step, 1 in an update."""
    asked, config = loaded(model, "8gpu"), job(model, "8gpu", "solver")
    assert (asked.ttrl.votes, asked.ttrl.vote_by, asked.data, asked.rounds) == (64, "equality", "math500", 1)
    expected = {
        "actor_rollout_ref.rollout.n": 32,
        "data.train_batch_size": 8,
        "actor_rollout_ref.actor.ppo_mini_batch_size": 1,
        "actor_rollout_ref.actor.optim.lr": 5e-7,
        "actor_rollout_ref.actor.optim.lr_scheduler_type": "cosine",
        "actor_rollout_ref.actor.optim.lr_warmup_steps_ratio": 0.03,
        "actor_rollout_ref.actor.use_kl_loss": True,
        "actor_rollout_ref.rollout.temperature": 0.6 if "qwen3" in model else 1.0,
        "actor_rollout_ref.rollout.response_length": 3072,
        "trainer.total_training_steps": 625,
        "reward.reward_manager.name": "AnswerManager",
    }
    assert {key: value(config, key) for key in expected} == expected
    assert asked.model.prompt_tokens + asked.model.question_tokens + asked.model.answer_tokens == 4096  # their context


@pytest.mark.parametrize("model", ["az_qwen2_5_7b", "az_qwen2_5_coder_7b", "az_qwen2_5_coder_3b"])
def test_absolute_zero_trains_with_its_paper_s_numbers(model):
    """arXiv 2505.03335, table 3: 64 tasks x 2 roles x 3 kinds in one update, 8 estimates, K=6, 10 inputs, 500 steps."""
    asked, config = loaded(model, "8gpu"), job(model, "8gpu", "solver")
    play = asked.self_play
    assert (play.references, play.induction_inputs, play.buffer, play.seeds) == (6, 10, 16384, 256)
    assert (play.rewards, play.statistic, play.solves, play.estimates) == ("paper", "response", "this_step", "discard")
    rows, n = config.data.train_batch_size, config.actor_rollout_ref.rollout.n
    assert (rows * n, n) == (64 * 2 * 3, 8)
    expected = {
        "actor_rollout_ref.actor.ppo_mini_batch_size": rows,
        "actor_rollout_ref.actor.ppo_epochs": 1,
        "actor_rollout_ref.actor.optim.lr": 1e-6,
        "actor_rollout_ref.actor.optim.lr_scheduler_type": "constant",
        "actor_rollout_ref.actor.optim.clip_grad": 1.0,
        "actor_rollout_ref.actor.clip_ratio_low": 0.2,
        "actor_rollout_ref.actor.clip_ratio_high": 0.2,
        "actor_rollout_ref.actor.use_kl_loss": False,
        "actor_rollout_ref.actor.entropy_coeff": 0.001,
        "actor_rollout_ref.rollout.temperature": 1.0,
        "actor_rollout_ref.rollout.top_p": 1.0,
        "data.max_prompt_length": 6144,
        "data.max_response_length": 8096,
        "trainer.total_training_steps": 500,
        "algorithm.adv_estimator": "grpo",
        "reward.reward_manager.name": "ReplyManager",
    }
    assert {key: value(config, key) for key in expected} == expected


def test_the_released_absolute_zero_differs_where_its_page_says():
    asked = settings.load(["model=az_qwen2_5_7b", "hardware=8gpu", "method=absolute_zero_released"])
    play = asked.self_play
    assert (play.rewards, play.statistic, play.solves) == ("released", "token", "previous_step")
    assert "random" in play.banned_imports
    config = jobs.verl_config(asked, "solver", model="model", train_file="train.parquet", stage_dir="stage")
    assert config.algorithm.adv_estimator == "token_weighted"
    assert config.actor_rollout_ref.actor.entropy_coeff == 0.0
