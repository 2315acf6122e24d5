# ruff: noqa: E501 (rows of a table)
"""Programs that must pass, their failures by name, and values on their way across the border."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from verl_rzero.executor import Executor, Failure, IsolationError, Limits, NotLiterals, Task, arguments, equal, show
from verl_rzero.executor import run as run_once
from verl_rzero.executor import run_many as run_all
from verl_rzero.executor.border import MAX_DEPTH, Malformed, NotData, TooLarge, dumps, loads, tree_of, value_of
from verl_rzero.executor.process import WORLDS
from verl_rzero.executor.result import read

IDENTITY = "def f(*a):\n    return a"


@pytest.fixture(scope="module")
def executor():
    with Executor(Limits(cpu_s=0.5, wall_s=5, memory_mb=64)) as executor:
        yield executor


# Programs.

PROGRAMS = {
    "several arguments": ("def f(a, b):\n    return a + b", "[1], [2]", [1, 2]),
    "no argument": ("def f():\n    return 'x'", "", "x"),
    "inputs over lines": ("def f(a, b):\n    return sum(a) * b", "[1,  # one\n 2],\n\n3,", 9),
    "inputs with line ends": ("def f(a):\n    return a.count('\\n')", "'''x\ny\n'''", 2),
    "helpers that read": ("def parse_input(s):\n    return int(s)\ndef f(s):\n    return parse_input(s) + 1", "'4'", 5),
    "f is the last of several": ("def g(x):\n    return x + 1\ndef f(x):\n    return g(g(x))", "1", 3),
    "nested functions": ("def f(n):\n    def g(m):\n        return m * n\n    return [g(i) for i in range(3)]", "2", [0, 2, 4]),
    "recursion": ("def f(n):\n    return 1 if n == 0 else n * f(n - 1)", "20", math.factorial(20)),
    "a class": (
        "class Stack:\n    def __init__(self):\n        self.items = []\n    def push(self, x):\n"
        "        self.items.append(x)\n        return self\n\ndef f(x):\n    return Stack().push(x).push(1).items",
        "'a'",
        ["a", 1],
    ),
    "a dataclass of texts": (
        "from __future__ import annotations\nfrom dataclasses import dataclass, asdict\n@dataclass\nclass P:\n    x: int\n"
        "    y: list[int]\ndef f(a):\n    return asdict(P(a, [a]))",
        "3",
        {"x": 3, "y": [3]},
    ),
    "modules": (
        "import re, math, heapq, collections, itertools, functools, bisect, string, statistics, datetime, json\n"
        "from fractions import Fraction\nfrom decimal import Decimal\ndef f(s):\n"
        "    days = (datetime.datetime.strptime('2024-03-01', '%Y-%m-%d') - datetime.datetime(2024, 2, 1)).days\n"
        "    return [re.findall(r'\\d+', s), collections.Counter(s).most_common(1)[0][1], str(Fraction(1, 3)), days,\n"
        "            float(Decimal('0.5')), statistics.median([1, 2, 9]), heapq.nsmallest(1, [3, 1])]",
        "'a1b22bb'",
        [["1", "22"], 3, "1/3", 29, 0.5, 2, [1]],
    ),
    "codecs": ("def f(s):\n    return s.encode('utf-16-le'), s.encode('latin-1').hex()", "'é'", (b"\xe9\x00", "e9")),
    "what it prints is dropped": ("def f(a):\n    print('{\"value\": 5}')\n    return a", "1", 1),
    "seeded random numbers": ("import random\ndef f(a):\n    random.seed(a)\n    return random.random()", "1", 0.13436424411240122),
    "types are kept": (
        "def f(a):\n    return a",
        "{1: (2, True), '1': {3}, (1, 2): frozenset({b'x', None})}",
        {1: (2, True), "1": {3}, (1, 2): frozenset({b"x", None})},
    ),
    "large int": ("def f(a):\n    return a ** 5000", "7", 7**5000),
    "not only def": ("f = lambda a: a", "1", 1),
    "main is elsewhere": ("def f(a):\n    return a\nif __name__ == '__main__':\n    raise SystemExit", "1", 1),
}  # fmt: skip


@pytest.mark.parametrize("name", PROGRAMS)
def test_programs_that_pass(executor, name):
    program, inputs, value = PROGRAMS[name]
    result = executor.run(program, inputs, twice=True)
    assert (result.failure, result.detail) == (None, "")
    assert equal(result.value, value)
    assert type(result.value) is type(value)
    assert 0 < result.cpu_s < 1


FAILURES = {
    "a call": (IDENTITY, "__import__('os').getpid()", Failure.INPUTS, "Call is not a literal"),
    "two calls": (IDENTITY, "1) or (True", Failure.INPUTS, "not positional arguments"),
    "an operation": (IDENTITY, "10**10**8", Failure.INPUTS, "BinOp is not a literal"),
    "no Python": ("def f(a:\n    return a", "1", Failure.SYNTAX, "SyntaxError"),
    "a null byte": ("def f(a):\n    return '\0'", "1", Failure.SYNTAX, None),
    "too long": ("#" * 70_000, "1", Failure.SYNTAX, "longer than 65536 characters"),
    "no f": ("def g(a):\n    return a", "1", Failure.NO_FUNCTION, ""),
    "f is no function": ("f = 3", "1", Failure.NO_FUNCTION, ""),
    "an error": ("def f(a):\n    return a / 0", "1", Failure.RAISED, "ZeroDivisionError"),
    "an own error": ("class Odd(Exception): pass\ndef f(a):\n    raise Odd", "1", Failure.RAISED, "Odd"),
    "StopIteration": ("def f(a):\n    return next(iter([]))", "1", Failure.RAISED, "StopIteration"),
    "exit": ("def f(a):\n    exit(0)", "1", Failure.RAISED, "NameError"),
    "SystemExit": ("import sys\ndef f(a):\n    sys.exit()", "1", Failure.RAISED, "SystemExit"),
    "wrong number of arguments": ("def f(a):\n    return a", "1, 2", Failure.RAISED, "TypeError"),
    "an unknown module": ("import numpy\ndef f(a):\n    return a", "1", Failure.RAISED, "ModuleNotFoundError"),
    "asks": ("def f(a):\n    return input()", "1", Failure.RAISED, "RuntimeError"),
    "endless": ("def f(a):\n    while True: pass", "1", Failure.TIME, ""),
    "large": ("def f(a):\n    return [0] * 10**9", "1", Failure.MEMORY, ""),
    "recursion": ("def f(a):\n    return f(a)", "1", Failure.RAISED, "RecursionError"),
    "a large result": ("def f(a):\n    return 'x' * 70_000", "1", Failure.OUTPUT_TOO_LARGE, ""),
    "many of one": ("def f(a):\n    for _ in range(40):\n        a = [a, a]\n    return a", "1", Failure.OUTPUT_TOO_LARGE, ""),
    "a cycle": ("def f(a):\n    a.append(a)\n    return a", "[]", Failure.NOT_DATA, "deeper than 64 containers"),
    "a generator": ("def f(a):\n    yield a", "1", Failure.NOT_DATA, "generator"),
    "an int that is more": ("class I(int): pass\ndef f(a):\n    return I(a)", "1", Failure.NOT_DATA, "I"),
    "a lone surrogate": ("def f(a):\n    return chr(0xd800)", "1", Failure.NOT_DATA, "str with surrogates"),
    "order of a set": ("def f(a):\n    return list(a)", "{'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'}", Failure.NONDETERMINISTIC, ""),
    "hash": ("def f(a):\n    return hash(a)", "'x'", Failure.NONDETERMINISTIC, ""),
    "address": ("def f(a):\n    return repr(object())", "1", Failure.NONDETERMINISTIC, ""),
    "random": ("import random\ndef f(a):\n    return random.random()", "1", Failure.NONDETERMINISTIC, ""),
    "urandom": ("import os\ndef f(a):\n    return os.urandom(8)", "1", Failure.NONDETERMINISTIC, ""),
    "time": ("import time\ndef f(a):\n    return time.time()", "1", Failure.NONDETERMINISTIC, ""),
    "date": ("import datetime\ndef f(a):\n    return str(datetime.date.today())", "1", Failure.NONDETERMINISTIC, ""),
}  # fmt: skip


@pytest.mark.parametrize("name", FAILURES)
def test_failures_have_names(executor, name):
    program, inputs, failure, detail = FAILURES[name]
    result = executor.run(program, inputs, twice=True)
    assert (result.failure, result.value) == (failure, None)
    assert detail is None or result.detail == detail


def test_what_raises_in_one_of_two_processes_is_nondeterministic(executor):
    first = executor.run("def f(a):\n    return hash(a)", "'x'").value
    program = "def f(a, b):\n    return 1 if hash(a) == b else 1 / 0"
    assert executor.run(program, f"'x', {first}").value == 1
    assert executor.run(program, f"'x', {first}", twice=True).failure == Failure.NONDETERMINISTIC


def test_waiting_ends_by_the_clock():
    with Executor(Limits(cpu_s=5, wall_s=0.3)) as executor:
        before = time.monotonic()
        result = executor.run("import time\ndef f(a):\n    time.sleep(60)", "1")
        assert (result.failure, time.monotonic() - before < 10) == (Failure.TIME, True)


def test_printing_has_a_limit():
    with Executor(Limits(printed_chars=10)) as executor:
        assert executor.run("def f(a):\n    print('x' * 9)\n    return a", "1").value == 1
        assert executor.run("def f(a):\n    print('x' * 10)\n    return a", "1").failure == Failure.PRINTED_TOO_MUCH


def test_a_result_as_large_as_it_may_be(executor):
    """A text of n characters is n + 2 bytes of JSON."""
    program = "def f(n):\n    return 'x' * n"
    assert executor.run(program, str(65_536 - 2)).value == "x" * 65_534
    assert executor.run(program, str(65_536 - 1)).failure == Failure.OUTPUT_TOO_LARGE


def test_results_come_as_they_are_there(executor):
    """A program that never ends doesn't hold up others, and tasks are taken as they are needed."""
    taken = []

    def tasks():
        for index in range(40):
            taken.append(index)
            slow = "while True: pass" if index == 0 else "return a + 1"
            yield Task(f"def f(a):\n    {slow}", str(index), twice=index % 2 == 0)

    stream = executor.run_many(tasks())
    first, result = next(stream)
    assert first != 0
    assert len(taken) < 40
    results = {first: result, **dict(stream)}
    assert results.pop(0).failure == Failure.TIME
    assert {index: each.value for index, each in results.items()} == {index: index + 1 for index in range(1, 40)}


