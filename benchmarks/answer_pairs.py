# ruff: noqa: E501 (rows of a table)
r"""Pairs of answers that no grader was written against, with a truth that no grader decides.

Each family below draws three writings: two of one value and one of a value near it. A writing is (LaTeX, Python); the
Python side is evaluated at random points with mpmath, and that alone says whether two writings are one value. Sets are
compared as sorted values, equations as equal up to a factor, units as SI numbers with a dimension, words as they are.
"""

import random
from collections.abc import Callable, Iterator
from fractions import Fraction
from math import comb, factorial
from typing import Any, NamedTuple

import mpmath

DRAWS = 7
Writing = tuple[str, str]
Family = Callable[[random.Random], tuple[Writing, Writing, Writing]]


class Pair(NamedTuple):
    family: str
    a: str
    b: str
    equal: bool


def pairs(seed: int = 0) -> list[Pair]:
    """The pairs, half of them equal. A draw whose near value is the same one, or that came before, is drawn again."""
    mpmath.mp.dps = 50
    found: dict[tuple[str, str], Pair] = {}
    for family in FAMILIES:
        rng = random.Random(f"{seed} {family.__name__}")
        wanted = len(found) + 2 * DRAWS
        for _ in range(50 * DRAWS):
            one, same, other = family(rng)
            if not one_value(one[1], same[1]):
                raise AssertionError(f"{family.__name__}: {one} and {same} were meant to be equal")
            two = [(one, same, True), (rng.choice([one, same]), other, False)]
            keys = [tuple(sorted((left[0], right[0]))) for left, right, _ in two]
            if one_value(one[1], other[1]) or any(key in found or key[0] == key[1] for key in keys):
                continue
            for key, (left, right, equal) in zip(keys, two, strict=True):
                a, b = rng.sample([left[0], right[0]], 2)
                found[key] = Pair(family.__name__, a, b, equal)
            if len(found) == wanted:
                break
    return list(found.values())


# Truth.


def _points() -> Iterator[dict[str, Any]]:
    rng = random.Random("points")
    names = {
        name: getattr(mpmath, name) for name in ("sqrt", "cbrt", "sin", "cos", "tan", "log", "exp", "pi", "mpf", "mpc")
    }
    names |= {"Q": lambda top, bottom: mpmath.mpf(top) / bottom, "C": comb, "F": factorial, "i": mpmath.mpc(0, 1)}
    names |= {"S": lambda *values: ("set", *sorted(map(mpmath.mpf, values)))}
    for _ in range(5):
        yield (
            names
            | {letter: mpmath.mpf(rng.choice([-1, 1]) * rng.uniform(0.3, 2.5)) for letter in "abkrtxyz"}
            | {"n": rng.randint(3, 9)}
        )


POINTS = list(_points())


def one_value(a: str, b: str) -> bool:
    """Whether two Python expressions have one value at every point."""
    values = [[eval(text, dict(point)) for point in POINTS] for text in (a, b)]
    if isinstance(values[0][0], dict) and isinstance(values[1][0], dict):  # {"equation": left - right}
        ratios = [u["equation"] / v["equation"] for u, v in zip(*values, strict=True)]
        return all(_close(ratio, ratios[0]) for ratio in ratios)
    return all(_close(u, v) for u, v in zip(*values, strict=True))


def _close(u: Any, v: Any) -> bool:
    if isinstance(u, (tuple, str)) or isinstance(v, (tuple, str)):
        if isinstance(u, tuple) and isinstance(v, tuple):
            return len(u) == len(v) and all(map(_close, u, v))
        return bool(u == v)
    return bool(u == v or abs(u - v) < mpmath.mpf(10) ** -40 * (1 + abs(u)))


# Numbers.


def q(value: Fraction, style: str = "frac") -> str:
    sign, top, bottom = "-" if value < 0 else "", abs(value.numerator), value.denominator
    if bottom == 1:
        return f"{sign}{top}"
    return f"{sign}{top}/{bottom}" if style == "slash" else rf"{sign}\{style}{{{top}}}{{{bottom}}}"


def py(value: Fraction) -> str:
    return f"Q({value.numerator},{value.denominator})"


def a_fraction(r: random.Random) -> Fraction:
    return Fraction(r.choice([-1, 1]) * r.randint(1, 40), r.choice([3, 6, 7, 9, 11, 12, 15]))


def reduced_fractions(r):
    v, k = a_fraction(r), r.randint(2, 9)
    w = v + Fraction(r.choice([-1, 1]), v.denominator)
    return (
        (rf"\frac{{{v.numerator * k}}}{{{v.denominator * k}}}", py(v)),
        (q(v, r.choice(["dfrac", "slash"])), py(v)),
        (q(w, "slash"), py(w)),
    )


