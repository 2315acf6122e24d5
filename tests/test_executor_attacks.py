# ruff: noqa: E501 (rows of a table)
"""What hostile programs try. Each comes to a failure with a name, or to a value that is about itself only; afterwards
the next program runs as if nothing had been.
"""

import os
import time

import pytest

from verl_rzero.executor import Executor, Failure, Limits, Task, arguments, equal

SECRET = "VERL_RZERO_TEST_SECRET"
BYSTANDER = "def f(a):\n    import math\n    return [a, sum([a, 1]), len('abc'), math.factorial(5)]"
ALL_DESCRIPTORS = "for fd in range(100):\n        try:\n            {}\n        except OSError:\n            pass"


@pytest.fixture(scope="module")
def executor():
    os.environ[SECRET] = "x"
    with Executor(Limits(cpu_s=0.3, wall_s=3, memory_mb=64)) as executor:
        yield executor
    del os.environ[SECRET]


def body(text, imports="import os, sys"):
    return f"{imports}\ndef f(a):\n    {text}\n    return a"


REFUSED = {
    "fork": "os.fork()",
    "many forks": "while True: os.fork()",
    "a program": "os.execv('/bin/sh', ['/bin/sh'])",
    "a shell": "os.system('true') == 0 or os.fork()",
    "spawn": "os.posix_spawn('/bin/true', ['x'], {})",
    "read a file": "open('/etc/passwd').read()",
    "read a file relative to the root": "open('etc/passwd').read()",
    "write a file": "open('/tmp/x', 'w').write('x')",
    "list": "os.listdir('/')",
    "the process's own files": "open('/proc/self/environ').read()",
    "the parent's memory": "open('/proc/1/mem', 'rb').read(1)",
    "a device": "os.open('/dev/null', os.O_RDWR)",
    "mknod": "os.mknod('/x')",
    "change the root": "os.chroot('/')",
    "change directory": "os.chdir('/')",
    "a file in memory": "os.memfd_create('x')",
    "a pipe": "os.pipe()",
    "signal the parent": "os.kill(os.getppid(), 9)",
    "signal the first process": "os.kill(1, 9)",
    "signal all": "os.kill(-1, 9)",
    "signal the group": "os.killpg(0, 9)",
    "stop itself": "os.kill(0, 19)",
    "another user": "os.setuid(1)",
    "another session": "os.setsid()",
    "priority": "os.nice(-5)",
    "limits": "import resource; resource.setrlimit(resource.RLIMIT_AS, (-1, -1))",
    "read the requests of others": "os.read(0, 1)",
    "read what it writes": "os.read(3, 1)",
    "write to standard output": "os.write(1, b'x')",
    "write to standard error": "os.write(2, b'x')",
    "duplicate": "os.dup2(3, 1)",
    "a thread": "import threading; threading.Thread(target=print).start()",
    "a socket": "import _socket; _socket.socket()",
    "a handler for the limit": "import _signal; _signal.signal(27, _signal.SIG_IGN)",
    "no limit any more": "import _signal; _signal.setitimer(_signal.ITIMER_PROF, 0)",
    "block signals": "import _signal; _signal.pthread_sigmask(0, [27])",
    "ctypes": "import ctypes",
    "subprocess": "import subprocess; subprocess.run('true')",
    "multiprocessing": "import multiprocessing",
    "a file of ours": "import verl_rzero",
    "the zygote's source": "import inspect; inspect.getsource(sys.modules['__main__'].main)",
}
"""What is done -> it raises, as the kernel refuses it or no such module is there."""


@pytest.mark.parametrize("name", REFUSED)
def test_refused(executor, name):
    result = executor.run(body(REFUSED[name]), "1", twice=True)
    assert result.failure == Failure.RAISED
    errors = ("PermissionError", "ModuleNotFoundError", "RuntimeError", "ValueError", "itimer_error", "OSError")
    assert result.detail in errors
    assert executor.run(BYSTANDER, "1", twice=True).value == [1, 2, 3, 120]


