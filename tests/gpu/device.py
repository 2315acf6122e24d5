"""How much memory is in use: of the card, or on a CPU of the processes that a step has started."""

import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from verl_rzero.base.processes import processes_of

EVERY_S = {"cuda": 0.1, "cpu": 1.0}

Samples = list[tuple[float, int]]
"""Seconds since 1970, bytes."""


@cache
def card() -> Any:
    """NVML's handle of the first card that a program started here sees."""
    import pynvml

    pynvml.nvmlInit()
    first, _, _ = os.environ.get("CUDA_VISIBLE_DEVICES", "0").partition(",")
    by_name = pynvml.nvmlDeviceGetHandleByUUID
    return pynvml.nvmlDeviceGetHandleByIndex(int(first)) if first.isdecimal() else by_name(first)


def used(platform: str, run: Path) -> int:
    """Bytes in use on the card, whoever holds them; on a CPU the proportional set sizes of the run's processes."""
    if platform == "cuda":
        import pynvml

        return int(pynvml.nvmlDeviceGetMemoryInfo(card()).used)
    return sum(size(process) for process in processes_of(run))


def size(process: Any) -> int:
    import psutil

    try:
        return int(process.memory_full_info().pss)
    except psutil.Error:  # gone in the meantime
        return 0


@contextmanager
def watched(platform: str, run: Path, file: Path) -> Iterator[None]:
    """Write down what is in use, a line each time, until the block is left."""
    over = threading.Event()

    def look() -> None:
        with file.open("a", buffering=1, encoding="utf-8") as lines:
            while not over.wait(EVERY_S[platform]):
                lines.write(json.dumps([time.time(), used(platform, run)]) + "\n")

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def samples(file: Path) -> Samples:
    """What was written down; nothing, where nothing was."""
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    return [(at, size) for at, size in map(json.loads, lines)]
