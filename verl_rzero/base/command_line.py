"""The small commands that look at a run: `python -m verl_rzero.<command> <run> [key=value ...]`."""

import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from types import FrameType

from verl_rzero.base import display
from verl_rzero.base.errors import NO_ROOM, StageFailed, UserError, refusal
from verl_rzero.base.text import for_terminal


def number(key: str, text: str) -> float:
    """`text` as a number above 0; raises UserError."""
    try:
        value = float(text)
    except ValueError as error:
        raise refusal(key, text, "this is not a number", f"Write {key}=5, for example.") from error
    if not 0 < value < float("inf"):
        raise refusal(key, text, "it must be above 0", f"Write {key}=5, for example.")
    return value


def whole_number(key: str, text: str) -> int:
    """`text` as a whole number above 0; raises UserError."""
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise refusal(key, text, "this is not a whole number above 0", f"Write {key}=1, for example.")
    return int(text)


def exit_code(
    command: Callable[[Sequence[str]], None], usage: str | None, words: Sequence[str] | None = None, again: str = ""
) -> int:
    """Do `command` with the words of the command line.

    `usage` is what --help prints, None where the command does that itself; `again` says what the same command does
    after it was stopped or has failed, "continues from here" for example.

    Returns:
        2 for what the user can put right, 1 for a failure, 130 when stopped, else 0.
    """
    # Set for SIGINT too: a shell starts background jobs with it ignored, and then Python would leave it so.
    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, _stopped)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as nohup sets it
        signal.signal(signal.SIGHUP, _stopped)
    words = sys.argv[1:] if words is None else words
    if usage is not None and {"-h", "--help"} & {*words}:
        print(usage, end="")
        return 0
    try:
        command(words)
    except UserError as error:
        print(for_terminal(f"error: {error}"), file=sys.stderr)
        return 2
    except StageFailed as error:
        print(f"\n{display.tail(error.log)}\n\nerror: {error}. The lines above end {error.log}", file=sys.stderr)
        if again:
            print(f"The same command {again} once this is put right.", file=sys.stderr)
        return 2 if error.code == 2 else 1
    except KeyboardInterrupt:
        print(f"Stopped. The same command {again}." if again else "Stopped.", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # Whoever read the output has gone; Python would complain once more when it closes the stream at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        after = f" The same command {again} once that is put right." if again else ""
        print(f"error: {error}. What was done before stays.{after}", file=sys.stderr)
        return 2
    return 0


def choice(options: Mapping[str, str], key: str, choices: Sequence[str]) -> str:
    """The value of a key, the first of `choices` where it isn't given; raises UserError for any other."""
    value = options.get(key, choices[0])
    if value not in choices:
        raise refusal(key, value, f"not one of {', '.join(choices)}", f"Write {key}={choices[0]}.")
    return value


def _stopped(signum: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt(signal.Signals(signum).name)
