"""vLLM's workers on a CPU, extended (`rollout.engine_kwargs.vllm.worker_extension_cls`): they sample by
`sampling.py`, and keep linear weights where a weight sync can reach them.

vLLM's CPU linear layers repack their weight for oneDNN after loading and drop the original, so verl's weight sync
before every step finds nothing to load into. Engines that follow a training keep the weight and call torch's own
linear.
"""

import sys
import threading
from typing import Any

import torch
import vllm.model_executor.layers.utils as layer_utils
from tqdm import tqdm
from verl.workers.rollout.vllm_rollout.utils import vLLMColocateWorkerExtension

from verl_rzero.engine.cpu import sampling


def _plain_linear(layer: torch.nn.Module, remove_weight: bool) -> None:
    layer.cpu_linear = torch.nn.functional.linear


def keep_weights() -> None:
    """Replace vLLM's repacking in its home module and wherever it is imported by name."""
    layer_utils.dispatch_cpu_unquantized_gemm = _plain_linear
    for name, module in list(sys.modules.items()):
        if name.startswith("vllm.") and hasattr(module, "dispatch_cpu_unquantized_gemm"):
            module.dispatch_cpu_unquantized_gemm = _plain_linear  # type: ignore[attr-defined]


class CPUWorkerExtension(vLLMColocateWorkerExtension):
    """verl's worker extension, with one random number for each token."""

    def __new__(cls, **kwargs: Any) -> "CPUWorkerExtension":
        sampling.install()
        tqdm.set_lock(threading.RLock())  # its own is a semaphore in /dev/shm, which stays where Ray kills the engine
        return super().__new__(cls, **kwargs)  # type: ignore[no-any-return]


class SyncedCPUWorkerExtension(CPUWorkerExtension):
    """The same for an engine whose weights are replaced."""

    def __new__(cls, **kwargs: Any) -> "SyncedCPUWorkerExtension":
        keep_weights()
        return super().__new__(cls, **kwargs)