def sums_of_fractions(r):
    u, v = abs(a_fraction(r)), abs(a_fraction(r))
    return (
        (f"{q(u)}+{q(v)}", py(u + v)),
        (q(u + v), py(u + v)),
        (q(u + v + Fraction(1, 60)), py(u + v + Fraction(1, 60))),
    )


def decimals(r):
    v = Fraction(r.randint(1, 9999), r.choice([8, 16, 25, 40, 125]))
    long = Fraction(r.randint(1, 20), 7)
    if r.random() < 0.5:
        return (q(v), py(v)), (f"{float(v)}", py(v)), (f"{float(v) + 0.01:.4f}", f"mpf('{float(v) + 0.01:.4f}')")
    return (q(long), py(long)), (q(long, "slash"), py(long)), (f"{float(long):.8f}", f"mpf('{float(long):.8f}')")


def scientific(r):
    m, e = r.randint(11, 99), r.randint(3, 9)
    s = r.choice([-1, 1])
    value = f"mpf({m}) * mpf(10) ** ({s * e})"
    return (
        (rf"{m / 10} \times 10^{{{s * e + 1}}}", value),
        (rf"{m} \cdot 10^{{{s * e}}}" if s < 0 else f"{m}{'0' * e}", value),
        (rf"{m / 10} \times 10^{{{s * e}}}", f"mpf({m}) * mpf(10) ** ({s * e - 1})"),
    )


def percent(r):
    p = r.choice([12.5, 37.5, 62.5, 5, 8, 45, 66, 150])
    return (rf"{p:g}\%", f"Q({p * 2}, 200)"), (f"{p / 100:g}", f"Q({p * 2}, 200)"), (f"{p / 10:g}", f"Q({p * 2}, 20)")


def sums_of_roots(r):
    d, k, m = r.choice([2, 3, 5, 6, 7]), r.randint(2, 6), r.randint(2, 6)
    return (
        (rf"\sqrt{{{k * k * d}}}+\sqrt{{{m * m * d}}}", f"sqrt({k * k * d})+sqrt({m * m * d})"),
        (rf"{k + m}\sqrt{{{d}}}", f"{k + m}*sqrt({d})"),
        (rf"\sqrt{{{(k * k + m * m) * d}}}", f"sqrt({(k * k + m * m) * d})"),
    )


def rationalized(r):
    a, b = r.sample([2, 3, 5, 6, 7, 10, 11], 2)
    k = r.randint(1, 5)
    top = f"{k}" if k > 1 else ""
    return (
        (rf"\frac{{{k}}}{{\sqrt{{{a}}}-\sqrt{{{b}}}}}", f"{k}/(sqrt({a})-sqrt({b}))"),
        (rf"\frac{{{top}\sqrt{{{a}}}+{top}\sqrt{{{b}}}}}{{{a - b}}}", f"{k}*(sqrt({a})+sqrt({b}))/({a - b})"),
        (rf"\frac{{{top}\sqrt{{{a}}}-{top}\sqrt{{{b}}}}}{{{a - b}}}", f"{k}*(sqrt({a})-sqrt({b}))/({a - b})"),
    )


def nested_roots(r):
    a, b = r.sample([1, 2, 3, 5, 7], 2)
    return (
        (rf"\sqrt{{{a + b}+2\sqrt{{{a * b}}}}}", f"sqrt({a + b}+2*sqrt({a * b}))"),
        (rf"\sqrt{{{a}}}+\sqrt{{{b}}}", f"sqrt({a})+sqrt({b})"),
        (rf"\sqrt{{{a}}}+\sqrt{{{b + 1}}}", f"sqrt({a})+sqrt({b + 1})"),
    )


def cube_roots(r):
    k, m = r.randint(2, 5), r.choice([2, 3, 5, 7])
    return (
        (rf"\sqrt[3]{{{k**3 * m}}}", f"cbrt({k**3 * m})"),
        (rf"{k} \cdot {m}^{{1/3}}" if r.random() < 0.5 else rf"{k}\sqrt[3]{{{m}}}", f"{k}*cbrt({m})"),
        (rf"{k}\sqrt{{{m}}}", f"{k}*sqrt({m})"),
    )


def powers(r):
    b, p, s = r.choice([2, 3, 5]), r.randint(2, 7), r.randint(1, 4)
    return (
        (rf"{b}^{{{p}}} \cdot {b * b}^{{{s}}}", f"mpf({b})**{p + 2 * s}"),
        (rf"{b}^{{{p + 2 * s}}}", f"mpf({b})**{p + 2 * s}"),
        (rf"{b**3}^{{{p + s}}}", f"mpf({b})**{3 * (p + s)}"),
    ) if p + 2 * s != 3 * (p + s) else powers(r)  # fmt: skip


