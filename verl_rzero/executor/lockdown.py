"""How the kernel confines a program: system calls, namespaces, Landlock, limits. x86-64 Linux.

The filter of system calls (seccomp) alone keeps every promise, for any user and in containers: a program may take
anonymous memory, read clocks, wait, draw random bytes, write to one file descriptor and end. Everything else is
refused with EPERM: opening, reading, sockets, processes, signals, code pages, whatever the kernel has or will have.
The other walls stand behind it, where the machine permits them: an empty root and no network, no processes and no
users of the machine in sight (namespaces), no file to be opened (Landlock), no privileges (capabilities).
The zygote executes this file by its path, so nothing of ours is imported.
"""

import ctypes
import errno
import os
import platform
import resource
import signal
import struct
from collections.abc import Callable

RESULT_FD = 3
"""The one file descriptor that a program's process has."""

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long
_fork = ctypes.PyDLL(None, use_errno=True).fork

_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38
_SECCOMP, _CAPSET, _PIVOT_ROOT, _LANDLOCK_CREATE, _LANDLOCK_RESTRICT = 317, 126, 155, 444, 446
_SECCOMP_SET_MODE_FILTER, _SECCOMP_FILTER_FLAG_SPEC_ALLOW = 1, 4

_WRITE, _MMAP, _MPROTECT, _FUTEX = 1, 9, 10, 202
_ALLOWED = {
    "brk": 12,
    "munmap": 11,
    "mremap": 25,
    "exit_group": 231,
    "exit": 60,
    "clock_gettime": 228,
    "clock_getres": 229,
    "gettimeofday": 96,
    "time": 201,
    "clock_nanosleep": 230,
    "nanosleep": 35,
    "sched_yield": 24,
    "restart_syscall": 219,
    "getrandom": 318,
}
_NAMESPACES = {
    "user": 0x1000_0000,
    "pid": 0x2000_0000,
    "net": 0x4000_0000,
    "mount": 0x0002_0000,
    "uts": 0x0400_0000,
    "ipc": 0x0800_0000,
    "cgroup": 0x0200_0000,
}


class Refused(Exception):
    """The kernel doesn't do what a promise needs; the message says what."""


def behind_walls() -> list[str]:
    """Put this process behind the walls other than the filter, as far as the machine permits; their names. Root's
    powers are gone afterwards, files can't be opened, and a pid namespace holds processes that are forked later.
    """
    walls = []
    if _libc.unshare(sum(_NAMESPACES.values())) == 0:
        walls.append("namespaces")
        if _empty_root():
            walls.append("empty root")
    _no_new_privileges()
    if _landlock():
        walls.append("landlock")
    if _without_capabilities():
        walls.append("capabilities")
    return walls


def filter_installer() -> Callable[[], None]:
    """What puts a process under the filter, for good; made beforehand since a program's process should do little.

    Raises:
        Refused: no filter is written for this machine. The installer raises it too; it needs `behind_walls` before.
    """
    if platform.machine() != "x86_64" or ctypes.sizeof(ctypes.c_void_p) != 8:
        raise Refused(f"the filter of system calls is for x86_64, this is {platform.machine()}")
    instructions = _filter()
    code = ctypes.create_string_buffer(b"".join(instructions))
    program = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", len(instructions), ctypes.addressof(code)))
    arguments = (
        ctypes.c_long(_SECCOMP),
        ctypes.c_long(_SECCOMP_SET_MODE_FILTER),
        ctypes.c_long(_SECCOMP_FILTER_FLAG_SPEC_ALLOW),
        ctypes.c_void_p(ctypes.addressof(program)),
    )

    def install(_kept: object = (code, program)) -> None:
        if _libc.syscall(*arguments) != 0:
            raise Refused(f"seccomp: {os.strerror(ctypes.get_errno())}")

    return install


def limit(cpu_s: float, address_space: int) -> None:
    """Limits of this process, which it can't raise behind the filter. Past `cpu_s` SIGPROF ends it, in C code too."""
    for what, most in (
        (resource.RLIMIT_AS, address_space),
        (resource.RLIMIT_CPU, int(cpu_s) + 2),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NPROC, 0),
        (resource.RLIMIT_NOFILE, RESULT_FD + 1),
    ):
        resource.setrlimit(what, (most, most))
    signal.setitimer(signal.ITIMER_PROF, cpu_s)


def fork() -> int:
    """os.fork, without what Python does around it for threads and hooks, none of which are here: that touches memory, a
    tenth of what a fork costs.
    """
    pid: int = _fork()
    if pid < 0:
        raise OSError(ctypes.get_errno(), "fork")
    return pid


