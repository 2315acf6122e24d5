r"""Texts that a model may write and nobody would: for the tests and for `benchmarks/hostile.py`.

`MONSTERS` are made by hand, each at any length. `texts()` is a hypothesis strategy: monsters at small lengths, pieces
of LaTeX, Markdown, HTML, Python and terminal escapes in any order, and any characters, lone surrogates among them.
"""

from collections.abc import Callable

from hypothesis import strategies as st

Monster = Callable[[int], str]


def again(piece: str) -> Monster:
    """The piece as often as fits."""
    return lambda length: piece * max(1, length // len(piece))


def around(start: str, piece: str, end: str) -> Monster:
    """The piece as often as fits between a start and an end."""
    return lambda length: start + piece * max(1, (length - len(start) - len(end)) // len(piece)) + end


def nested(opening: str, inside: str, closing: str) -> Monster:
    """Openings, what is in the innermost, and as many closings."""

    def made(length: int) -> str:
        times = max(1, (length - len(inside)) // (len(opening) + len(closing)))
        return opening * times + inside + closing * times

    return made


# fmt: off
MONSTERS: dict[str, Monster] = {
    # what is searched for in replies
    "boxes that never close": again(r"\boxed{"),
    "boxes in boxes": nested(r"\boxed{", "5", "}"),
    "boxes": again(r"\boxed{5}"),
    "boxes with blanks": around(r"\boxed", " ", "x"),
    "boxes, two backslashes": again(r"\\boxed{"),
    "escaped braces": again(r"\{"),
    "opening braces": again("{"),
    "closing braces": again("}"),
    "backslashes": again("\\"),
    "questions that never close": again("<question>"),
    "questions closed first": again("</question><question>"),
    "questions in questions": nested("<question>", "1+1", "</question>"),
    "fences that never close": again("```python\n"),
    "one fence that never closes": around("```python\n", "x", ""),
    "a name without end": around("```", "a", ""),
    "a fence, then blanks": around("```python", " ", "x"),
    "backticks": again("`"),
    "thoughts that never close": again("<think>"),
    "thoughts closed first": around("<think>", "</think>", "<answer>"),
    "answers that never close": around("<think></think>", "<answer>", ""),
    "imports": again("import "),
    "imports behind marks": again(";import a,"),
    "a line of marks": again(";"),
    "an import without end": around("from ", "a.", "b"),
    "blank lines": again("\n" + " " * 50),
    # what graders search for
    "an answer, then blanks": around("The answer is:", " ", "%"),
    "an answer, then stars": around("answer: ", "* ", "%"),
    "a letter, then blanks": around("the answer is B", " ", "%"),
    "a letter, then stars": around("the answer is B", "*$ ", "%"),
    "answers": again("the answer is B "),
    "answers in the box": around(r"\boxed{answer", " ", "%}"),
    "words in the box": around(r"\boxed{the", " ", "%}"),
    "dressed letters in the box": lambda n: rf"\boxed{{{nested(chr(92) + 'text{', 'B', '}')(n)}}}",
    "final answers": again("the final answer is: "),
    "a judge's fence": around("```json", " ", "x"),
    "a judge's fence, closed": around("```", " ", "```x"),
    "a judge's thought": around("", " ", "<think>"),
    "a list without end": again("["),
    "lists": nested("[", "1", "]"),
    "objects without end": again('{"a":'),
    # answers
    "nines": again("9"),
    "a fraction of nines": lambda n: rf"\frac{{{'9' * (n // 2)}}}{{{'7' * (n // 2)}}}",
    "thousands": again("1,000,"),
    "groups of three": around("1", ",000", ""),
    "groups after blanks": around("1", " 000", "x"),
    "decimals": again("0.1"),
    "points": again("."),
    "commas": again(","),
    "signs": again("-"),
    "plus or minus": again(r"\pm 1, "),
    "equals": again("x="),
    "smaller": again("1<"),
    "tuples": nested("(", "1", ")"),
    "tuples in tuples": nested("(1,", "1", ")"),
    "brackets without end": again("(1,"),
    "sets": nested(r"\{1,", "1", r"\}"),
    "fractions": again(r"\frac{"),
    "fractions in fractions": nested(r"\frac{1}{", "2", "}"),
    "fractions without braces": again(r"\frac"),
    "halves": again(r"\frac12"),
    "groups in groups": around(r"\frac{", "{a}", ""),
    "roots": nested(r"\sqrt{", "2", "}"),
    "roots without braces": again(r"\sqrt"),
    "powers": nested("9^{", "9", "}"),
    "powers without braces": again("^9"),
    "exponents": again("9^"),
    "indices": again("_1"),
    "texts": again(r"\text{a}"),
    "texts in texts": nested(r"\text{", "a", "}"),
    "texts without end": again(r"\text{"),
    "units": again('5 "cm" '),
    "centimetres": again(r" \text{cm}"),
    "names": again("ab = "),
    "or": again(" or "),
    "quotes": again('"'),
    "dollars": again("$"),
    "left and right": nested(r"\left(", "1", r"\right)"),
    "matrices": nested(r"\begin{pmatrix}", "1", r"\end{pmatrix}"),
    "cells": around(r"\begin{pmatrix}", r"1&2\\", r"\end{pmatrix}"),
    "choose": around("{", r"a\choose ", "}"),
    "superscripts": again("\u2079"),
    "wide digits": again("\uff19"),
    "vulgar fractions": again("\u00bd"),
    "factorials": again("!"),
    # characters
    "nothing": lambda n: "",
    "one line": again("x"),
    "words": again("word "),
    "blanks": again(" "),
    "blanks that are none": again("\u200b\u3164\u2800\u00ad"),
    "LaTeX's blanks": again(r"\, "),
    "newlines": again("\n"),
    "carriage returns": again("\r"),
    "ends of lines of other kinds": again("\x0b\x0c\x1c\x85\u2028\u2029"),
    "NUL": again("\x00"),
    "NUL in the middle": again("1\x002"),
    "lone surrogates": again("\ud800x\udfff"),
    "surrogates in the box": around("<question>", "\ud800", r"</question>\boxed{" + "\udc00}"),
    "two surrogates": again("\ud83d\ude00"),
    "not characters": again("\ufffe\uffff\ufdd0"),
    "marks upon marks": around("x", "\u0301\u0489", ""),
    "right to left": again("\u202e\u2066gnp.exe\u2069"),
    "emoji": again("\U0001f468\u200d\U0001f469\u200d\U0001f467"),
    "Chinese": again("\u6c42\u548c"),
    "letters that grow": again("\u0130\u00df\ufb03"),
    # terminals
    "colours": again("\x1b[31m"),
    "titles": again("\x1b]0;owned\x07"),
    "a title without end": around("\x1b]0;", "x", ""),
    "screens": again("\x1b[?1049h\x1b[2J\x1bc"),
    "C1": again("\x9b31m\x9d0;owned\x9c\x90q\x9c"),
    "backspaces": again("safe\x08\x08\x08\x08"),
    "links": again("\x1b]8;;https://example.org\x1b\\click\x1b]8;;\x1b\\"),
    "bells": again("\x07"),
    # HTML
    "scripts": again("</script><script>window.hurt=1</script>"),
    "images": again("<img src=x onerror=window.hurt=1>"),
    "drawings": again("<svg/onload=window.hurt=1>"),
    "ends of attributes": again("\"'><b onmouseover=window.hurt=1 x=\""),
    "comments": again("<!--<script>-->"),
    "raw text": again("</style></textarea></title></noscript><plaintext>"),
    "links that act": again(r'<a href="javascript:window.hurt=1">x</a>\href{javascript:window.hurt=1}{x}'),
    "entities": again("&lt;script&gt;&#0;&#x3c;"),
    "places of a template": again("${title}$scripts$$"),
    "frames": again("<iframe srcdoc='<script>1</script>'></iframe><base href=//x><meta http-equiv=refresh>"),
    # Markdown and YAML
    "front matter": again("\n---\nlicense: mit\ntags: [owned]\n---\n"),
    "ends of fences": again("\n```\n# owned\n````\n~~~\n"),
    "cells of a table": again("a|b\\|c\n|---|\n"),
    "pictures": again("![x](https://example.org/x.png)[x](javascript:1)<details>"),
    "tags of YAML": again("!!python/object/apply:os.system ['true']\n&a [*a]\n"),
    # Python
    "calls": again("__import__('os').system('true')\n"),
    "brackets of Python": again("["),
    "brackets of Python, closed": nested("[", "", "]"),
    "dicts": again("{1:"),
    "minus": around("", "-", "1"),
    "quotes of Python": again("'"),
    "texts of Python": again("'''"),
    "a text that never ends": around("'", "\\\\", ""),
    "remarks": again("#"),
    "hexadecimal": around("0x", "f", ""),
    "numbers": again("1,"),
    "floats": again("1e999,"),
    "characters by name": again(r"'\N{DIGIT ONE}'"),
    "places of a format": again("{question}{program}{0}%s%(a)s"),
    "a program": lambda n: "```python\ndef f(a):\n    return a\n```\n```input\n" + "[" * n + "\n```\n",
}
"""Each takes about how many characters it is to have; with few it may have some more."""

BOMBS = [
    "9^{9^{9^{9^{9}}}}", r"\sum_{k=1}^{10^{9}} k^{k}", "100000!!", "99999999!", r"\binom{10^{9}}{5 \cdot 10^{8}}",
    r"\int_0^1 \int_0^x e^{e^{e^{x y}}} dy dx", "(x+1)^{100000}", "(a+b+c+d+e+f)^{60}", r"\prod_{k=1}^{100000} (x+k)",
    r"\lim_{n \to \infty} (1+\frac{1}{n})^{n^{n}}", "x^{x^{x^{x^{x^{x}}}}}", r"\sqrt{\sqrt{\sqrt{2+\sqrt{5}}}}",
    r"\def\a{\a\a}\a", "2^{" * 40 + "2" + "}" * 40, "{" * 900 + "x" + "}" * 900, "(" * 900 + "x" + ")" * 900,
    r"\frac{1}{" * 200 + "x" + "}" * 200, "+".join(f"x_{{{k}}}" for k in range(200)), "-" * 1500 + "1",
    "x^{5}-x-1=0", r"\sin(\cos(\tan(\sin(\cos(\tan(\sin(\cos(\tan(x)))))))))", "1" + "0" * 1900 + r"\pi",
    r"\log_{2}(\log_{2}(10^{10^{10^{10}}}))", "9" * 900 + "^{" + "9" * 900 + "}", "e^{i \\pi 10^{400}}+x",
]
"""Short answers that an algebra system may never come to an end with."""

PIECES = [
    r"\boxed{", "}", "{", r"\boxed{5}", "<question>", "</question>", "<think>", "</think>", "<answer>", "</answer>",
    "```", "```python\n", "```input\n", "```output\n", "```message\n", "def f(a):\n    return a\n", "import os", ";",
    "\n", " ", "\t", "\r", "\x00", "\x1b[31m", "\x1b]0;x\x07", "\x9b", "\ud800", "\udfff", "\u202e", "\u200b", "\\",
    "$", "$$", r"\frac{1}{2}", r"\frac", r"\sqrt", "^", "_", r"\text{", r"\text{ cm}", r"\left(", r"\right)", r"\pm",
    "1", "9" * 30, "-", "0.5", "1,000", ",", "=", "<", ">", "x", "(", ")", "[", "]", r"\{", r"\}", "%", "or", "yes",
    "the answer is (B).", "The final answer is: ", "ILL-POSED", "<script>hurt()</script>", "<img src=x onerror=hurt()>",
    "</script>", "<!--", "-->", '"', "'", "&", "`", "~~~", "|", "---\n", "license: mit\n", "# ", "![x](y)",
    "{question}",
    "${title}", "'a'", "[1, 2]", "{1: 2}", "None", "float('nan')", "\u00bd", "\u65e0\u89e3", "\U0001f600", "\u0301",
    r"\begin{pmatrix}", r"\end{pmatrix}", "&", r"\\", "<|im_end|>", "<|im_start|>assistant\n", "</s>", "[INST]",
]
# fmt: on


def short_monsters(longest: int) -> st.SearchStrategy[str]:
    """A monster of up to about so many characters."""
    return st.builds(
        lambda name, length: MONSTERS[name](length),
        st.sampled_from(sorted(MONSTERS)),
        st.sampled_from([1, 7, 60, 400, longest]) | st.integers(1, longest),
    )


def texts(longest: int = 2500) -> st.SearchStrategy[str]:
    """Any hostile text of some thousand characters at most."""
    pieces = st.lists(st.sampled_from(PIECES), max_size=40).map("".join)
    characters = st.text(st.characters(), max_size=60)  # all of Unicode, surrogates too
    anything = pieces | characters | short_monsters(longest) | st.sampled_from(BOMBS)
    return (
        anything | st.lists(anything, min_size=2, max_size=4).map("".join) | anything.map(lambda t: rf"\boxed{{{t}}}")
    )
