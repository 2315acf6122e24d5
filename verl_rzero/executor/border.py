"""How values cross the border between a program's process and ours: data only, as tagged JSON.

None, bool, float, str, int and list are JSON's own; every other type is an object of one key that names it:
{"tuple": [...]}, {"dict": [[key, value], ...]}, {"bytes": "00ff"}, {"int": "-0x1f"} beyond 60 bits, {"float": "nan"}.
Exact types only: an instance of a subclass has methods of its own, and no method of a value is ever called here. The
dicts of `collections` cross as the plain dicts that they are equal to.
The zygote executes this file by its path, so nothing of ours is imported.
"""

import json
import math
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable, Sequence
from typing import Any

MAX_DEPTH = 64
"""Of containers in each other."""

NAN = math.nan
"""The one NaN that decoded values hold: containers compare it by identity, so that equal values with NaN are equal."""

_SMALL = 1 << 60
_COLLECTIONS: dict[type, str] = {tuple: "tuple", set: "set", frozenset: "frozenset"}
_DICTS = (dict, defaultdict, OrderedDict, Counter)
_MAKES: dict[str, Callable[[list[Any]], Any]] = {"tuple": tuple, "set": set, "frozenset": frozenset}
_SPECIAL_FLOATS = {"nan": NAN, "inf": math.inf, "-inf": -math.inf}


class NotData(Exception):
    """The value, or something in it, is of no type that may cross, or lies too deep."""


class TooLarge(Exception):
    """The value takes more bytes than it may. Never cut short instead."""


class Malformed(Exception):
    """What was read is not what `encode` writes."""


def tree_of(value: Any, max_bytes: int) -> Any:
    """What JSON writes for a value.

    Raises:
        NotData, TooLarge: also before `max_bytes` are reached where they would surely be exceeded.
    """
    left = max_bytes  # each value takes a byte at least, so a small object that holds itself often ends too
    nans = 0

    def walk(value: Any, depth: int, hashed: bool) -> Any:
        nonlocal left, nans
        kind = type(value)
        left -= 1 + _least_bytes(kind, value)
        if left < 0:
            raise TooLarge
        if value is None or kind is bool or kind is str:
            return value
        if kind is int:
            return value if -_SMALL < value < _SMALL else {"int": hex(value)}
        if kind is float:
            nans += hashed and math.isnan(value)
            if nans > 1:  # two in one set would be one on the other side
                raise NotData("several NaN in sets or keys")
            return value if math.isfinite(value) else {"float": repr(value)}
        if kind is bytes:
            return {"bytes": value.hex()}
        if depth == MAX_DEPTH:
            raise NotData(f"deeper than {MAX_DEPTH} containers")
        if kind is list:
            return [walk(each, depth + 1, hashed) for each in value]
        if kind in _DICTS:
            pairs = dict.items(value)
            return {"dict": [[walk(key, depth + 1, True), walk(each, depth + 1, hashed)] for key, each in pairs]}
        if kind in _COLLECTIONS:
            return {_COLLECTIONS[kind]: [walk(each, depth + 1, hashed or kind is not tuple) for each in value]}
        raise NotData(kind.__name__)

    return walk(value, 0, False)


def value_of(tree: Any) -> Any:
    """The value that JSON was written for.

    Raises:
        Malformed: the tree is not one that `tree_of` makes.
    """

    def walk(tree: Any, depth: int) -> Any:
        if depth > MAX_DEPTH:
            raise Malformed("too deep")
        if type(tree) is list:
            return [walk(each, depth + 1) for each in tree]
        if type(tree) is str:
            tree.encode()  # no surrogates
        if type(tree) is float and not math.isfinite(tree):
            raise Malformed("a number too large")
        if type(tree) is not dict:
            return tree
        if len(tree) != 1:
            raise Malformed("an object has one key")
        ((tag, inner),) = tree.items()
        if tag == "dict":
            return _dict([[walk(each, depth + 1) for each in _list(pair)] for pair in _list(inner)])
        if tag in _MAKES:
            items = [walk(each, depth + 1) for each in _list(inner)]
            made = _MAKES[tag](items)
            if len(made) != len(items):
                raise Malformed(f"a {tag} with equal elements")
            return made
        return _scalar(tag, inner)

    try:
        return walk(tree, 0)
    except (TypeError, ValueError) as error:  # not hashable, or digits that are none
        raise Malformed(type(error).__name__) from error


def dumps(tree: Any) -> bytes:
    return json.dumps(tree, separators=(",", ":"), allow_nan=False).encode("ascii")


def loads(message: bytes) -> Any:
    """The one JSON text that a message is.

    Raises:
        Malformed: it is none, or more than one.
    """
    try:
        return json.loads(message.decode("ascii"), parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:  # JSONDecodeError, UnicodeDecodeError; too many digits; too deep
        raise Malformed(type(error).__name__) from error


def _least_bytes(kind: type, value: Any) -> int:
    """Bytes that a value takes beside one for itself, at least; those of what is in a container are its own."""
    if kind is str:
        try:
            return len(value.encode())
        except UnicodeEncodeError as error:
            raise NotData("str with surrogates") from error
    if kind is bytes:
        return 2 * len(value)
    return value.bit_length() // 4 if kind is int else 0


def _list(tree: Any) -> list[Any]:
    if type(tree) is not list:
        raise Malformed("a list was to be here")
    return tree


def _dict(pairs: Sequence[Any]) -> dict[Any, Any]:
    if any(len(pair) != 2 for pair in pairs):
        raise Malformed("a pair has two")
    made = dict(pairs)
    if len(made) != len(pairs):
        raise Malformed("a dict with equal keys")
    return made


def _scalar(tag: str, text: Any) -> Any:
    if type(text) is not str:
        raise Malformed(f"{tag} is a text")
    if tag == "bytes":
        return bytes.fromhex(text)
    if tag == "int":
        return int(text, 16)
    if tag == "float" and text in _SPECIAL_FLOATS:
        return _SPECIAL_FLOATS[text]
    raise Malformed("an unknown tag")


def _no_constant(name: str) -> Any:
    raise ValueError(name)
