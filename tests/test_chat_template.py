"""What a chat template makes of our prompts, on small tokenizers with templates like those of known models."""

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from verl_rzero import settings
from verl_rzero.base.errors import UserError
from verl_rzero.engine.chat_template import check_end, check_prompt, turn_end
from verl_rzero.rules.prompts import RolePrompt, not_asked_for, role_prompts

SPECIAL = ["<unk>", "<s>", "</s>", "<|im_start|>", "<|im_end|>", "<|endoftext|>"]
UNK, BOS, EOS, IM_START, IM_END, ENDOFTEXT = range(6)

CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
WITH_ITS_OWN_SYSTEM = (
    "{% if messages[0].role != 'system' %}<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n{% endif %}"
    + CHATML
)
THINKING = CHATML.replace("assistant\n", "assistant\n<think>\n")
NO_SYSTEM = (
    "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}" + CHATML
)
ONLY_THE_LAST = "<s>[INST] {{ messages[-1].content }} [/INST]"
INST = (
    "{% for m in messages %}{% if m.role == 'assistant' %}{{ ' ' + m.content + ' </s>' }}"
    "{% else %}{{ '<s>[INST] ' + m.content + ' [/INST]' }}{% endif %}{% endfor %}"
)
ENDS_BEFORE_THE_NEXT = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content }}"
    "{% if add_generation_prompt or not loop.last %}{{ '<|im_end|>\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
NO_ENDS = "{% for m in messages %}{{ '<|im_start|>' + m.role + ' ' + m.content + ' ' }}{% endfor %}"
NO_REPLIES = "{% for m in messages if m.role == 'user' %}{{ '<|im_start|> ' + m.content }}{% endfor %}"
PLAIN = "{% for m in messages %}{{ m.role + ': ' + m.content + '\n' }}{% endfor %}"


