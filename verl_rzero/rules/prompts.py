"""The messages that the two roles are given, and their token ids: one place for training, voting and evaluation."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from verl_rzero.settings import Prompts, Settings

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
    return turns(prompts.challenger_system, lead + prompts.challenger_user)


def solver_messages(prompts: SolverPrompts, question: str) -> Messages:
    """What the Solver is asked about one question."""
    return turns(prompts.solver_system, prompts.solver_user.replace("{question}", question))


def voter_messages(prompts: Prompts, question: str, may_refuse: bool) -> Messages:
    """What a voting Solver is asked: the same, and that it may call the question ill-posed where that is counted."""
    system = prompts.solver_system
    if may_refuse and prompts.validity is not None:
        system = prompts.validity if system is None else f"{system} {prompts.validity}"
    return turns(system, prompts.solver_user.replace("{question}", question))


@dataclass(frozen=True)
class RolePrompt:
    """A role's first prompt, with what it must be like.

    `system_key` is the setting of its system turn, `keys` says which settings make the prompt. `longest` counts tokens,
    those of `question` aside, which stands in the user turn. `read_for` is what its replies are searched for.
    """

    role: str
    system_key: str
    messages: Messages
    question: str
    longest: int
    read_for: tuple[str, ...]
    keys: str = ""


QUESTION = "What is 12 * 12?"
"""Stands for any question in a prompt that is only looked at."""


def role_prompts(settings: Settings, roles: Sequence[str], examples: Sequence[str] = ()) -> list[RolePrompt]:
    """What each of the roles is asked; the Challenger with human examples where a run has them."""
    prompts, longest = settings.prompts, settings.model.prompt_tokens
    may_refuse = settings.curation.ill_posed_share is not None
    system_key = "prompts.validity" if prompts.solver_system is None and may_refuse else "prompts.solver_system"
    boxed = () if settings.question_box == "optional" else (r"\boxed",)
    found = {
        "challenger": RolePrompt(
            "challenger",
            "prompts.challenger_system",
            challenger_messages(prompts, examples),
            "",
            longest,
            ("<question>", *boxed),
        ),
        "solver": RolePrompt(
            "solver", system_key, voter_messages(prompts, QUESTION, may_refuse), QUESTION, longest, (r"\boxed",)
        ),
    }
    return [found[role] for role in roles]


def not_asked_for(prompt: RolePrompt, text: str) -> Iterator[str]:
    """A warning for each thing that replies are searched for and that `text`, all that the role is told, lacks."""
    for word in prompt.read_for:
        if word not in text:
            keys = prompt.keys or f"prompts.{prompt.role}_system and prompts.{prompt.role}_user"
            yield f"nothing in the {prompt.role}'s prompt ({keys}) asks for {word}, without which no reply counts."


def render(tokenizer: Any, messages: Messages) -> list[int]:
    """Token ids of `messages` with the generation prompt, through the tokenizer's chat template."""
    ids = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=True)
    return list(ids["input_ids"] if isinstance(ids, Mapping) else ids)


def turns(system: str | None, user: str) -> Messages:
    """A user turn, behind a system turn where there is one."""
    first = [] if system is None else [{"role": "system", "content": system}]
    return [*first, {"role": "user", "content": user}]
