"""Pieces of HTML: figures, legends and tables. All text that comes in is escaped here."""

from collections.abc import Sequence

from verl_rzero.watch.web.text import escaped

Table = tuple[Sequence[str], Sequence[Sequence[str]]]
"""The head's cells, and rows of cells."""


def figure(title: str, about: str, drawing: str, numbers: Table | None = None) -> str:
    """A drawing (HTML) under its title, with its numbers as a table that can be opened."""
    subtitle = f"<span>{escaped(about)}</span>" if about else ""
    opened = f"<details class='numbers'><summary>numbers</summary>{table(*numbers)}</details>" if numbers else ""
    return f"<figure><figcaption><b>{escaped(title)}</b> {subtitle}</figcaption>{drawing}{opened}</figure>"


def legend(names: Sequence[tuple[str, str]]) -> str:
    """What the colours mean: (name, tone)."""
    items = "".join(f'<li><i class="back-{tone}"></i>{escaped(name)}</li>' for name, tone in names)
    return f'<ul class="key">{items}</ul>'


def table(head: Sequence[str], rows: Sequence[Sequence[str]], kind: str = "") -> str:
    """A table; every row's first cell is its heading."""
    top = "".join(f"<th scope=col>{escaped(cell)}</th>" for cell in head)
    body = "".join(
        f"<tr><th scope=row>{escaped(first)}</th>{''.join(f'<td>{escaped(cell)}</td>' for cell in rest)}</tr>"
        for first, *rest in rows
    )
    return f'<div class="scroll"><table class="{kind}"><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'


def section(anchor: str, title: str, lead: str, figures: Sequence[str]) -> str:
    """A section of figures; nothing when there are none."""
    if not figures:
        return ""
    text = f"<p>{lead}</p>" if lead else ""
    return (
        f'<section id="{anchor}"><h2>{escaped(title)}</h2>{text}<div class="figures">{"".join(figures)}</div></section>'
    )
