"""Training an adapter in place of all weights (LoRA): verl's configuration, what it refuses, and the whole model that a
stage leaves.
"""

import shutil
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf
from peft import LoraConfig, get_peft_model
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, AutoTokenizer
from verl.workers.config import HFModelConfig, TrainingWorkerConfig

from verl_rzero import settings
from verl_rzero.base.errors import UserError
from verl_rzero.data import run_dir
from verl_rzero.engine import checkpoints, jobs, worker
from verl_rzero.methods import plan
from verl_rzero.tiny_world.base_model import make_model
from verl_rzero.tiny_world.tokenizer import make_tokenizer


def config(role: str, *words: str):
    asked = settings.load(["hardware=1gpu", "model=small", *words])
    return jobs.verl_config(asked, role, model="m", train_file="f", stage_dir="run/round_1", solver="m")


@pytest.mark.parametrize("role", ["challenger", "solver"])
def test_both_jobs_train_an_adapter_that_verl_adds_to_the_engines_weights(role):
    found = config(role, "lora.rank=32", "lora.alpha=64", "checkpoint_every=1").actor_rollout_ref
    assert (found.model.lora_rank, found.model.lora_alpha, found.model.target_modules) == (32, 64, "all-linear")
    assert found.model.lora.merge
    assert found.model.lora.rank == 0  # Megatron's
    assert found.actor.checkpoint.save_lora_only
    assert found.actor.use_kl_loss


def test_by_itself_all_weights_are_trained():
    found = config("solver").actor_rollout_ref
    assert (found.model.lora_rank, found.model.lora.merge) == (0, False)
    assert "save_lora_only" not in found.actor.checkpoint


@pytest.mark.parametrize(
    "word",
    ["lora_rank=8", "lora.rank=8", "lora.merge=true", "lora_adapter_path=a"],
)
def test_an_adapter_in_verls_words_is_refused(word):
    with pytest.raises(UserError, match=f"actor_rollout_ref.model.{word}: adapters have a setting of ours"):
        config("solver", f"solver.verl.actor_rollout_ref.model.{word}")


def test_an_adapter_that_the_engines_would_need_is_refused():
    with pytest.raises(UserError, match="lora.merge=false"):
        config("solver", "lora.rank=8", "hardware.verl.actor_rollout_ref.model.lora.merge=false")


def test_a_reference_of_its_own_has_no_adapter_and_the_bases_weights(start, tmp_path, monkeypatch):
    base = shutil.copytree(start, tmp_path / "base")
    model = HFModelConfig(path=str(start), lora_rank=8, override_config={"attn_implementation": "sdpa"})
    monkeypatch.setattr(worker, "TrainingWorker", lambda config: config)
    asked = TrainingWorkerConfig(model_config=model, extra_context={"of": "verl"})
    made = {each: worker.self_play_worker(each).ref_worker_cls(None, asked) for each in (None, str(base))}
    assert made[None] is asked
    found = made[str(base)]
    assert (found.model_config.local_path, found.model_config.lora_rank) == (str(base), 0)
    assert found.extra_context == {"of": "verl"}
    assert (model.local_path, model.lora_rank) == (str(start), 8)  # the trained one's


def test_stages_that_train_depend_on_the_adapter_and_where_there_is_none_on_nothing_new():
    for rank, alpha in ((0, 32), (8, 32)):
        asked = settings.load(["rounds=1", f"lora.rank={rank}", f"lora.alpha={alpha}"])
        depends = {
            stage.kind.name
            for stage in plan.plan(asked)
            if {"lora.rank", "lora.alpha"} <= run_dir.chosen_settings(asked, stage.kind.depends).keys()
        }
        assert depends == ({"challenger", "solver"} if rank else set())


@pytest.fixture
def start(tmp_path) -> Path:
    tokenizer = make_tokenizer()
    make_model(tokenizer, 0).save_pretrained(tmp_path / "start")
    tokenizer.save_pretrained(tmp_path / "start")
    return tmp_path / "start"


def trained(start: Path) -> torch.nn.Module:
    """The model with an adapter that does something, in evaluation mode."""
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_pretrained(start, dtype=torch.float32)
    model = get_peft_model(model, LoraConfig(r=8, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM"))
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.05)
    return model.eval()


def as_verl_saves(model: torch.nn.Module, directory: Path) -> Path:
    """As `FSDPCheckpointManager.save_checkpoint`: all tensors by peft's names, tied ones twice."""
    directory.mkdir(parents=True)
    tensors = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    save_file(tensors, directory / "model.safetensors", {"format": "pt"})
    model.config.save_pretrained(directory)
    make_tokenizer().save_pretrained(directory)
    return directory


def job():
    model = {"lora_rank": 8, "lora_alpha": 16, "target_modules": "all-linear", "exclude_modules": None}
    return OmegaConf.create({"actor_rollout_ref": {"model": model}})


def test_the_whole_model_says_what_the_model_with_its_adapter_says(start, tmp_path):
    model = trained(start)
    whole = checkpoints.add_adapter(as_verl_saves(model, tmp_path / "actor/huggingface"), start, job())
    checkpoints.make_portable(whole, start)
    ids = torch.randint(0, 24, (2, 30))
    with torch.no_grad():
        expected = model(ids).logits
        with model.disable_adapter():
            before = model(ids).logits
        loaded = AutoModelForCausalLM.from_pretrained(whole, dtype=torch.float32)
        found = loaded(ids).logits
    torch.testing.assert_close(found, expected)
    assert (found - before).abs().max() > 0.1
    assert AutoTokenizer.from_pretrained(whole).chat_template == make_tokenizer().chat_template
    assert {name for name, _ in loaded.named_parameters()} == {
        name for name, _ in AutoModelForCausalLM.from_pretrained(start).named_parameters()
    }


def test_another_adapter_than_was_asked_for_is_no_model(start, tmp_path):
    saved = as_verl_saves(trained(start), tmp_path / "huggingface")
    fewer = job()
    fewer.actor_rollout_ref.model.target_modules = ["q_proj"]
    with pytest.raises(RuntimeError, match="does not hold the adapter that was trained"):
        checkpoints.add_adapter(saved, start, fewer)
    (saved / "model.safetensors").unlink()
    with pytest.raises(RuntimeError, match="does not hold the adapter that was trained: .*lora_"):
        checkpoints.add_adapter(saved, start, job())


def test_what_is_written_of_an_adapter_is_the_model_twice_and_little_more():
    found = config("solver", "lora.rank=8", "solver.steps=5")
    assert checkpoints.bytes_saved(found, 1000, 10) == 4 * (1000 + 10) + 4 * 1000
    # Two checkpoints: of each the model with its adapter, the adapter again, and AdamW's two averages of it.
    found = config("solver", "lora.rank=8", "solver.steps=5", "checkpoint_every=2")
    assert checkpoints.bytes_saved(found, 1000, 10) == 2 * 4 * (1010 + 10 + 20) + 4 * 1000
