"""A Solver stage that leaves the mean of what it trained and what it began with (solver.towards_start)."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from verl_rzero import settings
from verl_rzero.base.errors import UserError
from verl_rzero.base.files import read_json, write_json
from verl_rzero.engine.checkpoints import towards
from verl_rzero.tiny_world.base_model import make_model
from verl_rzero.tiny_world.tokenizer import make_tokenizer


def saved(path: Path, seed: int) -> Path:
    tokenizer = make_tokenizer()
    make_model(tokenizer, seed).save_pretrained(path, max_shard_size="300KB")
    tokenizer.save_pretrained(path)
    return path


@pytest.fixture
def start(tmp_path) -> Path:
    return saved(tmp_path / "start", 1)


@pytest.fixture
def trained(tmp_path) -> Path:
    return saved(tmp_path / "actor/huggingface", 2)


def weights(path: Path) -> dict[str, torch.Tensor]:
    # Copies: a loaded weight is a view of its file.
    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)
    return {name: weight.clone() for name, weight in model.state_dict().items()}


@pytest.mark.parametrize("share", [0.25, 0.5])
def test_each_weight_is_the_mean_of_both(start, trained, share):
    assert len([*trained.glob("*.safetensors")]) > 1
    first, second = weights(start), weights(trained)
    mean = towards(start, trained, share)
    found = weights(mean)
    assert found.keys() == first.keys()
    for name, weight in found.items():
        torch.testing.assert_close(weight, (1 - share) * second[name] + share * first[name])
    torch.testing.assert_close(weights(trained), second)
    assert AutoTokenizer.from_pretrained(mean).chat_template == make_tokenizer().chat_template


def test_the_start_is_not_rounded_to_the_type_that_its_config_names(start, trained):
    # What a round leaves of a bfloat16 base model: float32 weights under the base's config.json.
    config = read_json(start / "config.json")
    write_json(start / "config.json", {**config, "dtype": "bfloat16"})
    first, second = weights(start), weights(trained)
    found = weights(towards(start, trained, 0.5))
    assert first["model.norm.weight"].dtype == torch.float32
    assert any(not torch.equal(weight, weight.to(torch.bfloat16).float()) for weight in first.values())
    for name, weight in found.items():
        torch.testing.assert_close(weight, 0.5 * second[name] + 0.5 * first[name])


def test_what_was_broken_off_is_done_again(start, trained):
    mean = towards(start, trained, 0.5)
    expected = weights(mean)
    for path in mean.glob("*.safetensors"):
        path.write_bytes(path.read_bytes()[:100])
    again = weights(towards(start, trained, 0.5))
    assert all(torch.equal(again[name], weight) for name, weight in expected.items())


def test_weights_that_the_start_has_not_have_no_mean(start, trained):
    path = sorted(trained.glob("*.safetensors"))[0]
    changed = load_file(path)
    name = next(iter(changed))
    save_file({**changed, name: changed[name][:1].clone()}, path)
    with pytest.raises(RuntimeError, match=f"{name} is not in .*start"):
        towards(start, trained, 0.5)


@pytest.mark.parametrize("share", [-0.1, 1.0])
def test_a_share_that_leaves_nothing_or_less_is_refused(share):
    with pytest.raises(UserError, match="solver.towards_start"):
        settings.load([f"solver.towards_start={share}"])
