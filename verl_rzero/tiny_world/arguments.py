"""What the command lines of the tiny worlds share: key=value arguments, and the progress of a build."""

from collections.abc import Sequence
from typing import Any

from verl_rzero.base.errors import UserError


def show(done: int, total: int, note: str) -> None:
    if done % 100 == 0 or done == total:
        print(f"step {done}/{total} {note}", flush=True)


def parse(arguments: Sequence[str], defaults: dict[str, Any]) -> dict[str, Any]:
    """key=value arguments over the defaults. A default of None means required text, a number means a number."""
    given = dict(defaults)
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if not equals or key not in defaults:
            raise UserError(f"{argument}: expected one of {', '.join(f'{key}=' for key in defaults)}")
        if defaults[key] is not None and not value.isdecimal():
            raise UserError(f"{argument}: {key} takes a whole number, not below 0")
        given[key] = value if defaults[key] is None else int(value)
    missing = [key for key, value in given.items() if value in (None, "")]
    if missing:
        raise UserError(f"{missing[0]}= is missing")
    return given
