r"""Exact sums of terms `rational * sqrt(squarefree) * i^(0|1) * atoms^(whole exponents)`.

An atom is a letter, `\pi`, `e`, or the name of a value that is treated as one (`sin(...)`, see `expressions`). Sums of
letters are equal exactly when they are the same: roots of different squarefree numbers are independent over the
rationals. Each sum has a number besides, at a fixed point of the letters, which tells unequal values apart.
"""

import cmath
import math
import zlib
from fractions import Fraction

Atoms = tuple[tuple[str, int], ...]
Monomial = tuple[int, int, Atoms]  # squarefree number under the root, power of i (0 or 1), atoms with their exponents
Sum = dict[Monomial, Fraction]

ONE: Monomial = (1, 0, ())
_MAX_TERMS, _MAX_POWER, _MAX_BITS, _MAX_ROOT = 200, 64, 4000, 10**8


class Beyond(Exception):
    """The value cannot be written as such a sum, or not within bounds."""


def key(value: Sum) -> str:
    """One string per sum."""
    return "+".join(
        f"{c.numerator:x}/{c.denominator:x}[{root},{i}{''.join(f';{name}^{exponent}' for name, exponent in atoms)}]"
        for (root, i, atoms), c in sorted(value.items())
    )


def number(value: Fraction) -> Sum:
    return {ONE: value} if value else {}


def atom(name: str) -> Sum:
    return {(1, 0, ((name, 1),)): Fraction(1)}


def imaginary_unit() -> Sum:
    return {(1, 1, ()): Fraction(1)}


def constant(value: Sum) -> Fraction | None:
    """The value of a sum that is a rational number, else None."""
    if not value:
        return Fraction(0)
    return value[ONE] if set(value) == {ONE} else None


def letter(value: Sum) -> str | None:
    """The letter that the sum is, else None."""
    if len(value) != 1 or next(iter(value.values())) != 1:
        return None
    root, i, atoms = next(iter(value))
    if (root, i, atoms) == (1, 1, ()):
        return "i"
    single = root == 1 and not i and len(atoms) == 1 and atoms[0][1] == 1 and len(atoms[0][0]) == 1
    return atoms[0][0] if single else None


def approximate(value: Sum, known: dict[str, complex]) -> tuple[complex, float]:
    """(number, sum of the terms' magnitudes); `known` gives the atoms that are no letters.

    Raises:
        OverflowError, ZeroDivisionError: the number is out of range.
    """
    total, scale = 0j, 0.0
    for (root, i, atoms), coefficient in value.items():
        term = complex(float(coefficient) * math.sqrt(root)) * (1j if i else 1)
        for name, exponent in atoms:
            term *= (known[name] if name in known else _point(name)) ** exponent
        if not cmath.isfinite(term):
            raise OverflowError
        total += term
        scale += abs(term)
    return total, scale


def _point(name: str) -> float:
    """Where a letter stands: any fixed positive number does."""
    special = {"e": math.e, r"\pi": math.pi}
    return special.get(name) or 0.5 + zlib.crc32(name.encode("utf-8", "replace")) / 2**32


def add(a: Sum, b: Sum) -> Sum:
    total = dict(a)
    for monomial, coefficient in b.items():
        total[monomial] = total.get(monomial, Fraction(0)) + coefficient
        if not total[monomial]:
            del total[monomial]
    return _bounded(total)


def scaled(a: Sum, factor: Fraction) -> Sum:
    return {monomial: coefficient * factor for monomial, coefficient in a.items()} if factor else {}


def multiply(a: Sum, b: Sum) -> Sum:
    """The product; raises Beyond when it has too many terms."""
    if len(a) * len(b) > 10 * _MAX_TERMS:
        raise Beyond
    total: Sum = {}
    for (root_a, i_a, atoms_a), coefficient_a in a.items():
        for (root_b, i_b, atoms_b), coefficient_b in b.items():
            common = math.gcd(root_a, root_b)
            coefficient = coefficient_a * coefficient_b * common * (-1 if i_a and i_b else 1)
            exponents = dict(atoms_a)
            for name, exponent in atoms_b:
                exponents[name] = exponents.get(name, 0) + exponent
            atoms = tuple(sorted((name, exponent) for name, exponent in exponents.items() if exponent))
            monomial = (root_a * root_b // common**2, (i_a + i_b) % 2, atoms)
            total[monomial] = total.get(monomial, Fraction(0)) + coefficient
    return _bounded({monomial: coefficient for monomial, coefficient in total.items() if coefficient})


def divide(a: Sum, b: Sum) -> Sum:
    """a / b where b is one term or p + q sqrt(d) (or p + qi); raises Beyond for any other b."""
    if len(b) == 1:
        (((root, i, atoms), coefficient),) = b.items()
        # 1 / (c sqrt(r) i^k A) = sqrt(r) (-i)^k / (c r A)
        inverse = (root, i, tuple((name, -exponent) for name, exponent in atoms))
        return multiply(a, {inverse: (-1 if i else 1) / (coefficient * root)})
    if len(b) == 2 and all(not atoms for _, _, atoms in b) and sum(root != 1 or i for root, i, _ in b) == 1:
        conjugate = {m: -c if m != ONE else c for m, c in b.items()}
        return divide(multiply(a, conjugate), multiply(b, conjugate))
    raise Beyond


def power(base: Sum, exponent: int) -> Sum:
    """A whole power, negative ones too; raises Beyond when it is too large or not exact."""
    rational = constant(base)
    if exponent < 0:
        return divide(number(Fraction(1)), power(base, -exponent))
    if rational is not None:
        bits = max(rational.numerator.bit_length(), rational.denominator.bit_length())
        if exponent * bits > _MAX_BITS or (not rational and not exponent):
            raise Beyond
        return number(Fraction(rational**exponent))
    if exponent > _MAX_POWER:
        raise Beyond
    result = number(Fraction(1))
    for _ in range(exponent):
        result = multiply(result, base)
    return result


def square_root(value: Fraction) -> Sum:
    """sqrt(a/b) = sqrt(ab)/b, a negative number's root is i times the positive one's."""
    inside = abs(value.numerator) * value.denominator
    if inside > _MAX_ROOT:
        raise Beyond
    if not inside:
        return {}
    outside, divisor = 1, 2
    while divisor * divisor <= inside:
        while inside % (divisor * divisor) == 0:
            inside //= divisor * divisor
            outside *= divisor
        divisor += 1
    return {(inside, int(value < 0), ()): Fraction(outside, value.denominator)}


def exact_root(value: Fraction, order: int) -> Fraction | None:
    """The rational root of a number that is not negative; None where it is irrational."""
    top, bottom = _whole_root(value.numerator, order), _whole_root(value.denominator, order)
    return None if top is None or bottom is None else Fraction(top, bottom)


def _whole_root(value: int, order: int) -> int | None:
    if value.bit_length() > _MAX_BITS:
        return None
    low, high = 0, 1 << (value.bit_length() // order + 1)
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if middle**order < value else (low, middle)
    return low if low**order == value else None


def _bounded(value: Sum) -> Sum:
    if len(value) > _MAX_TERMS:
        raise Beyond
    for (root, _, _), coefficient in value.items():
        if (
            root > _MAX_ROOT
            or max(coefficient.numerator.bit_length(), coefficient.denominator.bit_length()) > _MAX_BITS
        ):
            raise Beyond
    return value
