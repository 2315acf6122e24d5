"""Frozen dataclasses from plain nested dicts: every field documented, typed and within its limits, or refused."""

import difflib
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from typing import Any, TypeVar, Union

from verl_rzero.base.errors import UserError, refusal, shown

T = TypeVar("T")


@dataclass(frozen=True)
class Key:
    """One leaf of a settings class: its dotted name, its type as a reader would write it, and its documentation."""

    name: str
    type: str
    doc: str


def doc(
    text: str,
    *,
    at_least: float | None = None,
    above: float | None = None,
    at_most: float | None = None,
    choices: tuple[str, ...] = (),
) -> dict[str, Any]:
    """Metadata of a field: what it means and which values are possible. A limit on a list holds for each item."""
    return {"doc": text, "at_least": at_least, "above": above, "at_most": at_most, "choices": choices}


def build(cls: type[T], data: Mapping[str, Any], where: str = "") -> T:
    """An instance of the dataclass `cls` from nested dicts.

    `where` is the dotted name of `data` in the whole. Raises UserError for an unknown or missing key, for a value of
    another type, and for one outside the limits of its field. A missing key takes its field's default, if it has one:
    only what stands below names of the user's own has defaults, where no YAML file could give them.
    """
    hints = typing.get_type_hints(cls)
    known = [field.name for field in fields(cls)]  # type: ignore[arg-type]
    for name in data:
        if name not in known:
            raise unknown_key(_join(where, str(name)), [_join(where, key) for key in known])
    values = {}
    for field in fields(cls):  # type: ignore[arg-type]
        name = _join(where, field.name)
        if field.name not in data and field.default is not MISSING:
            values[field.name] = field.default
            continue
        if field.name not in data:
            raise UserError(f"{name}: not set. {field.metadata.get('doc', '')}")
        values[field.name] = _value(hints[field.name], data[field.name], name)
        _check_limits(name, values[field.name], field.metadata)
    return cls(**values)


def keys(cls: type, where: str = "") -> Iterator[Key]:
    """Every leaf below the dataclass `cls`, in order."""
    hints = typing.get_type_hints(cls)
    for field in fields(cls):
        name, hint = _join(where, field.name), hints[field.name]
        if is_dataclass(hint):
            yield from keys(typing.cast(type, hint), name)
        else:
            choices = field.metadata["choices"]
            yield Key(name, f"one of {', '.join(choices)}" if choices else _type_name(hint), field.metadata["doc"])


def flat(data: Mapping[str, Any], where: str = "") -> dict[str, Any]:
    """Nested dicts as one dict with dotted keys; an empty dict stays a value."""
    result: dict[str, Any] = {}
    for key, value in data.items():
        name = _join(where, str(key))
        if isinstance(value, Mapping) and value:
            result.update(flat(value, name))
        else:
            result[name] = value
    return result


def unknown_key(name: str, known: list[str]) -> UserError:
    """The refusal of a key that doesn't exist, with the closest one that does."""
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    instead = f"Did you mean {close[0]}?" if close else f"Known here: {', '.join(known)}."
    return UserError(f"{name}: there is no such key. {instead}")


def _value(hint: Any, value: Any, name: str) -> Any:
    """`value` as the type `hint`; lists become tuples, whole numbers become floats where a float is wanted."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (Union, types.UnionType):
        if value is None:
            return None
        hint = next(arg for arg in args if arg is not types.NoneType)
        return _value(hint, value, name)
    if is_dataclass(hint) and isinstance(value, Mapping):
        return build(typing.cast(type, hint), value, name)
    if origin is dict and isinstance(value, Mapping):
        if args[1] is Any:
            return dict(value)
        return {str(key): _value(args[1], item, _join(name, str(key))) for key, item in value.items()}
    if origin is tuple and isinstance(value, list | tuple):
        item_hints = [args[0]] * len(value) if args[-1] is Ellipsis else list(args)
        if len(item_hints) == len(value):
            return tuple(_value(item, part, name) for item, part in zip(item_hints, value, strict=True))
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if isinstance(hint, type) and type(value) is hint:
        return value
    why = f"this is not {_article(_type_name(hint))}"
    raise refusal(name, value, why, f"Write {name}={_example(hint)}, for example.")


def _check_limits(name: str, value: Any, metadata: Mapping[str, Any]) -> None:
    if value is None or not metadata:
        return
    choices, items = metadata["choices"], value if isinstance(value, tuple) else (value,)
    for item in items:
        if choices and item not in choices:
            close = difflib.get_close_matches(str(item), choices, n=1)
            raise refusal(name, item, "not one of " + ", ".join(choices), f"Write {name}={(close or choices)[0]}.")
    it = "each of its numbers" if isinstance(value, tuple) else "it"
    low, above, high = metadata["at_least"], metadata["above"], metadata["at_most"]
    if above is not None and not all(item > above for item in items):
        raise refusal(name, value, f"{it} must be above {above}", f"Write a number above {above}.")
    if low is not None and not all(item >= low for item in items):
        raise refusal(name, value, f"{it} must be {low} or more", _nearest(name, value, lambda item: max(item, low)))
    if high is not None and not all(item <= high for item in items):
        raise refusal(name, value, f"{it} must be {high} or less", _nearest(name, value, lambda item: min(item, high)))


def _nearest(name: str, value: Any, clipped: Callable[[float], float]) -> str:
    nearest = tuple(clipped(item) for item in value) if isinstance(value, tuple) else clipped(value)
    return f"The nearest possible value is {name}={shown(nearest)}."


def _type_name(hint: Any) -> str:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (Union, types.UnionType):
        return " or ".join("null" if arg is types.NoneType else _type_name(arg) for arg in args)
    if origin is tuple:
        return f"list ({', '.join('...' if arg is Ellipsis else _type_name(arg) for arg in args)})"
    if origin is dict or is_dataclass(hint):
        return "mapping"
    return {int: "whole number", float: "number", str: "text", bool: "true or false"}[hint]


def _article(type_name: str) -> str:
    return type_name if type_name.startswith(("true", "text")) else f"a {type_name}"


def _example(hint: Any) -> str:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is tuple:
        items = [_example(arg) for arg in args if arg is not Ellipsis]
        return shown(items)
    return {int: "1", float: "0.5", str: "word", bool: "true"}.get(hint, "{key: value}")


def _join(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name


def value_of(name: str, values: dict[str, Any]) -> str:
    """The value of a key as on the command line, in one line of bounded length."""
    below = {key.removeprefix(f"{name}."): value for key, value in values.items() if key.startswith(f"{name}.")}
    value = " ".join(shown(values.get(name, below)).split())
    return value if len(value) <= 60 else value[:57] + "..."
