r"""What an answer is: a number, a letter, text, a tuple or interval, a list, a set, a matrix, or something symbolic.

Reading is exact and needs no engine. Conventions (each held by a row of the tests' answer corpus):

- Numbers are exact: 0.5 = 1/2, 0.333 is not 1/3. `1,000` is a thousand, `1, 0` a list. `2\frac{1}{2}` is 5/2.
  `1101_2` is 13.
  A comma with three digits after it parts thousands also in `(1,000)` and beside other separators: `1,000, 2,000`.
- A unit may be missing on one side (`5 cm` = 5), two must measure the same (5 cm = 50 mm). `50%` is 1/2 and also, as a
  missing unit, 50. Degrees are a unit: 180 degrees is 180 and not pi.
- `x = 5` is 5; two different names differ.
- `1, 2` names solutions in any order, like `\{2, 1\}`; one solution is a list of one. `x=1, y=2` is `(x,y)=(1,2)`,
  (1,2) and `1, 2`, and not `2, 1`. Tuples and intervals keep order and brackets: `(1,2)`, `[1,2)`.
- `N` and `n` are two letters. Letters are numbers: they commute. An odd root of a negative number is the real one.
- What is read in two ways equals only what is written the same: `1/2x`, `x2`, `\frac{dy}{dx}`, dates.
- Text is compared without case, blanks and closing marks; numbers in words up to twelve are numbers. A single letter
  keeps its case; `(B)`, `B)` and `Option B` are B.
"""

import re
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from typing import Literal

from verl_rzero.grading import notation, wording
from verl_rzero.grading.quantities import quantity, unit_of, without_thousands

MAX_CHARS = 2000
"""A longer answer is never parsed: it equals only what it is identical to."""
MAX_PARTS, MAX_DEPTH = 64, 8

Kind = Literal["number", "letter", "text", "symbolic", "tuple", "list", "set", "matrix"]


@dataclass(frozen=True)
class Form:
    """A parsed answer. Equal keys mean the same but for name and unit; an engine reads `latex`, which lacks both."""

    kind: Kind
    key: str
    latex: str = ""
    value: Fraction = Fraction(0)  # of a number
    unit: str = ""
    name: str = ""  # of `name = ...`
    parts: tuple["Form", ...] = ()
    shape: str = ""  # brackets of a tuple or interval, rows x columns of a matrix
    relation: Literal["", "=", "<", "set"] = ""  # of a symbolic form: equation, inequality, expression of sets

    @property
    def equation(self) -> str:
        return f"{self.name}={self.latex}" if self.name else self.latex


def normal_form(answer: str) -> str:
    """A key; two answers with one key are the same by notation alone."""
    form = parse(answer)
    return _keys((form,))[0]


def parse(answer: str) -> Form:
    """Read an answer. Total: anything unreadable is text or symbolic."""
    if len(answer) > MAX_CHARS:
        return Form("text", f"long:{answer.strip()}")
    return _parse_cached(answer)


@lru_cache(maxsize=32768)
def _parse_cached(answer: str) -> Form:
    return _parse(notation.clean(answer), 0)


