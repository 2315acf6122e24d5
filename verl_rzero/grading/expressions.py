r"""Reads an expression (notation of `notation.clean`) into an exact sum (`algebra`), without an engine.

Functions, roots and powers that are no such sum become atoms with a known number: equal sums then still mean equal
values, and clearly different numbers mean different values; only between the two is an engine needed.
"""

import cmath
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction

from verl_rzero.grading import algebra
from verl_rzero.grading.algebra import Beyond, Sum

_TOKEN = re.compile(r"\s*(?:([0-9]+(?:\.[0-9]+)?|\.[0-9]+)|(\\?[A-Za-z](?:(?<=\\[A-Za-z])[A-Za-z]*)?)|(.))", re.DOTALL)
_SUBSCRIPT = re.compile(r"_(?:\{([A-Za-z0-9]{1,8})\}|([A-Za-z0-9]))")
_GREEK = frozenset(
    rf"\{name}"
    for name in (
        *("alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa", "lambda", "mu"),
        *("nu", "xi", "pi", "rho", "sigma", "tau", "phi", "chi", "psi", "omega"),
    )
)
_TIMES = (r"\cdot", r"\times", "*")
_FUNCTIONS: dict[str, Callable[[complex], complex]] = {
    r"\ln": cmath.log, r"\exp": cmath.exp, r"\sin": cmath.sin, r"\cos": cmath.cos, r"\tan": cmath.tan,
    r"\arcsin": cmath.asin, r"\arccos": cmath.acos, r"\arctan": cmath.atan,
}  # fmt: skip
_LOGARITHM = re.compile(r"\\log_([0-9]+)")
_MAX_DEPTH, _MAX_NAME, _MAX_ORDER = 30, 2000, 64
_FAR = 1e6  # functions lose their digits beyond: the sine of a large number, the tangent near its pole


class Ambiguous(Exception):
    """The notation is read in two ways: `1/2x`, `x2`, `2\\frac{1}{2}x`."""


@dataclass(frozen=True)
class Expression:
    """value: the sum. exact: its atoms are letters, so that another sum is another value. approximate: (number,
    magnitude), None where it is out of range."""

    value: Sum
    exact: bool
    approximate: tuple[complex, float] | None


def read(latex: str) -> Expression | None:
    """The expression; None when it is beyond this module.

    Raises:
        Ambiguous: nobody can tell what was meant.
    """
    try:
        reader = _Reader(latex)
        value = reader.expression()
        return Expression(value, not reader.known, reader.number(value)) if reader.at_end() else None
    except Beyond:
        return None


def differ(a: tuple[complex, float] | None, b: tuple[complex, float] | None) -> bool:
    """Whether two numbers are certainly not one value; False when that is not clear."""
    return a is not None and b is not None and abs(a[0] - b[0]) > 1e-7 * (1.0 + a[1] + b[1])


