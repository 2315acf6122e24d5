"""What a chat template makes of our prompts, and where it ends a turn: pure functions over a loaded tokenizer."""

import re
from collections.abc import Collection, Iterator
from typing import Any

from jinja2 import TemplateError

from verl_rzero.base.errors import UserError, refusal
from verl_rzero.rules.prompts import Messages, RolePrompt, not_asked_for, render

TEMPLATE_ERRORS = (TemplateError, TypeError, ValueError)
"""What a template raises, by itself and by what it does with a turn."""

ANSWER = "FORTYTWO"
"""The assistant's text in a trial; no template holds it by itself."""

USER = [{"role": "user", "content": "Say it."}]

WORDS_OF_A_HEADER = 4
"""The header of a turn names a role or two; more words than these are a text."""

OWN_TEMPLATE = "Put another template into its chat_template.jinja."
END_TOKEN = "eos_token in tokenizer_config.json and eos_token_id in generation_config.json"


def check_prompt(tokenizer: Any, prompt: RolePrompt, path: str) -> Iterator[str]:
    """Yields warnings about a role's prompt as the model's chat template writes it.

    Raises:
        UserError: the template refuses or drops a turn, or the prompt is too long.
    """
    text = _written(tokenizer, prompt, path)
    question = tokenizer.encode(prompt.question, add_special_tokens=False)
    length = len(render(tokenizer, prompt.messages)) - len(question)
    if length > prompt.longest:
        beside = " beside the question" if question else ""
        why = f"the {prompt.role}'s prompt has {length} tokens{beside} with this model's tokenizer"
        raise refusal("model.prompt_tokens", prompt.longest, why, f"Write model.prompt_tokens={length} or more.")
    yield from not_asked_for(prompt, text)
    first = prompt.messages[0]
    if first["role"] != "system" and (added := added_text(text, first["content"])):
        yield f'with {prompt.system_key}=null the chat template of {path} writes a text of its own: "{added:.100}".'
    if re.search(r"<think(ing)?>\s*$", text):
        tokens = "model.question_tokens" if prompt.role == "challenger" else "model.answer_tokens"
        yield (
            f"the chat template of {path} lets the {prompt.role}'s reply begin inside its thoughts (<think>). They "
            f"count within {tokens}, and a reply that is cut off there says nothing."
        )


def added_text(text: str, first: str) -> str | None:
    """What a template wrote before the first turn's text, where that is more than a header."""
    before = re.sub(r"<[^<>\s]*>", " ", text[: text.find(first.strip())])
    return " ".join(before.split()) if len(re.findall(r"\w+", before)) > WORDS_OF_A_HEADER else None


def check_end(tokenizer: Any, stops: Collection[int], path: str) -> Iterator[str]:
    """Yields a warning where generation does not stop at the end of the template's turns.

    Args:
        stops: the ids at which vLLM stops: the tokenizer's end token, and those of generation_config.json.

    Raises:
        UserError: there is no such id, it is no token, or the tokenizer's begins a turn.
    """
    end = turn_end(tokenizer)
    right = "the token that ends its replies" if end is None else _named(tokenizer, [end])
    if not stops:
        why = "neither its tokenizer nor its generation_config.json names an end token, so that no reply would end"
        raise refusal("model.path", path, why, f"Put {right} there: {END_TOKEN}.")
    if unknown := sorted(token for token in stops if not 0 <= token < len(tokenizer)):
        why = f"its generation_config.json or config.json ends replies with {unknown}, and its tokenizer has no such id"
        raise refusal("model.path", path, why, f"Put {right} there: eos_token_id.")
    eos = tokenizer.eos_token_id
    if eos is not None and eos != end and begins_a_turn(tokenizer, eos):
        why = f"its tokenizer's end token is {_named(tokenizer, [eos])}, with which its chat template begins a turn"
        raise refusal("model.path", path, why, f"Put {right} there: eos_token in tokenizer_config.json.")
    if end is not None and end not in stops:
        yield (
            f"the chat template of {path} ends a turn with {right}, and generation stops at "
            f"{_named(tokenizer, stops)} only. That is right for a base model that was never trained on the template, "
            f"as Qwen3-4B-Base; of a chat model no reply would end: put {right} there ({END_TOKEN})."
        )


def turn_end(tokenizer: Any) -> int | None:
    """The special token that ends an assistant's turn; None where the template writes none, or takes no such turn.

    Some templates end a turn only when another one follows, whose own first token is then not meant.
    """
    answered = [*USER, {"role": "assistant", "content": ANSWER}]
    try:
        text, followed = (_text(tokenizer, [*answered, *then], begun=False) for then in ([], USER))
    except TEMPLATE_ERRORS:
        return None
    if ANSWER not in text:
        return None
    ends = _special(tokenizer, text.rpartition(ANSWER)[2])
    if not ends:
        before, _, after = followed.partition(ANSWER)
        ends = _special(tokenizer, after.partition(USER[0]["content"])[0])
        if ends[-1:] == _special(tokenizer, before.partition(USER[0]["content"])[0])[-1:]:
            ends = ends[:-1]
    return ends[0] if ends else None


def begins_a_turn(tokenizer: Any, token: int) -> bool:
    """Whether `token` is the last special one before a reply."""
    return _special(tokenizer, _text(tokenizer, USER, begun=True))[-1:] == [token]


def first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _written(tokenizer: Any, prompt: RolePrompt, path: str) -> str:
    """The prompt as the template writes it, with every turn in it. Raises UserError where one isn't."""
    try:
        _text(tokenizer, [turn for turn in prompt.messages if turn["role"] != "system"], begun=True)
    except TEMPLATE_ERRORS as error:
        why = f"its chat template fails on a user turn ({first_line(error)})"
        raise refusal("model.path", path, why, OWN_TEMPLATE) from error
    instead = f"Write {prompt.system_key}=null and put its text into prompts.{prompt.role}_user."
    try:
        text = _text(tokenizer, prompt.messages, begun=True)
    except TEMPLATE_ERRORS as error:
        why = f"the chat template of {path} refuses a system turn ({first_line(error)})"
        raise UserError(f"{prompt.system_key}: {why}. {instead}") from error
    for turn in prompt.messages:
        if _flat(turn["content"]) in _flat(text):
            continue
        if turn["role"] == "system":
            raise UserError(f"{prompt.system_key}: the chat template of {path} leaves out the system turn. {instead}")
        raise refusal("model.path", path, "its chat template leaves out the user turn", OWN_TEMPLATE)
    return text


def _text(tokenizer: Any, messages: Messages, begun: bool) -> str:
    """The conversation as text; `begun` adds the beginning of a reply."""
    return str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=begun))


def _special(tokenizer: Any, text: str) -> list[int]:
    """The special tokens in a text, without those for what the tokenizer doesn't know."""
    special = {token for token, added in tokenizer.added_tokens_decoder.items() if added.special}
    ids = tokenizer.encode(text, add_special_tokens=False)
    return [token for token in ids if token in special and token != tokenizer.unk_token_id]


def _flat(text: str) -> str:
    return " ".join(text.split())


def _named(tokenizer: Any, ids: Collection[int]) -> str:
    return ", ".join(f"{tokenizer.convert_ids_to_tokens(token)} ({token})" for token in sorted(ids))
