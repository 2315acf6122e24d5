"""Values as texts, and their equality."""

from typing import Any


def show(value: Any) -> str:
    """A value as the literal that `literals.arguments` reads; elements of sets in the order of their texts."""
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
    """Whether two values, from `literals.arguments` or a `Result`, are one: Python's == on plain data, nowhere rounded.

    So 1 == 1.0 == True, a list is no tuple, 0.1 + 0.2 is not 0.3. NaN equals NaN, wherever it stands: such values hold
    one NaN.
    """
    return bool(a is b or a == b)