def test_a_stream_may_be_left(executor):
    stream = executor.run_many(Task("def f(a):\n    return a", "1") for _ in range(100))
    next(stream)
    stream.close()
    assert executor.run("def f(a):\n    return a", "2").value == 2


def test_without_an_executor():
    limits = Limits(cpu_s=0.5)
    assert run_once("def f(a):\n    return a", "1", limits).value == 1
    ((index, result),) = run_all([Task("def f(a):\n    return a", "2")], limits)
    assert (index, result.value) == (0, 2)


def test_an_executor_that_is_closed_leaves_no_process():
    executor = Executor()
    assert executor.run(IDENTITY, "1", twice=True).value == (1,)
    running = executor.submit(Task("def f(a):\n    while True: pass", "1"))
    processes = [zygote._process for zygote in executor._zygotes]
    children = [
        int(pid)
        for process in processes
        for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text(encoding="ascii").split()
    ]
    assert children
    executor.close()
    assert running.cancelled() or running.result().failure == Failure.KILLED
    assert all(process.poll() is not None for process in processes)
    until = time.monotonic() + 10
    while any(os.path.exists(f"/proc/{pid}") for pid in children) and time.monotonic() < until:
        time.sleep(0.01)
    assert not any(os.path.exists(f"/proc/{pid}") for pid in children)
    with pytest.raises(RuntimeError):
        executor.run(IDENTITY, "1")


