"""The warm server: children start from it as from a Python executable, and end with whoever asked for them."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from verl_rzero.engine import warm
from verl_rzero.engine.warm.server import REQUEST_S

SERVE = "import sys; from verl_rzero.engine.warm.server import serve; serve(sys.argv[1], ('json', 'numpy', 'torch'))"


@pytest.fixture(scope="module")
def env(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Environment of processes that use a server which has imported little, and what each child would import else."""
    directory = tmp_path_factory.mktemp("w")
    executable, socket = directory / "python", directory / "socket"
    executable.write_text(f"#!{sys.executable} -IS\n" + Path(warm.__file__).with_name("client.py").read_text())
    executable.chmod(0o755)
    server = subprocess.Popen([sys.executable, "-c", SERVE, str(socket)])
    deadline = time.monotonic() + 60
    while not socket.exists():
        assert time.monotonic() < deadline
        assert server.poll() is None
        time.sleep(0.05)
    yield {**os.environ, warm.SOCKET_VARIABLE: str(socket), warm.EXECUTABLE_VARIABLE: str(executable)}
    server.terminate()
    server.wait()


def start(env: dict[str, str], *words: str, **kwargs) -> subprocess.Popen[str]:
    return subprocess.Popen([warm.python_executable(env), *words], env=env, text=True, **kwargs)


def wait_until(condition, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.05)


def test_child_is_a_fork_of_the_server_with_the_callers_environment_directory_and_arguments(env, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import os, sys; print(os.environ['MARK'], os.getcwd(), sys.argv, 'json' in sys.modules, __name__)"
    )
    child = start({**env, "MARK": "x1"}, str(script), "a", "b c", cwd=tmp_path, stdout=subprocess.PIPE)
    out, _ = child.communicate()
    assert out.split("\n")[0] == f"x1 {tmp_path} {[str(script), 'a', 'b c']} True __main__"
    assert child.returncode == 0


@pytest.mark.parametrize(
    ("code", "expected"),
    [("import sys; sys.exit(3)", 3), ("pass", 0), ("raise ValueError", 1), ("import os; os.kill(os.getpid(), 9)", -9)],
)
def test_exit_code_is_the_childs(env, code, expected):
    assert start(env, "-c", code, stderr=subprocess.DEVNULL).wait() == expected


