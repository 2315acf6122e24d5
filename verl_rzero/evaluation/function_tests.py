"""Benchmarks of functions (HumanEval+, MBPP+): replies are programs, run by the executor; values are compared here.

The rules are those of the datasets' own tests, where these decide anything: HumanEval/32 can't be passed by its test as
it is published, and MBPP/737, 787 and 794 compare without an assertion; EvalPlus's own evaluator decides all four, and
so does this.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from verl_rzero.engine.code_checks import runner
from verl_rzero.executor import Failure, Runner, arguments
from verl_rzero.executor import Task as Run
from verl_rzero.settings import Execution
from verl_rzero.settings.evalplus import FunctionTests, from_text

CASES = 64
"""Calls in one process, within a process's limits; one where results are not written down, since they are too large."""

MAX_CHARS = 1 << 20
"""Of a value that is a benchmark's, as text."""

CPU_S, MEMORY_MB, RESULT_BYTES = 10.0, 1024, 1 << 24
"""At least so much: the reference solutions need more than a proposed program may have."""


def rights(asked: Execution, tests: Sequence[str], programs_QN: Sequence[Sequence[str | None]]) -> list[list[bool]]:
    """Whether each of the programs given to each question passes its tests (`as_text`)."""
    limits = replace(
        asked,
        cpu_s=max(asked.cpu_s, CPU_S),
        memory_mb=max(asked.memory_mb, MEMORY_MB),
        result_bytes=max(asked.result_bytes, RESULT_BYTES),
    )
    asked_of = [from_text(text) for text in tests]
    with runner(limits) as executor:
        calls = [_written(each) if each.outputs else _by_reference(each, executor) for each in asked_of]
        tried = [
            (asked_of[number], calls[number], program)
            for number, programs in enumerate(programs_QN)
            for program in programs
            if program is not None
        ]
        passed = iter(_passed(tried, executor))
    return [[program is not None and next(passed) for program in programs] for programs in programs_QN]


Call = tuple[str, Any]
"""Arguments as literals, and the value that is to come of them."""


def _written(tests: FunctionTests) -> list[Call]:
    return [(given, arguments(text, MAX_CHARS)[0]) for given, text in zip(tests.inputs, tests.outputs, strict=True)]


def _by_reference(tests: FunctionTests, runner: Runner) -> list[Call]:
    """The calls with what the reference solution returns, but for those on which it comes to a limit."""
    came = dict(runner.run_many(_run(tests, tests.reference, (given,)) for given in tests.inputs))
    calls = [(given, came[place].value[0]) for place, given in enumerate(tests.inputs) if came[place].ok]
    failures = {str(result.failure) for result in came.values() if not result.ok}
    if not calls or failures - {Failure.MEMORY, Failure.OUTPUT_TOO_LARGE}:
        raise RuntimeError(f"the reference solution of {tests.entry} failed on its own inputs: {', '.join(failures)}")
    return calls


def _passed(tried: Sequence[tuple[FunctionTests, list[Call], str]], runner: Runner) -> list[bool]:
    """Whether each program passes; some calls of all programs, then the next of those that have passed these. Calls
    that take too long together are made one by one.
    """
    passed, done = [True] * len(tried), [0] * len(tried)
    at_once = [CASES if tests.outputs else 1 for tests, _, _ in tried]
    while going := [
        number for number, (_, calls, _) in enumerate(tried) if passed[number] and done[number] < len(calls)
    ]:
        parts = []
        for number in going:
            parts.append(tried[number][1][done[number] : done[number] + at_once[number]])
            done[number] += len(parts[-1])
        runs = (
            _run(tried[number][0], tried[number][2], tuple(given for given, _ in part))
            for number, part in zip(going, parts, strict=True)
        )
        for place, result in runner.run_many(runs):
            number = going[place]
            if result.failure is Failure.TIME and len(parts[place]) > 1:
                done[number], at_once[number] = done[number] - len(parts[place]), 1
                continue
            passed[number] = result.ok and all(
                same(tried[number][0], value, wanted, given)
                for value, (given, wanted) in zip(result.value, parts[place], strict=True)
            )
    return passed


def _program(tests: FunctionTests, program: str) -> str:
    """A reply's program as it is run: behind what its question shows, before what calls it."""
    whole = f"{tests.before}{program}\n"
    if tests.setup:
        call = f"def _called(place):\n    return plain({tests.entry}(*INPUTS[place]))\n"
        return f"{whole}\n{tests.setup}\n{call}"
    if tests.rule == "found":
        # What is found may be an object that is no data.
        call = "    return found if isinstance(found, bool) else found is not None\n"
        return f"{whole}\ndef _called(*given):\n    found = {tests.entry}(*given)\n{call}"
    return whole


def _run(tests: FunctionTests, program: str, inputs: tuple[str, ...]) -> Run:
    entry = "_called" if tests.setup or tests.rule == "found" else tests.entry
    return Run(_program(tests, program), inputs, entry=entry, max_chars=MAX_CHARS)


def same(tests: FunctionTests, given: Any, wanted: Any, inputs: str) -> bool:
    """Whether a call returned what it should, by the rule of its tests."""
    try:
        if tests.rule == "set":
            return _same_set(given, set(wanted))
        if tests.rule == "root":
            if not isinstance(given, (int, float)):
                return False
            root, (coefficients,) = (
                float(given),
                arguments(inputs),
            )  # a huge integer is none, and its powers take for ever
            value: float = sum(factor * root**power for power, factor in enumerate(coefficients))
            return abs(value) <= tests.tolerance
    except (TypeError, ValueError, OverflowError):
        return False
    tolerance = tests.tolerance or (1e-6 if _floats(wanted) else 0.0)
    return bool(given == wanted) or (tolerance > 0 and _close(given, wanted, tolerance))


def _same_set(given: Any, wanted: set[Any]) -> bool:
    """`set(given) == wanted`. No set is made of what a program returned: many keys of one hash take for ever."""
    found = set()
    for each in given:
        if each not in wanted:
            return False
        found.add(each)
    return found == wanted


def _floats(value: Any) -> bool:
    """As the datasets' tests have it: a float, or a sequence of such."""
    if isinstance(value, (list, tuple)):
        return all(isinstance(each, float) for each in value)
    return isinstance(value, float)


def _close(given: Any, wanted: Any, tolerance: float) -> bool:
    """Numbers within the tolerance and a relative one of 1e-7, in sequences of one shape; NaN is close to nothing."""
    if isinstance(given, (list, tuple)) and isinstance(wanted, (list, tuple)):
        return len(given) == len(wanted) and all(
            _close(one, other, tolerance) for one, other in zip(given, wanted, strict=True)
        )
    if not (isinstance(given, (int, float)) and isinstance(wanted, (int, float))):
        return False
    try:
        return bool(given == wanted or abs(given - wanted) <= tolerance + 1e-7 * abs(wanted))
    except OverflowError:
        return False
