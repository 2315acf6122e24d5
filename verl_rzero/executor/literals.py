"""Python literals as people and models write them, read without evaluating anything.

Nothing of the text goes to Python's own parser: what that takes in time and in stack, for text that is meant to break
it, differs from version to version. This one goes once over the text, and no deeper than `MAX_DEPTH`.
"""

import math
import re
import unicodedata
from collections.abc import Iterator
from typing import Any, NamedTuple

from verl_rzero.executor.border import MAX_DEPTH, NAN

MAX_CHARS = 65_536
"""Of a text that is read, unless more is allowed: as many keys of one hash as fit in take a fraction of a second."""

_DIGITS = "[0-9](?:_?[0-9])*"
_LONG = r"{0}[^{1}\\]*(?:(?:\\.|{1}(?!{1}{1}))[^{1}\\]*)*{0}"
_SHORT = r"{0}(?!{0}{0})(?:[^{0}\\\n]|\\.)*{0}"
_TOKEN = re.compile(
    r"(?P<blank>(?:[ \t\f\n]|\\\n|\#[^\n]*)+)"
    r"|(?P<text>(?:[bBrRuU]|[bB][rR]|[rR][bB])?(?:"
    + "|".join([_LONG.format("'''", "'"), _LONG.format('"""', '"'), _SHORT.format("'"), _SHORT.format('"')])
    + rf"))|(?P<float>(?:(?:{_DIGITS})\.(?:{_DIGITS})?|\.{_DIGITS})(?:[eE][+-]?{_DIGITS})?(?![\w.])"
    rf"|{_DIGITS}[eE][+-]?{_DIGITS}(?![\w.]))"
    rf"|(?P<int>(?:0[xX](?:_?[0-9a-fA-F])+|0[oO](?:_?[0-7])+|0[bB](?:_?[01])+|{_DIGITS})(?![\w.]))"
    r"|(?P<name>(?:None|True|False|set|frozenset|float)(?!\w))"
    r"|(?P<mark>[][(){},:+-])",
    re.DOTALL,
)
_PLAIN = r"(?P<octal>[0-7]{1,3})|x(?P<hex>[0-9a-fA-F]{2})|(?P<other>.))"
_IN_BYTES = re.compile(r"\\(?:" + _PLAIN, re.DOTALL)
_IN_TEXT = re.compile(
    r"\\(?:N\{(?P<name>[^}]*)\}|u(?P<four>[0-9a-fA-F]{4})|U(?P<eight>[0-9a-fA-F]{8})|" + _PLAIN, re.DOTALL
)
_ESCAPED = {"\n": "", "\\": "\\", "'": "'", '"': '"'} | dict(zip("abfnrtv", "\a\b\f\n\r\t\v", strict=True))
_NAMES = {"None": None, "True": True, "False": False}
_FLOATS: dict[Any, float] = {"nan": NAN, "inf": math.inf, "-inf": -math.inf}
_CLOSES = {"[": "]", "(": ")", "{": "}"}


class NotLiterals(ValueError):
    """A text that isn't literals, separated by commas; the message says why."""


class _Token(NamedTuple):
    kind: str | None
    text: str


_END = _Token(None, "")


def arguments(text: str, max_chars: int = MAX_CHARS) -> tuple[Any, ...]:
    """The positional arguments that a text holds: `[1, 2], 'a'` is two, over any number of lines, with comments.

    Literals of None, bool, int, float, str, bytes, list, tuple, dict and set; and what has no literal as `values.show`
    writes it: `set()`, `frozenset({1})`, `float('nan')`.

    Raises:
        NotLiterals: it is anything else: an operation, a name, a call, a keyword argument, too long, too deep.
    """
    if len(text) > max_chars:
        raise NotLiterals(f"longer than {max_chars} characters")
    reader = _Reader(list(_tokens(text.replace("\r\n", "\n").replace("\r", "\n"))))
    try:
        return tuple(reader.items("", 0)[0])
    except NotLiterals:
        raise
    except (TypeError, ValueError, OverflowError, KeyError) as error:  # not hashable; too many digits; no character
        raise NotLiterals(str(error)) from error


def _tokens(text: str) -> Iterator[_Token]:
    at = 0
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None or found.lastgroup is None:
            raise NotLiterals(f"not a literal: {text[at : at + 20]!r}")
        at = found.end()
        if found.lastgroup != "blank":
            yield _Token(found.lastgroup, found.group())


