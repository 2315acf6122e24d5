"""The process in which `grading.Grader` has symbolic questions answered; it may be killed at any moment.

Run as a script (not as a module: nothing of the package is imported, a start costs only the engine's own imports).
Protocol, one JSON object per line: the worker writes {"ready": true}, then answers every {"a": latex, "b": latex,
"cpu_s": seconds} with {"same": bool, "error": bool, "cpu_s": seconds} or {"memory": true} (it came to its memory limit:
no verdict, and the worker should be replaced). A question that needs more processor time than `cpu_s` ends the worker
by SIGPROF, inside one long C call too, whether there is a parent left or not.
"""

import json
import os
import re
import resource
import select
import signal
import sys
import time
from collections.abc import Callable
from functools import lru_cache
from typing import Any, TextIO

_LONE_I = re.compile(r"(?<![A-Za-z\\])i(?![A-Za-z])")  # the engine knows the imaginary unit only between blanks


def main(memory_mb: int) -> None:
    """Answer requests, one JSON object a line on standard input, until the parent is gone or closes it."""
    parent = os.getppid()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    signal.signal(signal.SIGPROF, signal.SIG_DFL)  # ends the process, whatever Python code would catch
    replies = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(2, 1)  # what libraries print must not mix with the replies
    same = _engine(replies)
    same("x+1", "2x")  # the first question loads the parser's tables
    start, limit = _limit_memory(memory_mb)
    _send(replies, {"ready": True})
    pending = b""
    while True:
        while b"\n" not in pending:
            if not select.select([0], [], [], 5.0)[0]:
                if os.getppid() != parent:
                    return
                continue
            chunk = os.read(0, 65536)
            if not chunk:
                return
            pending += chunk
        line, pending = pending.split(b"\n", 1)
        request = json.loads(line)
        before = time.process_time()
        signal.setitimer(signal.ITIMER_PROF, request["cpu_s"])
        try:
            verdict, error = same(request["a"], request["b"])
            at_limit = not verdict and _peak() - start > 0.9 * (limit - start)  # the engine swallows most MemoryErrors
        except MemoryError:
            at_limit = True
        signal.setitimer(signal.ITIMER_PROF, 0)
        spent = time.process_time() - before
        _send(replies, {"memory": True} if at_limit else {"same": verdict, "error": error, "cpu_s": spent})


def _send(replies: TextIO, message: dict[str, object]) -> None:
    replies.write(json.dumps(message) + "\n")
    replies.flush()


def _limit_memory(memory_mb: int) -> tuple[int, int]:
    """Set the limit; returns the highest use so far and the limit, in bytes of address space."""
    start = _peak()
    limit = start + memory_mb * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    return start, limit


def _peak() -> int:
    with open("/proc/self/status", encoding="ascii") as status:
        (kib,) = (line.split()[1] for line in status if line.startswith("VmPeak:"))
    return int(kib) * 1024


def _same_equation(a: Any, b: Any) -> bool:
    """One equation is a multiple of the other (math-verify calls two equations without a solution equal)."""
    from sympy import simplify

    left, right = (simplify(equation.lhs - equation.rhs) for equation in (a, b))
    ratio = simplify(left / right) if right != 0 else None
    return ratio is not None and bool(ratio.is_number and ratio.is_finite and ratio != 0)


def _certainly_differ(a: Any, b: Any) -> bool:
    """Two numbers that are apart by far more than their rounding; the engine would try to simplify them."""
    from sympy import Expr

    if not (isinstance(a, Expr) and isinstance(b, Expr) and a.is_number and b.is_number):
        return False
    apart = abs((a - b).evalf(40))
    return bool(apart.is_Float and apart > 1e-25 * (1 + abs(b.evalf(15))))


def _engine(replies: TextIO) -> Callable[[str, str], tuple[bool, bool]]:
    """The comparison, as (verdict, whether the engine raised); imports the engine. A failing import is reported and
    ends the worker.
    """
    try:
        from latex2sympy2_extended import latex2sympy
        from math_verify import verify
        from math_verify.grader import should_treat_as_complex
        from sympy import Basic, Eq, I, MatrixBase, Symbol, simplify
        from sympy.core.random import seed
    except ImportError as error:
        _send(replies, {"ready": False, "error": str(error)})
        sys.exit(1)

    @lru_cache(maxsize=512)
    def parse(latex: str, is_real: bool) -> Any:
        parsed = latex2sympy(latex, is_real=is_real, convert_degrees=False, normalization_config=None)
        return parsed if is_real else parsed.subs(Symbol("i", real=False), I)

    def verified(left: Any, right: Any) -> bool:
        options = {"float_rounding": 15, "numeric_precision": 60, "timeout_seconds": None, "raise_on_error": True}
        raised = None
        for one, other in ((left, right), (right, left)):
            try:
                if verify(one, other, **options):
                    return True
            except MemoryError:
                raise
            except Exception as error:
                raised = error
        if raised is not None:
            raise raised
        return False

    def compare(a: str, b: str) -> bool:
        a, b = (_LONE_I.sub(" i ", side) for side in (a, b))
        is_real = not should_treat_as_complex(f"{a} {b}")
        left, right = parse(a, is_real), parse(b, is_real)
        if isinstance(left, Eq) and isinstance(right, Eq):
            return _same_equation(left, right)
        one_symbol = isinstance(left, Symbol) or isinstance(right, Symbol)
        if one_symbol and isinstance(left, Basic) and isinstance(right, Basic):
            return bool(left == right or simplify(left - right) == 0)  # math-verify only compares how they are written
        if not all(isinstance(side, (Basic, MatrixBase)) for side in (left, right)):
            return False
        return not _certainly_differ(left, right) and verified(left, right)

    def same(a: str, b: str) -> tuple[bool, bool]:
        seed(0)  # sympy tries random points: the same ones for one pair, whatever was asked before
        try:
            return compare(a, b), False
        except MemoryError:
            raise
        except Exception:  # the engine raises nearly anything on what it cannot read or compare; it is counted
            return False, True

    return same


if __name__ == "__main__":
    main(int(sys.argv[1]))
