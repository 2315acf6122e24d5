"""The training engine for CPUs: verl's log-probabilities and gradients, from fewer logits and fewer tokens."""

from types import SimpleNamespace

import pytest
import torch
from peft import LoraConfig, get_peft_model
from tensordict import TensorDict
from transformers import LlamaConfig, LlamaForCausalLM
from verl.utils import tensordict_utils
from verl.workers.engine import EngineRegistry
from verl.workers.engine.fsdp.transformer_impl import FSDPEngineWithLMHead

from verl_rzero.engine.cpu import attention, prompts, training

PROMPTS = [[3, 1, 4], [1], [5, 9, 2, 6, 5]]
RESPONSES = [[3, 5], [8, 9, 7], [9]]
TEMPERATURE = 0.7


def jagged(rows: list[list[int]]) -> torch.Tensor:
    return torch.nested.as_nested_tensor([torch.tensor(row) for row in rows], layout=torch.jagged)


@pytest.fixture
def batch() -> TensorDict:
    return batch_of(PROMPTS, RESPONSES)


def batch_of(prompts: list[list[int]], responses: list[list[int]]) -> TensorDict:
    whole = [prompt + response for prompt, response in zip(prompts, responses, strict=True)]
    columns = {
        "prompts": jagged(prompts),
        "responses": jagged(responses),
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


def responses_of(values: torch.Tensor, responses: list[list[int]] = RESPONSES) -> torch.Tensor:
    """The numbers of the responses' tokens, which stand one place earlier in the packed row."""
    rows = values.unbind()
    return torch.cat([row[-len(own) - 1 : -1] for row, own in zip(rows, responses, strict=True)])


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


def test_of_a_model_with_an_adapter_few_logits_are_computed_too(model, batch):
    adapted = get_peft_model(model, LoraConfig(r=2, target_modules="all-linear", init_lora_weights=False))
    with torch.no_grad():
        ours, few = outputs(training.CPUEngine, adapted, batch)
        verls, _ = outputs(FSDPEngineWithLMHead, adapted, batch)
        with adapted.disable_adapter():
            off, _ = outputs(FSDPEngineWithLMHead, adapted, batch)
    assert few.shape[1] == 6
    torch.testing.assert_close(responses_of(ours["log_probs"]), responses_of(verls["log_probs"]))
    assert not torch.allclose(off["log_probs"].values(), verls["log_probs"].values())


def test_gradients_are_verls(model, batch):
    gradients = []
    for kind in (training.CPUEngine, FSDPEngineWithLMHead):
        model.zero_grad()
        responses_of(outputs(kind, model, batch)[0]["log_probs"]).sum().backward()
        gradients.append([weight.grad.clone() for weight in model.parameters()])
    for ours, verls in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, verls)


MIXED = [[3, 1, 4], [1], [3, 1, 4], [5, 9, 2, 6, 5], [3, 1, 4], [1]]
MIXED_RESPONSES = [[3, 5], [8, 9, 7], [9], [2, 6], [5, 3, 5, 8], [9]]


@pytest.mark.parametrize("most_scores", [0, 2**20])
def test_a_prompt_is_computed_once_and_nothing_else_changes(model, monkeypatch, most_scores):
    monkeypatch.setattr(attention, "MOST_SCORES", most_scores)
    batch, made, gradients = batch_of(MIXED, MIXED_RESPONSES), [], []
    for kind in (training.CPUEngine, FSDPEngineWithLMHead):
        model.zero_grad()
        made.append(responses_of(outputs(kind, model, batch)[0]["log_probs"], MIXED_RESPONSES))
        (made[-1] * torch.arange(13)).sum().backward()
        gradients.append([weight.grad.clone() for weight in model.parameters()])
    torch.testing.assert_close(*made)
    for ours, verls in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, verls)
    inputs, _ = engine_of(training.CPUEngine, model).prepare_model_inputs(batch)
    assert inputs["input_ids"].tolist() == [[3, 1, 4, 3, 5, 9, 5, 3, 5, 8, 1, 8, 9, 7, 9, 5, 9, 2, 6, 5, 2, 6]]
    assert inputs["position_ids"].tolist() == [[0, 1, 2, 3, 4, 3, 3, 4, 5, 6, 0, 1, 2, 3, 1, 0, 1, 2, 3, 4, 5, 6]]


