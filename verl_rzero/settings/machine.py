"""What the machine has, found out without loading any engine."""

import os
import shutil
import subprocess
from pathlib import Path

from verl_rzero.settings import compose


def visible_gpus() -> int:
    """NVIDIA GPUs that a program started here could use."""
    listed = None
    if shutil.which("nvidia-smi"):
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False)
    if listed is not None and listed.returncode == 0:
        count = sum(line.startswith("GPU ") for line in listed.stdout.splitlines())
    else:
        count = len(list(Path("/dev").glob("nvidia[0-9]*")))
    allowed = os.environ.get("CUDA_VISIBLE_DEVICES")
    return count if allowed is None else min(count, len([word for word in allowed.split(",") if word.strip()]))


def with_hardware(overrides: list[str], gpus: int) -> tuple[list[str], str]:
    """The overrides with a hardware group for `gpus` GPUs, where they name none or `auto`, and a sentence about it."""
    word = compose.chosen(overrides, "hardware")
    if word not in (None, "auto"):
        return overrides, f"hardware={word}, as you said."
    group = "cpu" if gpus == 0 else "8gpu" if gpus >= 8 else "1gpu"
    rest = [override for override in overrides if override != "hardware=auto"]
    seen = "no NVIDIA GPU" if gpus == 0 else f"{gpus} NVIDIA GPU{'s' if gpus > 1 else ''}"
    return [*rest, f"hardware={group}"], f"hardware={group}: this machine has {seen}. Write hardware= to choose."
