"""Pieces of Markdown, of texts that may hold anything."""

import re

from verl_rzero.base.text import visible


def table(header: list[str], rows: list[list[str]]) -> str:
    """A table; its cells are Markdown, see `cell` for text."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def cell(text: str) -> str:
    """Text in one line that ends no cell and is no markup: backslashes, pipes, backquotes, brackets, < are escaped."""
    return re.sub(r"([\\|`\[\]<])", r"\\\1", " ".join(visible(text).split()))


def fenced(language: str, text: str) -> str:
    """A code block, whatever backticks the text holds."""
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0))
    return f"{fence}{language}\n{text}\n{fence}"