def test_modules_run_as_with_python_m(env):
    child = start(env, "-m", "json.tool", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    out, _ = child.communicate("[1]")
    assert out == "[\n    1\n]\n"


def test_file_descriptors_keep_their_numbers(env):
    reader, writer = os.pipe()
    child = start(env, "-c", f"import os; os.write({writer}, b'through')", pass_fds=[writer])
    assert child.wait() == 0
    os.close(writer)
    assert os.read(reader, 100) == b"through"
    assert os.read(reader, 100) == b""  # end of file: neither the client nor the server holds the other end
    os.close(reader)


def test_signals_are_passed_on(env):
    code = (
        "import signal, sys, time; signal.signal(15, lambda *_: sys.exit(7)); print('up', flush=True); time.sleep(60)"
    )
    child = start(env, "-c", code, stdout=subprocess.PIPE)
    assert child.stdout is not None
    assert child.stdout.readline() == "up\n"
    child.send_signal(signal.SIGTERM)
    assert child.wait(20) == 7


def alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def test_child_ends_when_its_client_is_killed(env):
    child = start(env, "-c", "import os, time; print(os.getpid(), flush=True); time.sleep(60)", stdout=subprocess.PIPE)
    assert child.stdout is not None
    pid = int(child.stdout.readline())
    assert alive(pid)
    child.kill()
    wait_until(lambda: not alive(pid))


def test_child_ends_when_whoever_started_it_is_killed(env, tmp_path):
    pid_file = tmp_path / "pid"
    inner = f"import os, time; open({str(pid_file)!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    outer = f"import subprocess, os; subprocess.run([os.environ[{warm.EXECUTABLE_VARIABLE!r}], '-c', {inner!r}])"
    starter = subprocess.Popen([sys.executable, "-c", outer], env=env)
    wait_until(lambda: pid_file.exists() and pid_file.read_text() != "")
    pid = int(pid_file.read_text())
    starter.kill()
    starter.wait()
    wait_until(lambda: not alive(pid))


def connected(env: dict[str, str]) -> socket.socket:
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    client.connect(env[warm.SOCKET_VARIABLE])
    return client


@pytest.mark.parametrize("said", [b"", (1000).to_bytes(8, "big"), (1000).to_bytes(8, "big") + b'{"argv": '])
def test_a_client_that_ends_while_it_asks_does_not_end_the_server(env, said):
    with connected(env) as client, (Path(__file__)).open() as file:
        if said:
            socket.send_fds(client, [said], [file.fileno()])
    child = start(
        env, "-c", "import os; print(sorted(os.listdir('/proc/%d/fd' % os.getppid())))", stdout=subprocess.PIPE
    )
    first = child.communicate()[0]
    assert child.returncode == 0
    again = start(
        env, "-c", "import os; print(sorted(os.listdir('/proc/%d/fd' % os.getppid())))", stdout=subprocess.PIPE
    )
    assert again.communicate()[0] == first  # no descriptor of the lost client stays with the server


def test_a_client_that_stops_while_it_asks_holds_the_others_up_for_some_seconds_only(env):
    with connected(env) as client:
        client.sendall((1000).to_bytes(8, "big"))
        begin = time.monotonic()
        child = start(env, "-c", "pass")
        assert child.wait() == 0
        assert time.monotonic() - begin < REQUEST_S + 5
        assert client.recv(1) == b""  # it is told that nobody listens to it any more


@pytest.mark.parametrize("where", ["nothing there", "nobody listens", "it hangs up"])
def test_without_a_server_the_stand_in_becomes_python_itself(env, tmp_path, where):
    path = tmp_path / "s"
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    if where != "nothing there":
        listener.bind(str(path))
    if where == "it hangs up":
        listener.listen()
        threading.Thread(target=lambda: listener.accept()[0].close(), daemon=True).start()
    words = ["-c", "import sys, os; print(os.getpid(), 'json' in sys.modules); sys.exit(5)"]
    child = start({**env, warm.SOCKET_VARIABLE: str(path)}, *words, stdout=subprocess.PIPE)
    assert child.communicate()[0].split() == [str(child.pid), "False"]
    assert child.returncode == 5
    listener.close()


def test_numpy_seeds_differ_between_children(env):
    code = "import numpy; print(numpy.random.randint(1 << 30))"
    drawn = [start(env, "-c", code, stdout=subprocess.PIPE).communicate()[0] for _ in range(2)]
    assert drawn[0] != drawn[1]


def test_a_server_that_has_died_gives_no_variables_and_says_so_once(tmp_path, capsys):
    server = warm.Server(tmp_path, dict(os.environ))
    server.process.kill()
    server.process.wait()
    server.log.write_text("ImportError: no module of the name torch\n")
    assert [server.variables(wait_s=1), server.variables()] == [{}, {}]
    said = capsys.readouterr().err
    assert said.count("the warm-start server has ended (exit code -9)") == 1
    assert said.endswith("ImportError: no module of the name torch\n")
    server.close()
    assert warm.python_executable({}) == sys.executable


@pytest.fixture
def slow(tmp_path, monkeypatch) -> Iterator[warm.Server]:
    """A server that never gets ready."""
    interpreter = tmp_path / "sleeps"
    interpreter.write_text("#!/bin/sh\nexec sleep 60\n")
    interpreter.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(interpreter))
    server = warm.Server(tmp_path, dict(os.environ))
    yield server
    server.close()


def test_a_server_that_is_late_is_told_of_only_after_waiting_for_it(slow, capsys):
    assert slow.variables() == {}
    assert capsys.readouterr().err == ""
    assert slow.variables(wait_s=0.1) == {}
    assert "the warm-start server is not ready after 0.1 s" in capsys.readouterr().err
