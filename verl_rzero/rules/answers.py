"""What a reply says: the Solver's final answer and the Challenger's question.

All functions are total (any `str`, of any size, gives a result and nothing is raised) and take linear time.
"""

import re

# `\\?` because models write the box with a doubled backslash too; any other escape (`\{`, `\}`) is one token, no brace.
_TOKEN = re.compile(r"\\\\?boxed\s*\{|\\.|[{}]", re.DOTALL)
_OPEN, _CLOSE = "<question>", "</question>"
_ILL_POSED = re.compile(r"(\\text\{|\\mathrm\{|\\textbf\{)?\s*ill[-_ ]?posed[\s.}]*", re.IGNORECASE)


def last_boxed(text: str) -> str | None:
    r"""Content of the last balanced `\boxed{...}`, stripped; None when there is none or when it is empty.

    Braces nest, escaped braces (`\{`, `\}`) do not count. Of nested boxes the innermost last one counts. A box that
    is never closed (a reply that was cut off) is no box; an earlier closed one then counts.
    """
    first = text.find("boxed")
    if first < 0:
        return None
    first = len(text[:first].rstrip("\\"))  # braces before it belong to no box
    open_braces: list[int] = []  # for each open brace: where the content of its box starts, or -1 for any other brace
    best_start, best_end = -1, -1
    for token in _TOKEN.finditer(text, first):
        symbol = token.group()
        if symbol == "{":
            open_braces.append(-1)
        elif symbol == "}":
            start = open_braces.pop() if open_braces else -1
            if start > best_start:
                best_start, best_end = start, token.start()
        elif symbol[-1] == "{" and "boxed" in symbol:
            open_braces.append(token.end())
    return (text[best_start:best_end].strip() or None) if best_start >= 0 else None


def question_block(text: str) -> str | None:
    """Content of the last complete `<question>...</question>`, stripped; None when there is none or when it is empty.

    A block holds no other opening tag: of `<question>a<question>b</question>` the question is `b`.
    """
    end = len(text)
    while (start := text.rfind(_OPEN, 0, end)) >= 0:
        close = text.find(_CLOSE, start, end)
        if close >= 0:
            return text[start + len(_OPEN) : close].strip() or None
        end = start
    return None


def is_ill_posed(answer: str) -> bool:
    """Whether an answer says that the question is ill-posed: ILL-POSED, as `prompts.validity` asks, in any case."""
    return len(answer) < 40 and _ILL_POSED.fullmatch(answer.strip()) is not None
