"""HumanEval+ and MBPP+: rows as they are published become data, and programs are judged by it."""

import json
import math
import time
from typing import Any

import pytest

from verl_rzero.base.errors import UserError
from verl_rzero.evaluation import function_tests, run
from verl_rzero.evaluation.graders import final_answer
from verl_rzero.evaluation.load import load
from verl_rzero.settings import Execution, files
from verl_rzero.settings.benchmarks import TABLE, Item, benchmark
from verl_rzero.settings.evalplus import FunctionTests, from_text

ASKED = Execution(isolation="full", sandbox_fusion=None, cpu_s=1.0, wall_s=30.0, memory_mb=256, result_bytes=65_536)
COMPARE = """
import numpy as np
from math import inf

def is_floats(x) -> bool:
    if isinstance(x, float):
        return True
    return isinstance(x, (list, tuple)) and all(isinstance(i, float) for i in x)

def assertion(out, exp, atol):
    if atol == 0 and is_floats(exp):
        atol = 1e-6
{more}    if out != exp and atol != 0:
        assert np.allclose(out, exp, rtol=1e-07, atol=atol)
    else:
        assert out == exp
"""


def mbpp(
    code: str, inputs: str, results: str, atol: str = "0", more: str = "", compare: str = COMPARE
) -> dict[str, Any]:
    """A row of one's own in the form of MBPP+."""
    loop = "for i, (inp, exp) in enumerate(zip(inputs, results)):\n    assertion(g(*inp), exp, "
    test = f"{compare.replace('{more}', more)}\ninputs = {inputs}\nresults = {results}\n{loop}{atol})\n"
    return {"task_id": 1, "code": code, "prompt": "Do it.", "test_list": ["assert g(1) == 2"], "test": test}


def human_eval(prompt: str, body: str, entry: str, test: str) -> dict[str, Any]:
    return {"task_id": "x/0", "prompt": prompt, "canonical_solution": body, "entry_point": entry, "test": test}


def judged(name: str, row: dict[str, Any], *programs: str | None) -> list[bool]:
    (item,) = benchmark(name, [row]).items
    return function_tests.rights(ASKED, [item.tests], [programs])[0]


def test_a_row_of_mbpp_is_asked_with_its_first_test_and_read_without_running_its_tests() -> None:
    row = mbpp("def g(a):\n    return a + 1", "[[1], [inf]]", "[2, inf]")
    row["test"] += "\nraise SystemExit('it ran')\n"
    (item,) = benchmark("mbppplus", [row]).items
    assert "Do it." in item.question
    assert "assert g(1) == 2" in item.question
    assert item.answer == row["code"]
    tests = from_text(item.tests)
    assert (tests.entry, tests.inputs, tests.outputs) == ("g", ("1", "float('inf')"), ("2", "float('inf')"))


def test_programs_are_right_only_where_every_call_returns_what_it_should() -> None:
    row = mbpp("def g(a):\n    return a + 1", str([[i] for i in range(150)]), str([i + 1 for i in range(150)]))
    assert (
        judged(
            "mbppplus",
            row,
            row["code"],
            "def g(a):\n    return a + 1 if a < 149 else 0",  # wrong behind the first calls
            "def g(a):\n    while True: pass",
            "def g(a):\n    raise SystemExit",
            "def h(a):\n    return a + 1",
            "import os\ndef g(a):\n    os._exit(0)",
            "class Liar:\n    def __eq__(self, other): return True\ndef g(a):\n    return Liar()",
            None,
        )
        == [True] + [False] * 7
    )


def test_a_program_may_call_a_helper_of_the_name_f() -> None:
    row = mbpp("def g(a):\n    return a + 1", "[[1], [2]]", "[2, 3]")
    assert judged("mbppplus", row, "def f(a):\n    return a\ndef g(a):\n    return f(a) + 1") == [True]


def test_calls_that_are_slow_together_are_made_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(function_tests, "CPU_S", 0.1)
    slow = "    end = time.process_time() + 0.3\n    while time.process_time() < end: pass\n"
    code = f"import time\ndef g(a):\n{slow}    return a"
    row = mbpp(code, str([[i] for i in range(6)]), str(list(range(6))))  # 1.8 s, where one process has one
    assert judged("mbppplus", row, code, code.replace("0.3", "30")) == [True, False]