class _Reader:
    """Recursive descent over the tokens; raises Beyond on what has no one certain meaning."""

    def __init__(self, latex: str) -> None:
        self._tokens = list(_tokens(latex))
        self._place = 0
        self._depth = 0
        self.known: dict[str, complex] = {}

    def at_end(self) -> bool:
        return self._place == len(self._tokens)

    def number(self, value: Sum) -> tuple[complex, float] | None:
        try:
            return algebra.approximate(value, self.known)
        except (OverflowError, ZeroDivisionError):
            return None

    def expression(self) -> Sum:
        sign = self._signs() or Fraction(1)
        total = algebra.scaled(self._term(), sign)
        while following := self._signs():
            total = algebra.add(total, algebra.scaled(self._term(), following))
        return total

    def _signs(self) -> Fraction | None:
        """The sign that a run of + and - makes; None where there is none."""
        sign = None
        while operator := self._take("+", "-"):
            sign = (sign or Fraction(1)) * (-1 if operator == "-" else 1)
        return sign

    def _term(self) -> Sum:
        value = self._factor()
        divided = False
        while True:
            if self._take(*_TIMES):
                value, divided = algebra.multiply(value, self._factor()), False
            elif self._take("/"):
                value, divided = self._divide(value, self._factor()), True
            elif self._starts_factor():
                if divided:
                    raise Ambiguous
                value = algebra.multiply(value, self._factor())
            else:
                return value

    def _starts_factor(self) -> bool:
        token = self._peek()
        if _is_number(token):  # a number after a factor: `x2`, `2 3`
            raise Ambiguous
        return _is_name(token) or token in ("(", "{", r"\frac", r"\sqrt") or _function(token) is not None

    def _factor(self) -> Sum:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise Beyond
        factor = self._raised()
        self._depth -= 1
        return factor

    def _raised(self) -> Sum:
        if _function(self._peek()) is not None:
            return self._function(self._next())
        base = self._base()
        if self._take("^"):
            base = self._power(base, self._group())
        if self._peek() in ("^", "!"):
            raise Beyond
        return base

    def _base(self) -> Sum:
        token = self._next()
        if _is_number(token):
            value = algebra.number(Fraction(token))
            return self._times_fraction(value) if self._peek() == r"\frac" else value
        if token == r"\frac":
            return self._divide(self._group(), self._group())
        if token == r"\sqrt":
            return self._root()
        if token in ("(", "{"):
            value = self.expression()
            if self._next() != (")" if token == "(" else "}"):
                raise Beyond
            return value
        if token == "i":
            return algebra.imaginary_unit()
        if not _is_name(token):
            raise Beyond
        if self._peek() == "(" and (token.isupper() or token in ("f", "g", "h")):  # a function's value, or a product
            raise Beyond
        return algebra.atom(token)

    def _times_fraction(self, value: Sum) -> Sum:
        r"""`2\frac{x}{3}` is a product, `2\frac{1}{3}` before or after something else might be a mixed number."""
        fraction = self._base()
        if algebra.constant(fraction) is not None:
            raise Ambiguous
        return algebra.multiply(value, fraction)

    def _root(self) -> Sum:
        order = Fraction(2)
        if self._take("["):
            order = Fraction(self._next()) if _is_number(self._peek()) else Fraction(0)
            if order < 1 or order.denominator != 1 or not self._take("]"):
                raise Beyond
        inside = self._group()
        number = algebra.constant(inside)
        if number is not None and number < 0 and order % 2 == 1:  # the real root, as schools have it
            return algebra.scaled(self._power(algebra.number(-number), algebra.number(1 / order)), Fraction(-1))
        return self._power(inside, algebra.number(1 / order))

    def _function(self, name: str) -> Sum:
        exponent = algebra.constant(self._group()) if self._take("^") else Fraction(1)
        if exponent is None or exponent <= 0 or exponent.denominator != 1:  # sin^{-1} is read in two ways
            raise Beyond
        argument = self._group() if self._peek() in ("(", "{") else self._bare_argument()
        if self._peek() in ("^", "!"):
            raise Beyond
        number = self.number(argument)
        if number is None or number[1] > _FAR:
            raise Beyond
        function = _function(name)
        assert function is not None
        value = self._atom(f"{name}({algebra.key(argument)})", lambda: function(number[0]))
        return algebra.power(value, exponent.numerator)

    def _bare_argument(self) -> Sum:
        r"""`2x` of `\sin 2x`: numbers, letters and a fraction up to an operator or another function."""
        argument = self._factor()
        while _is_name(self._peek()) or self._peek() == r"\frac":
            argument = algebra.multiply(argument, self._factor())
        if self._peek() in ("(", "{", "/", r"\sqrt", *_TIMES):  # inside or outside?
            raise Beyond
        return argument

    def _divide(self, a: Sum, b: Sum) -> Sum:
        try:
            return algebra.divide(a, b)
        except Beyond:
            return algebra.multiply(a, self._power(b, algebra.number(Fraction(-1))))

    def _power(self, base: Sum, exponent: Sum) -> Sum:
        whole, number = algebra.constant(exponent), algebra.constant(base)
        if whole is not None and whole.denominator == 1 and (whole >= 0 or len(base) == 1):
            return algebra.power(base, whole.numerator)
        if whole is not None and whole.denominator == 2 and number is not None:
            return algebra.power(algebra.square_root(number), whole.numerator)
        if whole is not None and number is not None and number >= 0 and whole.denominator <= _MAX_ORDER:
            root = algebra.exact_root(number, whole.denominator)
            if root is not None:
                return algebra.power(algebra.number(root), whole.numerator)
        at, to = self.number(base), self.number(exponent)
        if at is None or to is None or (whole != -1 and (at[0].imag or at[0].real <= 0)):
            raise Beyond
        return self._atom(f"({algebra.key(base)})^({algebra.key(exponent)})", lambda: at[0] ** to[0])

    def _atom(self, name: str, number: Callable[[], complex]) -> Sum:
        if len(name) > _MAX_NAME:
            raise Beyond
        try:
            self.known[name] = number()
        except (OverflowError, ZeroDivisionError, ValueError) as error:
            raise Beyond from error
        if abs(self.known[name]) > _FAR:
            raise Beyond
        return algebra.atom(name)

    def _group(self) -> Sum:
        if self._peek() not in ("{", "("):
            raise Beyond
        return self._base()

    def _peek(self) -> str:
        return self._tokens[self._place] if self._place < len(self._tokens) else ""

    def _next(self) -> str:
        token = self._peek()
        if not token:
            raise Beyond
        self._place += 1
        return token

    def _take(self, *wanted: str) -> str:
        token = self._peek()
        if token in wanted:
            self._place += 1
            return token
        return ""


def _function(token: str) -> Callable[[complex], complex] | None:
    logarithm = _LOGARITHM.fullmatch(token)
    if logarithm and 2 <= int(logarithm[1]) < _FAR:
        return lambda x: cmath.log(x) / cmath.log(int(logarithm[1]))
    return _FUNCTIONS.get(token)


def _is_number(token: str) -> bool:
    return token[:1] in tuple("0123456789") or (token[:1] == "." and len(token) > 1)


def _is_name(token: str) -> bool:
    letter = token.split("_")[0]
    return letter.isalpha() or letter in _GREEK


def _tokens(latex: str) -> Iterator[str]:
    place = 0
    while match := _TOKEN.match(latex, place):
        place = match.end()
        name = match[2]
        if name and (subscript := _SUBSCRIPT.match(latex, place)):
            place = subscript.end()
            name += f"_{subscript[1] or subscript[2]}"
        yield match[1] or name or match[3]
    if latex[place:].strip():
        raise Beyond