def logarithms(r):
    b, m, k = r.choice([2, 3, 5]), r.choice([7, 11, 13]), r.randint(2, 4)
    return (
        (rf"\log_{{{b}}} {b**k * m}", f"log({b**k * m})/log({b})"),
        r.choice(
            [
                (rf"{k}+\log_{{{b}}} {m}", f"{k}+log({m})/log({b})"),
                (rf"\frac{{\ln {b**k * m}}}{{\ln {b}}}", f"log({b**k * m})/log({b})"),
                (rf"{k}+\frac{{\ln {m}}}{{\ln {b}}}", f"{k}+log({m})/log({b})"),
            ]
        ),
        (rf"{k}\log_{{{b}}} {m}", f"{k}*log({m})/log({b})"),
    )


def natural_logarithms(r):
    a, b, k = r.choice([2, 3, 5]), r.choice([7, 11]), r.randint(2, 4)
    return (
        (rf"{k}\ln {a}+\ln {b}", f"{k}*log({a})+log({b})"),
        (rf"\ln({a**k * b})", f"log({a**k * b})"),
        (rf"\ln {a**k + b}", f"log({a**k + b})"),
    )


def counting(r):
    n, k = r.randint(6, 12), r.randint(2, 5)
    return (
        r.choice([(rf"\binom{{{n}}}{{{k}}}", f"C({n},{k})"), (rf"\frac{{{n}!}}{{{k}!{n - k}!}}", f"C({n},{k})")]),
        (f"{comb(n, k):,}" if r.random() < 0.3 else f"{comb(n, k)}", f"C({n},{k})"),
        (rf"\binom{{{n}}}{{{k - 1}}}", f"C({n},{k - 1})"),
    )


def trigonometric_values(r):
    """A sine, cosine or tangent at an angle in degrees, and its value in roots."""
    rows = [
        ("\\sin", "sin", 75, r"\frac{\sqrt{6}+\sqrt{2}}{4}", "(sqrt(6)+sqrt(2))/4"),
        ("\\cos", "cos", 75, r"\frac{\sqrt{6}-\sqrt{2}}{4}", "(sqrt(6)-sqrt(2))/4"),
        ("\\tan", "tan", 15, r"2-\sqrt{3}", "2-sqrt(3)"),
        ("\\cos", "cos", 36, r"\frac{1+\sqrt{5}}{4}", "(1+sqrt(5))/4"),
        ("\\sin", "sin", 18, r"\frac{\sqrt{5}-1}{4}", "(sqrt(5)-1)/4"),
        ("\\sin", "sin", 120, r"\frac{\sqrt{3}}{2}", "sqrt(3)/2"),
        ("\\cos", "cos", 150, r"-\frac{\sqrt{3}}{2}", "-sqrt(3)/2"),
        ("\\tan", "tan", 120, r"-\sqrt{3}", "-sqrt(3)"),
    ]
    name, function, degrees, latex, python = r.choice(rows)
    angle = Fraction(degrees, 180)
    argument = rf"{degrees}^\circ" if r.random() < 0.4 else rf"\frac{{{angle.numerator}\pi}}{{{angle.denominator}}}"
    near = rf"{name} \frac{{\pi}}{{{r.choice([5, 7, 9])}}}"
    bottom = near.split("{")[-1][:-1]
    return (rf"{name} {argument}", f"{function}(pi*{py(angle)})"), (latex, python), (near, f"{function}(pi/{bottom})")


def trigonometric_identities(r):
    """Two forms of one function of x by a textbook identity."""
    return r.choice(
        [
            ((r"\cos 2x", "cos(2*x)"), (r"1-2\sin^2 x", "1-2*sin(x)**2"), (r"1-\sin^2 x", "1-sin(x)**2")),
            ((r"\sin 3x", "sin(3*x)"), (r"3\sin x-4\sin^3 x", "3*sin(x)-4*sin(x)**3"), (r"3\sin x", "3*sin(x)")),
            ((r"\tan^2 x+1", "tan(x)**2+1"), (r"\sec^2 x", "1/cos(x)**2"), (r"\csc^2 x", "1/sin(x)**2")),
            (
                (r"\frac{\sin 2x}{2\cos x}", "sin(2*x)/(2*cos(x))"),
                (r"\sin x", "sin(x)"),
                (r"\frac{\sin x}{\cos x}", "sin(x)/cos(x)"),
            ),
            (
                (r"\sin x+\cos x", "sin(x)+cos(x)"),
                (r"\sqrt{2}\sin\left(x+\frac{\pi}{4}\right)", "sqrt(2)*sin(x+pi/4)"),
                (r"\sqrt{2}\sin\left(x-\frac{\pi}{4}\right)", "sqrt(2)*sin(x-pi/4)"),
            ),
            (
                (r"\sin^4 x-\cos^4 x", "sin(x)**4-cos(x)**4"),
                (r"-\cos(2x)", "-cos(2*x)"),
                (r"\cos(2x)", "cos(2*x)"),
            ),
            (
                (r"\frac{1-\cos x}{\sin x}", "(1-cos(x))/sin(x)"),
                (r"\tan\frac{x}{2}", "tan(x/2)"),
                (r"\tan x", "tan(x)"),
            ),
        ]
    )