class _Reader:
    """Goes over tokens from the first to the last; `depth` is the number of open brackets."""

    def __init__(self, tokens: list[_Token]) -> None:
        self._tokens = [*reversed(tokens)]

    def items(self, close: str, depth: int) -> tuple[list[Any], bool]:
        """Values separated by commas, up to what closes them; and whether a comma stands after the last."""
        found: list[Any] = []
        comma = True
        while not self._closes(close):
            if not comma:
                raise NotLiterals(f"no comma before {self._shown()}")
            found.append(self._value(depth))
            comma = self._skips(",")
        return found, comma

    def _value(self, depth: int) -> Any:
        kind, text = token = self._next()
        if kind == "text":
            return self._texts(token)
        if text in ("+", "-"):
            number = self._number(self._next())
            return number if text == "+" else -number
        if kind in ("int", "float"):
            return self._number(token)
        if text in _NAMES and kind == "name":
            return _NAMES[text]
        if kind == "name":
            return self._named(text, depth)
        if text not in _CLOSES or kind != "mark":
            raise NotLiterals(f"not a literal: {text!r}" if text else "it ends too early")
        if depth == MAX_DEPTH:
            raise NotLiterals(f"deeper than {MAX_DEPTH} brackets")
        if text == "{":
            return self._braces(depth + 1)
        found, comma = self.items(_CLOSES[text], depth + 1)
        if text == "[":
            return found
        return found[0] if len(found) == 1 and not comma else tuple(found)

    def _braces(self, depth: int) -> dict[Any, Any] | set[Any]:
        if self._closes("}"):
            return {}
        first = self._value(depth)
        if not self._skips(":"):
            more = self.items("}", depth)[0] if self._skips(",") else self._needs("}", [])
            return {first, *more}
        made = {first: self._value(depth)}
        while not self._closes("}"):
            self._needs(",")
            if self._closes("}"):
                break
            key = self._value(depth)
            self._needs(":")
            made[key] = self._value(depth)
        return made

    def _named(self, name: str, depth: int) -> Any:
        """float('nan') and the like, set(), frozenset(), frozenset({1})."""
        self._needs("(")
        if name == "float":
            token = self._next()
            word = _text(token.text) if token.kind == "text" else None
            if word not in _FLOATS:
                raise NotLiterals(f"float({token.text[:20]} is not a literal")
            return self._needs(")", _FLOATS[word])
        inside = set() if self._closes(")") else self._needs(")", self._value(depth))
        if type(inside) is not set:
            raise NotLiterals("set() and frozenset() take a set")
        return inside if name == "set" else frozenset(inside)

    def _texts(self, first: _Token) -> str | bytes:
        """A text, and those that stand right behind it."""
        parts = [_text(first.text)]
        while self._tokens and self._tokens[-1].kind == "text":
            parts.append(_text(self._next().text))
        return type(parts[0])().join(parts)  # type: ignore[arg-type]  # a TypeError where they are mixed

    def _number(self, token: _Token) -> int | float:
        if token.kind not in ("int", "float"):
            raise NotLiterals(f"no number: {token.text[:20]!r}")
        return int(token.text, 0) if token.kind == "int" else float(token.text)

    def _next(self) -> _Token:
        return self._tokens.pop() if self._tokens else _END

    def _skips(self, mark: str) -> bool:
        if self._tokens and self._tokens[-1] == ("mark", mark):
            self._tokens.pop()
            return True
        return False

    def _closes(self, close: str) -> bool:
        return self._skips(close) if close else not self._tokens

    def _needs(self, mark: str, value: Any = None) -> Any:
        if not self._skips(mark):
            raise NotLiterals(f"no {mark} before {self._shown()}")
        return value

    def _shown(self) -> str:
        return repr(self._tokens[-1].text[:20]) if self._tokens else "the end"


def _text(token: str) -> str | bytes:
    """The value of one literal of a text or of bytes."""
    prefix = token[: min(token.find(quote) for quote in "'\"" if quote in token)].lower()
    quoted = token[len(prefix) :]
    quotes = 3 if quoted[:3] in ("'''", '"""') else 1
    inside = quoted[quotes:-quotes]
    if "b" in prefix and not inside.isascii():
        raise NotLiterals("bytes hold ASCII characters only")
    if "r" not in prefix and "\\" in inside:
        inside = (_IN_BYTES if "b" in prefix else _IN_TEXT).sub(_unescaped, inside)
    return inside.encode("latin-1") if "b" in prefix else inside


def _unescaped(found: re.Match[str]) -> str:
    """What a backslash and what belongs to it stand for: both, where Python knows no such escape."""
    in_text = found.re is _IN_TEXT
    if in_text and found["name"] is not None:
        return unicodedata.lookup(found["name"])
    if in_text and (digits := found["four"] or found["eight"]):
        return chr(int(digits, 16))
    if found["octal"] is not None:
        return chr(int(found["octal"], 8) & (0x1FF if in_text else 0xFF))
    if found["hex"] is not None:
        return chr(int(found["hex"], 16))
    if found["other"] in ("xuUN" if in_text else "x"):
        raise NotLiterals(f"an escape that is cut short: \\{found['other']}")
    return _ESCAPED.get(found["other"], found[0])