def test_floats_are_near_within_the_tolerance_and_integers_exact() -> None:
    code = "def g(a):\n    return a / 3"
    given = mbpp(code, "[[1], [2]]", "[0.3333333, 0.6666667]")
    assert judged("mbppplus", given, code, "def g(a):\n    return a / 3 + 1e-4") == [True, False]
    wide = mbpp(code, "[[1], [2]]", "[0.3333333, 0.6666667]", atol="0.001")
    assert judged("mbppplus", wide, "def g(a):\n    return a / 3 + 1e-4") == [True]
    exact = mbpp("def g(a):\n    return a", "[[1], [2]]", "[1, 2]")
    assert judged("mbppplus", exact, "def g(a):\n    return a + 1e-9", "def g(a):\n    return float(a)") == [
        False,
        True,
    ]


@pytest.mark.parametrize(
    ("given", "wanted", "tolerance", "right"),
    [
        ([1.0, 2.0], (1.0, 2.0), 1e-6, True),
        ([1.0], [1.0, 1.0], 1e-6, False),
        ("1.0", 1.0, 1e-6, False),
        (math.nan, 1.0, 1e-6, False),
        (10**400, 1.0, 1e-6, False),
        (math.inf, math.inf, 1e-6, True),
        ({1: 2.0}, 2.0, 1e-6, False),
        (None, 1.0, 1e-6, False),
    ],
)
def test_what_is_near(given: Any, wanted: Any, tolerance: float, right: bool) -> None:
    row = mbpp("def g(a):\n    return a", "[[1]]", "[1.0]", atol=str(tolerance))
    tests = from_text(benchmark("mbppplus", [row]).items[0].tests)
    assert function_tests.same(tests, given, wanted, "1") is right


def test_sets_are_compared_where_the_tests_do() -> None:
    code = "def g(a):\n    return list(a)"
    row = mbpp(code, "[[[1, 2]]]", "[[2, 1]]", more="    out = set(out)\n    exp = set(exp)\n")
    assert judged("mbppplus", row, code, "def g(a):\n    return [1]", "def g(a):\n    return 5") == [True, False, False]


def test_a_found_object_counts_as_found() -> None:
    compare = "def assertion(out, exp, atol):\n    exact_match = exp == (out is not None)\n"
    code = "import re\ndef g(a):\n    return re.search('x', a)"
    row = mbpp(code, "[['x'], ['y']]", "[True, False]", compare=compare)
    wrong = "def g(a):\n    return 1"
    assert judged("mbppplus", row, code, "def g(a):\n    return 'x' in a", wrong) == [True, True, False]


def test_complex_numbers_cross_as_tuples() -> None:
    code = "def g(a):\n    return (abs(a), a * 1j)"
    row = mbpp(code, "[[1j], [(3 + 4j)]]", "[(1.0, (-1+0j)), (5.0, (-4+3j))]")
    assert judged("mbppplus", row, code, "def g(a):\n    return (abs(a), a)") == [True, False]


PROMPT = 'from typing import List\n\n\ndef twice(xs: List[int]) -> List[int]:\n    """ All of them, doubled.\n    """\n'
REFERENCE = """
def assertion(out, exp, atol):
    assert out == exp

def ref_func(xs):
    return [2 * x for x in xs]

def check(candidate):
    inputs = [[[1, 2]], [[]]]
    for i, inp in enumerate(inputs):
        assertion(candidate(*inp), ref_func(*inp), 0)
"""


def test_a_row_of_humaneval_is_asked_with_its_prompt_and_takes_a_body_or_a_whole_program() -> None:
    row = human_eval(PROMPT, "    return [2 * x for x in xs]\n", "twice", REFERENCE)
    (item,) = benchmark("humanevalplus", [row]).items
    assert "doubled" in item.question
    assert item.answer == PROMPT + row["canonical_solution"]
    whole = "def twice(xs: List[int]):\n    return xs + [] if not xs else [x + x for x in xs]"
    assert judged("humanevalplus", row, "    return [x * 2 for x in xs]", whole, "    return xs") == [True, True, False]


def test_a_call_whose_true_result_is_too_large_is_left_out() -> None:
    test = REFERENCE.replace("inputs = [[[1, 2]], [[]]]", "inputs = [[5], [10**9]]").replace("[2 * x for x in xs]", "0")
    row = human_eval(
        "def many(n):\n    '''n zeros'''\n", "    return [0] * n\n", "many", test.replace("10**9", "10_000_000_000")
    )
    assert judged("humanevalplus", row, "    return [0] * n", "    return []") == [True, False]


