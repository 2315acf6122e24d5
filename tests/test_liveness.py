"""A dead actor is noticed while the job waits for something else; a busy one is not taken for dead."""

import os
import signal
import time

import pytest
import ray

from verl_rzero.engine import liveness


def worker():
    """A handle. The class stands in here so that Ray sends it whole."""

    class Worker:
        def pid(self) -> int:
            return os.getpid()

        def works(self, seconds: float) -> None:
            time.sleep(seconds)

    return ray.remote(num_cpus=0)(Worker).remote()


@pytest.fixture(scope="module", autouse=True)
def cluster(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("RAY_ADDRESS", raising=False)
        ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
        yield
        ray.shutdown()


@pytest.fixture
def workers(monkeypatch):
    monkeypatch.setattr(liveness, "LOOK_EVERY_S", 0.1)
    monkeypatch.setattr(liveness, "GRACE_S", 0.5)
    made = {name: worker() for name in ("trainer 0", "engine 0")}
    pids = {name: ray.get(handle.pid.remote()) for name, handle in made.items()}
    yield made, pids
    for handle in made.values():
        ray.kill(handle)


def test_a_dead_one_ends_the_job(workers, capfd):
    handles, pids = workers
    said: list[str] = []
    with liveness.watched(handles, said.append):
        os.kill(pids["engine 0"], signal.SIGKILL)
        begin = time.monotonic()
        while not said:
            assert time.monotonic() < begin + 20
            time.sleep(0.05)
        assert time.monotonic() > begin + 0.5
    assert said == ["error: engine 0 died, and the job would wait for it for ever; it is ended."]
    assert "engine 0 has died: " in capfd.readouterr().err


def test_a_job_that_ends_by_itself_meanwhile_is_left_alone(workers, monkeypatch):
    handles, pids = workers
    monkeypatch.setattr(liveness, "GRACE_S", 5.0)
    said: list[str] = []
    with liveness.watched(handles, said.append):
        os.kill(pids["engine 0"], signal.SIGKILL)
        time.sleep(0.3)
    assert said == []


def test_busy_ones_and_idle_ones_are_left_alone(workers):
    handles, _ = workers
    said: list[str] = []
    with liveness.watched(handles, said.append):
        ray.get(handles["trainer 0"].works.remote(2.0))
        time.sleep(0.5)
    assert said == []


def test_one_that_cannot_be_reached_for_a_moment_is_asked_again(monkeypatch):
    monkeypatch.setattr(liveness, "LOOK_EVERY_S", 0.05)
    monkeypatch.setattr(liveness, "GRACE_S", 0.2)
    answers = [ray.exceptions.ActorUnavailableError("network", None)]
    asked = []

    class Far:
        class __ray_ready__:  # noqa: N801  (Ray's name)
            @staticmethod
            def remote():
                asked.append(1)
                return "call"

    def get(call):
        if answers:
            raise answers.pop()

    monkeypatch.setattr(ray, "wait", lambda calls, timeout: (calls, []))
    monkeypatch.setattr(ray, "get", get)
    said: list[str] = []
    with liveness.watched({"engine 0": Far()}, said.append):
        begin = time.monotonic()
        while len(asked) <= 8:  # more than in the time that a dead one has
            assert time.monotonic() < begin + 20
            time.sleep(0.05)
    assert said == []
