"""The messages that the two roles are given, and their token ids: one place for training, voting and evaluation."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from verl_rzero.settings import Prompts

Messages = list[dict[str, str]]


class SolverPrompts(Protocol):
    """The part of the prompts that a Solver's answer needs."""

    @property
    def solver_system(self) -> str | None: ...

    @property
    def solver_user(self) -> str: ...


def challenger_messages(prompts: Prompts, examples: Sequence[str] = ()) -> Messages:
    """What the Challenger is asked; the same for every question, but for human examples where a run has them."""
    shown = "".join(f"<question>\n{text}\n</question>\n\n" for text in examples)
    lead = f"Questions that people wrote, for their style and care, not to be repeated:\n\n{shown}" if shown else ""
    return _messages(prompts.challenger_system, lead + prompts.challenger_user)


def solver_messages(prompts: SolverPrompts, question: str) -> Messages:
    """What the Solver is asked about one question."""
    return _messages(prompts.solver_system, prompts.solver_user.replace("{question}", question))


def voter_messages(prompts: Prompts, question: str, may_refuse: bool) -> Messages:
    """What a voting Solver is asked: the same, and that it may call the question ill-posed where that is counted."""
    system = prompts.solver_system
    if may_refuse and prompts.validity is not None:
        system = prompts.validity if system is None else f"{system} {prompts.validity}"
    return _messages(system, prompts.solver_user.replace("{question}", question))


def render(tokenizer: Any, messages: Messages) -> list[int]:
    """Token ids of `messages` with the generation prompt, through the tokenizer's chat template."""
    ids = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=True)
    return list(ids["input_ids"] if isinstance(ids, Mapping) else ids)


def _messages(system: str | None, user: str) -> Messages:
    turns = [] if system is None else [{"role": "system", "content": system}]
    return [*turns, {"role": "user", "content": user}]
