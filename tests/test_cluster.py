"""What is looked at before a run joins a Ray cluster: a real one of two machines, both of them this one."""

import contextlib
import json
import os
import random
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from verl_rzero import settings
from verl_rzero.base.errors import UserError
from verl_rzero.data import run_dir
from verl_rzero.engine import cluster
from verl_rzero.engine.cluster import Node, check_gpus, check_nodes, look, with_hardware

ROOT = Path(__file__).parents[1]
RAY = str(Path(sys.executable).with_name("ray"))
SAME = {"python": "3.11.7", "verl": "0.9.1"}
TWO = settings.load(["hardware=8gpu", "hardware.nodes=2", "model=qwen3_4b_base"])


def port() -> int:
    """A free one, and none that a system or Ray gives away by itself before it is used."""
    while True:
        number = random.randrange(20_000, 32_000)
        with socket.socket() as found, contextlib.suppress(OSError):
            found.bind(("127.0.0.1", number))
            return number


def start(*words: str, directory: str) -> None:
    command = [RAY, "start", *words, "--num-cpus=4", "--disable-usage-stats"]
    env = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    env |= {"RAY_TMPDIR": directory, "RAY_AUTH_MODE": "token"}
    # jobs run where Ray was started: not in the checkout
    subprocess.run(command, env=env, cwd=directory, check=True, capture_output=True, timeout=120)


@pytest.fixture(scope="module")
def two_machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The directory of a Ray cluster of two raylets with 3 and 2 made-up GPUs, which RAY_ADDRESS names."""
    directory, address = str(tmp_path_factory.mktemp("ray")), f"127.0.0.1:{port()}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_ADDRESS", address)
        patch.setenv("RAY_AUTH_TOKEN", "0" * 64)
        try:
            start(
                "--head",
                f"--port={address.split(':')[1]}",
                "--num-gpus=3",
                "--include-dashboard=false",
                directory=directory,
            )
            start(f"--address={address}", "--num-gpus=2", directory=directory)
            yield directory
        finally:
            end(directory)


def end(directory: str) -> None:
    for process in processes_of(directory):
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


def processes_of(directory: str) -> list:
    """Of Ray, those that were started with this directory for their files."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("RAY_TMPDIR") == directory:
                found += [process, *process.children(recursive=True)]  # some have overwritten their environment
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


def raylets_of(directory: str) -> list:
    """In the order in which they were started; a process that ends while it is looked at is none of them."""
    found = []
    for process in processes_of(directory):
        with contextlib.suppress(psutil.NoSuchProcess):
            if process.name() == "raylet":
                found.append((process.create_time(), process))
    return [process for _, process in sorted(found, key=lambda each: each[0])]


def test_the_machines_of_a_cluster_say_what_they_have(two_machines, tmp_path):
    seen, gone = tmp_path / "seen", tmp_path / "gone"
    seen.touch()
    here, found = look(seen)
    assert all(node.versions == here for node in found)
    assert sorted(node.gpus for node in found) == [2, 3]
    assert sorted(node.free_gpus for node in found) == [2, 3]
    assert all(node.sees_file and {"python", "verl", "ray", "torch"} <= {*node.versions} for node in found)
    assert not any(node.sees_file for node in look(gone)[1])


def test_a_cluster_whose_token_is_not_ours_says_so(two_machines, monkeypatch):
    monkeypatch.setenv("RAY_AUTH_TOKEN", "1" * 64)
    with pytest.raises(UserError, match="copy ~/.ray/auth_token"):
        look()


def test_a_cluster_decides_the_hardware_where_nothing_else_does(two_machines):
    # of one machine with 3 GPUs and one with 2, the 3 are more
    assert with_hardware(["votes=3"])[0] == ["votes=3", "hardware=2gpu"]
    assert with_hardware(["hardware=8gpu"]) == (["hardware=8gpu"], "hardware=8gpu, as you said.")


def test_what_a_cluster_can_do_is_let_pass_and_what_it_cannot_is_refused(two_machines, tmp_path):
    words = ["hardware=cpu", "hardware.gpus_per_node=1", "hardware.solver_gpus=1"]
    assert len(check_nodes(settings.load([*words, "hardware.nodes=2"]), tmp_path)) == 2
    needs = r"solver_gpus=1 beside them needs 2 GPUs \(on a CPU made-up ones: ray start --num-gpus=2\)"
    with pytest.raises(UserError, match=rf"hardware.nodes=4 .*{needs} .* or write hardware.nodes=2"):
        check_nodes(settings.load([*words, "hardware.nodes=4"]), tmp_path)
    assert [*tmp_path.iterdir()] == []


