# ruff: noqa: E501 (rows of a table)
"""Programs that must pass, their failures by name, and processes that come and go."""

import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from verl_rzero.executor import Executor, Failure, IsolationError, Limits, Task, equal, process
from verl_rzero.executor import run as run_once
from verl_rzero.executor import run_many as run_all
from verl_rzero.executor.runner import WORLDS, Request
from verl_rzero.executor.zygote import COMMON, RARE

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
    "NaN": ("def f(a):\n    return str([a, {a}, {a: a}])", "float('nan')", "[nan, {nan}, {nan: nan}]"),
    "types are kept": (
        "def f(a):\n    return a",
        "{1: (2, True), '1': {3}, (1, 2): frozenset({b'x', None})}",
        {1: (2, True), "1": {3}, (1, 2): frozenset({b"x", None})},
    ),
    "large int": ("def f(a):\n    return a ** 5000", "7", 7**5000),
    "not only def": ("f = lambda a: a", "1", 1),
    "classes": (
        "class A:\n    n = 0\n    def __init__(self, x): self.x = x\n    def __add__(self, o): return type(self)(self.x + o.x)\n"
        "    @property\n    def twice(self): return 2 * self.x\n    @classmethod\n    def of(cls, x): cls.n += 1; return cls(x)\n"
        "class B(A):\n    __slots__ = ()\n    def __repr__(self): return f'B({self.x!r})'\n"
        "def f(x):\n    b = B.of(x) + B.of(1)\n    return repr(b), b.twice, B.n, A.n, isinstance(b, A)",
        "2", ("B(3)", 6, 2, 0, True),
    ),
    "dataclasses and enums": (
        "from dataclasses import dataclass, field, replace\nfrom enum import Enum, auto\nfrom typing import NamedTuple\n"
        "class C(Enum):\n    R = auto()\n    G = auto()\n@dataclass(order=True, frozen=True)\nclass P:\n    x: int\n"
        "    c: C = field(default=C.R, compare=False)\nclass N(NamedTuple):\n    a: int\n    b: str = 'b'\n"
        "def f(x):\n    p = replace(P(x), c=C.G)\n    return p.c.name, sorted([P(3), P(1)])[0].x, hash(p) == hash(P(x)), [*N(1)]",
        "2", ("G", 1, True, [1, "b"]),
    ),
    "generators": (
        "def g(n):\n    got = yield n\n    yield from range(got)\ndef f(n):\n    it = g(n)\n    return next(it), it.send(3), *it",
        "9", (9, 0, 1, 2),
    ),
    "closures, globals, a decorator, a cache": (
        "from functools import lru_cache, wraps\ncalls = 0\ndef counted(g):\n    @wraps(g)\n    def inner(*a, **k):\n"
        "        global calls\n        calls += 1\n        return g(*a, **k)\n    return inner\n@counted\n@lru_cache(maxsize=None)\n"
        "def fib(n): return n if n < 2 else fib(n - 1) + fib(n - 2)\ndef f(n):\n    def up():\n        nonlocal n\n        n += 1\n"
        "    up()\n    return fib(n), n, calls > n, fib.__name__",
        "29", (832040, 30, True, "fib"),
    ),
    "typing": (
        "from typing import Any, Callable, Dict, Generic, List, Optional, Protocol, Tuple, TypeVar, Union\nT = TypeVar('T')\n"
        "class Sized(Protocol):\n    def size(self) -> int: ...\nclass Box(Generic[T]):\n    def __init__(self, x: T) -> None: self.x = x\n"
        "def f(a: List[int], b: Optional[Dict[str, Tuple[int, ...]]] = None) -> Union[int, str]:\n    return Box[int](len(a)).x",
        "[1, 2]", 2,
    ),
    "collections": (
        "from collections import ChainMap, Counter, OrderedDict, defaultdict, deque, namedtuple\nP = namedtuple('P', 'x y')\n"
        "def f(s):\n    groups = defaultdict(list)\n    for c in s: groups[c.isupper()].append(c)\n    d = deque(s, maxlen=2)\n"
        "    d.rotate(1)\n    return groups, Counter(s), OrderedDict(a=P(1, 2).y), list(d), ChainMap({1: 2})[1]",
        "'aBa'", ({False: ["a", "a"], True: ["B"]}, {"a": 2, "B": 1}, {"a": 2}, ["a", "B"], 2),
    ),
    "itertools, operator, match, walrus": (
        "import itertools as it, operator as op\nfrom math import *\ndef f(a):\n    match a:\n        case [x, *rest] if (n := len(rest)):\n"
        "            return [*it.accumulate(a, op.mul)], n, [*it.pairwise(a)], floor(pi)\n        case _: return None",
        "[1, 2, 3]", ([1, 2, 6], 2, [(1, 2), (2, 3)], 3),
    ),
    "unicode": (
        "def größe(s): return len(s)\ndef f(s):\n    return größe(s), s[::-1], s.upper(), '\\N{SNOWMAN}'",
        "'straße 😀'", (8, "😀 eßarts", "STRASSE 😀", "☃"),
    ),
    "texts of several lines": ("def f(s, t):\n    return s.splitlines(), t", "'''a\n  b''', '''\n'''\n", (["a", "  b"], "\n")),
    "any arguments": ("def f(*a, k=3, **more):\n    return a, k, more", "1, 'x'", ((1, "x"), 3, {})),
    "errors that are caught": (
        "class Bad(ValueError): pass\ndef f(x):\n    try:\n        raise Bad(x)\n    except ValueError as e:\n        return e.args\n"
        "    finally:\n        print('done')",
        "1", (1,),
    ),
    "deep recursion": ("import sys\nsys.setrecursionlimit(20_000)\ndef f(n):\n    return 0 if n == 0 else 1 + f(n - 1)", "9000", 9000),
    "eval within": ("def f(s):\n    names = {}\n    exec('x = 2', names)\n    return eval(s, names)", "'x + 1'", 3),
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
    "a call": (IDENTITY, "__import__('os').getpid()", Failure.INPUTS, 'not a literal: "__import__(\'os\').get"'),
    "two calls": (IDENTITY, "1) or (True", Failure.INPUTS, "not a literal: 'or (True'"),
    "an operation": (IDENTITY, "10**10**8", Failure.INPUTS, "not a literal: '**10**8'"),
    "no Python": ("def f(a:\n    return a", "1", Failure.SYNTAX, "SyntaxError"),
    "a surrogate": ("def f(a):\n    return '\ud800'", "1", Failure.SYNTAX, "a lone surrogate"),
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
    "two NaN in a set": ("def f(a):\n    return {float('nan'), (float('nan'), 1)}", "1", Failure.NOT_DATA, "several NaN in sets or keys"),
    "two NaN in keys": ("def f(a):\n    return {float('nan'): 1, (float('nan'),): 2}", "1", Failure.NOT_DATA, "several NaN in sets or keys"),
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


