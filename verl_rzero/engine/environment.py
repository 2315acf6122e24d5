"""Environment variables of a stage's processes, set before anything heavy is imported."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir

from verl_rzero.settings import Settings

LONGEST_DIRECTORY = 50
"""Of a socket's path only 107 bytes count, and the engines' names for sockets below this take 40."""

COMMON = {
    "TOKENIZERS_PARALLELISM": "false",
    "JOBLIB_MULTIPROCESSING": "0",  # its import leaves a semaphore in /dev/shm, of every process that is killed
    "VLLM_LOGGING_LEVEL": "WARNING",
    "VLLM_NO_USAGE_STATS": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "SPT_NOENV": "1",  # vLLM's titles would overwrite the environment by which the run's processes are known
}
ALONE = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}  # what Ray does on those systems by itself
CPU = {
    "VERL_PLATFORM": "cpu",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",  # two engines and a trainer share the cores: let the scheduler place them
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # vLLM's worker inside its engine process, one process less to start
    "OMP_NUM_THREADS": "1",  # a process for each core instead
    "OMP_WAIT_POLICY": "PASSIVE",  # where there are two threads: waiting actively is 5 times slower beside other work
    "THP_MEM_ALLOC_ENABLE": "1",  # huge pages for torch's large tensors: an update takes a fifth less
    "TORCHDYNAMO_DISABLE": "1",
}
GPU = {
    "VLLM_DISABLE_COMPILE_CACHE": "0",  # verl turns it off for what PyTorch 2.10 has mended (SkyRL, pull request 2167)
}


def variables(settings: Settings) -> dict[str, str]:
    """What a stage needs in its environment, on top of what the user has set."""
    return COMMON | (CPU if settings.hardware.device == "cpu" else GPU) | of_ray()


def of_ray() -> dict[str, str]:
    """A Ray of our own listens at 127.0.0.1 alone, and with it the engines' servers, which nothing protects; to a
    cluster that is joined its token is shown.
    """
    return ray_token() if joins_a_cluster() else ALONE


def joins_a_cluster() -> bool:
    """Whether Ray is one that somebody started; else the run starts it on this machine."""
    return bool(os.environ.get("RAY_ADDRESS"))


def ray_token(home: Path | None = None) -> dict[str, str]:
    """What makes Ray show its token to a cluster that it joins, where there is one. `ray start --head` asks for it as
    soon as there is one; what joins does not show it unless told.
    """
    named = {"RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"} & {*os.environ}
    there = named or ((home or Path.home()) / ".ray/auth_token").is_file()
    return {"RAY_AUTH_MODE": "token"} if there else {}


@contextmanager
def temporary_files(settings: Settings) -> Iterator[Path]:
    """A directory for sockets and locks of everything that this process starts inside, deleted on leaving.

    vLLM and verl never delete theirs, several for each stage. On a CPU it takes all temporary files but Ray's, whose
    logs must stay; elsewhere only vLLM's sockets: PyTorch's cache of compiled kernels is a temporary file too.
    """
    usual = gettempdir()
    parent = usual if len(usual) <= LONGEST_DIRECTORY else "/tmp"
    with TemporaryDirectory(prefix="rzero-", dir=parent, ignore_cleanup_errors=True) as directory:
        changed = {"VLLM_RPC_BASE_PATH": directory}
        if settings.hardware.device == "cpu":
            changed |= {"TMPDIR": directory, "RAY_TMPDIR": os.environ.get("RAY_TMPDIR", usual)}
        before = {name: os.environ.get(name) for name in changed}
        os.environ |= changed
        try:
            yield Path(directory)
        finally:
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value
