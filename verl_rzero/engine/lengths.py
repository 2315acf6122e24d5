"""How long prompts, responses and whole sequences may be, in tokens."""

from verl_rzero.settings import Settings


def longest(settings: Settings) -> int:
    """Longest sequence of any engine, in tokens: a question in a prompt, and its answer."""
    return settings.model.prompt_tokens + settings.model.question_tokens + settings.model.answer_tokens


def lengths(settings: Settings, role: str) -> tuple[int, int]:
    """Longest prompt and response in tokens; a Solver's prompt holds a question, a prompt of self-play tasks."""
    model = settings.model
    if role == "challenger":
        return model.prompt_tokens, model.question_tokens
    return model.prompt_tokens + model.question_tokens, model.answer_tokens