def test_a_root_is_one_by_the_polynomial_not_by_the_reference() -> None:
    test = """
import math
import time
def _poly(xs, x):
    return sum([coeff * math.pow(x, i) for i, coeff in enumerate(xs)])
def check(candidate):
    inputs = [[[-6, 11, -6, 1]], [[1, 2]]]
    results = [1.0, -0.5]
    for i, (inp, exp) in enumerate(zip(inputs, results)):
        assert _poly(*candidate(*inp), inp) <= 0.0001
"""
    row = human_eval(
        "def find_zero(xs):\n    '''root'''\n", "    return 1.0 if len(xs) > 2 else -0.5\n", "find_zero", test
    )
    programs = [f"    return {root} if len(xs) > 2 else -0.5" for root in ("1.0", "3.0", "1.5", "'1'", "1e400", "None")]
    assert judged("humanevalplus", row, *programs) == [True, True, False, False, False, False]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"test": "inputs = ["}, "no program"),
        ({"test": "x = 1"}, "calls no function"),
        ({"test": "inputs = [[1]]\nresults = [f()]\nfor i in inputs:\n    assertion(g(*i), 1, 0)"}, "results"),
        ({"test": "inputs = [[1]]\nresults = [1, 2]\nfor i in inputs:\n    assertion(g(*i), 1, 0)"}, "1 inputs and 2"),
        ({"test": "inputs = [1]\nresults = [1]\nfor i in inputs:\n    assertion(g(*i), 1, 0)"}, "list of arguments"),
        ({"test_list": None}, "TypeError"),
    ],
)
def test_a_row_that_is_something_else_is_refused(change: dict[str, Any], said: str) -> None:
    row = mbpp("def g(a):\n    return a", "[[1]]", "[1]") | change
    with pytest.raises(UserError, match=r"mbppplus: row 0 can't be read.*") as error:
        benchmark("mbppplus", [row])
    assert said in str(error.value)


def test_the_tests_are_part_of_a_benchmarks_content_and_its_prompt_is_its_own(tmp_path: Any) -> None:
    rows = [mbpp("def g(a):\n    return a", "[[1]]", result) for result in ("[1]", "[2]")]
    one, other = (benchmark("mbppplus", [row]) for row in rows)
    assert one.items[0].question == other.items[0].question
    assert one.content != other.content
    (tmp_path / "mbpp.jsonl").write_text(json.dumps(rows[0]))
    assert load("mbppplus", tmp_path / "mbpp.jsonl", None) == one
    settings = files.load(["model=tiny", "evaluation.benchmarks.mbppplus={}"])
    asked = run.with_prompts(settings, one)
    assert (asked.prompts.solver_system, asked.prompts.solver_user) == (None, "{question}")
    maths = benchmark("mine", [{"question": "1+1", "answer": "2"}])
    assert run.with_prompts(settings, maths) is settings


def test_the_last_python_block_is_the_answer() -> None:
    reply = "```python\nfirst\n```\nand\n```python\nsecond\n```\n```input\n1\n```"
    assert final_answer("tests", reply, 0) == "second"
    assert final_answer("tests", "no block", 0) is None


def test_both_are_known_by_name() -> None:
    assert {name for name, known in TABLE.items() if known.functions} == {"humanevalplus", "mbppplus"}
    assert Item("q", "a") == Item("q", "a", 0, "")


@pytest.mark.parametrize(
    ("rule", "given"),
    [
        ("set", [k * (2**61 - 1) for k in range(1, 40_000)]),
        ("set", [[1]]),
        ("set", 7),
        ("root", 7**200_000),
        ("root", float("inf")),
    ],
    ids=["one hash", "no keys", "no list", "huge", "infinite"],
)
def test_a_value_that_takes_for_ever_to_compare_is_wrong_at_once(rule: str, given: Any) -> None:
    tests = FunctionTests("g", "", ("[-6, 11, -6, 1]",), ("[1, 2]",), rule, 1e-4, "")
    before = time.process_time()
    assert function_tests.same(tests, given, [1, 2], "[-6, 11, -6, 1]") is False
    assert time.process_time() - before < 1  # without the care that is taken: several seconds
