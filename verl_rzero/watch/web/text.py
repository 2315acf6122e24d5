"""Text of models and users on its way into a page: nothing in it can act, break the encoding or fill the memory."""

import html

from verl_rzero.base.text import visible


def clean(text: str) -> str:
    """`visible`, with one end of lines."""
    return visible(text.replace("\r\n", "\n"))


def escaped(value: object) -> str:
    """The value as HTML text or as the inside of a quoted attribute."""
    return html.escape(clean(str(value)), quote=True)


def cut(text: str, length: int) -> tuple[str, int]:
    """(the text without its middle, how many characters were taken out): three fifths of `length` from the start and
    the rest from the end, where an answer stands; the place is marked with U+2026 in lines of its own.
    """
    left_out = len(text) - length
    if left_out <= 0:
        return clean(text), 0
    head = length * 3 // 5
    return clean(f"{text[:head]}\n\u2026\n{text[head + left_out :]}"), left_out


def percent(share: float | None, digits: int = 1) -> str:
    """38.6 % for 0.386; a dash for None."""
    return "\u2013" if share is None else f"{100 * share:.{digits}f}\u202f%"


def signed(share: float) -> str:
    """A difference of shares in percentage points: +40.4, \u22122.0."""
    return f"{100 * share:+.1f}".replace("-", "\u2212")


def part_of(amount: float, total: float) -> str:
    """A share in whole per cent; <1 % for one that would round to none."""
    share = amount / total if total else 0.0
    return "<1\u202f%" if 0 < share < 0.005 else percent(share, 0)


def duration(seconds: float) -> str:
    """5 s, 3 min 20 s, 2 h 5 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f}\u202fs" if seconds < 9.95 else f"{whole}\u202fs"
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    if hours:
        return f"{hours}\u202fh {minutes}\u202fmin"
    return f"{minutes}\u202fmin {rest}\u202fs" if rest else f"{minutes}\u202fmin"


def listed(items: list[str]) -> str:
    """a, b and c."""
    return ", ".join(items[:-1]) + " and " + items[-1] if len(items) > 1 else "".join(items)
