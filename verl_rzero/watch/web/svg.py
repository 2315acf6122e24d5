"""Drawings as SVG text, sized for one column of a phone; a page sets them side by side.

Colours and type are classes that page.css gives meaning to, so that a drawing follows light, dark and print. All text
that comes in is escaped here.
"""

import math
from bisect import bisect
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from verl_rzero.watch.web.text import escaped

WIDTH, HEIGHT = 340, 200
_LEFT, _TOP, _BOTTOM = 38, 12, 24
_LABEL_APART = 13.0  # between the baselines of two labels


@dataclass(frozen=True)
class Point:
    """A value `y` at `x`, its interval where there is one, and what a pointer over it is told."""

    x: float
    y: float
    interval: tuple[float, float] | None = None
    note: str = ""


@dataclass(frozen=True)
class Series:
    """A line. `tone` is a class of page.css: c1 ... c6, or grey."""

    name: str
    tone: str
    points: list[Point]


Format = Callable[[float], str]


def ticks(low: float, high: float, count: int = 4) -> list[float]:
    """Round numbers, about `count` of them, from below `low` to above `high`."""
    span = high - low or abs(high) or 1.0
    power = 10 ** math.floor(math.log10(span / count))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power * count >= span * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [number * step for number in range(first, max(last, first + 1) + 1)]


def lines(
    series: Sequence[Series],
    x_labels: Sequence[tuple[float, str]],
    y_format: Format,
    *,
    dividers: Sequence[float] = (),
    limits: tuple[float, float] | None = None,
    about: str,
    right: int = 78,
) -> str:
    """Lines over x, each named at its right end.

    `x_labels` stand below the axis at their x, `dividers` are thin upright lines that the
    lines don't cross, `limits` are values that the y axis
    goes no further than; `about` describes the drawing for those who don't see it, `right` is the room for the names.
    """
    xs = [point.x for one in series for point in one.points] + [x for x, _ in x_labels] + list(dividers)
    ys = [y for one in series for point in one.points for y in (point.y, *(point.interval or ()))]
    marks = ticks(min(ys), max(ys))
    if limits:
        marks = [mark for mark in marks if limits[0] - 1e-9 <= mark <= limits[1] + 1e-9]
    low, high = min(*ys, *marks), max(*ys, *marks)
    across = _scale(min(xs), max(xs), _LEFT + 8, WIDTH - right)
    up = _scale(low, high, HEIGHT - _BOTTOM, _TOP)
    parts = [_grid(mark, up(mark), y_format, WIDTH - right + 6) for mark in marks]
    parts += [f'<path class="divider" d="M{across(x):.1f} {_TOP}V{HEIGHT - _BOTTOM}"/>' for x in dividers]
    parts += [_text(across(x), HEIGHT - 7, label, "tick mid") for x, label in x_labels]
    parts += [_line(one, dividers, across, up, y_format) for one in series if one.points]
    parts += _end_labels(series, across, up, y_format)
    return _svg(HEIGHT, about, parts)


def histogram(counts: Sequence[int], kept: Sequence[bool], labels: Sequence[tuple[int, str]], about: str) -> str:
    """Upright bars; those that are `kept` in colour. `labels` are (number of the bar, text below it)."""
    height, bottom = 150, 22
    total, top = sum(counts), max(max(counts), 1)
    width = (WIDTH - 16) / len(counts)
    parts = []
    for number, (count, inside) in enumerate(zip(counts, kept, strict=True)):
        tall = (height - bottom - 22) * count / top
        x, y = 8 + number * width, height - bottom - tall
        note = f"<title>{count} questions</title>"
        tone = "fill-c1" if inside else "fill-grey"
        parts.append(f'<rect class="{tone}" x="{x + 1:.1f}" y="{y:.1f}" width="{width - 2:.1f}" height="{tall:.1f}">')
        parts.append(f"{note}</rect>")
        if total and count / total >= 0.04:
            parts.append(_text(x + width / 2, y - 4, f"{100 * count / total:.0f}", "value mid"))
    parts.append(f'<path class="axis" d="M8 {height - bottom}H{WIDTH - 8}"/>')
    parts += [_text(8 + (number + 0.5) * width, height - 6, label, "tick mid") for number, label in labels]
    return _svg(height, about, parts)


def shares(rows: Sequence[tuple[str, Sequence[tuple[str, str, float]]]], about: str) -> str:
    """Lying bars of full width, one for each (label, parts); a part is (name, tone, amount)."""
    bar, step = 22, 44
    parts = []
    for number, (label, amounts) in enumerate(rows):
        y, x = 16 + number * step, 0.0
        total = sum(amount for _, _, amount in amounts)
        parts.append(_text(0, y - 4, label, "label"))
        for name, tone, amount in amounts:
            width = WIDTH * amount / total if total else 0.0
            parts.append(
                f'<rect class="fill-{tone}" x="{x:.1f}" y="{y}" width="{max(0.0, width - 1):.1f}" height="{bar}">'
                f"<title>{escaped(name)}: {amount:g}</title></rect>"
            )
            if width > 30:
                parts.append(_text(x + 5, y + 15, f"{100 * amount / total:.0f}\u202f%", f"on-{tone}"))
            x += width
    return _svg(len(rows) * step, about, parts)