def complex_numbers(r):
    """A product or quotient of complex numbers, and its a + bi."""
    a, b, c, d = (r.randint(1, 6) for _ in range(4))
    product = complex(a, b) * complex(c, d)
    size = c * c + d * d
    u, v = Fraction(a * c + b * d, size), Fraction(b * c - a * d, size)
    if r.random() < 0.5 or not v or not u:
        re, im = int(product.real), int(product.imag)
        return (
            (f"({a}+{b}i)({c}+{d}i)", f"mpc({a},{b})*mpc({c},{d})"),
            (f"{re}+{im}i" if re else f"{im}i", f"mpc({re},{im})"),
            (f"{re}-{im}i", f"mpc({re},{-im})"),
        )
    sign = "+" if v > 0 else "-"
    return (
        (rf"\frac{{{a}+{b}i}}{{{c}+{d}i}}", f"mpc({a},{b})/mpc({c},{d})"),
        (rf"{q(u)}{sign}{q(abs(v))}i", f"{py(u)}+{py(v)}*i"),
        (rf"{q(u)}{'-' if v > 0 else '+'}{q(abs(v))}i", f"{py(u)}-{py(v)}*i"),
    )


def polar_numbers(r):
    n = r.choice([3, 4, 6])
    cos = {3: r"\frac{1}{2}", 4: r"\frac{\sqrt2}{2}", 6: r"\frac{\sqrt{3}}{2}"}[n]
    sin = {3: r"\frac{\sqrt{3}}{2}", 4: r"\frac{\sqrt2}{2}", 6: r"\frac{1}{2}"}[n]
    k = r.randint(2, 4)
    return (
        (rf"{k}e^{{\frac{{i\pi}}{{{n}}}}}", f"{k}*exp(i*pi/{n})"),
        (rf"{k}\left({cos}+{sin}i\right)", f"{k}*(cos(pi/{n})+i*sin(pi/{n}))"),
        (rf"{k}\left({cos}-{sin}i\right)", f"{k}*(cos(pi/{n})-i*sin(pi/{n}))"),
    )


def multiples_of_pi(r):
    k, m = r.randint(1, 9), r.randint(2, 9)
    v = Fraction(k, m)
    top = rf"{v.numerator}\pi" if v.numerator > 1 else r"\pi"
    one = rf"\frac{{{top}}}{{{v.denominator}}}" if v.denominator > 1 else top
    return (
        (one, f"pi*{py(v)}"),
        (rf"{q(v)}\pi" if v != 1 else r"\pi", f"pi*{py(v)}"),
        (f"{float(v) * 3.14159265358979:.6f}", f"mpf('{float(v) * 3.14159265358979:.6f}')"),
    )


# Expressions.


def signed(value: int) -> str:
    return f"+{value}" if value >= 0 else f"{value}"


def term(value: int, letter: str) -> str:
    return {0: "", 1: f"+{letter}", -1: f"-{letter}"}.get(value, f"{signed(value)}{letter}")


def expanded_polynomials(r):
    a, b, c = (r.choice([-5, -4, -3, -2, 2, 3, 4, 5]) for _ in range(3))
    s, p = a * c, b * c
    python = f"(x{signed(a)})*({c}*x{signed(b)})"
    middle = b + s
    p = a * b
    return (
        (f"(x{signed(a)})({c}x{signed(b)})", python),
        (f"{c}x^2{term(middle, 'x')}{signed(p)}", python),
        (f"{c}x^2{term(middle, 'x')}{signed(-p)}", f"{c}*x**2{signed(middle)}*x{signed(-p)}"),
    )


def cubes(r):
    a = r.choice([-3, -2, 2, 3, 4])
    return (
        (f"(x{signed(a)})^3", f"(x{signed(a)})**3"),
        (f"x^3{signed(3 * a)}x^2{signed(3 * a * a)}x{signed(a**3)}", f"(x{signed(a)})**3"),
        (f"x^3{signed(a**3)}", f"x**3{signed(a**3)}"),
    )