_NAMED = re.compile(
    r'((?:\\vec ?\{[A-Za-z]\}|\\frac\{d[a-z]\}\{d[a-z]\}|\\[a-z]+|[A-Za-z]|[A-Z]{2,4}|[A-Za-z]{3,}|"[^"]*")'
    r"(?:_(?:\{[A-Za-z0-9]+\}|[A-Za-z0-9]))?(?:\^\{-1\}|'{1,3})?"
    r"(?: ?\([^()=<>]{0,20}\))?|\([A-Za-z](?:, ?[A-Za-z]){1,5}\)) ?(?:=|\\in(?![a-z])) ?([^=<>]+)"
)
_OR = re.compile(r',? ?"? ?(?<![A-Za-z])(?:and|or)(?![A-Za-z]) ?"? ?')
_MATRIX = re.compile(r"\\begin ?\{([pb]?matrix|smallmatrix)\}(.*)\\end ?\{\1\}")
_AMBIGUOUS = re.compile(
    r"""/[ ]? (?:[0-9.]++|[A-Za-z]|\\(?:sqrt|frac|pi|theta)[ ]?(?:\{[^{}]*\})*+|\([^()]*\))  # `1/2x`: is the x below?
        (?:_(?:\{[^{}]*\}|[A-Za-z0-9]))?+ (?:\^\{[^{}]*\})?+
        [ ]? (?:[A-Za-z0-9(]|\\(?:sqrt|frac|pi|theta|sin|cos|tan|ln|log)(?![a-z]))
    |(?<![\\A-Za-z])[A-Za-z][ ]?[0-9] | \)[ ]?[0-9] | (?<![_0-9.])[0-9.]++[ ][0-9]         # `x2`, `(x)2`, `2 3`
    |[0-9][ ]?\\frac[ ]?\{[ ]?[0-9]+[ ]?\}[ ]?\{[ ]?[0-9]+[ ]?\}                             # `2\frac{1}{2}x`
    |\\frac[ ]?\{[^{}]*\}[ ]?\{[^{}]*\}[ ]?[0-9]""",
    re.VERBOSE,
)
_OPAQUE = re.compile(
    r"[0-9\]})] ?_|['?:]|\.\.\.|\\[%#]"
    r"|\^\{ ?T ?\}"  # a matrix transposed
    r"|\\frac ?\{ ?(?:d|\\partial)[^{}]*\} ?\{ ?(?:d|\\partial) ?\\?[A-Za-z]"  # a derivative
    r"|(?:[A-Z]|\\vec ?\{[^{}]*\}) ?\\times ?(?:[A-Z]|\\vec)"  # of sets, matrices or vectors
)
_PLUS_MINUS = re.compile(r"\\pm(?![a-z])")
_INEQUALITY = re.compile(r"[<>]|\\(?:le|ge|ne)(?![a-z])")
_TRIG = re.compile(r"\\(?:sin|cos|tan|cot|sec|csc)(?![a-z])")
_ODD_ROOT = re.compile(r"\\sqrt\[ ?([0-9]*[13579]) ?\]\{ ?- ?([0-9]+) ?\}")
_DEGREES_IN_TRIG = re.compile(r"([0-9]+) ?\^(?:\{ ?\\circ ?\}|\\circ)")
_LESS = r" ?(<|>|\\le(?![a-z])|\\ge(?![a-z])) ?"
_HALF_LINE = re.compile(rf"([A-Za-z]){_LESS}([^<>]+)|([^<>]+?){_LESS}([A-Za-z])")
_BETWEEN = re.compile(r"([^<>]+?) ?(<|\\le(?![a-z])) ?([A-Za-z]) ?(<|\\le(?![a-z])) ?([^<>]+)")
_VARIABLE = re.compile(r"(?<![\\A-Za-z])[A-Za-z]")
_FLIPPED = {"<": ">", ">": "<", r"\le": r"\ge", r"\ge": r"\le"}
_INFINITE = {r"\infty": r"\infty", r"+\infty": r"\infty", r"-\infty": r"-\infty"}
_SET_ALGEBRA = re.compile(r"\\(?:cup|cap|setminus|mathbb|infty|in)(?![a-z])")


