# ruff: noqa: E501 (rows of a table)
"""Values: read from literals, on their way across the border, and compared."""

import ast
import gc
import json
import math
import re
import subprocess
import sys
import threading
import time
import warnings

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from verl_rzero.executor import Failure, NotLiterals, arguments, equal, show
from verl_rzero.executor.border import MAX_DEPTH, Malformed, NotData, TooLarge, encode, loads, value_of
from verl_rzero.executor.result import read

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
    assume(show(value).count("nan") < 2)
    again = value_of(loads(encode(value, 1_000_000)))
    assert exactly(again) == exactly(value)
    assert equal(again, value_of(loads(encode(value, 1_000_000))))


@given(VALUES)
def test_what_is_shown_is_read(value):
    assume(show(value).count("nan") < 2)  # two in a set are one when they are read
    (again,) = arguments(show(value))
    assert exactly(again) == exactly(value)


@given(st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(
        st.sampled_from(["tuple", "set", "frozenset", "dict", "int", "float", "bytes", "x"]), inner, max_size=2
    ),
))  # fmt: skip
def test_whatever_json_a_process_writes_is_a_value_or_malformed(tree):
    message = json.dumps({"values": [tree]}).encode()
    result = read(message, 1, 0.0)
    if result.failure is None:
        assume(show(result.value).count("nan") < 2)
        assert exactly(value_of(loads(encode(result.value[0], 1_000_000)))) == exactly(result.value[0])
    else:
        assert result.failure == Failure.FORGED


@given(st.binary(max_size=200))
@settings(max_examples=200)
def test_whatever_bytes_a_process_writes_are_forged(message):
    assert read(message, 1, 0.0).failure == Failure.FORGED


@pytest.mark.parametrize(
    "message",
    [
        b'{"values": [1]}{"values": [1]}',
        b'{"values": [1], "x": 1}',
        b' {"values": [1]}',
        b'{"values": [1]} ',
        b'{"values": [1, 2]}',
        b'{"values": []}',
        b'{"values": 1}',
        b'{"values": [NaN]}',
        b'{"values": [1e999]}',
        b'{"values": [{"tuple": 1}]}',
        b'{"values": [{"set": [1, 1]}]}',
        b'{"values": [{"set": [[]]}]}',
        b'{"values": [{"dict": [[1, 2], [1, 3]]}]}',
        b'{"values": [{"dict": [[1]]}]}',
        b'{"values": [{"int": "9x"}]}',
        b'{"values": [{"int": 1}]}',
        b'{"values": [{"float": "1.5"}]}',
        b'{"values": ["\\ud800"]}',
        b'{"values": [' + b"9" * 5000 + b"]}",
        b'{"values": [' + b"[" * 60_000 + b"]" * 60_000 + b"]}",
        b'{"values": [' + b"[" * 70 + b"]" * 70 + b"]}",
        b'{"failure": "time", "detail": ""}',
        b'{"failure": "raised", "detail": "' + b"x" * 101 + b'"}',
        b'{"failure": "raised", "detail": "\\u001b[2J"}',
        b'{"failure": "raised"}',
        b"[]",
        b"",
    ],
)  # fmt: skip
def test_messages_that_our_code_does_not_write(message):
    assert read(message, 1, 0.0).failure == Failure.FORGED


def test_keys_that_collide_take_no_long_time():
    """Multiples of 2**61 - 1 have one hash: as many as fit into the largest result."""
    message = b'{"values":[%s]}' % encode({k * (2**61 - 1) for k in range(2040)}, 65_536)
    before = time.process_time()
    result = read(message, 1, 0.0)
    assert len(result.value[0]) > 2000
    assert time.process_time() - before < 2


@pytest.mark.parametrize("form", ['{"set":[%s]}', '{"dict":[%s]}'])
def test_more_keys_of_one_hash_are_no_value_however_large_a_result_may_be(form):
    def message(step):
        keys = [f'{{"int":"{hex(k * step)}"}}' for k in range(1 << 20, (1 << 20) + 40_000)]
        return b'{"values":[%s]}' % (form % ",".join(f"[{key},1]" if "dict" in form else key for key in keys)).encode()

    def took(text):
        gc.disable()  # a collection of all that hundreds of tests have left takes longer than this
        try:
            before = time.process_time()
            return read(text, 1, 0.0), time.process_time() - before
        finally:
            gc.enable()

    spread, spread_s = took(message(2**60))
    assert len(spread.value[0]) == 40_000
    refused, refused_s = took(message(2**61 - 1))
    assert refused.failure is Failure.FORGED
    assert refused_s < 2 * spread_s + 0.2  # without the limit some ten seconds, of spread keys a tenth of one


class Loud(int):
    def __eq__(self, other):
        return True

    __hash__ = int.__hash__