def several_letters(r):
    k = r.randint(2, 6)
    return r.choice(
        [
            (("(a+b)^2-4ab", "(a-b)**2"), ("(a-b)^2", "(a-b)**2"), ("(a+b)^2-2ab", "a*a+b*b")),
            ((f"a^2-{k * k}b^2", f"a*a-{k * k}*b*b"), (f"(a+{k}b)(a-{k}b)", f"a*a-{k * k}*b*b"), (f"(a-{k}b)^2", f"(a-{k}*b)**2")),
            ((f"{k}(x+y)", f"{k}*(x+y)"), (f"{k}y+{k}x", f"{k}*(x+y)"), (f"{k}x+y", f"{k}*x+y")),
            ((r"\frac{a}{b}+\frac{b}{a}", "a/b+b/a"), (r"\frac{a^2+b^2}{ab}", "a/b+b/a"), (r"\frac{a+b}{ab}", "1/a+1/b")),
            ((r"\frac{x^3-y^3}{x-y}", "x*x+x*y+y*y"), ("x^2+xy+y^2", "x*x+x*y+y*y"), ("x^2-xy+y^2", "x*x-x*y+y*y")),
        ]
    )  # fmt: skip


def rational_functions(r):
    a, b = r.sample([1, 2, 3, 4, 5], 2)
    return (
        (rf"\frac{{1}}{{x+{a}}}-\frac{{1}}{{x+{b}}}", f"1/(x+{a})-1/(x+{b})"),
        (rf"\frac{{{b - a}}}{{(x+{a})(x+{b})}}", f"{b - a}/((x+{a})*(x+{b}))"),
        (rf"\frac{{{a - b}}}{{(x+{a})(x+{b})}}", f"{a - b}/((x+{a})*(x+{b}))"),
    )


def cancelled_fractions(r):
    a, b = r.sample([1, 2, 3, 4, 5], 2)
    return (
        (rf"\frac{{x^2+{a + b}x+{a * b}}}{{x+{a}}}", f"x+{b}"),
        (f"x+{b}", f"x+{b}"),
        (rf"\frac{{x^2+{a + b}x+{a * b}}}{{x+{a + b}}}", f"(x+{a})*(x+{b})/(x+{a + b})"),
    )


def exponentials(r):
    k = r.randint(2, 4)
    return r.choice(
        [
            ((rf"2^{{n+{k}}}", f"mpf(2)**(n+{k})"), (rf"{2**k} \cdot 2^n", f"{2**k}*mpf(2)**n"), (rf"{2 * k} \cdot 2^n", f"{2 * k}*mpf(2)**n*Q(4,4)"))
            if k not in (2,) else
            ((r"3^{n+2}", "mpf(3)**(n+2)"), (r"9 \cdot 3^n", "9*mpf(3)**n"), (r"6 \cdot 3^n", "6*mpf(3)**n")),
            ((f"e^{{{2 * k}x}}-1", f"exp({2 * k}*x)-1"), (f"(e^{{{k}x}}-1)(e^{{{k}x}}+1)", f"exp({2 * k}*x)-1"), (f"(e^{{{k}x}}-1)^2", f"(exp({k}*x)-1)**2")),
            ((r"\frac{2^n}{4^n}", "mpf(2)**(-n)"), ("2^{-n}", "mpf(2)**(-n)"), ("2^{n}", "mpf(2)**n")),
            ((r"e^{x+\ln 3}", "3*exp(x)"), ("3e^x", "3*exp(x)"), ("e^{3x}", "exp(3*x)")),
        ]
    )  # fmt: skip


def formulas(r):
    k = r.randint(2, 5)
    return r.choice(
        [
            ((r"\frac{4}{3}\pi r^3", "4*pi*r**3/3"), (r"\frac{4\pi r^3}{3}", "4*pi*r**3/3"), (r"\frac{3}{4}\pi r^3", "3*pi*r**3/4")),
            ((rf"\frac{{\sqrt{{3}}}}{{4}}({k}x)^2", f"sqrt(3)*{k * k}*x*x/4"), (rf"\frac{{{k * k}\sqrt{{3}}x^2}}{{4}}", f"sqrt(3)*{k * k}*x*x/4"), (rf"\frac{{{k}\sqrt{{3}}x^2}}{{4}}", f"sqrt(3)*{k}*x*x/4")),
            ((r"\frac{n(n-3)}{2}", "Q(n*(n-3),2)"), (r"\frac{n^2-3n}{2}", "Q(n*(n-3),2)"), (r"\frac{n^2-3}{2}", "Q(n*n-3,2)")),
            ((rf"\frac{{x}}{{{k}}}+\frac{{y}}{{{k}}}", f"(x+y)/{k}"), (rf"\frac{{x+y}}{{{k}}}", f"(x+y)/{k}"), (rf"\frac{{x+y}}{{{2 * k}}}", f"(x+y)/{2 * k}")),
            ((r"(\sqrt{x})^4", "x*x"), ("x^2", "x*x"), (r"x^{\frac{3}{2}}", "x**Q(3,2)")),
        ]
    )  # fmt: skip


