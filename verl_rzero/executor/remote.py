"""What a SandboxFusion server runs: a program in this very process, behind limits and without walls of ours.

`sandbox_fusion` sends this file with a call of `main` behind it; nothing of ours is imported. The request comes by
standard input, a marker in the line before it; the message is written between two of these.
"""

import json  # noqa: F401 (the call of `main` reads its words by it)
import os
import resource
import signal
import sys
import types
from typing import Any


def main(setup: dict[str, Any]) -> None:
    """
    Args:
        setup: {"world": environment, "sources": {name: text}, "limits": as `Limits`}.
    """
    if any(os.environ.get(name) != value for name, value in setup["world"].items()):
        # A hash seed is read when an interpreter starts.
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **setup["world"]})
    marker, request = sys.stdin.buffer.read().split(b"\n", 1)
    border, program = (module(name, setup["sources"][name]) for name in ("border", "program"))
    out = os.dup(1)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for fd in range(3):
        os.dup2(nowhere, fd)
    sys.stdin = None
    limits, end = setup["limits"], os._exit
    confine(limits["cpu_s"], limits["memory_mb"])
    said = program.message(border, border.loads(request), limits["result_bytes"], limits["printed_chars"])
    text = marker + said + marker
    while text:
        text = text[os.write(out, text) :]
    end(0)


def module(name: str, text: str) -> types.ModuleType:
    made = types.ModuleType(name)
    exec(compile(text, name, "exec"), made.__dict__)
    return made


def confine(cpu_s: float, memory_mb: int) -> None:
    """As `lockdown.limit`, of what a process may do to itself; the server ends it by the clock."""
    with open("/proc/self/statm", encoding="ascii") as file:
        pages = int(file.read().split()[0])
    for what, most in (
        (resource.RLIMIT_AS, pages * os.sysconf("SC_PAGE_SIZE") + memory_mb * 2**20),
        (resource.RLIMIT_CPU, int(cpu_s) + 2),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(what)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(what, (most, most))
    signal.setitimer(signal.ITIMER_PROF, cpu_s)
