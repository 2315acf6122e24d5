"""Stand-in for the Python executable: asks the warm server for a forked child that runs the given command line, and
waits for it.

Uses nothing but the standard library, so that it starts in some 20 ms. `start_server` makes an executable of it. Its
open file descriptors, environment and working directory become the child's; signals sent to it are passed on; its exit
code is the child's.
"""

import array
import contextlib
import json
import os
import select
import signal
import socket
import sys


def main() -> int:
    fds = []
    for name in os.listdir("/proc/self/fd"):
        try:
            os.fstat(int(name))
        except OSError:  # the descriptor that listed the directory
            continue
        fds.append(int(name))
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        server.connect(os.environ["VERL_RZERO_WARM_SOCKET"])
    except OSError:  # nobody listens any more
        return _without_server()
    request = json.dumps({"argv": sys.argv[1:], "env": dict(os.environ), "cwd": os.getcwd(), "fds": fds}).encode()
    rights = array.array("i", fds)
    answers = server.makefile("rb")
    try:
        server.sendmsg([len(request).to_bytes(8, "big")], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
        server.sendall(request)
        line = answers.readline()
    except OSError:
        line = b""
    if not line:
        return _without_server()
    child = int(line)
    for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(signum, lambda received, _frame: _pass_on(child, received))
    for fd in fds:  # a pipe must see end-of-file when the child closes it, not when this stand-in does
        if fd > 2:
            os.close(fd)
    parent = os.getppid()
    while not select.select([server], [], [], 1.0)[0]:
        if os.getppid() != parent:  # whoever started this is gone without ending it; closing the socket ends the child
            return 1
    line = answers.readline()
    if not line:
        sys.exit("the warm-start server is gone")
    code = int(line)
    if code < 0:
        if -code != signal.SIGKILL:
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    return code


def _without_server() -> int:
    """Become the Python that this stands in for, which starts some seconds later."""
    os.execv(sys.executable, [sys.executable, *sys.argv[1:]])


def _pass_on(child: int, signum: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(child, signum)


if __name__ == "__main__":
    sys.exit(main())