def sums_and_integrals(r):
    k = r.randint(2, 5)
    return r.choice(
        [
            ((r"\sum_{k=1}^{n} k^2", "Q(n*(n+1)*(2*n+1),6)"), (r"\frac{n(n+1)(2n+1)}{6}", "Q(n*(n+1)*(2*n+1),6)"), (r"\frac{n(n+1)(2n-1)}{6}", "Q(n*(n+1)*(2*n-1),6)")),
            ((rf"\sum_{{j=1}}^{{{k + 3}}} j", f"{(k + 3) * (k + 4) // 2}"), (f"{(k + 3) * (k + 4) // 2}",) * 2, (f"{(k + 3) * (k + 2) // 2}",) * 2),
            ((rf"\int_0^1 x^{{{k}}} \, dx", f"Q(1,{k + 1})"), (rf"\frac{{1}}{{{k + 1}}}", f"Q(1,{k + 1})"), (rf"\frac{{1}}{{{k}}}", f"Q(1,{k})")),
            ((rf"\prod_{{j=1}}^{{{k + 1}}} 2j", f"F({k + 1})*2**{k + 1}"), (rf"{2 ** (k + 1)} \cdot {k + 1}!", f"F({k + 1})*2**{k + 1}"), (rf"2 \cdot {k + 1}!", f"2*F({k + 1})")),
            ((rf"\lim_{{x \to 0}} \frac{{\sin {k}x}}{{x}}", f"{k}"), (f"{k}",) * 2, (rf"\frac{{1}}{{{k}}}", f"Q(1,{k})")),
        ]
    )  # fmt: skip


def plain_text_mathematics(r):
    k, m = r.randint(2, 7), r.choice([2, 3, 5, 7])
    return r.choice(
        [
            ((f"sqrt({m})/{k}", f"sqrt({m})/{k}"), (rf"\frac{{\sqrt{{{m}}}}}{{{k}}}", f"sqrt({m})/{k}"), (rf"\sqrt{{\frac{{{m}}}{{{k}}}}}", f"sqrt(Q({m},{k}))")),
            ((f"x^2/{k}", f"x*x/{k}"), (rf"\frac{{x^2}}{{{k}}}", f"x*x/{k}"), (rf"\left(\frac{{x}}{{{k}}}\right)^2", f"x*x/{k * k}")),
            ((f"{k}*(x+1)", f"{k}*(x+1)"), (f"{k}x+{k}", f"{k}*(x+1)"), (f"{k}x+1", f"{k}*x+1")),
            ((f"{k}pi/{m}", f"pi*Q({k},{m})"), (rf"\frac{{{k}\pi}}{{{m}}}", f"pi*Q({k},{m})"), (rf"\frac{{{m}\pi}}{{{k + 1}}}", f"pi*Q({m},{k + 1})")),
            ((f"({k}+sqrt({m}))/2", f"({k}+sqrt({m}))/2"), (rf"\frac{{{k}+\sqrt{{{m}}}}}{{2}}", f"({k}+sqrt({m}))/2"), (rf"{k}+\frac{{\sqrt{{{m}}}}}{{2}}", f"{k}+sqrt({m})/2")),
        ]
    )  # fmt: skip


# Collections, relations, words.


def sets(r):
    v, m, k = a_fraction(r), r.choice([2, 3, 5]), r.randint(2, 5)
    root, long = rf"{k}\sqrt{{{m}}}", rf"\sqrt{{{k * k * m}}}"
    return (
        (rf"\{{{root}, {q(v)}, {k}\}}", f"S({k}*sqrt({m}),{py(v)},{k})"),
        (rf"\left\{{{k}, {long}, {q(v, 'slash')}\right\}}", f"S({k}*sqrt({m}),{py(v)},{k})"),
        (rf"\{{{root}, {q(v)}, {k + 1}\}}", f"S({k}*sqrt({m}),{py(v)},{k + 1})"),
    )


def several_solutions(r):
    a, d = r.randint(1, 5), r.choice([2, 3, 5, 6, 7])
    return (
        (rf"x = \frac{{{a} \pm \sqrt{{{d}}}}}{{2}}", f"S(({a}+sqrt({d}))/2,({a}-sqrt({d}))/2)"),
        (
            rf"\frac{{{a}-\sqrt{{{d}}}}}{{2}}, \frac{{{a}+\sqrt{{{d}}}}}{{2}}",
            f"S(({a}+sqrt({d}))/2,({a}-sqrt({d}))/2)",
        ),
        (rf"x = \frac{{{-a} \pm \sqrt{{{d}}}}}{{2}}", f"S(({-a}+sqrt({d}))/2,({-a}-sqrt({d}))/2)"),
    )