def test_a_zygote_that_ended_is_replaced(executor):
    executor.run(IDENTITY, "1")
    for zygote in [*executor._zygotes]:
        zygote.stop()
    results = [executor.run(IDENTITY, "1") for _ in range(2 * executor.workers + 1)]
    assert {each.failure for each in results} <= {None, Failure.KILLED}
    assert results[-1].value == (1,)


def test_a_fork_of_ours_does_not_use_it(executor):
    pid = os.fork()
    if pid == 0:
        try:
            executor.run(IDENTITY, "1")
        except RuntimeError:
            os._exit(7)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7


def test_its_processes_end_with_ours_though_a_fork_of_it_lives():
    code = (
        "import os, signal, time\nfrom verl_rzero.executor import Executor\nexecutor = Executor()\nfork = os.fork()\n"
        "if fork == 0: os.close(1); time.sleep(60)\n"
        "print(executor._zygotes[0]._process.pid, fork, flush=True)\nos.kill(os.getpid(), signal.SIGKILL)"
    )
    killed = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    zygote, fork = map(int, killed.stdout.split())
    try:
        until = time.monotonic() + 20
        while os.path.exists(f"/proc/{zygote}") and time.monotonic() < until:
            time.sleep(0.05)
        assert not os.path.exists(f"/proc/{zygote}")
        assert os.path.exists(f"/proc/{fork}")
    finally:
        os.kill(fork, signal.SIGKILL)


