"""The process in which `grading.Grader` has symbolic questions answered; it may be killed at any moment.

Run as a script (not as a module: nothing of the package is imported, a start costs only the engine's own imports).
Protocol, one JSON object per line: the worker writes {"ready": true}, then answers every {"a": latex, "b": latex,
"timeout_s": seconds} with {"same": bool} or {"memory": true} (it came to its memory limit: no verdict, and the worker
should be replaced).
"""

import json
import math
import os
import re
import resource
import select
import signal
import sys
from collections.abc import Callable
from functools import lru_cache
from typing import Any, TextIO

_LONE_I = re.compile(r"(?<![A-Za-z\\])i(?![A-Za-z])")  # the engine knows the imaginary unit only between blanks


def main(memory_mb: int) -> None:
    """Answer requests, one JSON object a line on standard input, until the parent is gone or closes it."""
    parent = os.getppid()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
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
        _limit_cpu(request["timeout_s"])
        try:
            verdict = same(request["a"], request["b"])
            at_limit = not verdict and _peak() - start > 0.9 * (limit - start)  # the engine swallows most MemoryErrors
            reply: dict[str, object] = {"memory": True} if at_limit else {"same": verdict}
        except MemoryError:
            reply = {"memory": True}
        _send(replies, reply)


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


def _limit_cpu(timeout_s: float) -> None:
    """A worker whose parent is gone ends by itself, even inside one long C call."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    limit = math.ceil(usage.ru_utime + usage.ru_stime + timeout_s + 2)
    resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.getrlimit(resource.RLIMIT_CPU)[1]))


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


def _engine(replies: TextIO) -> Callable[[str, str], bool]:
    """The comparison; imports the engine. A failing import is reported and ends the worker."""
    try:
        from latex2sympy2_extended import latex2sympy
        from math_verify import verify
        from math_verify.grader import should_treat_as_complex
        from sympy import Basic, Eq, I, MatrixBase, Symbol, simplify
    except ImportError as error:
        _send(replies, {"ready": False, "error": str(error)})
        sys.exit(1)

    @lru_cache(maxsize=512)
    def parse(latex: str, is_real: bool) -> Any:
        try:
            parsed = latex2sympy(latex, is_real=is_real, convert_degrees=False, normalization_config=None)
            return parsed if is_real else parsed.subs(Symbol("i", real=False), I)
        except MemoryError:
            raise
        except (Exception, RecursionError):  # the parser raises bare Exception on what it cannot read
            return None

    def verified(left: Any, right: Any) -> bool:
        options = {"float_rounding": 15, "numeric_precision": 60, "timeout_seconds": None, "raise_on_error": True}
        try:
            return bool(verify(left, right, **options))
        except MemoryError:
            raise
        except (Exception, RecursionError):
            return False

    def compare(a: str, b: str) -> bool:
        a, b = (_LONE_I.sub(" i ", side) for side in (a, b))
        is_real = not should_treat_as_complex(f"{a} {b}")
        left, right = parse(a, is_real), parse(b, is_real)
        if left is None or right is None:
            return False
        if isinstance(left, Eq) and isinstance(right, Eq):
            return _same_equation(left, right)
        one_symbol = isinstance(left, Symbol) or isinstance(right, Symbol)
        if one_symbol and isinstance(left, Basic) and isinstance(right, Basic):
            return bool(left == right or simplify(left - right) == 0)  # math-verify only compares how they are written
        if not all(isinstance(side, (Basic, MatrixBase)) for side in (left, right)):
            return False
        if _certainly_differ(left, right):
            return False
        return verified(left, right) or verified(right, left)

    def same(a: str, b: str) -> bool:
        try:
            return compare(a, b)
        except MemoryError:
            raise
        except (Exception, RecursionError):  # sympy raises nearly anything; what it cannot compare is not equal
            return False

    return same


if __name__ == "__main__":
    main(int(sys.argv[1]))