def test_a_job_that_is_submitted_from_another_directory_runs_in_the_checkout(tmp_path_factory, monkeypatch):
    directory, board, run = str(tmp_path_factory.mktemp("ray")), port(), tmp_path_factory.mktemp("submitted") / "run"
    monkeypatch.setenv("RAY_AUTH_TOKEN", "0" * 64)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    words = ["hardware=cpu", "hardware.gpus_per_node=1", "hardware.solver_gpus=1", "rounds=0", "model.build_steps=1"]
    recipe = ["bash", str(ROOT / "recipes/run_rzero.sh"), *words, "~evaluation.benchmarks.tiny", f"run_dir={run}"]
    here = ["--runtime-env-json", json.dumps({"env_vars": {"PYTHON": sys.executable}})]
    env = {**os.environ, "RAY_AUTH_MODE": "token"}
    try:
        ports = [f"--port={port()}", f"--dashboard-port={board}", f"--dashboard-agent-listen-port={port()}"]
        start("--head", *ports, "--num-gpus=2", directory=directory)
        submit = [RAY, "job", "submit", f"--address=http://127.0.0.1:{board}", *here, "--", *recipe]
        done = subprocess.run(submit, cwd="/", env=env, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
        assert "base/model: done" in done.stdout
        assert run_dir.is_done(run / "base/model")
    finally:
        end(directory)


def test_where_no_cluster_answers_that_is_said(monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{port()}")
    monkeypatch.setenv("RAY_gcs_rpc_server_reconnect_timeout_s", "1")
    with pytest.raises(UserError, match="RAY_ADDRESS=127.0.0.1.*unset RAY_ADDRESS"):
        look()


def test_more_gpus_than_this_machine_has_are_refused(monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr("verl_rzero.settings.machine.visible_gpus", lambda: 4)
    cluster.check_cluster(settings.load(["hardware=4gpu", "model=qwen3_4b_base"]))
    with pytest.raises(UserError, match="hardware.gpus_per_node=8: this machine has 4 NVIDIA GPUs"):
        cluster.check_cluster(settings.load(["hardware=8gpu", "model=qwen3_4b_base"]))


def test_without_an_address_nothing_is_looked_at(monkeypatch, tmp_path):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(cluster, "look", None)
    assert check_nodes(TWO, tmp_path) == []


def checked(monkeypatch, tmp_path, *nodes: Node, before: tuple[Node, ...] = ()) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    monkeypatch.setattr(cluster, "look", lambda marker: (SAME, list(nodes)))
    monkeypatch.setattr(cluster, "PAUSE_S", 0.0)
    check_nodes(TWO, tmp_path, before)


def node(
    number: int, gpus: int = 8, free: int | None = None, versions: dict | None = None, sees: bool = True, cpus: int = 96
) -> Node:
    return Node(
        f"10.0.0.{number}", cpus, gpus, gpus if free is None else free, SAME if versions is None else versions, sees
    )


@pytest.mark.parametrize(
    ("nodes", "words"),
    [
        ([node(1)], "hardware.nodes=2 .*10.0.0.1: 8.* or write hardware.nodes=1"),
        ([node(1, 4), node(2, 4)], "fewer hardware.gpus_per_node"),
        ([node(1), node(2, free=4)], "needs 16 GPUs, .* 16 only 12 are free"),
        ([node(1, cpus=16), node(2, cpus=16)], "reserves 58 CPU cores for 2 x 8 GPUs, and the Ray cluster has 32"),
        ([node(1), node(2, versions={})], "10.0.0.2 did not answer"),
        ([node(1), node(2, versions={"python": "3.11.7"})], r"10.0.0.2 has verl not at all \(not 0.9.1\)"),
        ([node(1), node(2, versions={**SAME, "verl": "0.9.0"})], r"10.0.0.2 has verl 0.9.0 \(not 0.9.1\)"),
        ([node(1, versions={**SAME, "verl": "0.9.0"})] * 2, "other packages than this run: 10.0.0.1 has verl 0.9.0"),
        ([node(1), node(2, sees=False)], "not seen on 10.0.0.2. Write run_dir="),
    ],
)
def test_each_thing_that_would_stop_a_job_later_is_one_error_before(monkeypatch, tmp_path, nodes, words):
    with pytest.raises(UserError, match=words):
        checked(monkeypatch, tmp_path, *nodes)


def test_a_machine_that_went_away_is_named(monkeypatch, tmp_path):
    checked(monkeypatch, tmp_path, node(1), node(2))
    with pytest.raises(UserError, match="10.0.0.2 was there when the run began and is gone"):
        checked(monkeypatch, tmp_path, node(1), before=(node(1), node(2)))


def test_a_machine_that_just_died_is_looked_at_again(monkeypatch, tmp_path):
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    monkeypatch.setattr(cluster, "PAUSE_S", 0.0)
    looks = [[node(1), node(2, versions={})], [node(1)], [node(1)], [node(1)]]
    monkeypatch.setattr(cluster, "look", lambda marker: (SAME, looks.pop(0)))
    with pytest.raises(UserError, match="10.0.0.2 was there when the run began and is gone"):
        check_nodes(TWO, tmp_path, [node(1), node(2)])


def test_gpus_that_are_given_back_a_little_later_are_waited_for(monkeypatch, tmp_path):
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    monkeypatch.setattr(cluster, "PAUSE_S", 0.0)
    looks = [[node(1), node(2, free=0)], [node(1), node(2)]]
    monkeypatch.setattr(cluster, "look", lambda marker: (SAME, looks.pop(0)))
    assert len(check_nodes(TWO, tmp_path)) == 2


def test_on_gpus_the_solvers_are_among_a_machines():
    check_gpus(TWO.hardware, [node(1), node(2)])
    check_gpus(settings.load(["hardware=cpu"]).hardware, [node(1, 4)])
    with pytest.raises(UserError, match="needs 4 GPUs"):
        check_gpus(settings.load(["hardware=cpu"]).hardware, [node(1, 3)])


def test_a_machine_that_dies_is_named_in_a_real_cluster(two_machines, tmp_path):
    """The last test with this cluster."""
    asked = settings.load(["hardware=cpu", "hardware.gpus_per_node=1", "hardware.solver_gpus=1", "hardware.nodes=2"])
    before = check_nodes(asked, tmp_path)
    raylets_of(two_machines)[-1].kill()
    with pytest.raises(UserError, match="was there when the run began and is gone.*hardware.nodes=1"):
        check_nodes(asked, tmp_path, before)
