"""The look at somebody's model before a run, on a small whole one: with transformers, in this process and its own."""

import json
from pathlib import Path

import pytest
from test_weights import save

from verl_rzero import settings
from verl_rzero.base.errors import UserError
from verl_rzero.engine import model_check, weights
from verl_rzero.rules.prompts import role_prompts
from verl_rzero.tiny_world.shape import SHAPE
from verl_rzero.tiny_world.tokenizer import VOCABULARY, make_tokenizer


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A directory with the tiny world's tokenizer and config; its weights are one tensor, which nobody loads."""
    directory = tmp_path_factory.mktemp("model")
    make_tokenizer().save_pretrained(directory)
    config = {"model_type": "qwen3", "architectures": ["Qwen3ForCausalLM"], "max_position_embeddings": 512, **SHAPE}
    (directory / "config.json").write_text(json.dumps({**config, "eos_token_id": VOCABULARY["<eos>"]}))
    save(directory / weights.ONE_FILE, a=[2, 3])
    return directory


@pytest.fixture
def model(whole, tmp_path):
    for path in whole.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


def asked(path: Path | str, longest: int = 512) -> model_check.Asked:
    prompts = role_prompts(settings.load(["hardware=cpu"]), ["challenger", "solver"])
    return model_check.Asked(str(path), prompts, longest)


def change(directory: Path, name: str, **values: object) -> None:
    path = directory / name
    before = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(before | values))


def refused(directory: Path, longest: int = 512) -> str:
    with pytest.raises(UserError) as error:
        model_check.look_at(asked(directory, longest))
    return str(error.value)


def test_a_whole_model_is_described_and_its_prompts_warned_about(model):
    found = model_check.look_at(asked(model))
    assert found.config is not None
    assert (found.config["hidden_size"], found.tensors) == (64, {"a": 6})
    # The tiny world's model is trained for <|ask|> and <|solve|>; anybody else's would have to be asked in words.
    assert ["<question>" in each or "\\boxed" in each for each in found.warnings] == [True, True]


def test_the_look_in_another_process_gives_the_same(model):
    assert model_check.check(asked(model)) == model_check.look_at(asked(model))


def test_a_refusal_in_another_process_is_one_here(model):
    (model / "config.json").write_text("{")
    with pytest.raises(UserError, match="config.json is not JSON"):
        model_check.check(asked(model))


def test_a_model_without_a_template_is_refused(model):
    (model / "chat_template.jinja").unlink()
    assert "its tokenizer has no chat template" in refused(model)


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"model_type": "of_my_own"}, "model_type=of_my_own of its config.json is unknown to transformers"),
        ({"model_type": "bert", "architectures": ["BertForMaskedLM"]}, "architectures=[BertForMaskedLM] in its config"),
        ({"architectures": None}, "architectures=[] in its config.json, and verl trains one"),
        ({"quantization_config": {"quant_method": "gptq"}}, "its weights are quantized"),
    ],
)
def test_a_model_that_can_not_be_trained_is_refused(model, values, why):
    change(model, "config.json", **values)
    assert why in refused(model)


@pytest.mark.parametrize("content", ['{"version": "1.0"}', "{", '{"version": "1.0", "model": {"type": "Nonsense"}}'])
def test_a_tokenizer_that_can_not_be_loaded_is_refused(model, content):
    (model / "tokenizer.json").write_text(content)
    assert "transformers can't load its config or tokenizer (" in refused(model)


def test_sequences_longer_than_the_models_positions_are_refused(model):
    model_check.look_at(asked(model, longest=512))
    assert "it has 512 positions, and a prompt, a question and an answer are up to 513 tokens" in refused(model, 513)
    change(model, "config.json", rope_parameters={"rope_type": "linear", "factor": 2.0, "rope_theta": 1e4})
    model_check.look_at(asked(model, longest=513))


def test_end_tokens_are_those_that_vllm_stops_at(model):
    # <pad> is 0, <eos> 1. Without generation_config.json, config.json's.
    change(model, "config.json", eos_token_id=[0, 99])
    assert "ends replies with [99]" in refused(model)
    change(model, "generation_config.json", eos_token_id=98)
    assert "ends replies with [98]" in refused(model)
    change(model, "generation_config.json", eos_token_id=None)
    model_check.look_at(asked(model))
    change(model, "tokenizer_config.json", eos_token=None)
    assert "names an end token" in refused(model)


def test_a_model_of_the_hub_that_is_not_here_is_not_looked_at():
    assert model_check.look_at(asked("nobody/has-this-model")) == model_check.Found()


def test_of_a_model_in_the_hubs_cache_what_is_there_is_looked_at(model, tmp_path_factory, monkeypatch):
    import huggingface_hub.constants

    cache = tmp_path_factory.mktemp("hub")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(cache))
    repository = cache / "models--some--model"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs/main").write_text("abc")
    snapshot = repository / "snapshots/abc"
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_bytes((model / "config.json").read_bytes())
    found = model_check.look_at(asked("some/model"))
    assert (found.config is None, found.tensors, found.warnings) == (False, None, [])
    for path in model.iterdir():
        (snapshot / path.name).write_bytes(path.read_bytes())
    found = model_check.look_at(asked("some/model"))
    assert (found.tensors, len(found.warnings)) == ({"a": 6}, 2)
