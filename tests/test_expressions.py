"""Expressions without an engine: by hand, and against sympy on random input."""

from fractions import Fraction

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from verl_rzero.grading import algebra
from verl_rzero.grading.expressions import Ambiguous, differ, read


def key(latex):
    expression = read(latex)
    assert expression is not None, f"{latex} was not read"
    return algebra.key(expression.value)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (r"\sqrt{12}", r"2\sqrt{3}"),
        (r"\sqrt{2}\sqrt{6}", r"2\sqrt{3}"),  # sqrt(2 * 6) = 2 sqrt(3)
        (r"\frac{1}{\sqrt{2}}", r"\frac{\sqrt{2}}{2}"),
        (r"\frac{1}{1+\sqrt{2}}", r"\sqrt{2}-1"),  # times (1 - sqrt 2) / (1 - sqrt 2) = (1 - sqrt 2) / -1
        (r"\sqrt{\frac{3}{4}}", r"\frac{\sqrt{3}}{2}"),
        (r"\sqrt{-4}", "2i"),
        (r"\frac{1}{i}", "-i"),
        (r"\frac{1+i}{1-i}", "i"),
        ("(1+i)^{2}", "2i"),
        ("(x+1)^{3}", "x^{3}+3x^{2}+3x+1"),
        (r"\frac{2\pi r}{4}", r"\frac{\pi r}{2}"),
        (r"\frac{x^{3}}{x}", "x^{2}"),
        ("2^{-2}", "0.25"),
        ("8^{1/2}", r"2\sqrt{2}"),
        ("8^{1/3}", "2"),
        (r"(\frac{16}{81})^{3/4}", r"\frac{8}{27}"),
        (r"\sqrt[3]{-8}", "-2"),  # the real root
        (r"\sqrt[3]{-2}", r"-\sqrt[3]{2}"),
        (r"\sqrt[5]{10^{500}}", "10^{100}"),
        (r"2\frac{x}{3}", r"\frac{2x}{3}"),
        (r"\log_{2} (x+1)", r"\log_2(1+x)"),
        ("3 + -2", "1"),
        ("x-x", "0"),
        ("ba", "ab"),
        ("x_{1}+x_1", "2x_1"),
        (r"\sin x+\sin x", r"2\sin(x)"),
        (r"\sin 2x", r"\sin(x+x)"),
        (r"\frac{x}{x+1}", r"x(x+1)^{-1}"),
        ("2^{x+1}", "2^{1+x}"),
    ],
)
def test_one_value_has_one_key(a, b):
    assert key(a) == key(b)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (r"\sqrt{12}", r"3\sqrt{2}"), (r"\sqrt{2}+\sqrt{3}", r"\sqrt{5}"), ("(x+1)^{2}", "x^{2}+1"), ("N", "n"),
        ("x_1", "x_2"), ("ab", "a+b"), ("-x^{2}", "(-x)^{2}"), (r"\sin 2x", r"2\sin x"), (r"\pi", "3.14159"),
        ("i", "-i"), (r"\frac{1}{2}x", r"\frac{2}{x}"), (r"\ln 4", r"\ln 5"), (r"\log_2 3", r"\log_3 2"),
        (r"\log_2 3", "1.585"), ("8^{1/3}", "8^{1/4}"), ("e^{x}", "x^{e}"),
    ],
)  # fmt: skip
def test_two_values_have_two_keys_and_two_numbers(a, b):
    assert key(a) != key(b)
    assert differ(read(a).approximate, read(b).approximate)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (r"\sin^{2} x+\cos^{2} x", "1"), (r"\ln 36", r"2\ln 6"), (r"\frac{x^{2}-1}{x-1}", "x+1"), (r"e^{i\pi}", "-1"),
        (r"\log_2 3", r"\frac{\ln 3}{\ln 2}"), (r"\tan x", r"\frac{\sin x}{\cos x}"), (r"\ln e", "1"),
        ("4^{x}", "2^{2x}"),
    ],
)  # fmt: skip
def test_what_only_an_engine_proves_is_not_called_different(a, b):
    assert not differ(read(a).approximate, read(b).approximate)
    assert not (read(a).exact and read(b).exact)