def test_limits_are_greater_than_zero():
    with pytest.raises(ValueError, match=r"cpu_s=0: a limit is greater than 0"):
        Limits(cpu_s=0)


# Isolation.


def broken_lockdown(tmp_path, monkeypatch, old, new):
    """A zygote whose walls are another thing than they should be."""
    from verl_rzero.executor import process

    for name in ("zygote.py", "border.py", "lockdown.py"):
        text = process._ZYGOTE.with_name(name).read_text(encoding="utf-8")
        assert name != "lockdown.py" or old in text
        (tmp_path / name).write_text(text.replace(old, new) if name == "lockdown.py" else text, encoding="utf-8")
    monkeypatch.setattr(process, "_ZYGOTE", tmp_path / "zygote.py")


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ('"brk": 12,', '"brk": 12, "openat": 257, "getdents": 217, "fstat": 262,', "opening a file failed with errno 13"),
        ('"brk": 12,', '"brk": 12, "kill": 62,', "a signal is possible under the filter"),
        ('"brk": 12,', '"brk": 12, "clone": 56,', "a process"),
        ('"brk": 12,', '"brk": 12, "socket": 41,', "a socket is possible under the filter"),
        ("step(bits, prot_exec, 3, 0)", "step(bits, prot_exec, 0, 0)", "a page of machine code is possible"),
        ("_SECCOMP, _CAPSET", "_CAPSET, _SECCOMP", "seccomp"),
        ('!= "x86_64"', '== "x86_64"', "the filter of system calls is for x86_64"),
    ],
)  # fmt: skip
def test_a_machine_that_does_not_confine_is_refused(tmp_path, monkeypatch, old, new, why):
    broken_lockdown(tmp_path, monkeypatch, old, new)
    with pytest.raises(IsolationError, match=f"can't be confined on this machine: .*{why}.*isolation='process'"):
        Executor()


def test_the_filter_alone_is_enough(tmp_path, monkeypatch):
    """As in a container without namespaces and Landlock."""
    broken_lockdown(tmp_path, monkeypatch, "    walls = []\n", "    _no_new_privileges()\n    return []\n")
    with Executor() as executor:
        assert executor.walls == ["filter"]
        assert executor.run("def f(a):\n    return open('/etc/passwd').read()", "1").detail == "PermissionError"
        assert executor.run(IDENTITY, "1", twice=True).value == (1,)


