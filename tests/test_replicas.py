"""A replica beside a model in training takes over servers that run in its workers' places, and no others."""

import os
import subprocess
import sys
from pathlib import Path

# Importing verl wants its platform chosen first, so these tests run in a process of their own.
if "VERL_RZERO_REPLICAS" not in os.environ:

    def test_replicas_in_their_own_process():
        from verl_rzero import settings
        from verl_rzero.engine import environment

        env = os.environ | environment.variables(settings.load([])) | {"VERL_RZERO_REPLICAS": "1"}
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(Path(__file__))]
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-1000:]
        assert "16 passed" in done.stdout

else:
    import asyncio
    from dataclasses import make_dataclass
    from types import SimpleNamespace

    import pytest
    import ray
    from verl.utils.config import omega_conf_to_dataclass
    from verl.workers.rollout.replica import RolloutMode, RolloutReplicaRegistry
    from verl.workers.rollout.vllm_rollout.vllm_async_server import vLLMReplica

    from verl_rzero import settings
    from verl_rzero.engine import jobs, replicas
    from verl_rzero.engine.memory import Shape
    from verl_rzero.engine.replicas import Running, StreamingReplica

    SHAPE = Shape(10**9, 10**8, 1024, 8, 8, 4, 128, 4096, 10**5)
    HERE, THERE = ("node", ["0"]), ("node", ["1"])

    def of_engine(**values: object) -> dict[str, object]:
        return {"seed": 0, "max_num_seqs": 8, **values}

    def running(servers: list[str], place: tuple[str, list[str]] = HERE, **values: object) -> Running:
        return Running(servers, f"{servers[0]}:1", [place], of_engine(**values))

    @pytest.fixture
    def happened(monkeypatch) -> list[str]:
        """What is started and ended."""
        events: list[str] = []

        async def launch(self: vLLMReplica) -> None:
            events.append("started")
            self.servers, self._server_handle, self._server_address = ["new"], "new", "new:1"

        monkeypatch.setattr(vLLMReplica, "launch_servers", launch)
        monkeypatch.setattr(ray, "kill", lambda server: events.append(f"ended {server}"))
        return events

    def replica(before: dict[int, Running], rank: int = 0, mode: RolloutMode = RolloutMode.HYBRID) -> StreamingReplica:
        """One whose only worker is HERE, its servers launched."""

        async def here() -> tuple[str, list[str]]:
            return HERE

        made = object.__new__(StreamingReplica)
        made.workers = [SimpleNamespace(__ray_call__=SimpleNamespace(remote=lambda _: here()))]
        made.replica_rank, made.rollout_mode, made.before = rank, mode, before
        made.config = make_dataclass("Config", ["seed", "max_num_seqs", "n", "temperature"])(0, 8, 4, 0.9)
        asyncio.run(made.launch_servers())
        return made

    def test_servers_in_the_same_places_are_taken_over(happened):
        before = {0: running(["zero", "more"]), 1: running(["one"])}
        found = replica(before, rank=1)
        assert (found.servers, found.server_handle, found.server_address) == (["one"], "one", "one:1")
        assert found.running() == running(["one"])
        assert (happened, [*before]) == ([], [0])
        assert replica(before).server_handle == "zero"
        assert replica(before).server_handle == "new"
        assert happened == ["started"]

    @pytest.mark.parametrize("other", [running(["zero", "more"], THERE), running(["zero", "more"], max_num_seqs=16)])
    def test_servers_in_other_places_or_for_other_engines_are_ended_and_others_started(happened, other):
        found = replica({0: other})
        assert (found.server_handle, found.server_address) == ("new", "new:1")
        assert happened == ["ended zero", "ended more", "started"]
        assert found.running() == running(["new"])

    def test_what_is_otherwise_is_said_where_others_are_started(happened, capsys):
        replica({0: running(["zero"], THERE, max_num_seqs=16)})
        assert "engine 0 is started anew: the one before it has another place, another max_num_seqs" in (
            capsys.readouterr().out
        )

    @pytest.mark.parametrize("model", ["tiny", "qwen3_4b_base"])
    @pytest.mark.parametrize("hardware", ["cpu", "1gpu", "24gb", "2gpu", "8gpu"])
    def test_the_solvers_engines_are_those_of_the_challenger_by_turns(hardware, model):
        asked = settings.load([f"model={model}", f"hardware={hardware}", "hardware.solver_gpus=0"])
        engines = []
        for role in ("challenger", "solver"):
            config = jobs.verl_config(asked, role, model="m", solver="s", train_file="t", stage_dir="d", shape=SHAPE)
            made = object.__new__(StreamingReplica)
            made.config = omega_conf_to_dataclass(config.actor_rollout_ref.rollout)
            engines.append(made._of_the_engine())
        assert engines[0] == engines[1]

    def test_a_model_that_is_only_served_has_servers_of_its_own(happened):
        before = {0: running(["zero"])}
        for mode in (RolloutMode.STANDALONE, RolloutMode.COLOCATED):
            assert replica(before, mode=mode).server_handle == "new"
        assert [*before] == [0]

    def test_a_training_without_one_before_it_takes_nothing_over():
        def before() -> dict[int, Running]:
            return RolloutReplicaRegistry.get("vllm").keywords["before"]

        replicas.register([running(["zero"])])
        assert [*before()] == [0]
        replicas.register()
        assert before() == {}
