"""Stock verl 0.9.1 on a CPU: a platform class, and the patches that it takes, each with its reason.

Nothing here is imported on a GPU machine (see `plugin.py`). The weight-loading patch of vLLM's worker is in
`vllm_cpu.py`, attention over packed sequences in `attention.py`.
"""

import importlib.metadata
import os
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import torch
from verl.plugin.platform.platform_base import PlatformBase
from verl.plugin.platform.platform_manager import PlatformRegistry

from verl_rzero.engine.cpu import attention, distribution

VERL_VERSIONS = ("0.9.1",)
VLLM_VERSIONS = ("0.27.0", "0.27.1", "0.28.0")  # those that pin torch 2.13.0 and accept transformers < 5.11


def install() -> None:
    """Register the platform and apply the patches. Idempotent.

    Raises:
        RuntimeError: the installed verl or vLLM is not one that the patches were made for.
    """
    distribution.answer_for_vllm()
    check_versions()
    PlatformRegistry.register(platform="cpu")(PlatformCPU)
    _accept_cpu_gloo_twice()
    _offload_without_pinned_memory()
    _log_probs_in_one_go()
    attention.register()


def check_versions() -> None:
    """Refuse versions whose internals the patches do not know."""
    verl, vllm = importlib.metadata.version("verl"), importlib.metadata.version("vllm").removesuffix("+cpu")
    if verl not in VERL_VERSIONS:
        raise RuntimeError(
            f"verl_rzero's CPU support is made for verl {VERL_VERSIONS[0]}, this is {verl}: install that version"
        )
    if vllm not in VLLM_VERSIONS:
        raise RuntimeError(
            f"verl_rzero's CPU support is made for vLLM {', '.join(VLLM_VERSIONS)}, this is {vllm}: "
            "install the versions of requirements/cpu.txt"
        )


class PlatformCPU(PlatformBase):
    """The CPU as a verl device. Ray's logical `GPU` resource counts the slots that workers occupy."""

    device_name = "cpu"
    vendor_name = "cpu"

    @property
    def device_module(self) -> Any:
        return _DEVICE_MODULE

    def is_available(self) -> bool:
        return True

    def is_platform_available(self, use_smi_check: bool = False) -> bool:
        return os.environ.get("VERL_PLATFORM") == "cpu"

    def current_device(self) -> str:  # verl passes it to Tensor.to()
        return "cpu"

    def device_count(self) -> int:
        return 1

    def set_device(self, device_index: int) -> None:
        pass

    def synchronize(self, device_index: int | None = None) -> None:
        pass

    def manual_seed(self, seed: int) -> None:
        torch.manual_seed(seed)

    def manual_seed_all(self, seed: int) -> None:
        torch.manual_seed(seed)

    def set_allocator_settings(self, settings: str) -> None:
        pass

    def empty_cache(self) -> None:
        pass

    def get_device_capability(self, device_index: int = 0) -> tuple[int | None, int | None]:
        return None, None

    def communication_backend_name(self) -> str:
        return "gloo"

    def visible_devices_envvar(self) -> str:
        return "VERL_RZERO_VISIBLE_CPU_SLOTS"  # verl wants a name to write to; nothing reads it

    @contextmanager
    def nvtx_range(self, msg: str) -> Iterator[None]:
        yield

    def profiler_start(self) -> None:
        pass

    def profiler_stop(self) -> None:
        pass

    def ray_resource_name(self) -> str:
        return "GPU"

    def ray_noset_envvars(self) -> list[str]:
        return []

    def is_ipc_supported(self) -> bool:  # weights then travel through shared memory
        return False

    def cudart(self) -> None:
        return None


class _DeviceModule:
    """`torch.cpu` with the `torch.cuda` names that verl calls on its device module."""

    def __getattr__(self, name: str) -> Any:
        return getattr(torch.cpu, name)

    manual_seed = manual_seed_all = staticmethod(torch.manual_seed)
    get_rng_state = staticmethod(torch.get_rng_state)
    set_rng_state = staticmethod(torch.set_rng_state)

    def is_available(self) -> bool:
        return True

    def current_device(self) -> str:
        return "cpu"

    def empty_cache(self) -> None:
        pass

    ipc_collect = reset_peak_memory_stats = lambda self, *_: None
    memory_allocated = memory_reserved = max_memory_allocated = max_memory_reserved = lambda self, *_: 0

    def mem_get_info(self, *_: Any) -> tuple[int, int]:
        import psutil

        memory = psutil.virtual_memory()
        return memory.available, memory.total

    def get_device_name(self, *_: Any) -> str:
        return "cpu"

    def get_device_properties(self, *_: Any) -> SimpleNamespace:
        return SimpleNamespace(name="cpu", total_memory=self.mem_get_info()[1])


_DEVICE_MODULE = _DeviceModule()


def _accept_cpu_gloo_twice() -> None:
    """verl asks for the backend "cpu:gloo,<device>:<backend>"; here both halves are "cpu:gloo", and torch refuses a
    device named twice.
    """
    import torch.distributed as dist

    original = dist.init_process_group

    def init_process_group(backend: str | None = None, *args: Any, **kwargs: Any) -> None:
        original("gloo" if backend == "cpu:gloo,cpu:gloo" else backend, *args, **kwargs)

    dist.init_process_group = init_process_group


def _offload_without_pinned_memory() -> None:
    """verl gives the FSDP2 reference model CPUOffloadPolicy(pin_memory=True); pinning needs an accelerator."""
    import torch.distributed.fsdp as fsdp

    class Unpinned(fsdp.CPUOffloadPolicy):
        def __init__(self, pin_memory: bool = False) -> None:
            super().__init__(pin_memory=False)

    fsdp.CPUOffloadPolicy = Unpinned


def _log_probs_in_one_go() -> None:
    """verl's fallback without flash-attention takes logsumexp token by token in a Python loop; packed rows have
    thousands of tokens.
    """
    from verl.utils import torch_functional

    def logprobs_from_logits(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        losses = torch.nn.functional.cross_entropy(logits.flatten(0, -2), labels.flatten(), reduction="none")
        return -losses.view(labels.shape)

    torch_functional.logprobs_from_logits_v2 = logprobs_from_logits
