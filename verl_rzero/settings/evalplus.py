"""Rows of HumanEval+ and MBPP+ (EvalPlus, arXiv 2305.01210) as questions, and as tests that are data.

Their column `test` is a program that calls a function on many inputs. It isn't run: inputs, results and the rule by
which it compares are read from its syntax tree, so that values are compared here (evaluation/function_tests.py).
"""

import ast
import inspect
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from verl_rzero.executor import show

Rule = Literal["equal", "set", "found", "root"]

_REQUEST = "Write {what} in Python. Reply with the whole program in one block that begins with ```python."
_CONSTANTS = {"inf": math.inf, "nan": math.nan}


class NoTests(ValueError):
    """A row that can't be read as tests of a function; the message says why."""


@dataclass(frozen=True)
class FunctionTests:
    """What a function is tested by.

    Attributes:
        entry: its name.
        before: what stands before a reply's program: the imports and helpers that its question shows.
        inputs: positional arguments of each call, as the executor's literals.
        outputs: what each is to return, as literals; none: what `reference` returns.
        rule: values are equal, equal as sets, true or found as said (`found`), or a root of the polynomial (`root`).
        tolerance: absolute, beside a relative one of 1e-7; 0: floats within 1e-6, all else exactly.
        setup: where complex numbers are among the values, a program whose `INPUTS` holds the arguments; `inputs` are
            places in it then, and what is returned is to go through its `plain`, as `outputs` did.
    """

    entry: str
    before: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    rule: Rule
    tolerance: float
    reference: str
    setup: str = ""


def as_text(tests: FunctionTests) -> str:
    return json.dumps(asdict(tests))


def from_text(text: str) -> FunctionTests:
    given = json.loads(text)
    return FunctionTests(**given | {"inputs": tuple(given["inputs"]), "outputs": tuple(given["outputs"])})


def human_eval(row: Mapping[str, Any]) -> tuple[str, str, FunctionTests]:
    """Question, reference solution and tests of a row of evalplus/humanevalplus."""
    prompt, entry = row["prompt"], row["entry_point"]
    reference = prompt + row["canonical_solution"]
    asked = f"{_REQUEST.format(what='the function that this begins')}\n\n```python\n{prompt.strip()}\n```"
    return asked, reference, _tests(row["test"], entry, f"{prompt}\n", reference)


def mbpp(row: Mapping[str, Any]) -> tuple[str, str, FunctionTests]:
    """Question, reference solution and tests of a row of evalplus/mbppplus. The first of its tests is shown, which
    names the function, as EvalPlus does.
    """
    what = "the function that this asks for, and that passes the test"
    asked = f"{_REQUEST.format(what=what)}\n\n{row['prompt'].strip()}\n\n```python\n{row['test_list'][0].strip()}\n```"
    return asked, row["code"], _tests(row["test"], "", "", row["code"])


def _tests(test: str, entry: str, before: str, reference: str) -> FunctionTests:
    try:
        module = ast.parse(test)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise NoTests(f"its test is no program: {error}") from error
    functions = {node.name: node for node in module.body if isinstance(node, ast.FunctionDef)}
    check = functions["check"].body if "check" in functions else module.body
    called = _called(check)
    values = {
        node.targets[0].id: node.value
        for node in check
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }
    if "inputs" not in values:
        raise NoTests("its test has no list `inputs`")
    inputs = _literal(values["inputs"], "inputs")
    if any(not isinstance(case, (list, tuple)) for case in inputs):
        raise NoTests("each of its inputs should be a list of arguments")
    outputs = [] if "ref_func" in functions else _literal(values.get("results"), "results")
    if not inputs or (outputs and len(outputs) != len(inputs)):
        raise NoTests(f"its test has {len(inputs)} inputs and {len(outputs)} results")
    try:
        shown, setup = tuple(", ".join(map(show, case)) for case in inputs), ""
        wanted = tuple(map(show, outputs))
    except TypeError:
        shown, wanted = tuple(map(str, range(len(inputs)))), tuple(show(plain(value)) for value in outputs)
        setup = f"INPUTS = {inputs!r}\n\n{inspect.getsource(plain)}"
    rule = _rule(functions)
    tolerance = 1e-4 if rule == "root" else called.atol
    return FunctionTests(entry or called.name, before, shown, wanted, rule, tolerance, reference, setup)


def plain(value):  # type: ignore[no-untyped-def] # its text goes to where programs run
    """The value with complex numbers as tuples."""
    if isinstance(value, complex):
        return ("complex", value.real, value.imag)
    return type(value)(map(plain, value)) if type(value) in (list, tuple) else value


@dataclass(frozen=True)
class _Call:
    name: str
    atol: float


def _called(check: list[ast.stmt]) -> _Call:
    """The function that a loop `for ... : assertion(<name>(*inp), <expected>, <tolerance>)` calls."""
    for node in (node for loop in check if isinstance(loop, ast.For) for node in ast.walk(loop)):
        match node:
            case ast.Call(ast.Name("assertion"), [ast.Call(ast.Name(name)), _, ast.Constant(int() | float() as atol)]):
                return _Call(name, float(atol))
            case ast.Call(ast.Name("_poly"), [ast.Starred(ast.Call(ast.Name(name))), *_]):
                return _Call(name, 0.0)
    raise NoTests("its test calls no function in a loop, by `assertion`")


def _rule(functions: Mapping[str, ast.FunctionDef]) -> Rule:
    if "_poly" in functions:
        return "root"
    body = ast.unparse(functions["assertion"]) if "assertion" in functions else ""
    if "out is not None" in body:
        return "found"
    return "set" if "set(out)" in body else "equal"


def _literal(node: ast.expr | None, name: str) -> list[Any]:
    try:
        if node is None:
            raise ValueError("there is none")
        try:
            found = ast.literal_eval(node)
        except ValueError:
            found = ast.literal_eval(ast.fix_missing_locations(_Named().visit(node)))
        if not isinstance(found, list):
            raise ValueError(f"it is of type {type(found).__name__}")
        return found
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError) as error:
        raise NoTests(f"its list `{name}` can't be read: {error}") from error


class _Named(ast.NodeTransformer):
    """`inf` and `nan` as numbers."""

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return ast.Constant(_CONSTANTS[node.id]) if node.id in _CONSTANTS else node