def points(r):
    v, m, k = a_fraction(r), r.choice([2, 3, 5]), r.randint(2, 5)
    return (
        (rf"\left({q(v)}, {k}\sqrt{{{m}}}\right)", f"({py(v)},{k}*sqrt({m}))"),
        (rf"({q(v, 'slash')}, \sqrt{{{k * k * m}}})", f"({py(v)},{k}*sqrt({m}))"),
        r.choice(
            [
                (rf"({k}\sqrt{{{m}}}, {q(v)})", f"({k}*sqrt({m}),{py(v)})"),
                (rf"({q(-v)}, {k}\sqrt{{{m}}})", f"({py(-v)},{k}*sqrt({m}))"),
            ]
        ),
    )


def matrices(r):
    v, m, k = a_fraction(r), r.choice([2, 3, 5]), r.randint(2, 5)
    python = f"({py(v)},{k}*sqrt({m}),{k},{m})"
    return (
        (rf"\begin{{pmatrix}} {q(v)} & {k}\sqrt{{{m}}} \\ {k} & {m} \end{{pmatrix}}", python),
        (rf"\begin{{bmatrix}} {q(v)} & \sqrt{{{k * k * m}}} \\ {k} & {m} \end{{bmatrix}}", python),
        (
            rf"\begin{{pmatrix}} {q(v)} & {k} \\ {k}\sqrt{{{m}}} & {m} \end{{pmatrix}}",
            f"({py(v)},{k},{k}*sqrt({m}),{m})",
        ),
    )


def intervals(r):
    v, k = a_fraction(r), r.randint(3, 30)
    low, high = sorted([v, Fraction(k)])
    other = r.choice([("[", ")"), ("(", "]")])
    return (
        (rf"\left[{q(low)}, {q(high)}\right]", f"('[]',{py(low)},{py(high)})"),
        r.choice([
            (rf"{q(low, 'slash')} \le x \le {q(high)}", f"('[]',{py(low)},{py(high)})"),
            (f"[{q(low, 'slash')}, {q(high, 'slash')}]", f"('[]',{py(low)},{py(high)})"),
        ]),
        (f"{other[0]}{q(low)}, {q(high)}{other[1]}", f"('{other[0]}{other[1]}',{py(low)},{py(high)})"),
    )  # fmt: skip


def unions(r):
    a, b = r.randint(-9, -1), r.randint(1, 9)
    return (
        (rf"(-\infty, {a}) \cup ({b}, \infty)", f"({a},{b},'()')"),
        (rf"({b}, \infty) \cup (-\infty, {a})", f"({a},{b},'()')"),
        r.choice([
            (rf"(-\infty, {a}] \cup [{b}, \infty)", f"({a},{b},'[]')"), (rf"({a}, {b})", f"({a},{b},'inside')"),
            (rf"(-\infty, {a}) \cup ({b + 1}, \infty)", f"({a},{b + 1},'()')"),
        ]),
    )  # fmt: skip


def equations(r):
    """A line or a circle, and the same multiplied, expanded or cleared of its fraction."""
    a, b, c, k = r.randint(1, 5), r.randint(1, 5), r.randint(1, 9), r.randint(2, 4)
    ax, by = ("x" if a == 1 else f"{a}x"), ("y" if b == 1 else f"{b}y")
    return r.choice(
        [
            (
                (f"{ax}+{by}={c}", f"{{'equation': {a}*x+{b}*y-{c}}}"),
                (f"{k * a}x+{k * b}y-{k * c}=0", f"{{'equation': {a}*x+{b}*y-{c}}}"),
                (f"{ax}-{by}={c}", f"{{'equation': {a}*x-{b}*y-{c}}}"),
            ),
            (
                (f"(x-{a})^2+(y+{b})^2={c * c}", f"{{'equation': (x-{a})**2+(y+{b})**2-{c * c}}}"),
                (
                    f"x^2+y^2-{2 * a}x+{2 * b}y{signed(a * a + b * b - c * c)}=0",
                    f"{{'equation': (x-{a})**2+(y+{b})**2-{c * c}}}",
                ),
                (f"(x+{a})^2+(y+{b})^2={c * c}", f"{{'equation': (x+{a})**2+(y+{b})**2-{c * c}}}"),
            ),
            (
                (rf"y=\frac{{{a}}}{{{k}}}x+{c}", f"{{'equation': y-{py(Fraction(a, k))}*x-{c}}}"),
                (f"{k}y={ax}+{k * c}", f"{{'equation': y-{py(Fraction(a, k))}*x-{c}}}"),
                (f"y={ax}+{c}", f"{{'equation': y-{a}*x-{c}}}"),
            ),
        ]
    )