def tokenizer(template: str, eos: str | None = "<|im_end|>"):
    """A word is a token; every word of prompts is unknown."""
    backend = Tokenizer(models.WordLevel({token: i for i, token in enumerate(SPECIAL)}, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made = PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>", eos_token=eos, chat_template=template)
    made.add_special_tokens({"additional_special_tokens": SPECIAL[1:]})
    return made


def prompt(system: str | None = "Put it in \\boxed{}.", user: str = "1 + 1 ?", longest: int = 100) -> RolePrompt:
    turns = [] if system is None else [{"role": "system", "content": system}]
    messages = [*turns, {"role": "user", "content": user}]
    return RolePrompt("solver", "prompts.solver_system", messages, "1 + 1 ?", longest, ("\\boxed",))


def warnings(template: str, asked: RolePrompt) -> list[str]:
    return list(check_prompt(tokenizer(template), asked, "some/model"))


def refused(template: str, asked: RolePrompt) -> str:
    with pytest.raises(UserError) as error:
        warnings(template, asked)
    return str(error.value)


@pytest.mark.parametrize("template", [CHATML, WITH_ITS_OWN_SYSTEM, PLAIN])
def test_a_prompt_that_fits_gives_no_warning(template):
    assert warnings(template, prompt()) == []


def test_a_template_that_refuses_the_system_turn_says_where_its_text_may_go():
    assert refused(NO_SYSTEM, prompt()) == (
        "prompts.solver_system: the chat template of some/model refuses a system turn (System role not supported). "
        "Write prompts.solver_system=null and put its text into prompts.solver_user."
    )
    assert warnings(NO_SYSTEM, prompt(system=None, user="1 + 1 ? In \\boxed{}.")) == []


def test_a_turn_that_the_template_leaves_out_is_missed():
    assert "some/model leaves out the system turn. Write prompts.solver_system=null" in refused(ONLY_THE_LAST, prompt())
    assert "model.path=some/model: its chat template leaves out the user turn." in refused(
        "Hello.", prompt(system=None)
    )


@pytest.mark.parametrize(
    "template", ["{{ raise_exception('no') }}", "{{ messages[7].content }}", "{{ 1 + 'a' }}", "{% if %}"]
)
def test_a_template_that_fails_on_every_conversation_is_refused(template):
    assert refused(template, prompt()).startswith("model.path=some/model: its chat template fails on a user turn (")


def test_a_prompt_is_as_long_as_its_tokens_without_the_question():
    # <|im_start|> system, Put it in \boxed{}., <|im_end|>, <|im_start|> user, 1 + 1 ?, <|im_end|>, <|im_start|>
    # assistant: 2 + 4 + 1 + 2 + 4 + 1 + 2 = 16 tokens, 4 of them the question's.
    assert warnings(CHATML, prompt(longest=12)) == []
    assert refused(CHATML, prompt(longest=11)) == (
        "model.prompt_tokens=11: the solver's prompt has 12 tokens beside the question with this model's tokenizer. "
        "Write model.prompt_tokens=12 or more."
    )


def test_text_that_the_template_adds_is_shown_where_no_system_turn_is_set():
    (warning,) = warnings(WITH_ITS_OWN_SYSTEM, prompt(system=None, user="1 + 1 ? In \\boxed{}."))
    assert "prompts.solver_system=null" in warning
    assert '"system You are a helpful assistant. user"' in warning


def test_text_in_front_of_our_own_system_turn_is_no_news():
    # As Llama 3.1 writes the date into every system turn.
    assert warnings("Cutting Knowledge Date: December 2023\n" + CHATML, prompt()) == []


def test_a_reply_that_begins_in_its_thoughts_is_told_of():
    (warning,) = warnings(THINKING, prompt())
    assert "(<think>)" in warning
    assert "model.answer_tokens" in warning


def test_what_the_template_adds_may_ask_for_the_box():
    # As the template of Qwen2.5-Math does.
    boxes = WITH_ITS_OWN_SYSTEM.replace("You are a helpful assistant.", "Put your final answer within \\\\boxed{}.")
    assert not any("asks for" in each for each in warnings(boxes, prompt(system=None)))
    assert any("asks for \\boxed" in each for each in warnings(WITH_ITS_OWN_SYSTEM, prompt(system=None)))


@pytest.mark.parametrize(
    ("template", "end"),
    [
        (CHATML, IM_END),
        (THINKING, IM_END),
        (INST, EOS),
        (ENDS_BEFORE_THE_NEXT, IM_END),
        (NO_ENDS, None),
        (NO_REPLIES, None),
        (PLAIN, None),
        (ONLY_THE_LAST, None),
    ],
)
def test_the_token_behind_the_assistants_words_ends_a_turn(template, end):
    assert turn_end(tokenizer(template)) == end


@pytest.mark.parametrize(
    ("template", "eos", "stops"),
    [
        (CHATML, "<|im_end|>", {IM_END}),
        (CHATML, "<|im_end|>", {IM_END, ENDOFTEXT}),  # Qwen3-4B, and the first Qwen3-4B-Base
        (CHATML, "<|endoftext|>", {ENDOFTEXT, IM_END}),  # Llama's and Gemma's way: generation_config.json has it
        ("<|endoftext|> " + CHATML, "<|endoftext|>", {ENDOFTEXT, IM_END}),  # Phi-4's way: its texts begin with it too
        (INST, "</s>", {EOS}),
        (ENDS_BEFORE_THE_NEXT, "<|im_end|>", {IM_END}),
        (NO_ENDS, "<|endoftext|>", {ENDOFTEXT}),
        (NO_REPLIES, "<|endoftext|>", {ENDOFTEXT}),
        (PLAIN, "<|endoftext|>", {ENDOFTEXT}),
        (CHATML, None, {IM_END}),
    ],
)
def test_generation_that_stops_at_the_end_of_a_turn_is_right(template, eos, stops):
    assert list(check_end(tokenizer(template, eos), stops, "some/model")) == []


def test_a_base_model_that_ends_its_texts_otherwise_is_warned_about_and_not_refused():
    (warning,) = check_end(tokenizer(CHATML, "<|endoftext|>"), {ENDOFTEXT}, "Qwen/Qwen3-4B-Base")
    assert "ends a turn with <|im_end|> (4), and generation stops at <|endoftext|> (5) only" in warning
    assert "right for a base model" in warning


@pytest.mark.parametrize(
    ("eos", "stops", "why"),
    [
        (None, set(), "neither its tokenizer nor its generation_config.json names an end token"),
        (
            "<|im_start|>",
            {IM_START, IM_END},
            "end token is <|im_start|> (3), with which its chat template begins a turn",
        ),
        ("<|im_end|>", {IM_END, 77}, "ends replies with [77], and its tokenizer has no such id"),
    ],
)
def test_an_end_token_that_can_not_be_right_is_refused_with_the_right_one(eos, stops, why):
    with pytest.raises(UserError) as error:
        list(check_end(tokenizer(CHATML, eos), stops, "some/model"))
    assert why in str(error.value)
    assert "Put <|im_end|> (4) there" in str(error.value)


def test_what_replies_are_read_for_must_be_asked_for():
    asked = settings.load(["hardware=cpu"])
    challenger, solver = role_prompts(asked, ["challenger", "solver"])
    told = [*not_asked_for(challenger, "<|ask|>"), *not_asked_for(solver, "<|solve|>")]
    assert [each.partition(" asks for ")[2].partition(",")[0] for each in told] == ["<question>", "\\boxed"]
    asked = settings.load(["hardware=cpu", "question_box=always"])
    (challenger,) = role_prompts(asked, ["challenger"])
    assert len([*not_asked_for(challenger, "between <question> and </question>")]) == 1


@pytest.mark.parametrize("model", ["qwen3_4b_base", "ttrl_qwen3_4b_base"])
def test_the_shipped_prompts_ask_for_what_is_read(model):
    asked = settings.load(["hardware=cpu", f"model={model}", *(["method=ttrl"] if "ttrl" in model else [])])
    for each in role_prompts(asked, ["challenger", "solver"]):
        assert [*not_asked_for(each, "\n".join(turn["content"] for turn in each.messages))] == []


def test_a_solver_that_may_call_a_question_ill_posed_is_looked_at_with_that_text():
    asked = settings.load(["hardware=cpu", "model=small", "curation.ill_posed_share=0.5", "prompts.solver_system=null"])
    (solver,) = role_prompts(asked, ["solver"])
    assert solver.system_key == "prompts.validity"
    assert solver.messages[0]["content"] == asked.prompts.validity