def bars(rows: Sequence[tuple[str, float, str]], about: str) -> str:
    """Lying bars of (label, length, what is written behind it), the label above each."""
    step, room = 34, 118
    longest = max((length for _, length, _ in rows), default=0.0) or 1.0
    parts = []
    for number, (label, length, text) in enumerate(rows):
        y, width = number * step + 12, max(1.0, (WIDTH - room) * length / longest)
        parts.append(_text(0, y, label, "label"))
        parts.append(f'<rect class="fill-c1" x="0" y="{y + 5}" width="{width:.1f}" height="10"/>')
        parts.append(_text(width + 6, y + 14, text, "value"))
    return _svg(max(1, len(rows)) * step, about, parts)


def _svg(height: float, about: str, parts: Sequence[str]) -> str:
    body = "".join(parts)
    return f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escaped(about)}">{body}</svg>'


def _text(x: float, y: float, text: str, kind: str) -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}">{escaped(text)}</text>'


def _scale(low: float, high: float, start: float, end: float) -> Callable[[float], float]:
    span = high - low
    return lambda value: start + (end - start) * ((value - low) / span if span else 0.5)


def _grid(mark: float, y: float, y_format: Format, end: float) -> str:
    line = f'<path class="grid" d="M{_LEFT} {y:.1f}H{end:.1f}"/>'
    return line + _text(_LEFT - 5, y + 4, y_format(mark), "tick end")


def _line(
    one: Series,
    dividers: Sequence[float],
    across: Callable[[float], float],
    up: Callable[[float], float],
    y_format: Format,
) -> str:
    """The line, broken at the dividers, its points and their intervals."""
    spots = [(across(point.x), up(point.y)) for point in one.points]
    starts = {bisect(dividers, point.x): number for number, point in reversed(list(enumerate(one.points)))}.values()
    path = "".join(f"{'M' if n in starts else 'L'}{x:.1f} {y:.1f}" for n, (x, y) in enumerate(spots))
    parts = [f'<path class="line line-{one.tone}" d="{path}"/>']
    few = len(spots) <= 40
    for point, (x, y) in zip(one.points, spots, strict=True):
        if point.interval:
            low, high = (up(value) for value in point.interval)
            parts.append(f'<path class="whisker line-{one.tone}" d="M{x:.1f} {low:.1f}V{high:.1f}"/>')
        if few:
            note = point.note or f"{one.name}: {y_format(point.y)}"
            radius = 3.2 if len(spots) <= 8 else 1.6
            parts.append(f'<circle class="fill-{one.tone}" cx="{x:.1f}" cy="{y:.1f}" r="{radius}">')
            parts.append(f"<title>{escaped(note)}</title></circle>")
    return "".join(parts)


def _end_labels(
    series: Sequence[Series], across: Callable[[float], float], up: Callable[[float], float], y_format: Format
) -> list[str]:
    """Each line's name and last value at its end, moved apart where they would overlap."""
    named = sorted(((up(one.points[-1].y), one) for one in series if one.points), key=lambda pair: pair[0])
    tops, free = [], float(_TOP)
    for y, one in named:
        tops.append(max(y - 3, free))
        free = tops[-1] + _LABEL_APART * (len(_wrapped(one.name)) + 1) + 2
    lowest = HEIGHT - _BOTTOM + 4.0  # where the last label may end; those above it make room
    for number in reversed(range(len(named))):
        tall = _LABEL_APART * (len(_wrapped(named[number][1].name)) + 1) + 2
        tops[number] = min(tops[number], lowest - tall + _LABEL_APART)
        lowest = tops[number] - _LABEL_APART
    parts = []
    for number, (_, one) in enumerate(named):
        last = one.points[-1]
        x, y = across(last.x) + 8, tops[number]
        parts.append(_text(x, y, y_format(last.y), f"strong text-{one.tone}"))
        parts += [
            _text(x, y + _LABEL_APART * (row + 1), words, f"name text-{one.tone}")
            for row, words in enumerate(_wrapped(one.name))
        ]
    return parts


def _wrapped(name: str, width: int = 12) -> list[str]:
    """The name in lines of about `width` characters, two at most."""
    first, rest = "", ""
    for word in name.split():
        if rest or (first and len(first) + 1 + len(word) > width):
            rest = f"{rest} {word}".strip()
        else:
            first = f"{first} {word}".strip()
    lines_of_text = [line if len(line) <= width + 2 else line[: width + 1] + "\u2026" for line in (first, rest)]
    return [line for line in lines_of_text if line]
