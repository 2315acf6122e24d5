"""The process that programs are forked from. Run as a script in a fresh interpreter that holds nothing of ours:

    python -S -s -P -B zygote.py <settings as JSON>

It never sees a program: a request stays in the pipe (standard input) until the child that is forked for it reads it.
It waits for what the child writes, kills it at a limit, and passes the bytes on, unread, with what the kernel says of
the child's end. Protocol: first a line of JSON, {"walls": [...]} or {"refused": why}; then for each request, a `SIZE`
and so many bytes of JSON (`program.message`), a reply: `REPLY` and so many bytes. The first byte of what a child writes
is `CONFINED`, before it runs the program; without it no program was run, and the zygote ends with an error.
"""

import importlib
import json
import os
import select
import signal
import struct
import sys
import time
import types
from collections.abc import Callable
from typing import NoReturn

SIZE = struct.Struct("<I")
REPLY = struct.Struct("<iBQI")
"""How the child ended (as of wait), how its time ended, microseconds of processor time, bytes of its message."""

ENDED, OUT_OF_TIME, TOO_MUCH = 0, 1, 2

ROOM = 1024
"""Bytes of a message beside its values, at most."""

CONFINED = b"+"

COMMON = (
    "__future__ abc bisect collections collections.abc contextlib copy enum functools heapq io itertools json keyword"
    " math numbers operator os random re string struct sys textwrap time types typing unicodedata warnings weakref"
    " encodings.ascii encodings.cp1252 encodings.hex_codec encodings.latin_1 encodings.raw_unicode_escape"
    " encodings.rot_13 encodings.unicode_escape encodings.utf_16 encodings.utf_16_be encodings.utf_16_le"
    " encodings.utf_32 encodings.utf_8_sig"
)
"""What programs can import: a child sees no files. With them comes what they import; nothing is lent with it."""

RARE = (
    "array ast base64 binascii calendar cmath dataclasses datetime decimal difflib fractions graphlib hashlib inspect"
    " pickle pprint queue secrets statistics uuid threading traceback zlib _strptime encodings.idna encodings.punycode"
)
"""What only those can that name one of these: a process that holds them takes a third longer to fork."""

OURS = ("ctypes", "_ctypes", "select", "signal")
"""Imported here and not for programs; the kernel, not their absence, confines a program."""


def main() -> None:
    settings = json.loads(sys.argv[1])
    border, lockdown, program = (beside(name) for name in ("border", "lockdown", "program"))
    os.register_at_fork = lambda **_: None  # their hooks touch memory, which costs as much as the fork
    for name in settings["modules"].split():
        importlib.import_module(name)
    address_space = pages() * os.sysconf("SC_PAGE_SIZE") + settings["memory_mb"] * 2**20
    install: Callable[[], None] = lambda: None  # noqa: E731
    walls: list[str] = []
    try:
        if settings["isolation"] == "full":
            install = lockdown.filter_installer()
            walls = [*lockdown.behind_walls(), "filter"]
        in_own_process(lockdown)
        if settings["isolation"] == "full":
            prove(lockdown, install, settings["cpu_s"], address_space)
    except lockdown.Refused as error:
        os.write(1, json.dumps({"refused": str(error)}).encode() + b"\n")
        return
    os.write(1, json.dumps({"walls": walls}).encode() + b"\n")

    def child(write_end: int) -> NoReturn:
        end = os._exit  # at once: no handler of the program's, no destructor
        request = read_request()
        alone(lockdown, write_end)
        lockdown.limit(settings["cpu_s"], address_space)
        install()
        os.write(lockdown.RESULT_FD, CONFINED)
        said = program.message(border, border.loads(request), settings["result_bytes"], settings["printed_chars"])
        write_all(lockdown.RESULT_FD, said)
        end(0)
        raise AssertionError

    scrub()
    serve(lockdown.fork, child, settings["wall_s"], settings["result_bytes"])


def beside(name: str) -> types.ModuleType:
    """A file beside this one as a module that can't be imported by name."""
    module = types.ModuleType(name)
    path = os.path.join(os.path.dirname(__file__), f"{name}.py")
    with open(path, encoding="utf-8") as file:
        exec(compile(file.read(), name, "exec"), module.__dict__)
    return module


def pages() -> int:
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[0])


def in_own_process(lockdown: types.ModuleType) -> None:
    """Go on in a child, the first of its pid namespace, with which all others end. This process waits for it, and ends
    it when the parent is gone, though a fork of the parent's may hold the pipe still.
    """
    parent, pid = os.getppid(), os.fork()
    if pid == 0:
        lockdown.end_with_parent()
        return
    os.closerange(0, 3)
    ended = select.poll()
    ended.register(os.pidfd_open(pid), select.POLLIN)
    while os.getppid() == parent and not ended.poll(2000):
        pass
    os._exit(0)


