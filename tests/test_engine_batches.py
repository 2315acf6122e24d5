"""From a step's prompts to rewards and advantages in the store.

Servers, reward workers and TransferQueue are fakes, the rest is what a run has.
"""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

# Importing verl wants its platform chosen first, so these tests run in a process of their own.
if "VERL_RZERO_BATCHES" not in os.environ:

    def test_batches_in_their_own_process():
        from verl_rzero import settings
        from verl_rzero.engine import environment

        env = os.environ | environment.variables(settings.load([])) | {"VERL_RZERO_BATCHES": "1"}
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(Path(__file__))]
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-1000:]
        assert "50 passed" in done.stdout

else:
    import copy
    import functools
    import inspect
    import threading
    from dataclasses import replace
    from types import SimpleNamespace

    import numpy as np
    import torch
    import transfer_queue as tq
    import zmq
    from omegaconf import OmegaConf
    from tensordict import NonTensorData, NonTensorStack, TensorDict
    from transfer_queue import KVBatchMeta
    from verl.trainer.ppo.v1 import PPOTrainerSync
    from verl.utils import tensordict_utils as tu
    from verl.workers.rollout.vllm_rollout.bucketed_weight_transfer import BucketedWeightReceiver, BucketedWeightSender
    from verl.workers.rollout.vllm_rollout.vllm_async_server import vLLMHttpServer
    from vllm.logprobs import FlatLogprobs, Logprob

    from verl_rzero import settings
    from verl_rzero.base.errors import UserError
    from verl_rzero.base.files import write_json
    from verl_rzero.data.run_dir import LATEST, checkpoints_by_step
    from verl_rzero.engine import jobs, liveness, rollouts, trainer, worker
    from verl_rzero.engine.batch_rewards import Judged, MatchesLabel, UncertaintyLessRepetition
    from verl_rzero.engine.batches import BatchRollouts
    from verl_rzero.engine.rollouts import Sample, StreamingServer
    from verl_rzero.engine.samplers import VotesAndTrains, WholeBatch
    from verl_rzero.engine.trainer import METRIC_NAMES, MODEL_INPUT, SelfPlayTrainer, check_ranks, make_room
    from verl_rzero.grading.counts import COLUMNS

    class Tokens:
        """Every character is a token."""

        def apply_chat_template(self, messages, add_generation_prompt, tokenize):
            return ids("".join(message["content"] for message in messages))

    def ids(text: str) -> list[int]:
        return [ord(character) for character in text]

    def text(ids) -> str:
        return "".join(chr(int(i)) for i in ids)

    class Store:
        """Stands in for TransferQueue: fields and tags of each key."""

        def __init__(self):
            self.rows: dict[str, dict] = {}
            self.tags: dict[str, dict] = {}

        def put(self, keys, partition_id, fields=None, tags=None):
            assert partition_id == "train"
            for i, key in enumerate(keys):
                if tags is not None:
                    self.tags[key] = tags[i]
                for name in fields.keys() if fields is not None else ():  # noqa: SIM118  (a TensorDict)
                    value = fields[name].unbind()[i] if isinstance(fields[name], torch.Tensor) else fields[name][i]
                    self.rows.setdefault(key, {})[name] = getattr(value, "data", value)
            return KVBatchMeta(keys=list(keys), tags=[self.tags[key] for key in keys], partition_id=partition_id)

        def get(self, keys, partition_id, select_fields):
            assert partition_id == "train"
            columns = {
                name: [self.rows[key][name] for key in keys] for name in select_fields if name in self.rows[keys[0]]
            }
            return TensorDict({name: self._column(values) for name, values in columns.items()}, batch_size=len(keys))

        @staticmethod
        def _column(values):
            if not isinstance(values[0], torch.Tensor):
                return NonTensorStack(*[NonTensorData(value) for value in values])
            if values[0].dim() == 0:
                return torch.stack(values)
            return torch.nested.as_nested_tensor(values, layout=torch.jagged)

    @pytest.fixture
    def store(monkeypatch):
        made = Store()
        monkeypatch.setattr(tq, "kv_batch_put", made.put)
        monkeypatch.setattr(tq, "kv_batch_get", made.get)
        return made

    async def ready(value):
        if isinstance(value, Exception):
            raise value
        return value

    class Server:
        """Handle of a server that replies with `replies[prompt]` in turn, and ends the last request first, two at a
        time; the last `drops` requests never end.
        """

        def __init__(self, replies: dict[str, list[str]] | None = None, error: Exception | None = None, drops: int = 0):
            self.replies, self.error, self.drops = replies, error, drops
            self.asked: list[tuple] = []
            self.stream = SimpleNamespace(options=lambda num_returns: SimpleNamespace(remote=self._stream))
            self.cut_off = SimpleNamespace(remote=self._cut_off)
            self.calls: list[str] = []
            self.cut: list[str] = []

        def _reply(self, prompt: str, i: int) -> str:
            return f"{prompt}:{i}" if self.replies is None else self.replies[prompt].pop(0)

        async def _cut_off(self, call):
            self.cut.append(call)

        async def _stream(self, prompts, seeds, sampling, call):
            self.asked.append((prompts, seeds, sampling))
            self.calls.append(call)
            replies = [self._reply(text(prompt), i) for i, prompt in enumerate(prompts)]
            samples = [
                Sample(i, ids(reply), [-0.5 * (t + 1) for t in range(len(reply))], not reply.endswith("..."), 7)
                for i, reply in enumerate(replies)
            ]
            samples = samples[::-1][self.drops :]
            for first in range(0, len(samples), 2):
                yield ready(samples[first : first + 2])
                if self.error is not None:
                    yield ready(self.error)

    class Worker:
        """Handle of a reward worker; `judge` makes (score, extra info) of prompt, response and the row's columns."""

        def __init__(self, judge):
            self.judge = judge
            self.calls = 0
            self.compute_score_batch = SimpleNamespace(remote=self._score)

        async def _score(self, data):
            self.calls += 1
            results = []
            for i in range(len(data)):
                item = data[i]
                width = item.batch["responses"].shape[-1]
                asked, replied = item.batch["attention_mask"].split(
                    [item.batch["attention_mask"].shape[-1] - width, width]
                )
                prompt = text(item.batch["prompts"][: int(asked.sum())])
                response = text(item.batch["responses"][: int(replied.sum())])
                score, extra = self.judge(prompt, response, item.non_tensor_batch)
                results.append({"reward_score": score, "reward_extra_info": extra | dict.fromkeys(COLUMNS, 0.0)})
            return results

    def prompts(*questions: str, step: int = 3):
        """A step's prompts as verl hands them over."""

        def column(values):
            made = np.empty(len(values), dtype=object)
            made[:] = values
            return made

        batch = tu.get_tensordict(
            {
                "uid": column([f"u{i}" for i in range(len(questions))]),
                "raw_prompt": column([[{"role": "user", "content": question}] for question in questions]),
                "data_source": column(["tiny"] * len(questions)),
                "reward_model": column([{"style": "rule", "ground_truth": f"label of {q}"} for q in questions]),
                "index": column([10 + i for i in range(len(questions))]),
            }
        )
        tu.assign_non_tensor_data(batch, "global_steps", step)
        return batch

    @functools.cache
    def config(role: str, n: int, *overrides: str):
        asked = settings.load([f"{role}.rollouts={n}", *overrides])
        return OmegaConf.create(jobs.verl_config(asked, role, model="m", solver="s", train_file="t", stage_dir="d"))

    class Leaves:
        """A batch's reward that leaves its rows' as they are."""

        reads: tuple[str, ...] = ()

        def __call__(self, rows, step):
            return Judged(None, {})

    def manager(servers, workers, n: int, sampler=None, batch_reward=None) -> BatchRollouts:
        return BatchRollouts(
            config("solver", n), Tokens(), servers, workers, sampler or WholeBatch(n), batch_reward or Leaves()
        )

    def filled(made: BatchRollouts, batch) -> None:
        made.generate_sequences(batch)
        made.wait()

    def long_replies(prompt: str, response: str, columns) -> tuple[float, dict]:
        assert columns["finished"] is not response.endswith("...")  # the worker is told which were cut off
        return float(len(response)), {"answered": 1.0, "said": response, "of": prompt}

    def replies() -> dict[str, list[str]]:
        return {"a": ["x", "xyz..."], "bcd": ["xy", "v"], "ef": ["vwxyz", "w"]}

    KEYS = ["u0_0_0", "u0_1_0", "u1_0_0", "u1_1_0", "u2_0_0", "u2_1_0"]
    SAID = ["x", "xyz...", "xy", "v", "vwxyz", "w"]
    """Of three prompts with two responses each, in order."""

    def test_trajectories_are_stored_in_order_though_the_last_ends_first(store):
        filled(made := manager([Server(replies())], [Worker(long_replies)], 2), prompts("a", "bcd", "ef"))
        assert list(store.rows) == KEYS
        rows = [store.rows[key] for key in KEYS]
        assert [text(row["responses"]) for row in rows] == SAID
        assert [text(row["prompts"]) for row in rows] == ["a", "a", "bcd", "bcd", "ef", "ef"]
        assert made.rows["said"] == SAID
        assert made.rows["of"] == ["a", "a", "bcd", "bcd", "ef", "ef"]
        assert made.rows["index"] == [10, 10, 11, 11, 12, 12]
        assert made.rows["finished"] == [True, False, True, True, True, True]

    def test_each_reward_stands_on_the_last_token_of_its_own_response(store):
        filled(manager([Server(replies())], [Worker(long_replies)], 2), prompts("a", "bcd", "ef"))
        for key, said in zip(KEYS, SAID, strict=True):
            assert store.rows[key]["rm_scores"].tolist() == [0.0] * (len(said) - 1) + [len(said)]

    def test_a_row_has_what_verls_agent_loop_would_have_stored(store):
        filled(manager([Server(replies())], [Worker(long_replies)], 2), prompts("a", "bcd", "ef"))
        row, tag = store.rows["u1_0_0"], store.tags["u1_0_0"]
        for name in ("response_mask", "loss_mask"):
            assert row[name].tolist() == [1, 1]
        assert text(row["input_ids"]) == "bcdxy"
        assert row["position_ids"].tolist() == [0, 1, 2, 3, 4]
        assert row["rollout_log_probs"].tolist() == [-0.5, -1.0]
        assert (row["uid"], int(row["num_turns"])) == ("u1", 2)
        assert not {"said", "of", "index", "raw_prompt", "data_source", "reward_model", "finished"} & set(row)
        assert tag == {
            "status": "success",
            "prompt_len": 3,
            "response_len": 2,
            "seq_len": 5,
            "global_steps": 3,
            "min_global_steps": 7,
            "max_global_steps": 7,
        }
        assert [store.tags[uid] for uid in ("u0", "u1", "u2")] == [
            {"is_prompt": True, "status": "finished", "global_steps": 3}
        ] * 3

    def test_groups_of_a_samplers_own_stand_where_the_advantage_looks_and_keys_stay_verls(store):
        async def by_role(ask):
            drawn = await ask(2)
            return [replace(each, group=("even", "odd")[place % 2]) for place, each in enumerate(drawn)]

        filled(manager([Server(replies())], [Worker(long_replies)], 2, sampler=by_role), prompts("a", "bcd", "ef"))
        assert [store.rows[key]["uid"] for key in KEYS] == ["even", "odd"] * 3

    def test_reward_workers_see_the_rows_columns_and_take_turns(store):
        seen = {}

        def judge(prompt, response, columns):
            seen[response] = (columns["index"], columns["reward_model"]["ground_truth"], columns["data_source"])
            return 0.0, {"answered": 1.0}

        workers = [Worker(judge), Worker(judge)]
        filled(manager([Server(replies())], workers, 2), prompts("a", "bcd", "ef"))
        assert [worker.calls for worker in workers] == [2, 1]  # six samples, two at a time
        assert seen["vwxyz"] == (12, "label of ef", "tiny")
        assert seen["x"] == (10, "label of a", "tiny")

    def test_what_is_sampled_is_what_the_settings_say(store):
        words = ["solver.temperature=0.7", "solver.top_p=0.9", "solver.top_k=5", "model.answer_tokens=33"]
        words += ["sampling.wait_for=0.5"]
        server = Held(replies())
        made = BatchRollouts(config("solver", 2, *words), Tokens(), [server], None, WholeBatch(2), Leaves())
        filled(made, prompts("a", "bcd", "ef"))
        ((_, seeds, sampling),) = server.asked
        assert seeds is None
        assert sampling == {"temperature": 0.7, "top_p": 0.9, "top_k": 5, "max_tokens": 33, "logprobs": 0}
        assert server.cut == server.calls

    def test_where_the_reward_comes_later_none_is_stored_but_what_it_will_read(store):
        filled(made := manager([Server(replies())], None, 2), prompts("a", "bcd", "ef"))
        assert list(store.rows) == KEYS
        assert "penalty" not in made.seconds  # it is the trainer's to measure
        assert all("rm_scores" not in row for row in store.rows.values())
        row = store.rows["u1_0_0"]
        assert (row["index"], row["data_source"]) == (11, "tiny")
        assert row["reward_model"] == {"style": "rule", "ground_truth": "label of bcd"}
        assert row["raw_prompt"] == [{"role": "user", "content": "bcd"}]
        assert [bool(store.rows[key]["finished"]) for key in KEYS] == [True, False, True, True, True, True]

    def test_labels_are_stored_where_rollouts_are_written_down(store):
        words = ["hardware.verl.trainer.rollout_data_dir=dumps"]
        made = BatchRollouts(
            config("solver", 2, *words), Tokens(), [Server(replies())], [Worker(long_replies)], WholeBatch(2), Leaves()
        )
        filled(made, prompts("a", "bcd", "ef"))
        assert store.rows["u1_0_0"]["reward_model"] == {"style": "rule", "ground_truth": "label of bcd"}

    def test_of_many_that_vote_the_first_are_stored_with_their_rewards(store):
        def read(prompt, response, columns):
            return 0.0, {"answer": response.removesuffix("...") or None}

        said = {"a": ["3", "4", "4", "4..."], "bcd": ["7", "7", "8...", "8..."]}
        voting = VotesAndTrains(4, 2, False, "all", 5.0)
        server = Server(said)
        filled(made := manager([server], [Worker(read)], 2, voting), prompts("a", "bcd"))
        assert len(server.asked[0][0]) == 8
        assert [text(store.rows[key]["responses"]) for key in KEYS[:4]] == ["3", "4", "7", "7"]
        assert [float(store.rows[key]["rm_scores"][-1]) for key in KEYS[:4]] == [0.0, 1.0, 1.0, 1.0]
        assert made.rows["label"] == ["4", "4", "7", "7"]
        assert made.rows["agreement"] == [0.5] * 4
        assert list(store.rows) == KEYS[:4]

    def test_another_number_of_trajectories_than_verl_counts_on_is_refused(store):
        made = manager([Server()], [Worker(long_replies)], 2, WholeBatch(3))
        made.generate_sequences(prompts("a", "b"))
        with pytest.raises(ValueError, match=r"prompts \[0, 1\] have not 2 trajectories"):
            made.wait()
        assert store.rows == {}

    def test_a_sample_that_never_came_is_an_error_and_never_another_prompts_vote(store):
        def read(prompt, response, columns):
            return 0.0, {"answer": response}

        # the last sample is missing: by place, the votes of the second prompt would be three
        made = manager([Server(drops=1)], [Worker(read)], 2, VotesAndTrains(4, 2, False, "all", 5.0))
        made.generate_sequences(prompts("a", "b"))
        with pytest.raises(RuntimeError, match="1 of 8 samples"):
            made.wait()
        assert store.rows == {}

    def test_a_servers_error_is_raised_where_the_trainer_waits(store):
        made = manager([Server(), Server(error=OSError("out of memory"))], [Worker(long_replies)], 2)
        made.generate_sequences(prompts("a", "b", "c", "d"))
        with pytest.raises(OSError, match="out of memory"):
            made.wait()
        made.servers = [Server()]
        filled(made, prompts("a", "b"))  # the error was of that batch only
        assert [text(row["responses"]) for row in store.rows.values()] == ["a:0", "a:1", "b:2", "b:3"]

    def test_a_reward_workers_error_is_raised_where_the_trainer_waits(store):
        def judge(prompt, response, columns):
            raise KeyError("no label")

        made = manager([Server()], [Worker(judge)], 2)
        made.generate_sequences(prompts("a", "b"))
        with pytest.raises(KeyError, match="no label"):
            made.wait()

    def streamed(servers, prompts_Q, seeds_Q=None, wait_for=1.0) -> list[Sample]:
        async def read():
            batches = rollouts.stream(servers, prompts_Q, {"top_k": 1}, seeds_Q, wait_for)
            return [sample async for ended in batches for sample in ended]

        return asyncio.run(read())

    def test_prompts_are_dealt_out_over_servers_and_samples_say_whose_they_are():
        servers = [Server(), Server(), Server()]
        names = ["a", "b", "c", "d", "e", "f", "g"]
        found = streamed(servers, [ids(name) for name in names], list(range(7)))
        dealt = []
        for server in servers:
            ((asked, seeds, _),) = server.asked
            dealt.append((text(asked_of[0] for asked_of in asked), seeds))
        assert dealt == [("adg", [0, 3, 6]), ("be", [1, 4]), ("cf", [2, 5])]
        assert sorted(sample.prompt for sample in found) == list(range(7))
        for sample in found:
            assert text(sample.ids) == f"{names[sample.prompt]}:{sample.prompt // 3}"

    def test_more_prompts_than_servers_may_be_given_are_portions_for_whoever_is_free(monkeypatch):
        monkeypatch.setattr(rollouts, "AT_ONCE", 4)

        class Slow(Server):
            """Each of its calls takes a tenth of a second; says what it is given at once."""

            held, most = 0, 0

            async def _stream(self, prompts, seeds, sampling, call):
                self.held += len(prompts)
                self.most = max(self.most, self.held)
                await asyncio.sleep(0.1)
                async for batch in super()._stream(prompts, seeds, sampling, call):
                    yield batch
                self.held -= len(prompts)

        servers, names = [Server(), Slow()], [chr(ord("a") + i) for i in range(21)]
        found = streamed(servers, [ids(name) for name in names], list(range(21)))
        assert sorted(sample.prompt for sample in found) == list(range(21))
        assert all(text(sample.ids).startswith(names[sample.prompt]) for sample in found)
        asked = [(text(prompt[0] for prompt in prompts), seeds) for s in servers for prompts, seeds, _ in s.asked]
        assert sorted(asked) == [("".join(names[i : i + 2]), [*range(21)][i : i + 2]) for i in range(0, 21, 2)]
        assert servers[1].most <= 4
        assert len(servers[1].asked) < len(servers[0].asked)

    class Held(Server):
        """Gives the first half by itself, and the others when it is told to cut them off."""

        async def _cut_off(self, call):
            await super()._cut_off(call)
            self.told.set()

        async def _stream(self, prompts, seeds, sampling, call):
            self.told = asyncio.Event()
            given = 0
            async for batch in super()._stream(prompts, seeds, sampling, call):
                if given >= len(prompts) / 2:
                    await asyncio.wait_for(self.told.wait(), 5)
                    await asyncio.sleep(0.02)
                yield batch
                given += 2

    def test_when_enough_have_ended_the_others_are_cut_off():
        servers = [Held(), Held()]
        found = streamed(servers, [ids(name) for name in "abcdefghijklmnop"], None, 0.5)
        assert sorted(sample.prompt for sample in found) == list(range(16))
        assert [server.cut for server in servers] == [server.calls for server in servers]

    @pytest.mark.parametrize("wait_for", [0.51, 1.0])
    def test_before_that_they_are_waited_for(wait_for):
        async def read():
            batches = rollouts.stream([Held(), Held()], [ids(name) for name in "abcdefghijklmnop"], {}, None, wait_for)
            return [sample async for ended in batches for sample in ended]

        with pytest.raises(TimeoutError):
            asyncio.run(asyncio.wait_for(read(), 0.3))

    def test_nothing_is_cut_off_while_prompts_wait_for_a_server(monkeypatch):
        monkeypatch.setattr(rollouts, "AT_ONCE", 4)

        class Slow(Server):
            sixth = asyncio.Event()

            async def _stream(self, prompts, seeds, sampling, call):
                async for batch in super()._stream(prompts, seeds, sampling, call):
                    if call == self.calls[-1] and len(self.calls) == 6:
                        self.sixth.set()
                    if call in self.calls[4:]:
                        await self.sixth.wait()  # the last two are there at the same time
                    yield batch
                    await asyncio.sleep(0.02)  # so that its end comes after what it gave

        server = Slow()
        found = streamed([server], [ids(name) for name in "abcdefghijkl"], None, 0.1)
        assert sorted(sample.prompt for sample in found) == list(range(12))
        assert len(server.calls) == 6
        assert 1 <= len(server.cut) <= 2
        assert set(server.cut) <= set(server.calls[-2:])

    def test_more_servers_than_prompts():
        (only,) = streamed([Server(), Server()], [ids("a")])
        assert (only.prompt, text(only.ids)) == (0, "a:0")

    def test_one_servers_error_ends_the_stream():
        with pytest.raises(OSError, match="gone"):
            streamed([Server(), Server(error=OSError("gone"))], [ids("a"), ids("b")])

    def server_on(engine) -> StreamingServer:
        made = StreamingServer.__new__(StreamingServer)
        made.engine, made.global_steps, made.waited_for = SimpleNamespace(generate=engine), 4, {}
        return made

    def all_of(server: StreamingServer, prompts_Q, seeds_Q=None) -> list[Sample]:
        async def read():
            return [
                s
                async for ended in server.stream(prompts_Q, seeds_Q, {"max_tokens": 9, "logprobs": 0}, "call")
                for s in ended
            ]

        return asyncio.run(read())

    def test_a_server_hands_over_each_sample_as_its_engine_ended_it():
        asked = {}

        async def generate(prompt, sampling_params, request_id):
            first = prompt["prompt_token_ids"][0]
            asked[first] = sampling_params
            await asyncio.sleep(0.01 * (3 - first))  # the last ends first
            # the engine tells the log-probability of the sampled token, and of others
            steps = FlatLogprobs()
            for _ in range(2):
                steps.append({5: Logprob(-9.0), first: Logprob(-0.1 * first)})
            completion = SimpleNamespace(
                token_ids=(first, first), logprobs=steps, finish_reason="stop" if first else "length"
            )
            yield SimpleNamespace(outputs=[completion])

        found = all_of(server_on(generate), [[0], [1], [2]], [30, 31, 32])
        assert sorted(found, key=lambda sample: sample.prompt) == [
            Sample(0, [0, 0], [-0.0, -0.0], False, 4),
            Sample(1, [1, 1], [-0.1, -0.1], True, 4),
            Sample(2, [2, 2], [-0.2, -0.2], True, 4),
        ]
        assert [asked[i].seed for i in range(3)] == [30, 31, 32]
        assert asked[0].max_tokens == 9

    def test_an_engines_error_ends_the_servers_stream_and_its_other_requests():
        ended = []

        async def generate(prompt, sampling_params, request_id):
            if prompt["prompt_token_ids"] == [1]:
                raise ValueError("the engine is dead")
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                ended.append(prompt["prompt_token_ids"])
                raise
            yield None

        with pytest.raises(ValueError, match="the engine is dead"):
            all_of(server_on(generate), [[0], [1], [2]])
        assert ended == [[0], [2]]

    def test_a_sample_that_was_broken_off_is_an_error_and_not_one_that_was_cut_off():
        async def generate(prompt, sampling_params, request_id):
            yield SimpleNamespace(outputs=[SimpleNamespace(token_ids=(1,), logprobs=None, finish_reason="abort")])

        with pytest.raises(RuntimeError, match="ended a reply with 'abort'"):
            all_of(server_on(generate), [[0]])

    def test_what_is_cut_off_holds_what_there_is_and_what_has_not_begun_is_sampled_all_the_same():
        cut, asked = asyncio.Event(), []

        async def generate(prompt, sampling_params, request_id):
            (first,) = prompt["prompt_token_ids"]
            asked.append(first)
            written, end = (first,) * first, "stop"
            if first != 1 and asked.count(first) == 1:
                await cut.wait()
                end = "abort"
            elif not written:
                written = (7, 7, 7)
            steps = FlatLogprobs()
            for token in written:
                steps.append({token: Logprob(-1.0)})
            yield SimpleNamespace(outputs=[SimpleNamespace(token_ids=written, logprobs=steps, finish_reason=end)])

        async def abort(request_ids):
            aborted.extend(request_ids)
            cut.set()

        async def read():
            found = []
            async for ended in server.stream([[0], [1], [2]], None, {"logprobs": 0}, "call"):
                found += ended
                if not aborted:
                    await server.cut_off("another")
                    await server.cut_off("call")
            return found

        server, aborted = server_on(generate), []
        server.engine.abort = abort
        assert sorted(asyncio.run(read()), key=lambda sample: sample.prompt) == [
            Sample(0, [7, 7, 7], [-1.0] * 3, True, 4),
            Sample(1, [1], [-1.0], True, 4),
            Sample(2, [2, 2], [-1.0] * 2, False, 4),
        ]
        assert sorted(aborted) == ["call-0", "call-1", "call-2"]
        assert sorted(asked) == [0, 0, 1, 2]
        assert server.waited_for == {}

    @pytest.fixture
    def socket(tmp_path, monkeypatch) -> str:
        """Of a weight sync that waits for a second."""
        context = zmq.Context()
        monkeypatch.setattr(zmq.Context, "instance", lambda: context)
        monkeypatch.setattr(worker, "SYNC_S", 1)
        worker.limit_waits_of_syncs()
        return f"ipc://{tmp_path / 'sync.sock'}"

    def test_a_weight_sync_does_not_wait_for_ever_for_an_engine_that_never_came(socket):
        sender = BucketedWeightSender(socket, bucket_size_mb=1, use_shm=True)
        with pytest.raises(zmq.Again):
            asyncio.run(sender.async_send_weights(iter([("a", torch.zeros(9))])))

    def test_a_weight_sync_does_not_wait_for_ever_for_an_engine_that_failed(socket):
        """As in vLLM: an error while it loads a piece closes its socket, and its process lives on."""

        def fail(weights, is_last):
            raise MemoryError("no room for this piece")

        def receive():
            with pytest.raises(MemoryError):
                BucketedWeightReceiver(socket, torch.device("cpu"), use_shm=True).receive_weights(fail)

        thread = threading.Thread(target=receive)
        thread.start()
        sender = BucketedWeightSender(socket, bucket_size_mb=1, use_shm=True)
        with pytest.raises(zmq.Again):
            asyncio.run(sender.async_send_weights(iter([("a", torch.zeros(9)), ("b", torch.zeros(9))])))
        thread.join()

    def test_a_server_ends_after_its_engine_and_not_before(monkeypatch):
        """Calls that wait for the engine then end with an error; vLLM by itself leaves them waiting."""
        server, slept, ended = server_on(None), [], []

        async def sleep(seconds):
            slept.append(seconds)
            server.engine.errored = len(slept) == 2

        async def launch(self):
            self.engine.errored = False

        async def launched():
            await server.launch_server()
            await server.ending

        monkeypatch.setattr(asyncio, "sleep", sleep)
        monkeypatch.setattr(os, "_exit", lambda code: ended.append((code, *slept)))
        monkeypatch.setattr(vLLMHttpServer, "launch_server", launch)
        asyncio.run(launched())
        looks = liveness.LOOK_EVERY_S
        assert ended == [(1, looks, looks, rollouts.AFTER_ITS_ENGINE_S)]

    def test_a_checkpoint_of_another_number_of_trainers_is_refused(tmp_path):
        check_ranks(tmp_path, 2)
        actor = tmp_path / "global_step_3/actor"
        actor.mkdir(parents=True)
        (tmp_path / LATEST).write_text("3")
        (actor / "fsdp_config.json").write_text('{"FSDP_version": 2, "world_size": 2}')
        check_ranks(tmp_path, 2)
        with pytest.raises(UserError, match="written by 2 training processes, and now there are 4"):
            check_ranks(tmp_path, 4)

    @pytest.mark.parametrize(("most", "stay"), [(2, [12]), (3, [9, 12]), (1, [12]), (None, [2, 9, 12])])
    def test_checkpoints_from_before_an_interruption_make_room(most, stay, tmp_path):
        for step in (2, 9, 12):
            (tmp_path / f"global_step_{step}/actor").mkdir(parents=True)
        make_room(tmp_path, most)
        assert [*checkpoints_by_step(tmp_path)] == stay

    ASKED = {"a": ["1+2", "1+2?"], "bcd": ["bad...", "4+5+6+7+8"]}
    AGREEMENT = {"1+2": 0.5, "1+2?": 0.75, "4+5+6+7+8": 0.25}

    def votes(prompt, response, columns):
        """The Challenger's manager: of four texts one is malformed, and two hold the question 1+2."""
        p = AGREEMENT.get(response, float("nan"))
        extra = {
            "question": "" if response == "bad..." else response.removesuffix("?"),
            "well_formed": float(response != "bad..."),
            "agreement": p,
            "answered": 1.0,
        }
        return 0.0 if response == "bad..." else p, extra

    def training(role: str, batch_reward, rollouts_: BatchRollouts | None, stage_dir: Path) -> SelfPlayTrainer:
        made = SelfPlayTrainer.__new__(SelfPlayTrainer)
        made.config, made.batch_reward, made.agent_loop_manager = (
            copy.deepcopy(config(role, 2)),
            batch_reward,
            rollouts_,
        )
        made.stage_dir, made.records, made.timing_raw, made.global_steps = stage_dir, [], {}, 1
        made.use_reference_policy = True
        made.progress = SimpleNamespace(update=lambda done, note: None)
        return made

    def batch_of(store: Store, keys: list[str]) -> KVBatchMeta:
        return KVBatchMeta(keys=keys, tags=[store.tags[key] for key in keys], partition_id="train")

    def a_step(store, tmp_path, batch_reward, later: bool = False) -> tuple[SelfPlayTrainer, KVBatchMeta, dict]:
        """A Challenger's step up to its advantages, its rows in the order that verl's balancing might make; its votes
        beside the rollout, or `later`, by verl.
        """
        server = Server({name: list(texts) for name, texts in ASKED.items()})
        workers = None if later else [Worker(votes)]
        filled(made := manager([server], workers, 2, batch_reward=batch_reward), prompts("a", "bcd", step=1))
        if later:
            rewarded_by_verl(store)
        job = training("challenger", batch_reward, made, tmp_path)
        batch, metrics = batch_of(store, [KEYS[i] for i in (2, 0, 3, 1)]), {}
        job._compute_advantage(batch, metrics)
        return job, batch, metrics

    def rewarded_by_verl(store: Store) -> None:
        """What verl stores of a colocated reward model."""
        for row in (store.rows[key] for key in KEYS[:4]):
            score, extra = votes("", text(row["responses"]), {})
            row |= {"rm_scores": torch.tensor([0.0] * (len(row["responses"]) - 1) + [score])}
            row |= extra | dict.fromkeys(COLUMNS, 0.0)

    def scores(store: Store) -> list[list[float]]:
        return [store.rows[key]["rm_scores"].tolist() for key in KEYS[:4]]

    @pytest.mark.parametrize("later", [False, True])
    def test_the_batchs_rewards_reach_their_rows_and_the_advantage(store, tmp_path, later):
        asked = settings.load(["challenger.repetition_tokens=math"]).challenger
        _, _, metrics = a_step(store, tmp_path, UncertaintyLessRepetition(asked, 0), later)
        # 1 - 2/4; 1/2 - 2/4; malformed; 1/2 - 1/4: on the last of 3, 4, 6 and 9 tokens
        assert scores(store) == [[0, 0, 0.5], [0, 0, 0, 0], [0] * 6, [0] * 8 + [0.25]]
        # of two rewards, each is 1/sqrt(2) of their standard deviation away from their mean
        advantages = [store.rows[key]["advantages"].tolist() for key in KEYS[:4]]
        for row, sign, length in zip(advantages, (1, -1, -1, 1), (3, 4, 6, 9), strict=True):
            assert row == pytest.approx([sign * 0.70711] * length, abs=1e-4)
        assert metrics["rzero/repetition_mean"] == pytest.approx(5 / 12)
        assert metrics["rzero/well_formed_share"] == 0.75
        assert metrics["rzero/grading_timeouts"] == 0.0
        assert metrics["rzero/response_cut_off_share"] == 0.25  # whatever is the longest of the four

    @pytest.mark.parametrize(
        ("later", "order"),
        [(False, ["0.5", "0.75", "nan", "0.25"]), (True, ["nan", "0.5", "0.25", "0.75"])],  # as sampled; the batch's
    )
    def test_where_the_batch_gives_no_reward_the_managers_stay(store, tmp_path, later, order):
        class Looks:
            reads = ("agreement",)

            def __call__(self, rows, step):
                assert step == 1
                assert [*map(str, rows["agreement"])] == order
                return Judged(None, {"seen": 4.0})

        _, _, metrics = a_step(store, tmp_path, Looks(), later)
        assert scores(store) == [[0, 0, 0.5], [0, 0, 0, 0.75], [0] * 6, [0] * 8 + [0.25]]
        assert metrics["rzero/seen"] == 4.0

    def test_rewards_for_another_number_of_rows_are_refused(store, tmp_path):
        job, batch, _ = a_step(store, tmp_path, UncertaintyLessRepetition(settings.load([]).challenger, 0))
        with pytest.raises(ValueError, match="shorter"):
            job._replace_rewards(batch, np.zeros(3))

    def test_a_pass_sends_what_it_reads_and_then_everything_again(store, tmp_path, monkeypatch):
        sent = []
        for name in ("_compute_ref_log_prob", "_update_actor"):
            monkeypatch.setattr(PPOTrainerSync, name, lambda self, batch, metrics: sent.append(batch.fields))
        filled(made := manager([Server()], [Worker(long_replies)], 2), prompts("a", "b"))
        job, batch = training("solver", MatchesLabel(), made, tmp_path), batch_of(store, KEYS[:4])
        assert job._compute_ref_log_prob(batch, {}) is batch
        assert job._update_actor(batch, {}) is batch
        update = [*MODEL_INPUT, "rollout_log_probs", "old_log_probs", "advantages"]
        assert sent == [MODEL_INPUT, [*update, "ref_log_prob"]]
        job.use_reference_policy = False
        job._update_actor(batch, {})
        assert sent[-1] == update
        assert batch.fields is None
        # importance weights are a column of their own; verl's own rollouts have other columns
        job.config.algorithm.rollout_correction.rollout_is = "token"
        job._update_actor(batch, {})
        job.config.algorithm.rollout_correction.rollout_is = None
        job.agent_loop_manager = None
        job._update_actor(batch, {})
        assert sent[-2:] == [None, None]

    def test_after_a_pass_that_failed_everything_is_sent_again(store, tmp_path, monkeypatch):
        def fails(self, batch, metrics):
            raise OSError("the worker is gone")

        monkeypatch.setattr(PPOTrainerSync, "_update_actor", fails)
        filled(made := manager([Server()], [Worker(long_replies)], 2), prompts("a", "b"))
        job, batch = training("solver", MatchesLabel(), made, tmp_path), batch_of(store, KEYS[:4])
        with pytest.raises(OSError, match="the worker is gone"):
            job._update_actor(batch, {})
        assert batch.fields is None

    def test_a_step_leaves_one_line_of_named_numbers(store, tmp_path, monkeypatch):
        monkeypatch.setattr(PPOTrainerSync, "_compute_metrics", lambda *_, **__: None)
        job, batch, metrics = a_step(store, tmp_path, UncertaintyLessRepetition(settings.load([]).challenger, 0))
        metrics |= {"critic/rewards/mean": 0.1875, "actor/kl_loss": 0.5, "actor/lr": 1e-6, "perf/mfu": 0.3}
        job._compute_metrics(batch, metrics, {}, 1, 0)
        line = json.loads((tmp_path / "metrics.jsonl").read_text())
        assert line.pop("time") > 0
        assert job.records == [line]
        assert {name: line[name] for name in ("step", "reward_mean", "kl", "lr")} == {
            "step": 1, "reward_mean": 0.1875, "kl": 0.5, "lr": 1e-6,
        }  # fmt: skip
        assert line["well_formed_share"] == 0.75
        assert {"seconds_rollout", "seconds_store", "seconds_vote", "seconds_penalty"} <= set(line)
        assert not {"perf/mfu", "mfu", "grad_norm"} & set(line)
        metrics["actor/grad_norm"] = float("inf")  # verl has left the update out, and goes on
        job._compute_metrics(batch, metrics, {}, 2, 0)
        assert "grad_norm" not in job.records[1]
        write_json(tmp_path / "result.json", {"steps": job.records})

    @pytest.mark.parametrize(
        "name",
        [
            "_init_resource_pool_mgr",
            "_setup",
            "_compute_ref_log_prob",
            "_update_actor",
            "_compute_advantage",
            "_compute_metrics",
            "on_train_begin",
            "on_sample_begin",
        ],
    )
    def test_what_the_trainer_overrides_is_what_verl_calls(name):
        ours, theirs = (inspect.signature(getattr(each, name)) for each in (SelfPlayTrainer, PPOTrainerSync))
        assert [*ours.parameters] == [*theirs.parameters]

    def test_verls_numbers_keep_apart_under_our_names():
        assert len({*METRIC_NAMES.values()}) == len(METRIC_NAMES)
        assert not {"step", "reward_mean", "time"} & {*METRIC_NAMES.values()}
        assert trainer.POLL_S < 2.0
