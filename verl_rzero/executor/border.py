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
from collections.abc import Callable, Iterable, Sequence
from json.encoder import encode_basestring_ascii
from typing import Any

MAX_DEPTH = 64
"""Of containers in each other."""

NAN = math.nan
"""The one NaN that decoded values hold: containers compare it by identity, so that equal values with NaN are equal."""


def _no_constant(name: str) -> Any:
    raise ValueError(name)


_JSON = json.JSONDecoder(parse_constant=_no_constant)
_SMALL = 1 << 60
_DICTS = (dict, defaultdict, OrderedDict, Counter)
_CONTAINERS = (list, tuple, set, frozenset, *_DICTS)
_OF_ONE_HASH = 4_000
_MAKES: dict[str, Callable[[list[Any]], Any]] = {"tuple": tuple, "set": set, "frozenset": frozenset}
_SPECIAL_FLOATS = {"nan": NAN, "inf": math.inf, "-inf": -math.inf}


class NotData(Exception):
    """The value, or something in it, is of no type that may cross, or lies too deep."""


class TooLarge(Exception):
    """The value takes more bytes than it may. Never cut short instead."""


class Malformed(Exception):
    """What was read is not what `encode` writes."""


def encode(value: Any, max_bytes: int) -> bytes:
    """A value as tagged JSON. Written here, since json's own encoder touches memory that a fork would have to copy.

    Raises:
        NotData.
        TooLarge: it takes more than `max_bytes`; found out before the text of a large value is made.
    """
    parts: list[str] = []
    left, nans = max_bytes, 0

    def put(text: str) -> None:
        nonlocal left
        left -= len(text)
        if left < 0:
            raise TooLarge
        parts.append(text)

    def items(values: Iterable[Any], depth: int, hashed: bool) -> None:
        put("[")
        for number, each in enumerate(values):
            if number:
                put(",")
            walk(each, depth, hashed)
        put("]")

    def walk(value: Any, depth: int, hashed: bool) -> None:
        nonlocal nans
        kind = type(value)
        if kind is str or kind is bytes or kind is int or kind is float or kind is bool or value is None:
            if kind is float and hashed and math.isnan(value):
                nans += 1
                if nans > 1:  # two in one set would be one on the other side
                    raise NotData("several NaN in sets or keys")
            put(_scalar_text(kind, value, left))
        elif kind not in _CONTAINERS:
            raise NotData(kind.__name__)
        elif depth == MAX_DEPTH:
            raise NotData(f"deeper than {MAX_DEPTH} containers")
        elif kind is list:
            items(value, depth + 1, hashed)
        elif kind in _DICTS:
            put('{"dict":[')
            for number, (key, each) in enumerate(dict.items(value)):
                put(",[" if number else "[")
                walk(key, depth + 1, True)
                put(",")
                walk(each, depth + 1, hashed)
                put("]")
            put("]}")
        else:
            put(f'{{"{kind.__name__}":')
            items(value, depth + 1, hashed or kind is not tuple)
            put("}")

    walk(value, 0, False)
    return "".join(parts).encode("ascii")


def _scalar_text(kind: type, value: Any, max_bytes: int) -> str:
    if kind is str:
        if len(value) > max_bytes:
            raise TooLarge
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise NotData("str with surrogates") from error
        return encode_basestring_ascii(value)
    if kind is bytes:
        if 2 * len(value) > max_bytes:
            raise TooLarge
        return f'{{"bytes":"{value.hex()}"}}'
    if kind is int:
        if value.bit_length() // 4 > max_bytes:
            raise TooLarge
        return str(value) if -_SMALL < value < _SMALL else f'{{"int":"{hex(value)}"}}'
    if kind is float:
        return repr(value) if math.isfinite(value) else f'{{"float":"{value!r}"}}'
    return "null" if value is None else "true" if value else "false"


def value_of(tree: Any) -> Any:
    """The value that JSON was written for.

    Raises:
        Malformed: the tree is not one that `encode` writes.
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
            if tag != "tuple":
                _spread(items)
            made = _MAKES[tag](items)
            if len(made) != len(items):
                raise Malformed(f"a {tag} with equal elements")
            return made
        return _scalar(tag, inner)

    try:
        return walk(tree, 0)
    except (TypeError, ValueError) as error:  # not hashable, or digits that are none
        raise Malformed(type(error).__name__) from error


def loads(message: bytes) -> Any:
    """The one JSON text that a message is, without blanks around it.

    Raises:
        Malformed: it is none, or more than one.
    """
    try:
        text = message.decode("ascii")
        tree, end = _JSON.raw_decode(text)
    except (ValueError, RecursionError) as error:  # JSONDecodeError, UnicodeDecodeError; too many digits; too deep
        raise Malformed(type(error).__name__) from error
    if end != len(text):
        raise Malformed("more than one JSON text")
    return tree


def _list(tree: Any) -> list[Any]:
    if type(tree) is not list:
        raise Malformed("a list was to be here")
    return tree


def _dict(pairs: Sequence[Any]) -> dict[Any, Any]:
    if any(len(pair) != 2 for pair in pairs):
        raise Malformed("a pair has two")
    _spread([key for key, _ in pairs])
    made = dict(pairs)
    if len(made) != len(pairs):
        raise Malformed("a dict with equal keys")
    return made


def _spread(keys: Sequence[Any]) -> None:
    """Refuse keys of which so many have one hash that a dict of them takes long to make: the square of their number."""
    if len(keys) > _OF_ONE_HASH and Counter(map(hash, keys)).most_common(1)[0][1] > _OF_ONE_HASH:
        raise Malformed(f"more than {_OF_ONE_HASH} keys of one hash")


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
