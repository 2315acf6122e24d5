"""Ending the processes of a run."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from verl_rzero.base import processes as run_processes
from verl_rzero.base.errors import UserError
from verl_rzero.engine import environment, processes
from verl_rzero.engine.processes import RUN_VARIABLE, StageFailed

DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(300)"


TITLED = """
import time
from setproctitle import setproctitle
setproctitle("VLLM::EngineCore")
print("titled", flush=True)
time.sleep(300)
"""


def in_run(run, *command, **variables):
    return subprocess.Popen(command, env={**os.environ, RUN_VARIABLE: str(run), **variables}, stdout=subprocess.PIPE)


def test_one_that_ignores_the_polite_signal_is_killed(tmp_path, monkeypatch):
    monkeypatch.setattr(run_processes, "GRACE_S", 0.3)
    process = in_run(tmp_path, sys.executable, "-c", DEAF)
    assert process.stdout.readline() == b"deaf\n"
    began = time.monotonic()
    assert run_processes.end_processes(tmp_path) == 1
    assert process.wait(5) == -9
    assert time.monotonic() - began >= 0.3
    process.stdout.close()


SEMAPHORE = """
import multiprocessing, os
before = {*os.listdir("/dev/shm")}
lock = multiprocessing.get_context("spawn").Lock()
print(*[name for name in {*os.listdir("/dev/shm")} - before if name.startswith("sem.mp-")], flush=True)
"""


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="semaphores are files in /dev/shm on Linux")
def test_semaphores_of_a_process_that_had_to_be_killed_are_deleted(tmp_path, monkeypatch):
    monkeypatch.setattr(run_processes, "GRACE_S", 3.0)
    process = in_run(tmp_path, sys.executable, "-c", SEMAPHORE + DEAF)
    (semaphore,) = process.stdout.readline().decode().split()
    assert Path("/dev/shm", semaphore).exists()
    assert process.stdout.readline() == b"deaf\n"
    run_processes.end_processes(tmp_path)
    assert process.wait(5) == -9
    assert not Path("/dev/shm", semaphore).exists()
    process.stdout.close()


def test_what_is_kept_stays(tmp_path):
    kept, other = in_run(tmp_path, "sleep", "60"), in_run(tmp_path, "sleep", "60")
    assert run_processes.end_processes(tmp_path, keep=frozenset({kept.pid})) == 1
    assert other.wait(5) == -15
    assert kept.poll() is None
    run_processes.end_processes(tmp_path)
    assert kept.wait(5) == -15
    for process in (kept, other):
        process.stdout.close()


def test_one_that_has_given_itself_a_title_is_found(tmp_path):
    # As vLLM's engines do: a title may be written over the environment, which then names no run any more.
    process = in_run(tmp_path, sys.executable, "-c", TITLED, **environment.COMMON)
    assert process.stdout.readline() == b"titled\n"
    assert run_processes.end_processes(tmp_path) == 1
    assert process.wait(5) == -15
    process.stdout.close()


def test_nothing_to_end(tmp_path):
    assert run_processes.end_processes(tmp_path) == 0


class Undying:
    """A process that waits in the kernel: signals don't reach it."""

    pid = 4_000_001

    def __init__(self) -> None:
        self.received: list[int] = []

    def name(self) -> str:
        return "VLLM::Worker"

    def cmdline(self) -> list[str]:
        return [self.name()]

    def send_signal(self, signum: int) -> None:
        self.received.append(signum)


@pytest.fixture
def undying(monkeypatch) -> Undying:
    process = Undying()
    monkeypatch.setattr(run_processes, "processes_of", lambda run: [process])
    monkeypatch.setattr(run_processes, "GRACE_S", 0.1)
    monkeypatch.setattr(run_processes, "KILLED_S", 0.2)
    return process


def test_one_that_survives_being_killed_is_named_and_not_waited_for_for_ever(undying, tmp_path):
    with pytest.raises(UserError, match=r"4000001 \(VLLM::Worker\).*ps -o .* -p 4000001`"):
        run_processes.end_processes(tmp_path)
    assert undying.received[0] == signal.SIGTERM
    assert {*undying.received[1:]} == {signal.SIGKILL}


