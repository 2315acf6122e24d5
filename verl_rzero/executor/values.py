"""Values as people and models write them: Python literals, read without evaluating anything; and their equality."""

import ast
import warnings
from typing import Any

from verl_rzero.executor.border import MAX_DEPTH, NAN

MAX_CHARS = 65_536
"""Of a text that is read."""

_FLOATS = {"nan": NAN, "inf": float("inf"), "-inf": float("-inf")}
_SETS = {"set": set, "frozenset": frozenset}


class NotLiterals(ValueError):
    """A text that isn't literals, separated by commas; the message says why."""


def arguments(text: str) -> tuple[Any, ...]:
    """The positional arguments that a text holds: `[1, 2], 'a'` is two, over any number of lines, with comments.

    Literals of None, bool, int, float, str, bytes, list, tuple, dict and set; and what has no literal as `show` writes
    it: `set()`, `frozenset({1})`, `float('nan')`. Only parsed, never evaluated.

    Raises:
        NotLiterals: it is anything else: an operation, a name, a call, a keyword argument, too long, too deep.
    """
    if len(text) > MAX_CHARS:
        raise NotLiterals(f"longer than {MAX_CHARS} characters")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of escapes that are none
            body = ast.parse(f"_(\n{text}\n)", mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise NotLiterals(f"not Python: {type(error).__name__}") from error
    # The text is the call's arguments only if the whole is this one call: `1) or (2` makes another tree.
    if not isinstance(body, ast.Call) or not isinstance(body.func, ast.Name) or body.keywords:
        raise NotLiterals("not positional arguments")
    try:
        return tuple(_value(each, 0) for each in body.args)
    except TypeError as error:
        raise NotLiterals(str(error)) from error


def show(value: Any) -> str:
    """A value as the literal that `arguments` reads; elements of sets in the order of their texts."""
    kind = type(value)
    if value is None or kind in (bool, str, bytes):
        return repr(value)
    if kind is int:
        return str(value) if value.bit_length() < 12_000 else hex(value)  # longer decimals are refused by Python
    if kind is float:
        return repr(value) if value == value and abs(value) != float("inf") else f"float({repr(value)!r})"
    if kind is list:
        return f"[{', '.join(map(show, value))}]"
    if kind is tuple:
        return f"({', '.join(map(show, value))}{',' if len(value) == 1 else ''})"
    if kind is dict:
        return "{" + ", ".join(f"{show(key)}: {show(each)}" for key, each in value.items()) + "}"
    if kind in (set, frozenset):
        braces = "{" + ", ".join(sorted(map(show, value))) + "}" if value else ""
        return braces if kind is set and value else f"{kind.__name__}({braces})"
    raise TypeError(f"{kind.__name__} is not data")


def equal(a: Any, b: Any) -> bool:
    """Whether two values, from `arguments` or a `Result`, are one: Python's == on plain data, nowhere rounded.

    So 1 == 1.0 == True, a list is no tuple, 0.1 + 0.2 is not 0.3. NaN equals NaN, wherever it stands: such values hold
    one NaN.
    """
    return bool(a is b or a == b)


def _value(node: ast.expr, depth: int) -> Any:
    if depth > MAX_DEPTH:
        raise NotLiterals(f"deeper than {MAX_DEPTH} containers")
    match node:
        case ast.Constant(value=None | bool() | int() | float() | str() | bytes() as value):
            return value
        case ast.UnaryOp(op=ast.UAdd() | ast.USub() as sign, operand=ast.Constant(value=int() | float() as value)):
            if not isinstance(value, bool):
                return value if isinstance(sign, ast.UAdd) else -value
        case ast.List(elts=items):
            return [_value(each, depth + 1) for each in items]
        case ast.Tuple(elts=items):
            return tuple(_value(each, depth + 1) for each in items)
        case ast.Set(elts=items):
            return {_value(each, depth + 1) for each in items}
        case ast.Dict(keys=keys, values=values) if None not in keys:
            pairs = zip(keys, values, strict=True)
            return {_value(key, depth + 1): _value(each, depth + 1) for key, each in pairs if key is not None}
        case ast.Call(func=ast.Name(id="set" | "frozenset" as name), args=items, keywords=[]) if len(items) < 2:
            return _SETS[name](_set_inside(items[0], depth) if items else ())
        case ast.Call(func=ast.Name(id="float"), args=[ast.Constant(value=str() as name)], keywords=[]):
            if name in _FLOATS:
                return _FLOATS[name]
    raise NotLiterals(f"{type(node).__name__} is not a literal")


def _set_inside(node: ast.expr, depth: int) -> Any:
    inside = _value(node, depth)
    if type(inside) is not set:
        raise NotLiterals("set() and frozenset() take a set")
    return inside
