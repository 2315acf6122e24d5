"""What runs a program in its own process, and writes what came of it.

Executed from its text where programs are run, as `border` is, so nothing of ours is imported. A program that rebinds
what is called here, or writes itself, only spoils or makes up what is said of it.
"""

import builtins
import io
import sys
import types
from collections.abc import Callable
from typing import Any


class PrintedTooMuch(BaseException):
    pass


class NoFunction(Exception):
    pass


class Sink(io.TextIOBase):
    """Standard output and error of a program: counted and dropped."""

    def __init__(self, chars: int) -> None:
        self.left = chars

    def write(self, text: str) -> int:
        self.left -= len(text)
        if self.left < 0:
            raise PrintedTooMuch
        return len(text)


def message(border: types.ModuleType, request: dict[str, Any], result_bytes: int, printed_chars: int) -> bytes:
    """What came of a program, as JSON: {"values": [tree, ...]}, one of each case; or {"failure": name, "detail": text}.

    Args:
        request: {"program": text, "entry": name, "cases": [[tree, ...], ...]}: the arguments of each case.
        result_bytes: of all trees and the commas between them.
    """
    try:
        sys.stdout = sys.stderr = sink = Sink(printed_chars)
        try:
            code = compile(request["program"], "program", "exec", dont_inherit=True)
        except (SyntaxError, ValueError, RecursionError, OverflowError) as error:
            return failure(border, "syntax", type(error).__name__)
        return b'{"values":[' + b",".join(values(border, code, request, result_bytes, sink)) + b"]}"
    except NoFunction:
        return failure(border, "no_function")
    except border.NotData as error:
        return failure(border, "not_data", str(error)[:100])
    except border.TooLarge:
        return failure(border, "output_too_large")
    except PrintedTooMuch:
        return failure(border, "printed_too_much")
    except MemoryError:
        return failure(border, "memory")
    except BaseException as error:
        return failure(border, "raised", type(error).__name__[:100])


def failure(border: types.ModuleType, name: str, detail: str = "") -> bytes:
    return b'{"failure":"%s","detail":%s}' % (name.encode(), border.encode(detail, 1000))


def values(
    border: types.ModuleType, code: types.CodeType, request: dict[str, Any], result_bytes: int, sink: Sink
) -> list[bytes]:
    """The value of each case, written before the next one begins, so that it can't be changed any more."""
    cases, left, written = request["cases"], result_bytes, []
    put_back = memory() if len(cases) > 1 else None
    for case in cases:
        came = value(code, request["entry"], [border.value_of(tree) for tree in case])
        if put_back:
            put_back()
            sys.stdout = sys.stderr = sink
        written.append(border.encode(came, left))
        left -= len(written[-1]) + 1  # and a comma
    return written


def value(code: types.CodeType, entry: str, arguments: list[Any]) -> Any:
    """What a function of a program returns, which is executed anew, in names of its own."""
    module = types.ModuleType("program")
    sys.modules["program"] = module  # dataclasses and pickle look for a class's module
    exec(code, module.__dict__)
    function = module.__dict__.get(entry)
    if not callable(function):
        raise NoFunction
    return function(*arguments)


def memory() -> Callable[[], None]:
    """What puts back what a case most easily leaves changed for the next: builtins and the recursion limit."""
    held, depth = vars(builtins), sys.getrecursionlimit()
    names = dict(held)

    def put_back() -> None:
        held.clear()
        held.update(names)
        sys.setrecursionlimit(depth)

    return put_back
