"""HumanEval+ and MBPP+ as published, read and judged: each reference solution is to pass, an empty function never.

    python benchmarks/evalplus.py humanevalplus=<file> mbppplus=<file> [n=20]

Files as on the hub: columns prompt, test and so on; JSONL, also .gz as EvalPlus' releases on GitHub have it.
"""

import gzip
import json
import sys
import time
from pathlib import Path

from verl_rzero.evaluation import function_tests
from verl_rzero.settings import Execution
from verl_rzero.settings.benchmarks import benchmark
from verl_rzero.settings.evalplus import from_text


def main(words: list[str]) -> None:
    """Judge the files that `words` name, and say what came out."""
    given = dict(word.split("=", 1) for word in words)
    first = int(given.pop("n", 10_000))
    asked = Execution(isolation="full", sandbox_fusion=None, cpu_s=1.0, wall_s=60.0, memory_mb=256, result_bytes=65_536)
    for name, path in given.items():
        read = gzip.open if path.endswith(".gz") else open
        with read(Path(path), "rt", encoding="utf-8") as file:
            rows = [json.loads(line) for line in file][:first]
        begin = time.monotonic()
        items = benchmark(name, rows).items
        loaded = time.monotonic()
        entries = [from_text(item.tests).entry for item in items]
        empty = [f"def {entry}(*given):\n    return None" for entry in entries]
        programs = [[item.answer, nothing] for item, nothing in zip(items, empty, strict=True)]
        right = function_tests.rights(asked, [item.tests for item in items], programs)
        ended = time.monotonic()
        print(
            f"{name}: {len(items)} tasks; {sum(row[0] for row in right)} reference solutions pass, "
            f"{sum(row[1] for row in right)} empty functions; read in {loaded - begin:.0f} s, judged in "
            f"{ended - loaded:.0f} s"
        )
        for entry, row in zip(entries, right, strict=True):
            if not row[0] or row[1]:
                print(f"  {entry}: reference {row[0]}, empty {row[1]}")


if __name__ == "__main__":
    main(sys.argv[1:])
