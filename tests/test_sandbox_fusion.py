# ruff: noqa: E501 (rows of a table)
"""Programs on a SandboxFusion server: here one of our own, which speaks its API and executes what it is sent."""

import ast
import json
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from verl_rzero.executor import Failure, Limits, SandboxFusion, ServerError, Task, equal, sandbox_fusion

ADD = "def f(a, b):\n    return a + b"


class Server(ThreadingHTTPServer):
    """Answers as SandboxFusion's sandbox/server/sandbox_api.py; `instead` are answers that it gives first."""

    daemon_threads = True

    def __init__(self, folder):
        super().__init__(("127.0.0.1", 0), Handler)
        self.folder, self.instead, self.posts, self.at_once, self.most_at_once = folder, [], [], 0, 0
        self.lock = threading.Lock()
        self.address = f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            number = len(self.server.posts)
            self.server.posts.append((self.path, body))
            self.server.at_once += 1
            self.server.most_at_once = max(self.server.at_once, self.server.most_at_once)
            code, answer = self.server.instead.pop(0) if self.server.instead else (200, None)
        answer = answer if answer is not None else json.dumps(executed(self.server.folder / f"{number}.py", body))
        with self.server.lock:
            self.server.at_once -= 1
        self.send_response(code)
        self.end_headers()
        self.wfile.write(answer.encode())

    def log_message(self, *_):
        pass


def executed(file, body):
    file.write_text(body["code"], encoding="utf-8")
    try:
        ran = subprocess.run(
            [sys.executable, file],
            input=body["stdin"].encode(),
            capture_output=True,
            timeout=body["run_timeout"],
            cwd=file.parent,
        )
    except subprocess.TimeoutExpired:
        return {"status": "Failed", "message": "", "run_result": {"status": "TimeLimitExceeded", "stdout": ""}}
    result = {
        "status": "Finished",
        "return_code": ran.returncode,
        "stdout": ran.stdout[: 1 << 20].decode(),
        "stderr": ran.stderr.decode(),
    }
    return {
        "status": "Failed" if ran.returncode else "Success",
        "message": "",
        "compile_result": None,
        "run_result": result,
    }


@contextmanager
def serving(folder):
    server = Server(folder)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture(scope="module")
def runner(server):
    with SandboxFusion(server.address, Limits(cpu_s=1, wall_s=3, memory_mb=64), workers=4) as runner:
        yield runner


@pytest.fixture(autouse=True)
def _at_once(monkeypatch):
    monkeypatch.setattr(sandbox_fusion, "RETRY_AFTER_S", (0.0, 0.0, 0.0))


RESULTS = {
    "a value": (ADD, "[1], [2]", [1, 2]),
    "types": ("def f(a):\n    return a", "{1: (2, True), b'x': {3}, 'é': float('nan')}", {1: (2, True), b"x": {3}, "é": float("nan")}),
    "cases": (ADD, ("1, 2", "'a', 'b'"), [3, "ab"]),
    "a large int": ("def f(a):\n    return a ** 5000", "7", 7**5000),
    "what it prints is dropped": ("import os\ndef f(a):\n    print('{\"values\":[5]}')\n    os.write(1, b'x')\n    return a", "1", 1),
    "so is what would fill the server's room": ("import os\ndef f(a):\n    for _ in range(40): os.write(1, b'x' * 60_000)\n    return a", "1", 1),
    "raises": (ADD, "1, 'a'", (Failure.RAISED, "TypeError")),
    "no Python": ("def f(a", "1", (Failure.SYNTAX, "SyntaxError")),
    "no literals": (ADD, "1 + 1, 2", (Failure.INPUTS, None)),
    "no function": ("g = 1", "1", (Failure.NO_FUNCTION, "")),
    "no data": ("def f(a):\n    return f", "1", (Failure.NOT_DATA, "function")),
    "a large result": ("def f(a):\n    return 'x' * 70_000", "1", (Failure.OUTPUT_TOO_LARGE, "")),
    "memory": ("def f(a):\n    return [0] * 10**9", "1", (Failure.MEMORY, "")),
    "processor time": ("def f(a):\n    while True: pass", "1", (Failure.TIME, "")),
    "time": ("import time\ndef f(a):\n    time.sleep(9)", "1", (Failure.TIME, "")),
    "ends": ("import os\ndef f(a):\n    os._exit(3)", "1", (Failure.KILLED, "ended with 3, without a result")),
    "asks": ("def f(a):\n    return input()", "1", (Failure.RAISED, "RuntimeError")),
    "writes a file": ("def f(a):\n    open('x', 'w').write('x' * 10_000)", "1", (Failure.RAISED, "OSError")),
    "hash": ("def f(a):\n    return hash(a)", "'x'", (Failure.NONDETERMINISTIC, "")),
    "date": ("import datetime\ndef f(a):\n    return str(datetime.date.today())", "1", (Failure.NONDETERMINISTIC, "")),
}  # fmt: skip


@pytest.mark.parametrize("name", RESULTS)
def test_results(runner, name):
    program, inputs, expected = RESULTS[name]
    result = runner.run(program, inputs, twice=name not in ("processor time", "time"))
    if isinstance(expected, tuple):
        assert (result.failure, result.detail if expected[1] is not None else None) == expected
    else:
        assert (result.failure, type(result.value)) == (None, type(expected))
        assert equal(result.value, expected) or str(result.value) == str(expected)