def test_a_stage_that_leaves_one_behind_says_so_and_signals_are_heard_again(undying, tmp_path):
    with pytest.raises(UserError, match="still there"), run_processes.nothing_left(tmp_path):
        pass
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_who_ends_processes_is_interrupted_when_they_have_ended(tmp_path, signum):
    """With a second thread, as TensorBoard's writer is one: it takes the signals that the first one blocks."""
    program = (
        "import pathlib, sys, threading, time\n"
        "from verl_rzero.base import command_line, processes\n"
        "threading.Thread(target=time.sleep, args=(60,), daemon=True).start()\n"
        "processes.GRACE_S = 2.0\n"
        "def work(_words):\n"
        "    with processes.nothing_left(pathlib.Path(sys.argv[1])):\n"
        "        print('ends', flush=True)\n"
        "    print('not reached')\n"
        "sys.exit(command_line.exit_code(work, usage=None, words=[]))\n"
    )
    deaf = in_run(tmp_path, sys.executable, "-c", DEAF)
    assert deaf.stdout.readline() == b"deaf\n"
    process = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"ends\n"
    for _ in range(2):
        time.sleep(0.5)
        process.send_signal(signum)
    assert (process.wait(30), process.stdout.read()) == (130, b"")
    assert deaf.wait(1) == -signal.SIGKILL


def test_what_went_wrong_first_is_what_is_raised(undying, tmp_path, capsys):
    with pytest.raises(KeyboardInterrupt), run_processes.nothing_left(tmp_path):
        raise KeyboardInterrupt
    assert "4000001 (VLLM::Worker)" in capsys.readouterr().err


def run_stage(command: list[str], run: Path) -> None:
    """A process of one stage, in the run's own directory, followed to its end."""
    with processes.running(command, run, run / "stage.log") as process:
        processes.follow(process, "x", run, lambda position: None)


def test_a_process_that_ends_badly_after_its_result_has_done_its_work(tmp_path):
    result = tmp_path / "result.json"
    run_stage([sys.executable, "-c", f"import sys; open({str(result)!r}, 'w').write('{{}}'); sys.exit(1)"], tmp_path)
    assert "ended with exit code 1 after that" in (tmp_path / "stage.log").read_text()
    assert not (tmp_path / "FAILED").exists()


def test_a_process_that_does_not_end_after_its_result_is_ended_and_has_done_its_work(tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "GRACE_S", 1)
    script = f"echo 1 > {tmp_path}/result.json; sleep 300"
    with processes.running(["sh", "-c", script], tmp_path, tmp_path / "stage.log") as process:
        processes.follow(process, "x", tmp_path, lambda position: None, stalled_after_s=0.5)
    assert process.poll() is not None
    assert "x was done; its process had not ended 1 s after that, and is ended." in (tmp_path / "stage.log").read_text()
    assert not (tmp_path / "FAILED").exists()


def test_a_stage_sees_the_run_and_writes_to_its_log(tmp_path):
    code = f"import os, sys; print(os.environ['{RUN_VARIABLE}'], os.getsid(0) == os.getpid()); sys.exit(3)"
    with pytest.raises(StageFailed, match="exit code 3"):
        run_stage([sys.executable, "-c", code], tmp_path)
    assert (tmp_path / "stage.log").read_text() == f"{tmp_path} True\n"


def test_a_stage_ended_by_a_signal_is_named_so(tmp_path):
    with pytest.raises(StageFailed, match="signal 9"):
        run_stage(["sh", "-c", "kill -9 $$"], tmp_path)


def test_a_stage_without_a_result_has_failed(tmp_path):
    with pytest.raises(StageFailed, match="without results"):
        run_stage(["true"], tmp_path)


def test_a_stage_that_is_not_the_last_is_done_when_its_result_is_there(tmp_path):
    script = f"echo 1 > {tmp_path}/result.json; sleep 300"
    with processes.running(["sh", "-c", script], tmp_path, tmp_path / "stage.log") as process:
        processes.follow(process, "x", tmp_path, lambda position: None, last=False)
        assert process.poll() is None
    assert process.poll() is not None


def test_what_a_stage_leaves_behind_ends_with_it(tmp_path):
    script = f"setsid sleep 300 & echo $! > {tmp_path}/pid; echo 1 > {tmp_path}/result.json"
    run_stage(["sh", "-c", script], tmp_path)
    pid = int((tmp_path / "pid").read_text())
    # Where nobody collects orphans, an ended one stays in the table as a zombie.
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
