"""The warm server: imports the heavy packages, then forks a child for every client. See the package's docstring."""

import array
import atexit
import contextlib
import gc
import importlib
import json
import os
import runpy
import selectors
import signal
import socket
import sys
import threading
from dataclasses import dataclass
from typing import Any, NoReturn

from verl_rzero.engine.cpu import distribution

# What a job's processes import, short of Ray, whose native library reads its process's identity when it is loaded.
MODULES = (
    "torch.distributed.fsdp",
    "transformers.models.qwen3.modeling_qwen3",
    "transformers.models.auto.modeling_auto",
    "tensordict",
    "datasets",
    "peft",
    "torchdata.stateful_dataloader",
    "vllm.sampling_params",
    "vllm.model_executor.models.qwen3",
    "vllm.v1.worker.cpu_worker",
    "fastapi",
    "uvicorn",
    "openai",
    "wandb",
    "torch.utils.tensorboard",
    "hydra",
)
MAX_FDS = 250
REQUEST_S = 5.0
"""How long a client may take to say what it wants, while others wait."""


def serve(socket_path: str, modules: tuple[str, ...] = MODULES) -> None:
    """Import `modules`, then answer clients until SIGTERM. One child per client; a client that goes away takes its
    child along.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    if os.environ.get("VERL_PLATFORM") == "cpu":
        distribution.answer_for_vllm()
    for module in modules:
        importlib.import_module(module)
    if "ray._raylet" in sys.modules:
        raise RuntimeError("the warm server must not load Ray: a forked worker would take the server's identity")
    if threading.active_count() > 1:
        raise RuntimeError(f"forking is only safe without threads; running: {threading.enumerate()}")
    gc.collect()
    gc.freeze()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    temporary = socket_path + ".new"
    listener.bind(temporary)
    listener.listen(64)
    os.rename(temporary, socket_path)
    with selectors.DefaultSelector() as selector:
        selector.register(listener, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj is listener:
                    _start_child(listener.accept()[0], listener, selector)
                elif key.fileobj is key.data.client:  # end of file: the client was killed
                    selector.unregister(key.data.client)
                    signal.pidfd_send_signal(key.data.pidfd, signal.SIGKILL)
                else:
                    _end_child(key.data, selector)


@dataclass(frozen=True)
class Child:
    """A forked child, the descriptor that tells of its end, and the client that it stands behind."""

    pid: int
    pidfd: int
    client: socket.socket


def _start_child(client: socket.socket, listener: socket.socket, selector: selectors.BaseSelector) -> None:
    try:
        client.settimeout(REQUEST_S)
        request, received = _receive(client)
        client.settimeout(None)
    except (OSError, EOFError):  # it ended or stopped while it asked; if it lives, it goes on by itself
        client.close()
        return
    pid = os.fork()
    if not pid:
        for child in {id(key.data): key.data for key in selector.get_map().values() if key.data}.values():
            child.client.close()
            os.close(child.pidfd)
        selector.close()
        listener.close()
        client.close()
        _become(request, received)
    for fd in received:
        os.close(fd)
    child = Child(pid, os.pidfd_open(pid), client)
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # a client that is gone shows as end of file
        client.sendall(b"%d\n" % pid)
    selector.register(child.pidfd, selectors.EVENT_READ, child)
    selector.register(client, selectors.EVENT_READ, child)


def _end_child(child: Child, selector: selectors.BaseSelector) -> None:
    """Collect a child that has ended and tell its client the exit code."""
    selector.unregister(child.pidfd)
    if child.client in selector.get_map():
        selector.unregister(child.client)
    _, status = os.waitpid(child.pid, 0)
    os.close(child.pidfd)
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        child.client.sendall(b"%d\n" % os.waitstatus_to_exitcode(status))
    child.client.close()


def _receive(client: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """What a client asks for, with the descriptors that it sent.

    Raises:
        EOFError, OSError: it ended, or took longer than it may.
    """
    fds = array.array("i")
    header, ancillary, _, _ = client.recvmsg(8, socket.CMSG_SPACE(MAX_FDS * fds.itemsize))
    for _level, _kind, data in ancillary:
        fds.frombytes(data[: len(data) - len(data) % fds.itemsize])
    try:
        size, body = int.from_bytes(header, "big"), b""
        if not size:
            raise EOFError
        while len(body) < size:
            more = client.recv(size - len(body))
            if not more:
                raise EOFError
            body += more
    except (EOFError, OSError):
        for fd in fds:
            os.close(fd)
        raise
    return json.loads(body), list(fds)


def _become(request: dict[str, Any], received: list[int]) -> NoReturn:
    """In the forked child: take over descriptors, environment and directory, run the command line as `python` would,
    exit.
    """
    code = 1
    try:
        os.setsid()
        _place_fds(received, request["fds"])
        os.environ.clear()
        os.environ.update(request["env"])
        os.chdir(request["cwd"])
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        for fd, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
            stream = os.fdopen(fd, mode, buffering=1, closefd=False)
            setattr(sys, name, stream)
            setattr(sys, f"__{name}__", stream)
        _fresh_state()
        code = _run(request["argv"])
    finally:
        threading._shutdown()  # type: ignore[attr-defined]  # non-daemon threads end first, as at any interpreter's exit
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _place_fds(received: list[int], wanted: list[int]) -> None:
    """Move the received descriptors to the numbers that they had in the client, without overwriting one another."""
    high = [os.dup(fd) if fd > 1000 else _dup_above(fd, 1000) for fd in received]
    for fd in received:
        os.close(fd)
    for source, target in zip(high, wanted, strict=True):
        os.dup2(source, target, inheritable=True)
        os.close(source)


def _dup_above(fd: int, lowest: int) -> int:
    import fcntl

    return fcntl.fcntl(fd, fcntl.F_DUPFD, lowest)


def _fresh_state() -> None:
    """What a new interpreter would not share with its siblings: numpy's global seed and OpenMP's thread count."""
    import numpy as np
    import torch

    np.random.seed()
    if threads := os.environ.get("OMP_NUM_THREADS"):
        torch.set_num_threads(int(threads.split(",")[0]))


def _run(argv: list[str]) -> int:
    while argv and argv[0].startswith("-") and argv[0] not in ("-c", "-m"):  # interpreter flags change nothing here
        argv = argv[2:] if argv[0] in ("-W", "-X") else argv[1:]
    try:
        if argv[0] == "-c":
            sys.argv = ["-c", *argv[2:]]
            sys.path[0:0] = [""]
            main = type(sys)("__main__")
            sys.modules["__main__"] = main
            exec(compile(argv[1], "<string>", "exec"), main.__dict__)
        elif argv[0] == "-m":
            sys.argv = ["-m", *argv[2:]]
            runpy.run_module(argv[1], run_name="__main__", alter_sys=True)
        else:
            sys.argv = argv
            sys.path[0:0] = [os.path.dirname(os.path.abspath(argv[0]))]
            runpy.run_path(argv[0], run_name="__main__")
    except SystemExit as exit_:
        if exit_.code is None:
            return 0
        if isinstance(exit_.code, int):
            return exit_.code
        print(exit_.code, file=sys.stderr)
        return 1
    except BaseException:
        sys.excepthook(*sys.exc_info())
        return 1
    return 0


if __name__ == "__main__":
    serve(sys.argv[1])
