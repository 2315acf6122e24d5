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
from collections import Counter
from collections.abc import Iterator
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
    "warm server": r"verl_rzero.engine.warm",
    "stage (driver)": r"verl_rzero.run.stage",
    "coevolve": r"verl_rzero.coevolve",
}
"""What a process is, by the first pattern that its command line holds."""


def kind(words: str) -> str:
    return next((name for name, pattern in KINDS.items() if re.search(pattern, words)), "others")


def measured(mark: str) -> Iterator[tuple[str, int]]:
    """(kind, bytes) of every process that carries the mark."""
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                yield kind(" ".join(process.cmdline())), process.memory_full_info().pss
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue  # gone in the meantime, or another user's


def table(title: str, sizes: Counter[str], counts: Counter[str]) -> str:
    lines = [f"  {size / GIB:6.2f} GiB  {counts[name]:>3} x  {name}" for name, size in sizes.most_common()]
    return "\n".join([f"{title}: {sizes.total() / GIB:.2f} GiB", *lines])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--every", type=float, default=1.0, help="seconds between two looks")
    parser.add_argument("command", nargs="+")
    args = parser.parse_args()
    mark = uuid4().hex
    started = time.monotonic()
    peak: Counter[str] = Counter()
    peak_counts: Counter[str] = Counter()
    highest: Counter[str] = Counter()
    peak_at = 0.0
    with subprocess.Popen(args.command, env={**os.environ, MARK: mark}) as process:
        # Ctrl-C goes to the command too, which is to end in its own way; what was seen is then printed.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        while process.poll() is None:
            sizes: Counter[str] = Counter()
            counts: Counter[str] = Counter()
            for name, size in measured(mark):
                sizes[name] += size
                counts[name] += 1
            highest |= sizes
            if sizes.total() > peak.total():
                peak, peak_counts, peak_at = sizes, counts, time.monotonic() - started
            time.sleep(args.every)
    print(table(f"Peak, after {peak_at:.0f} s, of all processes together", peak, peak_counts))
    print("Highest of each kind, at whatever time: ", end="")
    print(", ".join(f"{name} {size / GIB:.2f} GiB" for name, size in highest.most_common()))
    return process.returncode


if __name__ == "__main__":
    sys.exit(main())