SYSTEM_CALLS = {
    "open": (2, 0, 0), "openat": (257, -100, 0, 0), "socket": (41, 1, 1, 0), "clone": (56, 17, 0), "clone3": (435, 0, 0),
    "vfork": (58,), "kill": (62, 1, 0), "tkill": (200, 1, 0), "pidfd_open": (434, 1, 0), "ptrace": (101, 16, 1, 0, 0),
    "process_vm_readv": (310, 1, 0, 0, 0, 0, 0), "bpf": (321, 0, 0, 0), "io_uring_setup": (425, 1, 0), "dup": (32, 3),
    "unshare": (272, 0x10000000), "setns": (308, 3, 0), "mount": (165, 0, 0, 0, 0, 0), "prctl": (157, 1, 0, 0, 0, 0),
    "seccomp": (317, 1, 0, 0), "keyctl": (250, 0, 0), "shmget": (29, 0, 4096, 0o1600), "userfaultfd": (323, 0),
    "perf_event_open": (298, 0, 0, 0, 0, 0), "prlimit64": (302, 0, 0, 0, 0), "close": (3, 3), "fcntl": (72, 3, 1),
    "mmap a page of code": (9, 0, 4096, 7, 0x22, -1, 0), "mmap a file": (9, 0, 4096, 1, 2, 3, 0), "x32": (0x40000001, 1, 0, 0),
    "write elsewhere": (1, 4, 0, 0), "setsid": (112,), "rt_sigaction": (13, 27, 0, 0, 8), "timer_create": (222, 0, 0, 0),
}  # fmt: skip


def test_system_calls_by_their_numbers(executor):
    """A program that has ctypes after all, by a walk through the objects, comes no further: every call is refused."""
    program = (
        "import gc\n"
        "def f(calls):\n"
        "    gc.unfreeze()\n"
        "    functions = [x for x in gc.get_objects() if type(x).__name__ == 'CDLL']\n"
        "    libc = functions[0]\n"
        "    return {name: libc.syscall(*call) for name, call in calls.items()}\n"
    )
    with Executor(Limits(cpu_s=5, memory_mb=256)) as patient:
        result = patient.run(program, repr(SYSTEM_CALLS))
    assert result.failure is None, result
    assert result.value == dict.fromkeys(SYSTEM_CALLS, -1)


