"""What we rely on inside verl and vLLM: the installed packages have it, and a change is named before a job starts."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

# Importing verl wants its platform chosen first, so these tests run in a process of their own.
if "VERL_RZERO_GUARDS" not in os.environ:

    def test_guards_in_their_own_process():
        from verl_rzero import settings
        from verl_rzero.engine import environment

        env = os.environ | environment.variables(settings.load([])) | {"VERL_RZERO_GUARDS": "1"}
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(Path(__file__))]
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stdout[-3000:]
        assert "passed" in done.stdout

else:
    import asyncio
    from types import SimpleNamespace

    import ray
    import tensordict
    import torch
    from verl.experimental.agent_loop import AgentLoopOutput
    from verl.trainer import constants_ppo
    from verl.trainer.ppo.v1 import agent_loop_tq, trainer_base
    from verl.workers import engine_workers
    from verl.workers.rollout import replica
    from verl.workers.rollout.vllm_rollout import vllm_rollout

    from verl_rzero import settings
    from verl_rzero.base.errors import UserError
    from verl_rzero.engine import batches, environment, guards, worker
    from verl_rzero.engine.processes import RUN_VARIABLE
    from verl_rzero.engine.reliances import RELIANCES, Reliance
    from verl_rzero.engine.rollouts import Sample
    from verl_rzero.engine.samplers import Trajectory

    ENGINE = Path(guards.__file__).parent

    def test_the_installed_packages_are_those_that_we_rely_on():
        guards.check()

    def test_they_are_so_too_when_ray_has_made_actors_of_them():
        ray.remote(engine_workers.ActorRolloutRefWorker)
        guards.check()

    def test_verl_leaves_the_cache_of_compiled_kernels_on_where_we_say_so(monkeypatch):
        cache = "VLLM_DISABLE_COMPILE_CACHE"
        assert constants_ppo.get_ppo_ray_runtime_env()["env_vars"][cache] == "1"
        on_gpus, on_a_cpu = (environment.variables(settings.load([f"hardware={name}"])) for name in ("1gpu", "cpu"))
        assert cache not in on_a_cpu
        monkeypatch.setenv(cache, on_gpus[cache])
        assert cache not in constants_ppo.get_ppo_ray_runtime_env()["env_vars"]

    def test_every_file_of_the_table_is_there():
        assert {name for each in RELIANCES for name in each.ours.split(", ") if not (ENGINE / name).is_file()} == set()

    def test_a_changed_signature_is_named_with_the_versions_and_what_to_do(monkeypatch):
        def _update_actor(self, batch, metrics, timing_raw): ...

        monkeypatch.setattr(trainer_base.PPOTrainer, "_update_actor", _update_actor)
        with pytest.raises(UserError) as failed:
            guards.check()
        message = str(failed.value)
        assert (
            "PPOTrainer._update_actor takes (self, batch, metrics, timing_raw), not (self, batch, metrics)" in message
        )
        assert "trainer.py: overrides it" in message
        assert "verl 0.9.1" in message
        assert "requirements/gpu.txt" in message

    def test_what_has_gone_is_named(monkeypatch):
        monkeypatch.delattr(replica.RolloutReplicaRegistry, "register")
        with pytest.raises(UserError, match=r"RolloutReplicaRegistry.register is not there.*replicas.py"):
            guards.check()

    def test_another_name_of_the_socket_is_named(monkeypatch):
        def __init__(self, config, model_config, device_mesh, replica_rank=-1):
            self.zmq_handle = f"ipc:///tmp/verl-sync-{config}-replica-{replica_rank}-rank-0.sock"

        monkeypatch.setattr(vllm_rollout.ServerAdapter, "__init__", __init__)
        with pytest.raises(UserError, match="ServerAdapter.__init__ does not mention .*'ipc:///tmp/rl-colocate-"):
            guards.check()

    def test_an_argument_that_is_taken_no_more_is_named(monkeypatch):
        async def generate(self, prompt, params, request_id): ...

        monkeypatch.setattr("vllm.v1.engine.async_llm.AsyncLLM.generate", generate)
        with pytest.raises(UserError, match="AsyncLLM.generate does not take sampling_params"):
            guards.check()

    def test_all_differences_are_told_at_once():
        gone = [Reliance("x.py", "verl:nothing", "x"), Reliance("y.py", "verl.nowhere:nothing", "y")]
        with pytest.raises(UserError, match=r"(?s)verl:nothing is not there.*verl.nowhere:nothing is not there"):
            guards.check(gone)

    @pytest.mark.parametrize("each", RELIANCES, ids=lambda each: each.theirs.rpartition(":")[2])
    def test_each_row_says_something_and_would_see_a_change(each):
        assert each.parameters is not None or each.accepts or each.mentions
        if each.parameters is not None:
            assert guards.difference(replace(each, parameters=each.parameters + " more"))
        if each.accepts:
            assert guards.difference(replace(each, accepts=each.accepts + " nobody_takes_this"))
        if each.mentions:
            assert guards.difference(replace(each, mentions=each.mentions + " nobody_says_this"))

    def test_the_socket_of_a_run_differs_in_the_job_only(monkeypatch):
        monkeypatch.setenv(RUN_VARIABLE, "/runs/a")
        name = worker.run_socket("ipc:///tmp/rl-colocate-zmq-01000000-replica-0-rank-3.sock")
        assert name == f"ipc:///tmp/rl-colocate-zmq-{worker.sync_name('01000000')}-replica-0-rank-3.sock"
        assert worker.sync_name("01000000") != "01000000"

    @pytest.mark.parametrize("name", ["ipc:///tmp/verl-0-replica-0-rank-0.sock", "tcp://10.0.0.1:5000", ""])
    def test_a_socket_of_another_name_is_an_error_and_no_hang(name):
        with pytest.raises(RuntimeError, match="not the verl that"):
            worker.run_socket(name)

    def kept(into: dict):
        """A store that keeps what is put, by key."""

        def put(keys, partition_id, tags=None, fields=None):
            for i, key in enumerate(keys):
                row = {} if fields is None else {name: column[i] for name, column in fields.items()}
                into[key] = (partition_id, None if tags is None else tags[i], row)

        return put

    def by_verl(monkeypatch, prompt: list[int], response: list[int], columns: dict) -> tuple:
        """What verl's own agent-loop worker stores for a sample of weights 4 at step 5, with reward 0.5."""
        store: dict = {}

        async def put(**kwargs):
            kept(store)(**kwargs)

        async def nothing(*_, **__): ...

        monkeypatch.setattr(agent_loop_tq, "tq", SimpleNamespace(async_kv_batch_put=put))
        myself = SimpleNamespace(
            _compute_score=nothing,
            _compute_teacher_logprobs=nothing,
            _compute_multi_modal_inputs=lambda output, ids: {},
            _compute_position_ids=lambda ids, mask, _: torch.arange(ids.shape[1])[None],
        )
        output = AgentLoopOutput(
            prompt_ids=prompt,
            response_ids=response,
            response_mask=[1] * len(response),
            response_logprobs=[-0.5] * len(response),
            reward_score=0.5,
            num_turns=2,
            metrics={},
            extra_fields={"min_global_steps": 4, "max_global_steps": 4},
        )
        theirs = agent_loop_tq.AgentLoopWorkerTQ.__ray_metadata__.modified_class._agent_loop_postprocess
        asyncio.run(theirs(myself, output, False, session_id=0, global_steps=5, **columns))
        return store[f"{columns['uid']}_0_0"]

    def by_us(monkeypatch, prompt: list[int], response: list[int], columns: dict) -> tuple:
        store: dict = {}
        monkeypatch.setattr(batches, "tq", SimpleNamespace(kv_batch_put=kept(store)))
        ours = object.__new__(batches.BatchRollouts)
        ours.n, ours.reward_workers, ours.stores = 1, iter(()), batches.CARRIED  # all that it may ever store
        sample = Sample(0, response, [-0.5] * len(response), finished=True, weights=4)
        ours._store([columns], [Trajectory(0, prompt, sample, None)], [0.5], 5)
        assert store[columns["uid"]][:2] == ("train", {"is_prompt": True, "status": "finished", "global_steps": 5})
        return store[f"{columns['uid']}_0_0"]

    def test_the_store_is_filled_as_verl_itself_fills_it(monkeypatch):
        columns = {
            "uid": "u",
            "raw_prompt": [{"role": "user", "content": "1+2"}],
            "data_source": "solver",
            "reward_model": {"style": "rule", "ground_truth": "3"},
            "index": 7,
        }
        words = [7, 8, 9], [3, 1], columns
        (partition, tags, theirs), (our_partition, our_tags, ours) = (
            by_verl(monkeypatch, *words),
            by_us(monkeypatch, *words),
        )
        assert (our_partition, our_tags) == (partition, tags)
        # columns of verl that say nothing of a single-turn text, or what others of its columns say
        missing = {"extra_fields", "metrics", "multi_modal_inputs", "global_steps", "session_id"}
        assert {*theirs} - {*ours} == missing
        assert not {*ours} - {*theirs}
        for name in {*theirs} & {*ours}:
            if isinstance(theirs[name], torch.Tensor):
                assert ours[name].dtype == theirs[name].dtype, name
                assert ours[name].tolist() == theirs[name].tolist(), name
            else:
                assert plain(ours[name]) == plain(theirs[name]), name

    def plain(value):
        return value.tolist() if isinstance(value, tensordict.NonTensorStack) else getattr(value, "data", value)