def inequalities(r):
    a, b = r.randint(2, 6), r.randint(1, 9)
    flip = r.choice(["<", ">"])
    interval = rf"({b}, \infty)" if flip == ">" else rf"(-\infty, {b})"
    return (
        (f"x {flip} {b}", f"('{flip}',{b})"),
        r.choice([(interval, f"('{flip}',{b})"), (f"{a}x {flip} {a * b}", f"('{flip}',{b})")]),
        r.choice([
            (f"x {'>' if flip == '<' else '<'} {b}", f"('{'>' if flip == '<' else '<'}',{b})"),
            (rf"x \{'ge' if flip == '>' else 'le'} {b}", f"('{flip}=',{b})"), (f"x {flip} {-b}", f"('{flip}',{-b})"),
        ]),
    )  # fmt: skip


def named_values(r):
    v, m = a_fraction(r), r.choice([2, 3, 5, 7])
    name = r.choice(["x", "n", "r", "S", "a_1", r"\theta"])
    return (
        (f"{name} = {q(v)}\\sqrt{{{m}}}", f"{py(v)}*sqrt({m})"),
        (rf"\frac{{{v.numerator}\sqrt{{{m}}}}}{{{v.denominator}}}", f"{py(v)}*sqrt({m})"),
        (f"{name} = {q(v)}\\sqrt{{{m + 1}}}", f"{py(v)}*sqrt({m + 1})"),
    )


UNITS = {
    "length": {"mm": 1, "cm": 10, "m": 1000, "km": 10**6},
    "mass": {"g": 1, "kg": 1000},
    "time": {"seconds": 1, "minutes": 60, "hours": 3600},
}


def units(r):
    kind = r.choice(sorted(UNITS))
    small, large = sorted(r.sample(sorted(UNITS[kind]), 2), key=UNITS[kind].get)
    n, ratio = r.randint(2, 30), UNITS[kind][large] // UNITS[kind][small]
    value = f"('{kind}',{n * UNITS[kind][large]})"
    other = r.choice([(small, kind), r.choice([("m", "length"), ("kg", "mass"), ("hours", "time")])])
    if other == (large, kind):
        other = (small, kind)
    return (
        (rf"{n} \text{{ {large}}}", value),
        r.choice([(rf"{n * ratio} \text{{ {small}}}", value), (f"{n} {large}", value)]),
        (rf"{n}\,\mathrm{{{other[0]}}}", f"('{other[1]}',{n * UNITS[other[1]][other[0]]})"),
    )


def areas(r):
    n, m = r.randint(2, 30), r.choice([2, 3, 5])
    unit = r.choice(["cm", "m", "ft", "in"])
    return (
        (rf"{n}\sqrt{{{m}}} \text{{ {unit}}}^2", f"('{unit}2',{n}*sqrt({m}))"),
        (rf"\sqrt{{{n * n * m}}} \text{{ {unit}}}^2", f"('{unit}2',{n}*sqrt({m}))"),
        (rf"{n}\sqrt{{{m}}} \text{{ {unit}}}^3", f"('{unit}3',{n}*sqrt({m}))"),
    )


def words(r):
    rows = [
        ("parallelogram", "rectangle"), ("ellipse", "hyperbola"), ("increasing", "decreasing"), ("Alice", "Bob"),
        ("even", "odd"), ("rational", "irrational"), ("convergent", "divergent"), ("Tuesday", "Thursday"),
        ("no real solutions", "one real solution"), ("north", "south"), ("True", "False"), ("Pascal", "Euler"),
    ]  # fmt: skip
    one, other = r.choice(rows)
    dressed = r.choice([rf"\text{{{one}}}", rf"\textbf{{{one}}}", rf"\text{{{one}.}}", one.capitalize()])
    return (one, f"'{one}'"), (dressed, f"'{one}'"), (rf"\text{{{other}}}", f"'{other}'")


def choices(r):
    one, other = r.sample("ABCDE", 2)
    return (one, f"'{one}'"), (r.choice([f"({one})", rf"\text{{({one})}}", rf"\textbf{{{one}}}"]), f"'{one}'"), (f"({other})", f"'{other}'")  # fmt: skip


FAMILIES: list[Family] = [
    reduced_fractions, sums_of_fractions, decimals, scientific, percent, sums_of_roots, rationalized, nested_roots,
    cube_roots, powers, logarithms, natural_logarithms, counting, trigonometric_values, trigonometric_identities,
    complex_numbers, polar_numbers, multiples_of_pi, expanded_polynomials, cubes, several_letters, rational_functions,
    cancelled_fractions, exponentials, formulas, sums_and_integrals, plain_text_mathematics, sets, several_solutions,
    points, matrices, intervals, unions, equations, inequalities, named_values, units, areas, words, choices,
]  # fmt: skip