def scrub() -> None:
    """Leave nothing for programs to find but the interpreter and what they can import."""
    import gc

    for name in OURS:
        sys.modules.pop(name, None)
    sys.path.clear()
    sys.path_importer_cache.clear()
    sys.argv[:] = sys.orig_argv[:] = [""]
    os.environ.clear()
    sys.executable = sys.prefix = sys.exec_prefix = sys.base_prefix = sys.base_exec_prefix = ""
    sys.stdin = sys.__stdin__ = sys.__stdout__ = sys.__stderr__ = None  # type: ignore[misc]
    gc.collect()
    gc.freeze()  # a collection in a child leaves these alone, and their pages shared


def alone(lockdown: types.ModuleType, write_end: int) -> None:
    """A group of processes of its own, whose one file descriptor is where the result goes."""
    os.setsid()
    lockdown.end_with_parent()
    os.dup2(write_end, lockdown.RESULT_FD)
    os.closerange(lockdown.RESULT_FD + 1, 1 << 20)
    os.closerange(0, lockdown.RESULT_FD)


def prove(lockdown: types.ModuleType, install: Callable[[], None], cpu_s: float, address_space: int) -> None:
    """That the filter holds, in a child.

    Raises:
        Refused: it does not.
    """
    read_end, write_end = os.pipe()
    parent, pid = os.getpid(), os.fork()
    if pid == 0:
        said = b"proven"
        try:
            alone(lockdown, write_end)
            lockdown.limit(cpu_s, address_space)
            install()
            lockdown.prove(parent)
        except Exception as error:  # whatever it is, it is told, and refused
            said = f"{type(error).__name__}: {error}".encode()
        os.write(lockdown.RESULT_FD, said)
        os._exit(0)
    os.close(write_end)
    said = os.read(read_end, 1000)
    os.close(read_end)
    os.waitpid(pid, 0)
    if said != b"proven":
        raise lockdown.Refused(said.decode() or "a process under the filter did not come to its end")


def serve(fork: Callable[[], int], child: Callable[[int], NoReturn], wall_s: float, result_bytes: int) -> None:
    """Fork a child for each request, until there are no more."""
    requests = select.poll()
    requests.register(0, select.POLLIN)
    buffer = memoryview(bytearray(len(CONFINED) + result_bytes + ROOM + 1))
    while any(event & select.POLLIN for _, event in requests.poll()):
        read_end, write_end = os.pipe()
        pid = fork()
        if pid == 0:
            try:
                child(write_end)
            finally:
                os._exit(1)
        os.close(write_end)
        end, size = watch(pid, read_end, buffer, time.monotonic() + wall_s)
        os.close(read_end)
        for kill in (os.killpg, os.kill):  # before it is waited for, no other process can have its number
            try:
                kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue  # it had not made its group yet
        _, status, usage = os.wait4(pid, 0)
        cpu_us = round((usage.ru_utime + usage.ru_stime) * 1e6)
        if size == 0 and end == ENDED:
            raise RuntimeError(f"a process could not be confined, and ended with {os.waitstatus_to_exitcode(status)}")
        said = buffer[1:size] if end == ENDED else buffer[:0]
        write_all(1, REPLY.pack(status, end, cpu_us, len(said)))
        write_all(1, said)
        buffer[:size] = bytes(size)  # no child is to find what another one wrote, here or in a copy


def watch(pid: int, read_end: int, buffer: memoryview, deadline: float) -> tuple[int, int]:
    """Read what a child writes until it ends, or a limit is met: how it came, and the bytes in `buffer`."""
    pidfd, size = os.pidfd_open(pid), 0
    events = select.poll()
    events.register(pidfd, select.POLLIN)
    events.register(read_end, select.POLLIN)
    try:
        while (left_s := deadline - time.monotonic()) > 0:
            ready = dict(events.poll(left_s * 1000))
            if read_end in ready:
                got = os.readv(read_end, [buffer[size:]])
                size += got
                if size == len(buffer):
                    return TOO_MUCH, size
                if got == 0:
                    events.unregister(read_end)
            elif pidfd in ready:  # only now: what it wrote before is read
                return ENDED, size
        return OUT_OF_TIME, size
    finally:
        os.close(pidfd)


def read_request() -> bytes:
    (size,) = SIZE.unpack(read_exactly(SIZE.size))
    return read_exactly(size)


def read_exactly(size: int) -> bytes:
    received = bytearray()
    while len(received) < size:
        chunk = os.read(0, size - len(received))
        if not chunk:
            os._exit(1)
        received += chunk
    return bytes(received)


def write_all(fd: int, data: bytes | memoryview) -> None:
    while data:
        data = data[os.write(fd, data) :]


if __name__ == "__main__":
    main()
