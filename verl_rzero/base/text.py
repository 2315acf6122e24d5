"""Text that anybody may have written, on its way into files, pages and terminals."""

import re
from typing import Any

_SURROGATES = re.compile("[\ud800-\udfff]")
_COLOURS = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")  # and whatever else a terminal's CSI does
_SHOWN = {code: 0x2400 + code for code in range(32) if code not in (9, 10)} | {127: 0x2421}
_SHOWN |= dict.fromkeys([*range(0x80, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A)], 0xFFFD)


def encodable(text: str) -> str:
    """The text as it can be stored: each lone surrogate, which no encoding knows, is U+FFFD. Nothing else changes."""
    return text if text.isascii() else _SURROGATES.sub("\ufffd", text)


def all_encodable(value: Any) -> Any:
    """`encodable`, of all texts in lists and dicts."""
    match value:
        case str():
            return encodable(value)
        case list() | tuple():
            return [all_encodable(item) for item in value]
        case dict():
            return {encodable(key): all_encodable(item) for key, item in value.items()}
        case _:
            return value


def visible(text: str) -> str:
    """`encodable`, and no character acts: of control characters only tab and newline stay, the others are shown as
    their pictures (U+2400 and on); C1 controls and those that turn the direction of text are U+FFFD.
    """
    return encodable(text).translate(_SHOWN)


def for_terminal(text: str) -> str:
    """`visible`, where colours are left out as if they had never been there."""
    return visible(_COLOURS.sub("", text) if "\x1b" in text else text)