@pytest.mark.parametrize("name", [*COMMON.split(), *RARE.split()])
def test_modules_that_can_be_imported(executor, name):
    assert executor.run(f"import {name} as m\ndef f():\n    return m.__name__", "").ok


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("__import__('time').strptime('2024', '%Y').tm_year", 2024),
        ("'é'.encode('idna'), 'é'.encode('punycode'), 'é'.encode('utf-16-le'), 'é'.encode('latin-1')", (b"xn--9ca", b"9ca", b"\xe9\x00", b"\xe9")),
        ("bytes('a', 'UTF-16be'), 'a'.encode('hex_codec') if 0 else b'a'.hex(), str(b'a', 'ascii')", (b"\x00a", "61", "a")),
        ("'\\N{SNOWMAN}'", "☃"),
        ("__import__('collections').Counter('aab').most_common(1)", [("a", 2)]),
        ("__import__('warnings').warn('x')", None),
        ("__import__('weakref').finalize(type('C', (), {})(), print) and 1", 1),
    ],
)  # fmt: skip
def test_what_python_imports_on_the_way_is_there(executor, expression, value):
    result = executor.run(f"def f():\n    return {expression}", "")
    assert (result.failure, result.value) == (None, value)


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
    inner = [pid for process in processes for pid in children(process.pid)]
    assert inner
    executor.close()
    assert running.cancelled() or running.result().failure == Failure.KILLED
    assert all(process.poll() is not None for process in processes)
    until = time.monotonic() + 10
    while any(os.path.exists(f"/proc/{pid}") for pid in inner) and time.monotonic() < until:
        time.sleep(0.01)
    assert not any(os.path.exists(f"/proc/{pid}") for pid in inner)
    with pytest.raises(RuntimeError):
        executor.run(IDENTITY, "1")


def children(pid):
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()]


def test_a_zygote_that_ended_is_replaced(executor):
    executor.run(IDENTITY, "1")
    for zygote in [*executor._zygotes]:
        zygote.stop()
    results = [executor.run(IDENTITY, "1") for _ in range(2 * executor.workers + 1)]
    assert {each.failure for each in results} == {None}


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


def broken(tmp_path, monkeypatch, file, old, new):
    """A zygote one of whose files is another than it should be."""
    for name in ("zygote.py", "border.py", "lockdown.py", "program.py"):
        text = process._ZYGOTE.with_name(name).read_text(encoding="utf-8")
        assert name != file or old in text
        (tmp_path / name).write_text(text.replace(old, new) if name == file else text, encoding="utf-8")
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
    broken(tmp_path, monkeypatch, "lockdown.py", old, new)
    with pytest.raises(IsolationError, match=f"can't be confined on this machine: .*{why}.*isolation='process'"):
        Executor()


@pytest.mark.parametrize(
    ("file", "old", "new", "why"),
    [
        ("zygote.py", "os.write(lockdown.RESULT_FD, CONFINED)", "raise OSError", "could not be confined, and ended with 1"),
        ("lockdown.py", "pid: int = _fork()", "pid = -1", "OSError: .* fork"),
    ],
)  # fmt: skip
def test_a_process_that_was_not_there_is_an_error_and_no_failure(tmp_path, monkeypatch, file, old, new, why):
    broken(tmp_path, monkeypatch, file, old, new)
    with Executor() as executor, pytest.raises(RuntimeError, match=rf"(?s)is there memory .*{why}"):
        executor.run(IDENTITY, "1")


def test_a_request_that_is_not_read_is_given_up(monkeypatch):
    monkeypatch.setattr(process, "_GRACE_S", 0.1)
    zygote = process.Zygote(Limits(wall_s=0.1), "process", process.Kind(0, False))
    try:
        (inner,) = children(zygote._process.pid)
        os.kill(inner, signal.SIGSTOP)
        with pytest.raises(process.Gone, match="nothing in time"):
            zygote.ask(Request("#" * 1_000_000, (b"[]",)))
    finally:
        zygote.kill()


def test_the_filter_alone_is_enough(tmp_path, monkeypatch):
    """As in a container without namespaces and Landlock."""
    broken(tmp_path, monkeypatch, "lockdown.py", "    walls = []\n", "    _no_new_privileges()\n    return []\n")
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


def test_worlds_differ_in_hash_seed_and_date():
    assert len({world["PYTHONHASHSEED"] for world in WORLDS}) == len({world["TZ"] for world in WORLDS}) == 2