def _parse(text: str, depth: int) -> Form:
    if depth > MAX_DEPTH:
        return _text(text)
    if len(text) > 2 and text[0] == text[-1] == '"' and text.count('"') == 2:
        text = text[1:-1].strip()
    plain = text.replace('"', "").strip()
    if letter := wording.choice(plain):
        return _letter(letter)
    if (word := wording.number_word(plain)) is not None:
        return _number(Fraction(word))
    if moment := wording.moment(plain):
        return Form("text", f"t:{moment}")
    if residue := wording.residue(text):
        return Form("text", f"t:{residue[1]}", name=residue[0])
    if plain in _INFINITE:
        return Form("letter", f"v:{_INFINITE[plain]}", _INFINITE[plain])
    number = quantity(text)
    if number is not None:
        return _number(*number)
    if plain in (r"\emptyset", r"\{ \}", r"\{\}"):
        return Form("set", "set:()", r"\emptyset")
    named = _NAMED.fullmatch(text)
    if named:
        rest = _parse(named[2].strip(), depth + 1)
        if rest.kind == "list":
            return _listed("list", rest.latex, tuple(replace(p, name=p.name or _name(named[1])) for p in rest.parts))
        if rest.kind != "text" and not rest.name and rest.relation != "=":
            return replace(rest, name=_name(named[1]))
    text = without_thousands(text)
    return _enclosed(text, depth) or _interval(text, depth) or _scalar_or_list(text, depth)


def _interval(text: str, depth: int) -> Form | None:
    """`1 < x <= 2` as the interval (1, 2] of x, where the bounds are numbers."""
    if between := _BETWEEN.fullmatch(text):
        low, left, name, right, high = between.groups()
        shape = ("(" if left == "<" else "[") + (")" if right == "<" else "]")
    elif half := _HALF_LINE.fullmatch(text):
        name, sign, bound = half.group(1, 2, 3) if half[1] else (half[6], _FLIPPED[half[5]], half[4])
        rising = sign in (">", r"\ge")
        low, high = (bound, r"\infty") if rising else (r"-\infty", bound)
        shape = {">": "()", r"\ge": "[)", "<": "()", r"\le": "(]"}[sign]
    else:
        return None
    bounds = tuple(_parse(bound.strip(), depth + 1) for bound in (low, high))
    kinds = ("number", "letter", "symbolic")
    if not all(bound.kind in kinds and not (bound.relation or bound.name or bound.unit) for bound in bounds):
        return None
    if any(_VARIABLE.search(bound.latex) for bound in bounds):  # of which letter is `a < b` an interval?
        return None
    latex = f"{shape[0]}{bounds[0].latex},{bounds[1].latex}{shape[1]}"
    return Form("tuple", f"{shape}{_keys(bounds)!r}", latex, name=name, parts=bounds, shape=shape)


def _number(value: Fraction, unit: str = "") -> Form:
    latex = rf"\frac{{{value.numerator}}}{{{value.denominator}}}" if value.denominator != 1 else str(value.numerator)
    return Form("number", f"n:{value.numerator:x}/{value.denominator:x}", latex, value, unit)


def _letter(letter: str) -> Form:
    return Form("letter", f"v:{letter}", letter)


def _name(written: str) -> str:
    """Name without its arguments: `f(x)` is f, `(x, y)` stays."""
    bare = re.sub(r'\\vec(?![a-z])|[\\{}" ]', "", written)
    return bare if bare.startswith("(") else bare.split("(")[0]


def _scalar_or_list(text: str, depth: int) -> Form:
    with_unit = unit_of(text)
    if with_unit is not None:
        rest = _parse(with_unit[0], depth + 1)
        if rest.kind == "number" and not rest.unit:
            return _number(rest.value, with_unit[1])
        if rest.kind == "symbolic" and not rest.unit:
            return replace(rest, unit=with_unit[1])
    commas = _OR.sub(",", text)
    if commas != text and not wording.is_text(commas) and re.search(r"[0-9\\=]", commas):
        text = commas
    if wording.is_text(text):
        return _text(text)
    matrix = _MATRIX.fullmatch(text)
    if matrix:
        return _matrix(text, matrix[2], depth)
    parts = notation.split_outside(text, ",;")
    if len(parts) > 1:
        return _collection("list", text, parts, depth)
    if len(_PLUS_MINUS.findall(text)) == 1 and r"\mp" not in text:
        return _collection("list", text, [_PLUS_MINUS.sub(sign, text) for sign in "+-"], depth)
    if _OPAQUE.search(text) or _AMBIGUOUS.search(text):
        return _text(text)
    return _symbolic(text)