def test_processor_time_is_limited_within_the_process(server):
    with SandboxFusion(server.address, Limits(cpu_s=0.3, wall_s=30)) as patient:
        assert patient.run("def f(a):\n    while True: pass", "1").failure == Failure.TIME


WRITES = (
    "import os, sys\ndef f(a):\n    frame = sys._getframe()\n    while 'marker' not in frame.f_locals: frame = frame.f_back\n"
    "    out, marker = frame.f_locals['out'], frame.f_locals['marker']\n"
    "    os.write(out, marker + b'{\"values\":[7]}' + marker)\n    "
)


def test_a_program_that_writes_its_own_result(runner):
    """The value is its own, as any; and besides ours it is forged."""
    assert runner.run(WRITES + "os._exit(0)", "1").value == 7
    assert runner.run(WRITES + "return 7", "1").failure == Failure.FORGED
    assert runner.run(WRITES.replace("[7]", "[7,7]") + "os._exit(0)", "1").failure == Failure.FORGED
    assert (
        runner.run(WRITES.replace("[7]}'", "[\"' + b'7' * 70_000 + b'\"]}'") + "os._exit(0)", "1").failure
        == Failure.FORGED
    )


def test_many_are_sent_at_the_same_time_but_not_more(server, runner):
    server.most_at_once = 0
    tasks = [Task(ADD, f"{number}, 1", twice=number % 2 == 0) for number in range(12)]
    results = dict(runner.run_many(tasks))
    assert {number: each.value for number, each in results.items()} == {number: number + 1 for number in range(12)}
    assert 1 < server.most_at_once <= 4


def test_what_is_sent(server, runner):
    runner.run(ADD, "1, 2")
    path, body = server.posts[-1]
    assert path == "/run_code"
    assert {**body, "code": "", "stdin": ""} == {"code": "", "stdin": "", "language": "python", "run_timeout": 3}
    assert json.loads(body["stdin"].split("\n")[1])["cases"] == [[1, 2]]
    assert SandboxFusion(f"{server.address}/run_code/").url == runner.url == f"{server.address}/run_code"


UNSERVED = [(503, "busy"), (200, '{"status": "SandboxError", "message": "no conda"}'), (200, "<html>"), (429, "")]


def test_what_was_not_served_is_sent_again(server, runner):
    server.instead += UNSERVED[:3]
    before = len(server.posts)
    assert runner.run(ADD, "1, 2").value == 3
    assert len(server.posts) - before == 4


@pytest.mark.parametrize("kept", [0, 40])
def test_what_the_server_did_not_read_is_run_again(server, runner, monkeypatch, kept):
    """Of a marker of 32 characters, a message and a marker; then of a program that ends itself without a result."""
    cut = [kept, kept]
    whole = executed

    def executed_and_cut(file, body):
        answer = whole(file, body)
        answer["run_result"]["stdout"] = answer["run_result"]["stdout"][: cut.pop() if cut else None]
        return answer

    monkeypatch.setitem(globals(), "executed", executed_and_cut)
    before = len(server.posts)
    assert runner.run(ADD, "1, 2").value == 3
    assert len(server.posts) - before == 3
    ends = runner.run("import os\ndef f(a):\n    os._exit(0)", "1")
    assert (ends.failure, len(server.posts) - before) == (Failure.KILLED, 6)


@pytest.mark.parametrize("answer", UNSERVED)
def test_a_server_that_does_not_serve_is_an_error(server, runner, answer):
    server.instead += [answer] * 4
    with pytest.raises(
        ServerError, match=rf"SandboxFusion at {server.address}/run_code: .*\(4 times\)\. Is the server up"
    ):
        runner.run(ADD, "1, 2")
    assert runner.run(ADD, "1, 2").value == 3


def test_another_server_is_an_error_at_once(server, runner):
    server.instead += [(404, "")]
    before = len(server.posts)
    with pytest.raises(ServerError, match="HTTP 404"):
        list(runner.run_many([Task(ADD, "1, 2")]))
    assert len(server.posts) - before == 1


def test_nobody_there():
    with serving(Path()) as server:
        address = server.address
    before = time.monotonic()
    with pytest.raises(ServerError, match=f"SandboxFusion at {address}/run_code: URLError.*refused"):
        SandboxFusion(address)
    assert time.monotonic() - before < 10
    with pytest.raises(ValueError, match="write it as http://host:8080"):
        SandboxFusion("localhost:8080")


def test_a_server_whose_python_does_not_do_is_an_error(tmp_path, monkeypatch):
    with serving(tmp_path) as server:
        monkeypatch.setitem(globals(), "executed", lambda file, body: {
            "status": "Failed", "message": "", "run_result": {"status": "Finished", "return_code": 127, "stdout": "", "stderr": "python: not found"}
        })  # fmt: skip
        with pytest.raises(
            ServerError, match="did not run .killed: ended with 127, without a result.*python: not found"
        ):
            SandboxFusion(server.address)


def test_worlds_that_do_not_differ_are_an_error(server, monkeypatch):
    monkeypatch.setattr(sandbox_fusion, "WORLDS", ({"PYTHONHASHSEED": "3"}, {"PYTHONHASHSEED": "3"}))
    with pytest.raises(ServerError, match="another PYTHONHASHSEED"):
        SandboxFusion(server.address)


@pytest.mark.parametrize("name", sandbox_fusion._SENT)
def test_what_runs_there_is_python_3_10(name):
    """The server's Python is its own."""
    ast.parse(
        Path(sandbox_fusion.__file__).with_name(f"{name}.py").read_text(encoding="utf-8"), feature_version=(3, 10)
    )