NAMED = {
    "memory bomb": (body("b = []\n    while True: b.append('x' * 10**6 + str(len(b)))"), {Failure.MEMORY}),
    "memory bomb that swallows": (
        body("b = []\n    while True:\n        try: b.append(bytearray(10**6))\n        except MemoryError: pass"),
        {Failure.TIME},
    ),
    "a text in C": (body("'a' * 10**10"), {Failure.MEMORY}),
    "a power in C": (body("10**10**8"), {Failure.TIME, Failure.MEMORY}),
    "a regular expression in C": (body("re.match('(a+)+b', 'a' * 60)", "import re"), {Failure.TIME}),
    "a sum in C": (body("sum(range(10**12))"), {Failure.TIME}),
    "endless, swallowing": (body("while True:\n        try:\n            while True: pass\n        except BaseException: pass"),
        {Failure.TIME}),
    "endless at import": ("while True: pass", {Failure.TIME}),
    "endless in a result's method": (
        body("class L(list):\n        def __iter__(self):\n            while True: pass\n    return L()"), {Failure.NOT_DATA}
    ),
    "endless in a destructor": (
        body("class D:\n        def __del__(self):\n            while True: pass\n    d = D()\n    raise ValueError"),
        {Failure.TIME, Failure.RAISED},
    ),
    "waiting": (body("import threading\n    lock = threading.Lock()\n    lock.acquire()\n    lock.acquire()"), {Failure.TIME}),
    "deep": (body("sys.setrecursionlimit(10**9)\n    def g(n): return g(n + 1) + 1\n    g(0)"), {Failure.MEMORY, Failure.TIME}),
    "deep in C": (
        body("sys.setrecursionlimit(10**9)\n    class D:\n        def __repr__(self): return repr([self])\n    repr(D())"),
        {Failure.KILLED, Failure.MEMORY, Failure.TIME},
    ),
    "deep source": ("def f(a):\n    return " + "(" * 5000 + "a" + ")" * 5000, {Failure.SYNTAX, Failure.MEMORY}),
    "deeper source": ("def f(a):\n    return " + "-" * 60_000 + "a", {Failure.SYNTAX, Failure.MEMORY, Failure.KILLED}),
    "crash": (body("exec((lambda: 0).__code__.replace(co_code=b'd' * 1000, co_consts=()))"),
        {Failure.KILLED, Failure.RAISED, Failure.TIME}),
    "end": (body("os._exit(0)"), {Failure.KILLED}),
    "end with a number": (body("os._exit(3)"), {Failure.KILLED}),
    "abort": (body("os.abort()"), {Failure.KILLED}),
    "exit": (body("sys.exit(0)"), {Failure.RAISED}),
    "interrupt": (body("raise KeyboardInterrupt"), {Failure.RAISED}),
    "print without end": (body("while True: print('x' * 1000)"), {Failure.PRINTED_TOO_MUCH}),
    "flood": (body("while True: os.write(3, b'x' * 60000)"), {Failure.FORGED}),
    "close all": (body("os.closerange(0, 100)\n    os._exit(0)"), {Failure.KILLED}),
    "two messages": (body("os.write(3, b'{\"values\":[1]}')"), {Failure.FORGED}),
    "half a message": (body("os.write(3, b'{\"values\":')\n    os._exit(0)"), {Failure.FORGED}),
    "messages to all": (body(ALL_DESCRIPTORS.format("os.write(fd, b'{\"values\":[1]}')")), {Failure.FORGED}),
    "a failure of ours": (body("os.write(3, b'{\"failure\":\"time\",\"detail\":\"\"}')\n    os._exit(0)"), {Failure.FORGED}),
    "a name with escapes": (
        body("raise type('E\\x1b[2J', (Exception,), {})"), {Failure.FORGED}
    ),
    "a pickle": (
        body("class P:\n        def __reduce__(self): return os.system, ('touch /tmp/pwned',)\n    return P()"), {Failure.NOT_DATA}
    ),
    "equal to all": (
        body("class E:\n        def __eq__(self, other): return True\n        __hash__ = None\n    return E()"), {Failure.NOT_DATA}
    ),
    "a list equal to all": (
        body("class E(list):\n        def __eq__(self, other): return True\n    return [E()]"), {Failure.NOT_DATA}
    ),
    "a key equal to all": (
        body("class K(str):\n        def __eq__(self, other): return True\n        def __hash__(self): return 0\n"
             "    return {K(): 1}"), {Failure.NOT_DATA}
    ),
    "what lies about its class": (
        body("class L:\n        __class__ = int\n        def __repr__(self): return '1'\n    return L()"), {Failure.NOT_DATA}
    ),
    "other in each process": (body("return id(os)"), {Failure.NONDETERMINISTIC}),
    "other by time": (body("import time\n    return time.time_ns()"), {Failure.NONDETERMINISTIC}),
    "other by chance": (body("return os.urandom(4) if os.urandom(4) else 0"), {Failure.NONDETERMINISTIC}),
    "other by seed": (body("import random\n    return random.random() if random else 0"), {Failure.NONDETERMINISTIC}),
    "other by hash": (body("return str({'a', 'b', 'c', 'd', 'e', 'f'})"), {Failure.NONDETERMINISTIC}),
    "exit handlers": (
        body("import atexit\n    atexit.register(lambda: os.write(3, b'{\"values\":[2]}'))\n    sys.exit()"), {Failure.RAISED}
    ),
}  # fmt: skip
"""A program -> how it may come out."""