def test_prompts_stay_as_they_are_where_another_attention_is_asked_for(model):
    model.config._attn_implementation = "eager"
    inputs, _ = engine_of(training.CPUEngine, model).prepare_model_inputs(batch_of(MIXED, MIXED_RESPONSES))
    assert inputs["input_ids"].shape[1] == sum(map(len, MIXED + MIXED_RESPONSES))


def groups(*sizes: int) -> tuple[list[list[int]], list[list[int]]]:
    """Prompts of one token and responses of three."""
    prompts = [[number] for number, size in enumerate(sizes) for _ in range(size)]
    return prompts, [[7, 8, 9]] * len(prompts)


@pytest.mark.parametrize(
    ("sizes", "tokens", "together"),
    [((4, 4), 32, 4), ((4, 4), 31, 2), ((4, 4), 15, 1), ((8, 4), 64, 4), ((6,), 24, 3), ((3, 2), 99, 1), ((5,), 39, 1)],
)
def test_rows_of_a_prompt_stay_together_while_two_groups_fit(sizes, tokens, together):
    assert prompts.rows_together(batch_of(*groups(*sizes)), tokens) == together


def test_rows_without_prompts_are_not_kept_together():
    assert prompts.rows_together(batch_of(*groups(4)).exclude("prompts"), 99) == 1


@pytest.mark.parametrize(("of_the_other_rank", "together"), [(4, 4), (6, 2), (1, 1)])
def test_verl_is_told_what_stays_together_on_every_rank(model, monkeypatch, of_the_other_rank, together):
    def all_gather(found: list[int], own: int, group: object) -> None:
        found[:] = [own, of_the_other_rank]

    told = []
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda group: 2)
    monkeypatch.setattr(torch.distributed, "all_gather_object", all_gather)
    monkeypatch.setattr(
        FSDPEngineWithLMHead, "forward_backward_batch", lambda _, data, *rest: told.append((data, rest))
    )
    engine, batch = engine_of(training.CPUEngine, model), batch_of(*groups(4, 4))
    engine.get_data_parallel_group = lambda: None
    tensordict_utils.assign_non_tensor(batch, use_dynamic_bsz=True, max_token_len_per_gpu=99)
    engine.forward_backward_batch(batch, "loss", forward_only=True)
    assert tensordict_utils.get(told[0][0], "force_group_size") == together
    assert told[0][1] == ("loss", True)


def test_a_fixed_number_of_rows_is_left_to_verl(model, monkeypatch):
    told = []
    monkeypatch.setattr(FSDPEngineWithLMHead, "forward_backward_batch", lambda _, data, *rest: told.append(data))
    batch = batch_of(*groups(4, 4))
    tensordict_utils.assign_non_tensor(batch, use_dynamic_bsz=False)
    engine_of(training.CPUEngine, model).forward_backward_batch(batch, "loss")
    assert "force_group_size" not in told[0]


def test_prompts_are_dealt_out_whole_and_evenly():
    uids, lengths = ["a", "b", "c", "a", "d", "b", "c", "d"], [9, 1, 5, 9, 5, 1, 5, 5]
    order = prompts.order_by_prompt(uids, lengths, ranks=2)
    assert sorted(order) == list(range(8))
    first, second = ([uids[row] for row in half] for half in (order[:4], order[4:]))
    assert {frozenset(first), frozenset(second)} == {frozenset("ab"), frozenset("cd")}
    assert all(half[0] == half[1] and half[2] == half[3] for half in (first, second))


@pytest.mark.parametrize("uids", [["a", "a", "b", "b", "c", "c"], ["a", "a", "a", "b"]])
def test_prompts_that_cannot_be_dealt_out_keep_verls_order(uids):
    assert prompts.order_by_prompt(uids, [3] * len(uids), ranks=2) == list(range(len(uids)))


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
