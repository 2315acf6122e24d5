"""How much memory a command takes with all that it starts: proportional set sizes, summed every second, by kind.

    python benchmarks/memory.py -- bash recipes/run_rzero.sh model=tiny rounds=1 run_dir=/tmp/run

A page that several processes share counts a part in each of them, so that the sum is what the machine gives. Processes
are known by a variable in the environment that they were started with: also those whose parent has ended.
`python -m verl_rzero.coevolve ... dry_run=true` says beforehand what to expect (docs/models.md). Linux only.
"""

import argparse
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter, defaultdict
from uuid import uuid4

import psutil

GIB = 2**30
MARK = "VERL_RZERO_MEASURED"
KINDS = {
    "vLLM's engine": r"EngineCore|VLLM::",
    "vLLM's server": r"ray::\S*(StreamingServer|vLLMHttpServer)",
    "trainer (FSDP worker)": r"ray::\S*(WorkerDict|SelfPlayWorker|ActorRollout)",
    "reward worker": r"ray::\S*Reward",
    "other Ray actors": r"ray::",
    "Ray itself": r"raylet|gcs_server|ray/_private|ray/dashboard|ray-dashboard",
    "warm server, engines that it forked, driver": r"verl_rzero.engine.warm",
    "stage": r"verl_rzero.run.stage",
    "coevolve": r"verl_rzero.coevolve",
}
"""What a process is, by the first pattern that its command line holds. A process that the warm server forked keeps its
command line, unless Ray gives it another.
"""

Sizes = dict[str, list[int]]
"""Bytes of each process, by kind."""


def kind(words: str) -> str:
    return next((name for name, pattern in KINDS.items() if re.search(pattern, words)), "others")


def measured(mark: str) -> Sizes:
    """What every process that carries the mark takes."""
    found: Sizes = defaultdict(list)
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                found[kind(" ".join(process.cmdline()))].append(process.memory_full_info().pss)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue  # gone in the meantime, or another user's
    return found


def total(sizes: Sizes) -> int:
    return sum(map(sum, sizes.values()))


def table(sizes: Sizes) -> str:
    """A line for each kind, the largest first, with its processes of 0.05 GiB or more."""
    lines = []
    for name, each in sorted(sizes.items(), key=lambda item: -sum(item[1])):
        large = [f"{size / GIB:.2f}" for size in sorted(each, reverse=True) if size >= 0.05 * GIB]
        lines.append(f"  {sum(each) / GIB:6.2f} GiB  {len(each):>3} x {name}  {' '.join(large)}".rstrip())
    return "\n".join(lines)


def main() -> int:
    """Run the command, look at its memory until it ends, print the peak; returns its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--every", type=float, default=1.0, help="seconds between two looks")
    parser.add_argument("command", nargs="+")
    args = parser.parse_args()
    mark = uuid4().hex
    started = time.monotonic()
    peak: Sizes = {}
    highest: Counter[str] = Counter()
    peak_at = 0.0
    with subprocess.Popen(args.command, env={**os.environ, MARK: mark}) as process:
        # Ctrl-C goes to the command too, which is to end in its own way; what was seen is then printed.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        while process.poll() is None:
            sizes = measured(mark)
            highest |= Counter({name: sum(each) for name, each in sizes.items()})
            if total(sizes) > total(peak):
                peak, peak_at = sizes, time.monotonic() - started
            time.sleep(args.every)
    print(f"Peak of all processes together, after {peak_at:.0f} s: {total(peak) / GIB:.2f} GiB")
    print(table(peak))
    print("Highest of each kind, at whatever time:")
    print(table({name: [size] for name, size in highest.items()}))
    return process.returncode


if __name__ == "__main__":
    sys.exit(main())