@pytest.mark.parametrize("name", NAMED)
def test_named(executor, name):
    program, failures = NAMED[name]
    result = executor.run(program, "1", twice=True)
    assert result.failure in failures, result
    assert result.value is None
    assert executor.run(BYSTANDER, "1", twice=True).value == [1, 2, 3, 120]


ITSELF_ONLY = {
    "a made-up value": body("os.write(3, b'{\"values\":[7]}')\n    os._exit(0)"),
    "builtins": body("import builtins\n    builtins.sum = builtins.len = lambda *_: 0\n    return 7"),
    "modules": body("import math\n    math.factorial = None\n    sys.modules.clear()\n    return 7"),
    "json": body("import json\n    json.dumps = json.loads = json.JSONDecoder = json.encoder = None\n    return 7"),
    "the runner": body(
        "frame = sys._getframe().f_back\n    while frame:\n        frame.f_globals.update(what_came=None, serve=None)\n"
        "        frame = frame.f_back\n    return 7"
    ),
    "all objects": body("import gc\n    for x in gc.get_objects():\n        pass\n    return 7"),
    "exit handlers": body("import atexit\n    atexit.register(lambda: os.write(3, b'{\"values\":[2]}'))\n    return 7"),
    "a limit of digits": body("sys.set_int_max_str_digits(0)\n    return 7"),
    "hooks": body("sys.settrace(lambda *_: None)\n    sys.setprofile(lambda *_: None)\n    return 7"),
    "output": body("sys.stdout = sys.stderr = None\n    print(1)\n    return 7"),
}
"""What spoils or lies within a process: the value is the program's own, and nobody else's."""


@pytest.mark.parametrize("name", ITSELF_ONLY)
def test_itself_only(executor, name):
    assert executor.run(ITSELF_ONLY[name], "1", twice=True).value == 7
    for _ in range(2 * executor.workers):
        assert executor.run(BYSTANDER, "1", twice=True).value == [1, 2, 3, 120]


def test_nothing_of_ours_is_in_sight(executor):
    """Neither in the environment nor in any object: not the secret, not this checkout's path, not another's program."""
    executor.run("def f(a):\n    return 'another' + 's program'", "'another' 's input'", twice=True)
    seen = executor.run(
        "import os, sys\ndef f(a):\n    return dict(os.environ), sys.argv, sys.path, sys.orig_argv", "1"
    )
    assert seen.value == ({}, [""], [], [""])
    for zygote in executor._zygotes:  # what its memory began with
        for pid in (zygote._process.pid, *children(zygote._process.pid)):
            with open(f"/proc/{pid}/environ", "rb") as file:
                assert {each.partition(b"=")[0] for each in file.read().split(b"\0")} == {b"PYTHONHASHSEED", b"TZ", b""}
    program = (
        "import gc\n"
        "def f(*parts):\n"
        "    gc.unfreeze()\n"
        "    words, found, seen, todo = [''.join(each) for each in parts], set(), set(), gc.get_objects()\n"
        "    todo += gc.get_referents(__import__('sys').modules)\n"
        "    import sys\n"
        "    frame = sys._getframe()\n"
        "    while frame: todo += [frame.f_globals, *frame.f_locals.values()]; frame = frame.f_back\n"
        "    while todo and len(seen) < 300_000:\n"
        "        x = todo.pop()\n"
        "        if id(x) in seen: continue\n"
        "        seen.add(id(x))\n"
        "        if type(x) is str and len(x) < 70_000: found |= {w for w in words if w in x and x not in words}\n"
        "        if type(x) in (bytes, bytearray, memoryview): found |= {w for w in words if w.encode() in bytes(x)}\n"
        "        todo += gc.get_referents(x)\n"
        "    return sorted(found), len(seen) > 1000\n"
    )
    words = [
        SECRET,
        "anothers program",
        "anothers input",
        os.environ.get("USER", "pytest") + "@",
        "PYTEST_CURRENT_TEST",
    ]
    with Executor(Limits(cpu_s=10, memory_mb=256)) as patient:
        patient.run("def f(a):\n    return 'another' + 's program'", "'anothers input'")
        result = patient.run(program, ", ".join(repr(list(word)) for word in words))
    assert result.value == ([], True), result


