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


GROUPS = {8: "8gpu", 4: "4gpu", 2: "2gpu", 1: "1gpu", 0: "cpu"}
"""GPUs of a machine -> the hardware group that uses them."""

SMALL_GPUS = "24gb"
LARGE_GPU = 36 * 2**30
"""Bytes of memory below which a GPU is one for the group of small ones; the others are made for 80 GB."""


def chosen(overrides: list[str]) -> str | None:
    """The hardware group that is named; None where the machine is to decide."""
    word = compose.chosen(overrides, "hardware")
    return None if word == "auto" else word


def with_hardware(overrides: list[str], gpus: int, nodes: int = 1, memory: int | None = None) -> tuple[list[str], str]:
    """The overrides with a hardware group for `gpus` GPUs on each of `nodes` machines, where they name none or `auto`,
    and a sentence about it. `memory` of a GPU is in bytes, None where it isn't known.
    """
    if word := chosen(overrides):
        return overrides, f"hardware={word}, as you said."
    number, group = next((least, name) for least, name in GROUPS.items() if gpus >= least)
    rest = [override for override in overrides if override != "hardware=auto"]
    have = "no NVIDIA GPU" if gpus == 0 else f"{gpus} NVIDIA GPU{'s' if gpus > 1 else ''}"
    if number and memory is not None and memory < LARGE_GPU:
        words = [f"hardware={SMALL_GPUS}", *([f"hardware.gpus_per_node={number}"] if number > 1 else [])]
        words = [word for word in words if not any(said.startswith(word.partition("=")[0] + "=") for said in rest)]
        size = f"{have} of {memory / 2**30:.0f} GiB"
        return [*rest, *words], f"{' '.join(words)}: this machine has {size}. Write hardware= to choose."
    if nodes == 1:
        return [*rest, f"hardware={group}"], f"hardware={group}: this machine has {have}. Write hardware= to choose."
    said = any(override.startswith("hardware.nodes=") for override in rest)
    words = [f"hardware={group}", *([] if said else [f"hardware.nodes={nodes}"])]
    sentence = f"{' '.join(words)}: the Ray cluster has {nodes} machines with {have}. Write hardware= to choose."
    return [*rest, *words], sentence


def computes_bfloat16(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether this machine's processor has instructions that multiply matrices of bfloat16."""
    if not cpuinfo.is_file():
        return False
    flags = next((line for line in cpuinfo.read_text().splitlines() if line.startswith("flags")), "").split()
    return not {"avx512_bf16", "amx_bf16"}.isdisjoint(flags)


def memory_bytes(root: Path = Path("/")) -> int:
    """Memory that a program started here may use: the machine's, or less where its control group allows less."""
    limits = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    for line in (root / "proc/self/cgroup").read_text().splitlines():
        _, controllers, group = line.split(":", 2)
        if controllers == "":
            limits += _limits(root / "sys/fs/cgroup", group, "memory.max")
        elif "memory" in controllers.split(","):
            limits += _limits(root / "sys/fs/cgroup/memory", group, "memory.limit_in_bytes")
    return min(limits)


def _limits(hierarchy: Path, group: str, name: str) -> list[int]:
    """The limits of a control group and those above it. In a container only the topmost may be there to read."""
    below = hierarchy / group.lstrip("/")
    files = [each / name for each in (below, *below.parents) if each.is_relative_to(hierarchy)]
    texts = [file.read_text().strip() for file in files if file.is_file()]
    return [int(text) for text in texts if text != "max"]


def gpu_memory_bytes() -> int | None:
    """Memory of the smallest NVIDIA GPU here; None where nvidia-smi isn't there or doesn't tell."""
    if not shutil.which("nvidia-smi"):
        return None
    command = ["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    asked = subprocess.run(command, capture_output=True, text=True, check=False)
    sizes = [line.strip() for line in asked.stdout.splitlines()]
    if asked.returncode or not sizes or not all(size.isdecimal() for size in sizes):
        return None
    return min(int(size) * 2**20 for size in sizes)


def free_bytes(path: Path) -> int:
    """What may still be written to the file system of `path`, or of its nearest directory that is there. Most file
    systems don't tell of quotas here.
    """
    found = os.statvfs(next(each for each in (path, *path.parents) if each.exists()))
    return found.f_bavail * found.f_frsize