def test_without_walls_when_asked():
    with Executor(Limits(cpu_s=0.3, memory_mb=64), isolation="process") as executor:
        assert executor.walls == []
        assert executor.run("import os\ndef f(a):\n    return os.path.exists('/etc')", "1", twice=True).value is True
        assert executor.run("def f(a):\n    while True: pass", "1").failure == Failure.TIME
        assert executor.run("def f(a):\n    return 'a' * 10**10", "1").failure == Failure.MEMORY


# Values.

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=-(2**300), max_value=2**300)
    | st.floats()
    | st.text(st.characters(exclude_categories=["Cs"]))
    | st.binary()
)
HASHABLE = st.recursive(SCALARS, lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=3), max_leaves=5)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner, inner)
        | st.dictionaries(HASHABLE, inner, max_size=3)
        | st.sets(HASHABLE, max_size=3)
        | st.frozensets(HASHABLE, max_size=3)
    ),
    max_leaves=20,
)


def exactly(value):
    """A text in which values of different types, -0.0 and 0.0 differ; NaN is one."""
    return show(value)


@given(VALUES)
def test_values_cross_the_border_as_they_are(value):
    again = value_of(loads(dumps(tree_of(value, 1_000_000))))
    assert exactly(again) == exactly(value)
    assert equal(again, value_of(loads(dumps(tree_of(value, 1_000_000)))))


@given(VALUES)
def test_what_is_shown_is_read(value):
    (again,) = arguments(show(value))
    assert exactly(again) == exactly(value)


@given(st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(
        st.sampled_from(["tuple", "set", "frozenset", "dict", "int", "float", "bytes", "x"]), inner, max_size=2
    ),
))  # fmt: skip
def test_whatever_json_a_process_writes_is_a_value_or_malformed(tree):
    message = json.dumps({"value": tree}).encode()
    result = read(message, 0.0)
    if result.failure is None:
        assert exactly(value_of(loads(dumps(tree_of(result.value, 1_000_000))))) == exactly(result.value)
    else:
        assert result.failure == Failure.FORGED


@given(st.binary(max_size=200))
@settings(max_examples=200)
def test_whatever_bytes_a_process_writes_are_forged(message):
    assert read(message, 0.0).failure == Failure.FORGED


@pytest.mark.parametrize(
    "message",
    [
        b'{"value": 1}{"value": 1}',
        b'{"value": 1, "x": 1}',
        b'{"value": NaN}',
        b'{"value": 1e999}',
        b'{"value": {"tuple": 1}}',
        b'{"value": {"set": [1, 1]}}',
        b'{"value": {"set": [[]]}}',
        b'{"value": {"dict": [[1, 2], [1, 3]]}}',
        b'{"value": {"dict": [[1]]}}',
        b'{"value": {"int": "9x"}}',
        b'{"value": {"int": 1}}',
        b'{"value": {"float": "1.5"}}',
        b'{"value": "\\ud800"}',
        b'{"value": ' + b"9" * 5000 + b"}",
        b'{"value": ' + b"[" * 60_000 + b"]" * 60_000 + b"}",
        b'{"value": ' + b"[" * 70 + b"]" * 70 + b"}",
        b'{"failure": "time", "detail": ""}',
        b'{"failure": "raised", "detail": "' + b"x" * 101 + b'"}',
        b'{"failure": "raised", "detail": "\\u001b[2J"}',
        b'{"failure": "raised"}',
        b"[]",
        b"",
    ],
)  # fmt: skip
def test_messages_that_our_code_does_not_write(message):
    assert read(message, 0.0).failure == Failure.FORGED