def test_prizes_of_the_released_executor(executor):
    """An input that isn't data earns nothing; what is printed is no result; equality is decided here."""
    program = "def f(a):\n    return sum(a)"
    for text in ("print('True') or [7]", "[7]) or (True", "[3, 4]); print('True'", "__import__('os').getcwd()"):
        assert executor.run(program, text).failure == Failure.INPUTS
    gold = executor.run(program, "[3, 4]").value
    liar = "class E(int):\n    __eq__ = lambda *_: True\n    __hash__ = int.__hash__\ndef f(a):\n    print('True')\n    return {}"
    assert executor.run(liar.format("E(0)"), "[3, 4]").failure == Failure.NOT_DATA
    assert not equal(executor.run(liar.format("True"), "[3, 4]").value, gold)
    assert equal(executor.run(program, "[7]").value, gold)
    assert arguments("'print(True)'") == ("print(True)",)


def test_no_state_goes_from_one_program_to_the_next(executor):
    counting = "import math\ndef f(a):\n    math.seen = getattr(math, 'seen', 0) + 1\n    return math.seen"
    results = [result.value for _, result in executor.run_many(Task(counting, "1", twice=True) for _ in range(30))]
    assert results == [1] * 30


def test_many_hostile_programs_at_the_same_time(executor):
    """Side by side with honest ones, whose results are all there and right."""
    hostile = [program for program, _ in NAMED.values()][::4]
    tasks = [Task(hostile[k % len(hostile)] if k % 3 == 0 else BYSTANDER, str(k), twice=True) for k in range(60)]
    results = dict(executor.run_many(tasks))
    for k, result in results.items():
        assert result.value == ([k, k + 1, 3, 120] if k % 3 else None)
    assert len(results) == 60


def test_no_process_is_left(executor):
    """Behind the zygotes, each with the process that waits for it, there is none."""
    executor.run(body("while True: pass"), "1")
    time.sleep(0.05)
    for zygote in executor._zygotes:
        (inner,) = children(zygote._process.pid)
        assert children(inner) == []


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        return file.read().split()


LEAVES = (
    "import os\ndef f(a):\n    os.write(3, b'what another ' + b'wrote')\n    while a == 1: pass\n"
    "    while a == 2: os.write(3, b'what another ' + b'wrote')"
)
LOOKS = (
    "import sys\ndef f(a):\n    frame = sys._getframe()\n    while 'buffer' not in frame.f_locals: frame = frame.f_back\n"
    "    return b'another ' + b'wrote' in bytes(frame.f_locals['buffer'])"
)


@pytest.mark.parametrize(("how", "failure"), [(0, Failure.FORGED), (1, Failure.TIME), (2, Failure.FORGED)])
def test_what_a_program_wrote_is_gone_before_the_next(how, failure):
    """Also where it was ended at a limit, or wrote too much."""
    with Executor(Limits(cpu_s=0.3, memory_mb=64), workers=1) as executor:
        assert executor.run(LEAVES, str(how)).failure == failure
        assert executor.run(LOOKS, "1").value is False


def test_without_walls_a_program_can_end_the_process_that_it_comes_from():
    with Executor(Limits(cpu_s=0.5, wall_s=2), isolation="process", workers=1) as executor:
        assert executor.run(body("os.kill(os.getppid(), 9)\n    while True: pass"), "1").failure == Failure.KILLED
        assert executor.run(BYSTANDER, "1").value == [1, 2, 3, 120]


def test_without_walls_a_stopped_process_is_ended_by_the_clock():
    with Executor(Limits(cpu_s=5, wall_s=0.5), isolation="process") as executor:
        before = time.monotonic()
        assert executor.run(body("os.kill(os.getpid(), 19)"), "1").failure == Failure.TIME
        assert time.monotonic() - before < 10