def _enclosed(text: str, depth: int) -> Form | None:
    for opening in (r"\{", "{", "(", "["):
        if text.startswith(opening):
            break
    else:
        return None
    closing = text[-1]
    if len(text) <= len(opening) or closing not in ")]}" or notation.closing_bracket(text) != len(text) - 1:
        return None
    escaped = text.endswith(r"\}")
    inner = text[len(opening) : -2 if escaped else -1].strip()
    parts = notation.split_outside(inner, ",;")
    if opening in (r"\{", "{"):
        if closing != "}" or re.search(r"[|:]", inner):
            return None
        if opening == "{" and len(parts) == 1:
            return _parse(inner, depth + 1)
        return _collection("set", text, parts, depth)
    if closing == "}":
        return None
    if len(parts) == 1:
        return _parse(inner, depth + 1) if opening + closing == "()" else None
    forms = _forms(parts, depth)
    shape = opening + closing
    if forms is None:
        return None
    return Form("tuple", f"{shape}{_keys(forms)!r}", _latex(text), parts=forms, shape=shape)


def _collection(kind: Literal["list", "set"], text: str, parts: list[str], depth: int) -> Form:
    forms = _forms(parts, depth)
    if forms is None:
        return _text(text)
    forms = tuple(leaf for form in forms for leaf in (form.parts if form.kind == "list" else (form,)))  # \pm 1, \pm 2
    return _listed(kind, _latex(text), forms)


def _listed(kind: Literal["list", "set"], latex: str, forms: tuple[Form, ...]) -> Form:
    if kind == "set":
        forms = tuple(dict(zip(_keys(forms), forms, strict=True)).values())
    return Form(kind, f"{kind}:{sorted(_keys(forms))!r}", latex, parts=forms)


def _matrix(text: str, body: str, depth: int) -> Form:
    rows = [
        notation.split_outside(row, "&")
        for row in notation.split_outside(body.replace("\\\\", "\0").rstrip(" \0"), "\0")
    ]
    forms = _forms([cell for row in rows for cell in row], depth)
    if forms is None or len({len(row) for row in rows}) != 1:
        return _symbolic(text)
    shape = f"{len(rows)}x{len(rows[0])}"
    return Form("matrix", f"{shape}{_keys(forms)!r}", _latex(text), parts=forms, shape=shape)


def _forms(parts: list[str], depth: int) -> tuple[Form, ...] | None:
    if len(parts) > MAX_PARTS or not all(parts):
        return None
    return tuple(_parse(part, depth + 1) for part in parts)


def _keys(forms: tuple[Form, ...]) -> list[str]:
    return [f"{form.name}={form.key}|{form.unit}" for form in forms]


def _symbolic(text: str) -> Form:
    relation: Literal["", "=", "<", "set"] = ""
    if _INEQUALITY.search(text):
        relation = "<"
    elif len(notation.split_outside(text, "=")) > 1:
        relation = "="
    elif _SET_ALGEBRA.search(text):
        relation = "set"
    latex = _latex(text)
    return Form("symbolic", f"s:{wording.without_blanks(latex)}", latex, relation=relation)


def _latex(text: str) -> str:
    """What the engine reads: exact decimals, words in quotes as names, the real root of a negative number."""
    text = re.sub(r'"([^"]*)"', lambda m: f"\\{m[1]} " if m[1].strip() in notation.FUNCTIONS else m[1], text)
    text = re.sub(r"(?<![0-9])[0-9]*\.[0-9]+(?![0-9])", _exact, text)
    text = _ODD_ROOT.sub(r"(-\\sqrt[\1]{\2})", text)
    return _DEGREES_IN_TRIG.sub(r"\\frac{\1\\pi}{180}", text) if _TRIG.search(text) else text


def _exact(match: re.Match[str]) -> str:
    value = Fraction(match[0])
    return rf"\frac{{{value.numerator}}}{{{value.denominator}}}"


def _text(text: str) -> Form:
    return Form("text", f"t:{wording.key(text)}")