def end_with_parent() -> None:
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def prove(parent: int) -> None:
    """Try, in a process under the filter, what a program must not be able to do.

    Raises:
        Refused: something worked, or failed for another reason than the filter.
    """
    attempts: dict[str, Callable[[], object]] = {
        "opening a file": lambda: os.open("/", os.O_RDONLY),
        "listing a directory": lambda: os.listdir("/"),
        "reading": lambda: os.read(RESULT_FD, 1),
        "writing to another file descriptor": lambda: os.write(RESULT_FD + 1, b"x"),
        "a socket": lambda: _call(41, 1, 1, 0),
        "io_uring": lambda: _call(425, 1, 0),
        "a process": os.fork,
        "a thread": lambda: _call(435, 0, 0),
        "a program": lambda: os.execv("/", ["/"]),
        "a signal": lambda: os.kill(parent, 0),
        "looking into a process": lambda: _call(101, 16, parent, 0, 0),
        "namespaces": lambda: _call(272, _NAMESPACES["user"]),
        "raising a limit": lambda: _call(302, 0, resource.RLIMIT_CPU, 0, 0),
        "a handler of signals": lambda: signal.signal(signal.SIGPROF, signal.SIG_IGN),
        "another timer": lambda: signal.setitimer(signal.ITIMER_PROF, 0),
        "a page of machine code": lambda: _call(_MMAP, 0, 4096, 7, 0x22, -1, 0),
        "a file in memory": lambda: _call(_MMAP, 0, 4096, 1, 2, RESULT_FD, 0),
        "poisoning memory": lambda: _call(28, 0, 4096, 100),
        "a lock that the kernel inherits priorities by": lambda: _call(_FUTEX, 0, 6, 0, 0, 0, 0),
    }
    for name, attempt in attempts.items():
        try:
            attempt()
        except OSError as error:
            if error.errno == errno.EPERM:
                continue
            raise Refused(f"{name} failed with errno {error.errno}, not EPERM") from error
        raise Refused(f"{name} is possible under the filter")


def _call(number: int, *arguments: int) -> None:
    if _libc.syscall(ctypes.c_long(number), *map(ctypes.c_long, arguments)) == -1:
        raise OSError(ctypes.get_errno(), "system call")


def _no_new_privileges() -> None:
    if _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise Refused("PR_SET_NO_NEW_PRIVS")


def _empty_root() -> bool:
    """Make an empty file system that can't be written the root, and detach the machine's."""
    mount, rec_private, detach, read_only_etc = _libc.mount, 0x4000 | 0x40000, 2, 1 | 2 | 4 | 8
    if mount(None, b"/", None, rec_private, None) or mount(b"none", b"/tmp", b"tmpfs", read_only_etc, b"size=4k"):
        return False
    os.chdir("/tmp")
    if _libc.syscall(ctypes.c_long(_PIVOT_ROOT), b".", b"."):
        return False
    return bool(_libc.umount2(b".", detach) == 0)


def _landlock() -> bool:
    """Let nothing of the file system be opened from here on, no TCP port be used, nobody outside be signalled."""
    abi = _libc.syscall(ctypes.c_long(_LANDLOCK_CREATE), None, ctypes.c_long(0), ctypes.c_long(1))
    if abi < 1:
        return False
    files = (1 << {1: 13, 2: 14, 3: 15, 4: 15}.get(abi, 16)) - 1
    handled = struct.pack("QQQ", files, 3 if abi >= 4 else 0, 3 if abi >= 6 else 0)
    size = 24 if abi >= 6 else 16 if abi >= 4 else 8
    rules = _libc.syscall(ctypes.c_long(_LANDLOCK_CREATE), handled, ctypes.c_long(size), ctypes.c_long(0))
    if rules < 0:
        return False
    restricted = _libc.syscall(ctypes.c_long(_LANDLOCK_RESTRICT), ctypes.c_long(rules), ctypes.c_long(0))
    os.close(rules)
    return bool(restricted == 0)


def _without_capabilities() -> bool:
    version_3_of_this_process = struct.pack("Ii", 0x2008_0522, 0)
    return bool(_libc.syscall(ctypes.c_long(_CAPSET), version_3_of_this_process, bytes(24)) == 0)


def _filter() -> list[bytes]:
    """The filter as classic BPF: the number of the system call, for four of them an argument too."""
    load, equal, bits, mask, give_back = 0x20, 0x15, 0x45, 0x54, 0x06
    allow, refuse, kill = 0x7FFF_0000, 0x0005_0000 | errno.EPERM, 0x8000_0000
    number, architecture, arguments = 0, 4, 16  # where in seccomp_data

    def argument(which: int) -> int:
        return arguments + 8 * which  # its lower half, where the bits and the descriptor are

    def step(code: int, k: int, if_so: int = 0, if_not: int = 0) -> bytes:
        return struct.pack("HBBI", code, if_so, if_not, k)

    x86_64, prot_exec, map_anonymous = 0xC000_003E, 4, 0x20
    wait, wake, wait_bitset, private_realtime = 0, 1, 9, 128 | 256
    steps = [step(load, architecture), step(equal, x86_64, 1, 0), step(give_back, kill), step(load, number)]
    for allowed in _ALLOWED.values():
        steps += [step(equal, allowed, 0, 1), step(give_back, allow)]
    steps += [
        step(equal, _WRITE, 0, 4),
        step(load, argument(0)),
        step(equal, RESULT_FD, 0, 1),
        step(give_back, allow),
        step(give_back, refuse),
        step(equal, _FUTEX, 0, 7),
        step(load, argument(1)),
        step(mask, 0xFFFF_FFFF ^ private_realtime),
        step(equal, wait, 2, 0),
        step(equal, wake, 1, 0),
        step(equal, wait_bitset, 0, 1),
        step(give_back, allow),
        step(give_back, refuse),
        step(equal, _MPROTECT, 0, 4),
        step(load, argument(2)),
        step(bits, prot_exec, 1, 0),
        step(give_back, allow),
        step(give_back, refuse),
        step(equal, _MMAP, 0, 5),
        step(load, argument(2)),
        step(bits, prot_exec, 3, 0),
        step(load, argument(3)),
        step(bits, map_anonymous, 0, 1),
        step(give_back, allow),
        step(give_back, refuse),  # and all that is none of these
    ]
    return steps
