"""The training engine for CPUs: the same log-probabilities and gradients as verl's, from fewer logits."""

from types import SimpleNamespace

import pytest
import torch
from tensordict import TensorDict
from transformers import LlamaConfig, LlamaForCausalLM
from verl.utils import tensordict_utils
from verl.workers.engine import EngineRegistry
from verl.workers.engine.fsdp.transformer_impl import FSDPEngineWithLMHead

from verl_rzero.engine.cpu import attention, training

PROMPTS = [[3, 1, 4], [1], [5, 9, 2, 6, 5]]
RESPONSES = [[3, 5], [8, 9, 7], [9]]
TEMPERATURE = 0.7


def jagged(rows: list[list[int]]) -> torch.Tensor:
    return torch.nested.as_nested_tensor([torch.tensor(row) for row in rows], layout=torch.jagged)


@pytest.fixture
def batch() -> TensorDict:
    whole = [prompt + response for prompt, response in zip(PROMPTS, RESPONSES, strict=True)]
    columns = {
        "prompts": jagged(PROMPTS),
        "responses": jagged(RESPONSES),
        "input_ids": jagged(whole),
        "position_ids": jagged([list(range(len(row))) for row in whole]),
        "temperature": torch.full((len(whole),), TEMPERATURE),
    }
    return TensorDict(columns, batch_size=len(whole))


@pytest.fixture
def model() -> LlamaForCausalLM:
    attention.register()
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=11,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        attn_implementation="packed_sdpa",
    )
    return LlamaForCausalLM(config)


def engine_of(kind: type, model: torch.nn.Module) -> FSDPEngineWithLMHead:
    """An engine with what a forward pass reads, without a process group."""
    engine = kind.__new__(kind)
    engine.module, engine.pad_to_length, engine.use_ulysses_sp = model, False, False
    engine.engine_config = SimpleNamespace(entropy_checkpointing=False, entropy_from_logits_with_chunking=False)
    engine.compute_entropy_from_logits = lambda logits: torch.distributions.Categorical(logits=logits).entropy()
    engine.model_config = SimpleNamespace()
    return engine


def outputs(kind: type, model: torch.nn.Module, batch: TensorDict) -> tuple[dict, torch.Tensor]:
    """What an engine makes of a batch, and the logits that the model made for it."""
    engine = engine_of(kind, model)
    inputs, arguments = engine.prepare_model_inputs(batch)
    made = model(**inputs, use_cache=False)
    return engine.prepare_model_outputs(made, arguments, batch, None), made.logits


def responses_of(values: torch.Tensor) -> torch.Tensor:
    """The numbers of the responses' tokens, which stand one place earlier in the packed row."""
    rows = values.unbind()
    return torch.cat([row[-len(own) - 1 : -1] for row, own in zip(rows, RESPONSES, strict=True)])


def test_positions_of_the_learned_tokens_by_hand(batch):
    # rows of 5, 4 and 6 tokens; the tokens before 3 5, before 8 9 7, before 9
    assert training.learned_positions(batch).tolist() == [2, 3, 5, 6, 7, 13]


def test_log_probabilities_of_responses_are_verls_and_others_are_not_computed(model, batch):
    tensordict_utils.assign_non_tensor(batch, calculate_entropy=True)
    with torch.no_grad():
        ours, few = outputs(training.CPUEngine, model, batch)
        verls, all_of_them = outputs(FSDPEngineWithLMHead, model, batch)
    assert (few.shape[1], all_of_them.shape[1]) == (6, 15)
    for name in ("log_probs", "entropy"):
        assert torch.equal(ours[name].offsets(), verls[name].offsets())
        torch.testing.assert_close(responses_of(ours[name]), responses_of(verls[name]))
        assert ours[name].values()[0] == 0.0
        assert verls[name].values()[0] != 0.0


def test_gradients_are_verls(model, batch):
    gradients = []
    for kind in (training.CPUEngine, FSDPEngineWithLMHead):
        model.zero_grad()
        responses_of(outputs(kind, model, batch)[0]["log_probs"]).sum().backward()
        gradients.append([weight.grad.clone() for weight in model.parameters()])
    for ours, verls in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, verls)


def test_a_batch_without_prompts_has_all_its_logits(model, batch):
    del batch["prompts"]
    made, logits = outputs(training.CPUEngine, model, batch)
    assert logits.shape[1] == 15
    assert made["log_probs"].values()[0] != 0.0


def test_a_model_that_cannot_choose_makes_all_logits(model, batch):
    class Plain(torch.nn.Module):
        def forward(self, input_ids, position_ids, attention_mask, use_cache):
            arguments = {"position_ids": position_ids, "attention_mask": attention_mask, "use_cache": use_cache}
            return model(input_ids=input_ids, **arguments)

    made, logits = outputs(training.CPUEngine, Plain(), batch)
    assert logits.shape[1] == 15
    assert made["log_probs"].values()[0] != 0.0


def test_verl_takes_it_on_a_cpu_and_its_own_elsewhere(monkeypatch):
    training.register()
    training.register()
    monkeypatch.setenv("VERL_ENGINE_DEVICE", "cpu")
    assert EngineRegistry.get_engine_cls("language_model", "fsdp2") is training.CPUEngine
    monkeypatch.setenv("VERL_ENGINE_DEVICE", "cuda")
    assert EngineRegistry.get_engine_cls("language_model", "fsdp2") is FSDPEngineWithLMHead