def test_keys_that_collide_take_no_long_time():
    """Multiples of 2**61 - 1 have one hash: as many as fit into the largest result."""
    keys = [{"int": hex(k * (2**61 - 1))} for k in range(1, 3000)]
    message = dumps({"value": {"set": keys}})[:65_536]
    before = time.process_time()
    read(dumps({"value": {"set": keys[: 65_536 * len(keys) // max(len(message), 65_536)]}}), 0.0)
    assert time.process_time() - before < 2


class Loud(int):
    def __eq__(self, other):
        return True

    __hash__ = int.__hash__


@pytest.mark.parametrize("value", [Loud(1), [Loud(1)], {Loud(1): 1}, object(), 1j, range(3), {1: {2: Loud(1)}}])
def test_only_exact_types_cross(value):
    with pytest.raises(NotData):
        tree_of(value, 1000)


def test_depth_and_size():
    deep = 0
    for _ in range(MAX_DEPTH):
        deep = [deep]
    assert value_of(tree_of(deep, 1000)) == deep
    assert arguments(show(deep)) == (deep,)
    with pytest.raises(NotData):
        tree_of([deep], 1000)
    with pytest.raises(NotLiterals):
        arguments(show([deep]))
    with pytest.raises(TooLarge):
        tree_of(10**5000, 1000)
    with pytest.raises(Malformed):
        value_of({"float": "x"})


@pytest.mark.parametrize(
    "text",
    [
        "x", "f(1)", "1 + 1", "-'a'", "-True", "not 1", "*[1]", "a=1", "**{}", "[x for x in [1]]", "{**{}}", "f'{1}'",
        "lambda: 1", "1 if 1 else 2", "1)(2", "1), _(2", "1) or _(2", "1)\n_(2", "...", "1j", "set([1])", "{[]}", "(", "'",
        "float('1')", "float(nan)", "set({1}, {2})", "print('True') or [7]", "[7]) or (True", "[" * 300 + "]" * 300,
        "-" * 30_000 + "1", "1," * 40_000, "9" * 5000, "\0",
    ],
)  # fmt: skip
def test_what_is_not_literals_is_not_read(text):
    with pytest.raises(NotLiterals):
        arguments(text)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("", ()),
        ("# nothing", ()),
        ("1, 2", (1, 2)),
        ("(1, 2)", ((1, 2),)),
        ("(1), (2)", (1, 2)),
        ("(1),", (1,)),
        ("((1),)", ((1,),)),
        ("[1,\n  2]  # two\n, {'a': -1.5}", ([1, 2], {"a": -1.5})),
        ("'a' 'b', b'\\x00'", ("ab", b"\x00")),
        ("set(), frozenset(), frozenset({1}), float('-inf'), +1", (set(), frozenset(), frozenset({1}), -math.inf, 1)),
        ("0x1f, 1_000, None, True", (31, 1000, None, True)),
    ],
)
def test_literals_that_are_read(text, values):
    assert arguments(text) == values


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        ("1", "1.0", True),
        ("True", "1", True),
        ("[1]", "(1,)", False),
        ("'1'", "1", False),
        ("0.1", "0.10000000000000002", False),
        ("-0.0", "0", True),
        ("float('nan')", "float('nan')", True),
        ("[{1: (float('nan'),)}]", "[{1: (float('nan'),)}]", True),
        ("{float('nan')}", "{float('nan')}", True),
        ("{1, 2}", "frozenset({2, 1})", True),
        ("{1: 2, 3: 4}", "{3: 4, 1: 2}", True),
    ],
)
def test_equality(a, b, same):
    ((left,), (right,)) = arguments(a), arguments(b)
    assert equal(left, right) is same


def test_a_nan_of_a_program_is_the_nan_of_a_text(executor):
    (value,) = arguments("[1, {float('nan')}]")
    assert equal(executor.run("def f(a):\n    return [1, {a - a}]", "float('inf')").value, value)


def test_worlds_differ_in_hash_seed_and_date():
    assert len({world["PYTHONHASHSEED"] for world in WORLDS}) == len({world["TZ"] for world in WORLDS}) == 2
