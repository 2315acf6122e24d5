"""The errors that are meant for the person at the keyboard."""

import errno
import os
from pathlib import Path

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
"""Errors of a disk that is full, a quota that is used up, a file system that can't be written to."""

NO_ROOM_WORDS = tuple(os.strerror(number) for number in NO_ROOM)
"""How the system says so, in the messages of Python, C and Rust alike."""


class UserError(Exception):
    """Something that the user can put right; shown as one message without a traceback, exit code 2.

    The message names what was given, why it can't be used, and what to write instead.
    """


def refusal(key: str, value: object, why: str, instead: str) -> UserError:
    """The error for one setting: its key as on the command line, its value, why not, what to write instead."""
    return UserError(f"{key}={shown(value)}: {why}. {instead}")


def shown(value: object) -> str:
    """A setting's value as it is written on the command line and in YAML."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case list() | tuple():
            return "[" + ", ".join(shown(item) for item in value) + "]"
        case dict():
            return "{" + ", ".join(f"{key}: {shown(item)}" for key, item in value.items()) + "}"
        case _:
            return str(value)


class StageFailed(Exception):
    """A stage's process ended with another exit code than 0, or without results; `log` tells why."""

    def __init__(self, stage_id: str, code: int, log: Path) -> None:
        how = f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
        super().__init__(f"{stage_id} {how}" if code else f"{stage_id} ended without results")
        self.code: int | None = code
        self.log = log


class StageStalled(StageFailed):
    """A stage said nothing of its progress for longer than it may."""

    def __init__(self, stage_id: str, seconds: float, log: Path) -> None:
        Exception.__init__(self, f"{stage_id} has said nothing of its progress for {seconds:.0f} s, and was ended")
        self.code = None
        self.log = log
