# ruff: noqa: E501 (rows of a table)
"""Several inputs of one program: each case as if it were alone, in one process, within one set of limits."""

import pytest

from verl_rzero.executor import Executor, Failure, Limits, Task
from verl_rzero.executor import run as run_once

COUNTS = "seen = []\ndef f(a):\n    seen.append(a)\n    return len(seen)"


@pytest.fixture(scope="module")
def executor():
    with Executor(Limits(cpu_s=0.5, wall_s=5, memory_mb=64)) as executor:
        yield executor


def test_values_come_in_the_order_of_the_cases(executor):
    inputs = tuple(f"{n}, 'x'" for n in range(10))
    result = executor.run("def f(n, x):\n    return n * x", inputs, twice=True)
    assert (result.failure, result.value) == (None, ["x" * n for n in range(10)])
    ((_, streamed),) = executor.run_many([Task("def f(n, x):\n    return n * x", inputs)])
    assert streamed.value == result.value


def test_one_case_is_a_list_of_one(executor):
    assert executor.run("def f(a):\n    return a", ("1",), twice=True).value == [1]
    assert run_once("def f():\n    return 2", ("", ""), Limits(cpu_s=0.5)).value == [2, 2]
    with pytest.raises(ValueError, match="there is a case at least"):
        Task("def f():\n    return 2", ())


def test_the_program_is_executed_anew_for_each(executor):
    assert executor.run(COUNTS, ("1", "2", "3"), twice=True).value == [1, 1, 1]


PUT_BACK = {
    "a builtin that is rebound": "import builtins\ndef f(a):\n    n = len([a])\n    builtins.len = lambda _: 5\n    return n",
    "a builtin that is removed": "import builtins\ndef f(a):\n    n = len([a])\n    del builtins.len\n    return n",
    "a builtin that is added": "import builtins\ndef f(a):\n    builtins.n = n = getattr(builtins, 'n', 0) + 1\n    return n",
    "standard output": "import sys\ndef f(a):\n    n = 1 if sys.stdout else 2\n    sys.stdout = None\n    return n",
    "the recursion limit": (
        "import sys\ndef f(a):\n    n = sys.getrecursionlimit() // 1000\n    sys.setrecursionlimit(5000)\n    return n"
    ),
}


@pytest.mark.parametrize("name", PUT_BACK)
def test_what_is_put_back_between_cases(executor, name):
    assert executor.run(PUT_BACK[name], ("1", "2", "3"), twice=True).value == [1, 1, 1]


def test_what_leaks_all_the_same_is_seen_by_two_orders(executor):
    """The second process takes the cases from the last to the first."""
    program = "import math\ndef f(a):\n    math.seen = getattr(math, 'seen', 0) + 1\n    return math.seen"
    assert executor.run(program, ("1", "2", "3")).value == [1, 2, 3]
    assert executor.run(program, ("1", "2", "3"), twice=True).failure == Failure.NONDETERMINISTIC


def test_a_value_stands_when_the_next_case_begins(executor):
    program = "import math\ndef f(a):\n    math.kept = k = getattr(math, 'kept', [])\n    k.append(a)\n    return k"
    assert executor.run(program, ("1", "2")).value == [[1], [1, 2]]


def test_the_first_case_that_fails_is_the_failure(executor):
    result = executor.run("def f(a):\n    return 1 / a", ("1", "0", "'x'"), twice=True)
    assert (result.failure, result.detail, result.value) == (Failure.RAISED, "ZeroDivisionError", None)
    result = executor.run("def f(a):\n    while a: pass", ("0", "1 +"))
    assert (result.failure, result.cpu_s) == (Failure.INPUTS, 0)


def test_limits_are_of_all_cases_together(executor):
    """Two texts of n characters are n + 2 bytes each, and a comma."""
    program = "def f(n):\n    return 'x' * n"
    fits = (65_536 - 1) // 2 - 2
    assert executor.run(program, (str(fits),) * 2).value == ["x" * fits] * 2
    assert executor.run(program, (str(fits), str(fits + 1))).ok
    assert executor.run(program, (str(fits + 1),) * 2).failure == Failure.OUTPUT_TOO_LARGE
    assert executor.run("def f(n):\n    print('x' * n)", ("600_000",) * 2).failure == Failure.PRINTED_TOO_MUCH
    burns = "import time\ndef f(s):\n    end = time.process_time() + s\n    while time.process_time() < end: pass"
    assert executor.run(burns, ("0.2",)).ok
    assert executor.run(burns, ("0.2",) * 10).failure == Failure.TIME


@pytest.mark.parametrize(("values", "failure"), [("7", Failure.FORGED), ("7,7", None), ("7,7,7", Failure.FORGED)])
def test_another_number_of_values_is_forged(executor, values, failure):
    program = f"import os\ndef f(a):\n    os.write(3, b'{{\"values\":[{values}]}}')\n    os._exit(0)"
    assert executor.run(program, ("1", "2")).failure == failure