@pytest.mark.parametrize("value", [Loud(1), [Loud(1)], {Loud(1): 1}, object(), 1j, range(3), {1: {2: Loud(1)}}])
def test_only_exact_types_cross(value):
    with pytest.raises(NotData):
        encode(value, 1000)


def test_depth_and_size():
    deep = 0
    for _ in range(MAX_DEPTH):
        deep = [deep]
    assert value_of(loads(encode(deep, 1000))) == deep
    assert arguments(show(deep)) == (deep,)
    with pytest.raises(NotData):
        encode([deep], 1000)
    with pytest.raises(NotLiterals):
        arguments(show([deep]))
    with pytest.raises(TooLarge):
        encode(10**5000, 1000)
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


def test_a_nan_that_crossed_is_the_nan_of_a_text():
    (value,) = arguments("[1, {float('nan')}]")
    assert equal(value_of(loads(encode([1, {math.inf - math.inf}], 100))), value)


PIECES = [
    "'", '"', "'''", '"""', "\\", "\\x", "\\x41", "\\u00e9", "\\N{DIGIT ONE}", "\\N{x", "\\777", "\\12", "\\q", "\n", "\r\n", "a",
    "b", "r", "u", "é", "{", "}", " ", "#", "1", "0", "_", "e", ".", "\t", "rb", "\\\n", ",", "[", "]", "(", ")", ":", "-", "+",
    "None", "x", "01", "1e5", "0x", "0xfF",
]  # fmt: skip


def as_python(text):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        call = ast.parse(f"_(\n{text}\n)", mode="eval").body
        assert isinstance(call, ast.Call)
        assert isinstance(call.func, ast.Name)
        assert not call.keywords
        assert not any(isinstance(node, ast.Constant) and node.value is ... for node in ast.walk(call))
        return tuple(ast.literal_eval(each) for each in call.args)


@given(st.lists(st.sampled_from(PIECES), max_size=7).map("".join))
@settings(max_examples=400, deadline=None)
def test_literals_are_read_as_python_reads_them(text):
    try:
        expected = as_python(text)
    except (SyntaxError, ValueError, TypeError, AssertionError):
        with pytest.raises(NotLiterals):
            arguments(text)
        return
    if not text.endswith("\\") and not re.search(r"[-+]\s*\(", text):  # these two are not read here
        assert exactly(arguments(text)) == exactly(expected)


HOSTILE = {
    "open": "(" * 65_000, "deep": "[" * 32_000 + "]" * 32_000, "calls": "float" + "()" * 32_000, "signs": "-" * 65_000 + "1",
    "not": "not " * 16_000 + "1", "sums": "1+" * 32_000 + "1", "lambdas": "lambda:" * 9_000 + "1", "ifs": "1 if 1 else " * 5_000 + "1",
    "braces": "{1:" * 20_000, "texts": "'a' " * 16_000, "an open text": "'" + "\\'" * 30_000, "open texts": "'''" + "' " * 30_000,
    "digits": "9" * 65_000, "hex": "0x" + "f" * 65_000, "a float": "1" * 60_000 + "e5", "underscores": "1_" * 30_000, "points": "1." * 30_000,
    "comments": "#\n" * 30_000, "blanks": " \\\n" * 20_000 + "'", "escapes": "'" + "\\N{DIGIT ONE}" * 4_000 + "'",
    "no name": "'" + "\\N{" * 16_000 + "'", "items": "1," * 32_000, "a sign": "-'" + "x" * 60_000 + "'", "sets": "{set()," * 9_000, "colliding": "{" + ",".join(str(k * (2**61 - 1)) for k in range(3000)) + "}",
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_texts_that_are_meant_to_take_long(name):
    before = time.process_time()
    assert len(refusal(HOSTILE[name])) < 200
    assert time.process_time() - before < 2


def refusal(text):
    try:
        arguments(text)
    except NotLiterals as error:
        return str(error)
    return ""


def test_texts_that_are_meant_to_take_much_stack():
    """Python's own parser ends the process here, with the stack that a thread has where the system gives it less."""
    code = (
        "import json, sys, threading\nfrom verl_rzero.executor import NotLiterals, arguments\n"
        "def read():\n    for text in json.load(sys.stdin):\n        try: arguments(text)\n        except NotLiterals: pass\n"
        "    print('read')\n"
        "threading.stack_size(256 * 1024)\nthread = threading.Thread(target=read)\nthread.start()\nthread.join()"
    )
    texts = json.dumps([*HOSTILE.values()])
    done = subprocess.run([sys.executable, "-c", code], input=texts, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "read\n")


def test_warnings_are_left_alone():
    """Of escapes that are none. A filter that is set for a moment stays when two threads do it at the same time."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        before = list(warnings.filters)
        threads = [threading.Thread(target=lambda: [arguments(r"'\d'") for _ in range(100)]) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert arguments(r"'\d\x41', b'\d\777'") == (r"\dA", b"\\d\xff")
        assert warnings.filters == before