@pytest.mark.parametrize(
    "latex",
    [
        "", "x+", "(x", "x)", r"\frac{1}{0}", "0^{0}", "5!", "|x|", "f(x)",
        "P(2)", "9^{9^{9}}", "2^{100000}", "(a+b+c+d)^{60}", r"\log 2", r"\log_1 8", r"\log_x 8",
        r"\sum_{k}k", r"\sin^{-1} x",
        r"\sin x(x+1)", r"\sin(x)^{2}", r"x^{2}^{3}", "x=1", "1,2", r"\sqrt{99999999999999999999}", r"\foo",
        r"\sin(10^{9})", r"\sqrt[0]{2}", "'", "(" * 50 + "1" + ")" * 50, r"\sin" * 500 + "x", "{" * 500,
        r"\sin(x+" * 40 + "x" + ")" * 40, r"\frac{1}{" * 200, r"\sqrt" * 200,
        r"\sin((\frac{x+" * 4 + "x" + "}{3})^{20})" * 4,
    ],
)  # fmt: skip
def test_what_has_no_one_certain_meaning_is_left_to_the_engine(latex):
    assert read(latex) is None


@pytest.mark.parametrize(
    "latex", ["1/2x", "x2", "2 3", r"2\frac{1}{2}", r"2\frac{1}{2}x", r"1/2\sqrt{3}", r"x/yz", r"\frac{1}{2}3"]
)
def test_what_is_read_in_two_ways_is_refused(latex):
    with pytest.raises(Ambiguous):
        read(latex)


def test_numbers_and_letters_are_recognised():
    assert algebra.constant(read("2^{10}-24").value) == 1000
    assert algebra.constant(read(r"\sqrt{2}\sqrt{2}-\frac{1}{3}").value) == Fraction(5, 3)
    assert algebra.constant(read("x").value) is None
    assert [algebra.letter(read(text).value) for text in ("x", r"\frac{2x}{2}", "i", "2x", "xy", "x^{2}", "3")] == [
        "x", "x", "i", None, None, None, None,
    ]  # fmt: skip


expressions = st.recursive(
    st.integers(0, 12).map(str)
    | st.sampled_from(["x", "y", r"\pi", r"\sqrt{2}", r"\sqrt{6}", r"\frac{1}{3}", "0.5", "i"]),
    lambda inner: st.one_of(
        st.tuples(inner, inner).map(lambda pair: f"({pair[0]} + {pair[1]})"),
        st.tuples(inner, inner).map(lambda pair: f"({pair[0]} - {pair[1]})"),
        st.tuples(inner, inner).map(lambda pair: rf"{pair[0]} \cdot {pair[1]}"),
        inner.map(lambda one: f"({one})^{{2}}"),
        inner.map(lambda one: rf"\frac{{{one}}}{{\sqrt{{3}}}}"),
    ),
    max_leaves=6,
)


def as_sympy(latex):
    import sympy

    names = {"x": sympy.Symbol("x"), "y": sympy.Symbol("y"), "pi": sympy.pi, "i": sympy.I}
    python = latex.replace(r"\pi", "pi").replace(r"\cdot", "*").replace("^", "**")
    for root in "236":
        python = python.replace(rf"\sqrt{{{root}}}", f"sqrt({root})")
    python = python.replace(r"\frac{1}{3}", "Rational(1, 3)").replace("0.5", "Rational(1, 2)")
    python = python.replace(r"\frac", "quotient").replace("}{", ")(").replace("{", "(").replace("}", ")")
    names |= {"quotient": lambda top: lambda bottom: top / bottom, "sqrt": sympy.sqrt, "Rational": sympy.Rational}
    return sympy.expand(sympy.sympify(eval(python, names)))  # noqa: S307  (made by this test)


@settings(max_examples=150, deadline=None)
@given(expressions, expressions)
def test_keys_are_equal_exactly_where_sympy_has_equal_values(a, b):
    import sympy

    first, second = read(a), read(b)
    assume(first is not None and second is not None)
    equal = sympy.simplify(as_sympy(a) - as_sympy(b)) == 0
    assert (algebra.key(first.value) == algebra.key(second.value)) == equal
    assert differ(first.approximate, second.approximate) != equal


@settings(max_examples=150, deadline=None)
@given(expressions)
def test_a_rewritten_expression_keeps_its_key(latex):
    import sympy

    assume(read(latex) is not None)
    expanded = sympy.latex(sympy.factor(as_sympy(latex)))
    again = read(expanded)
    assume(again is not None)
    assert not differ(read(latex).approximate, again.approximate)
    if again.exact:
        assert algebra.key(again.value) == key(latex)


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="x1+-^{}()[]/_.\\sin frac\\sqrt", max_size=40) | st.text(max_size=20))
def test_any_text_is_read_or_refused(text):
    try:
        expression = read(text)
    except Ambiguous:
        return
    assert expression is None or algebra.key(expression.value) == algebra.key(read(f"({text})").value)
