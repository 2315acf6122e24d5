"""Equality on random answers: near misses, symmetry, agreement with sympy; and that the common ones need no engine."""

import runpy
from fractions import Fraction
from pathlib import Path

import pytest
from answer_corpus import DIFFERENT, SAME, pairs
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from verl_rzero.grading.equality import equal
from verl_rzero.grading.grader import Grader, normal_form, same_answer
from verl_rzero.grading.normal_form import parse
from verl_rzero.rules.voting import vote


def by_notation(a, b):
    """The verdict without an engine: what it would be asked about is not equal."""
    return equal(parse(a), parse(b), lambda left, right: False)


# Numbers, and what they are dressed in.

values = st.fractions(min_value=-10_000, max_value=10_000, max_denominator=500)
DRESSES = [
    "{}", "${}$", r"\({}\)", "x = {}", r"{}\text{{ cm}}", r"\text{{{}}}", r"\mathbf{{{}}}", r"\boxed{{{}}}", "({}, 7)",
    r"[{}, \infty)", r"\{{{}, \pi\}}", "{}, 12345", r"\begin{{pmatrix}} {} & 1 \\ 0 & 1 \end{{pmatrix}}", "{} + x",
    r"({})\sqrt{{2}}", r"x > {}", r"\frac{{{}}}{{\pi}}", "{} 元", r"{} \%", r"{}^{{\circ}}", "{}.",
]  # fmt: skip


def plain(value):
    return f"{value}" if value.denominator == 1 else rf"\frac{{{value.numerator}}}{{{value.denominator}}}"


@given(values, values, st.sampled_from(DRESSES))
@example(Fraction(1), Fraction(1, 10**6), "{}")
def test_another_number_in_the_same_dress_is_another_answer(value, change, dress):
    assume(change and value + change != value / 100 and (value + change) / 100 != value)  # 50% is 1/2, and 50
    assert by_notation(dress.format(plain(value)), dress.format(plain(value)))
    assert not by_notation(dress.format(plain(value)), dress.format(plain(value + change)))


@given(st.text(alphabet="0123456789", min_size=1, max_size=30), st.data())
def test_one_digit_makes_another_number(digits, data):
    place = data.draw(st.integers(0, len(digits) - 1))
    other = data.draw(st.sampled_from([d for d in "0123456789" if d != digits[place]]))
    point = data.draw(st.integers(0, len(digits)))
    a, b = (f"{text[:point]}.{text[point:]}" for text in (digits, digits[:place] + other + digits[place + 1 :]))
    assert not by_notation(a, b)
    assert not by_notation(f"-{a}1", f"{a}1")  # a sign too; the 1 so that it is not zero


@settings(deadline=None, max_examples=60)
@given(values.filter(lambda value: value.denominator not in (1, 2, 4, 5, 10)), st.integers(1, 20))
def test_a_rounded_number_is_not_the_number(value, places):
    rounded = f"{float(value):.{places}f}"
    assume(Fraction(rounded) != value)
    assert not by_notation(rounded, plain(value))


# Relations between answers.

corpus = sorted({side for pair in pairs(SAME) + pairs(DIFFERENT) for side in pair})
fragments = [
    "1", "2", "-3", "0.5", "x", "y", "n", "+", "-", "=", "<", ",", ";", " ", "(", ")", "[", "]", r"\{", r"\}", "^2",
    r"\sqrt{2}", r"\frac{1}{2}", r"\pi", r"\pm", r"\infty", r"\text{ cm}", "%", "or", "yes", "无", ":", "'", r"\vec{a}",
]  # fmt: skip
answers = st.sampled_from(corpus) | st.lists(st.sampled_from(fragments), min_size=1, max_size=6).map("".join)


@settings(max_examples=400, deadline=None)
@given(answers)
def test_an_answer_equals_itself_and_its_copies_in_other_layout(answer):
    form = parse(answer)
    assert equal(form, form, lambda left, right: pytest.fail("asked"))
    for copy in (f" {answer} ", f"\u200b{answer}\ufeff", f"{answer}\n"):
        assert normal_form(copy) == normal_form(answer)


@settings(max_examples=400, deadline=None)
@given(answers, answers)
def test_equality_has_no_direction(a, b):
    asked = {}

    def ask(left, right):
        """Some symmetric verdict."""
        return asked.setdefault(frozenset((left, right)), (len(left) * len(right)) % 2 == 0)

    assert equal(parse(a), parse(b), ask) == equal(parse(b), parse(a), ask)


# Values, as sympy has them.

surds = st.recursive(
    st.integers(-9, 9).map(str) | st.sampled_from([r"\sqrt{2}", r"\sqrt{3}", r"\sqrt{12}", r"\frac{2}{3}", "0.25"]),
    lambda inner: (
        st.tuples(inner, inner).map(lambda two: f"({two[0]} + {two[1]})")
        | st.tuples(inner, inner).map(lambda two: rf"{two[0]} \cdot ({two[1]})")
        | inner.map(lambda one: rf"\frac{{{one}}}{{\sqrt{{6}}}}")
        | inner.map(lambda one: f"({one})^{{2}}")
    ),
    max_leaves=5,
)


def value_of(latex):
    import sympy

    names = {"sqrt": sympy.sqrt, "Q": sympy.Rational, "over": lambda top: lambda bottom: top / bottom}
    python = latex.replace(r"\sqrt{", "sqrt(Q(1)*").replace(r"\frac{2}{3}", "Q(2,3)").replace("0.25", "Q(1,4)")
    for root in ("2", "3", "12", "6"):
        python = python.replace(f"sqrt(Q(1)*{root}}}", f"sqrt({root})")
    python = python.replace(r"\cdot", "*").replace("^{2}", "**2").replace(r"\frac{", "over(").replace("}{", ")(")
    return sympy.radsimp(sympy.expand(eval(python.replace("}", ")"), names)))  # noqa: S307  (made by this test)


@settings(max_examples=60, deadline=None)
@given(surds, surds)
def test_surds_are_equal_exactly_where_sympy_has_equal_values(a, b):
    import sympy

    first, second = value_of(a), value_of(b)
    assert same_answer(a, b) == (sympy.expand(first - second) == 0)
    assert same_answer(a, sympy.latex(first))
    assert not same_answer(a, sympy.latex(first + sympy.Rational(1, 10**9)))


# The engine is the last resort.


def test_answers_as_solvers_write_them_seldom_reach_a_worker():
    path = Path(__file__).parents[1] / "benchmarks/voting.py"
    batch, truth = runpy.run_path(str(path))["questions"](200)
    grader = Grader(timeout_s=60.0)
    classes = [list(vote(answers, grader.same).classes) for answers in batch]
    counts = grader.counts()
    grader.close()
    assert classes == truth
    # of the benchmark's kinds only roots, multiples of pi, polynomials (17 % of the questions) may need one
    assert counts.comparisons > 200
    assert counts.by_worker <= 0.2 * counts.comparisons
    assert counts.timeouts == counts.kills == 0
