"""The reward managers, on one rollout at a time as verl's reward workers call them; the served Solver is a fake."""

import asyncio
import math
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

# Importing verl wants its platform chosen first, so these tests run in a process of their own.
if "VERL_RZERO_MANAGERS" not in os.environ:

    def test_managers_in_their_own_process():
        from verl_rzero import settings
        from verl_rzero.engine import environment

        env = os.environ | environment.variables(settings.load([])) | {"VERL_RZERO_MANAGERS": "1"}
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(Path(__file__))]
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stdout[-3000:]
        assert "21 passed" in done.stdout

else:
    import numpy as np
    import torch
    from aiohttp import web
    from aiohttp.test_utils import TestServer
    from omegaconf import OmegaConf
    from tensordict import TensorDict
    from verl import DataProto

    from verl_rzero import settings
    from verl_rzero.engine import challenger_manager, jobs
    from verl_rzero.engine.challenger_manager import ChallengerRewardManager
    from verl_rzero.engine.solver_manager import AnswerManager, SolverRewardManager
    from verl_rzero.grading.counts import COLUMNS

    class Tokens:
        """Every character is a token; 0 is padding."""

        def decode(self, ids, skip_special_tokens):
            return "".join(chr(int(i)) for i in ids)

        def apply_chat_template(self, messages, add_generation_prompt, tokenize):
            return [ord(c) for message in messages for c in message["content"]]

    def rollout(text: str, label: str = "", finished: bool = True) -> DataProto:
        """One response, right-padded by three tokens, after a prompt of two."""
        ids = torch.tensor([[ord(c) for c in text] + [0] * 3])
        mask = torch.tensor([[1, 1] + [1] * len(text) + [0] * 3])
        batch = TensorDict(
            {"prompts": torch.zeros(1, 2, dtype=torch.long), "responses": ids, "attention_mask": mask}, batch_size=1
        )
        rows = np.empty(1, dtype=object)
        rows[0] = {"style": "rule", "ground_truth": label}
        columns = {"reward_model": rows, "finished": np.array([finished], dtype=object)}
        return DataProto(batch=batch, non_tensor_batch=columns)

    def config(role: str, *overrides: str):
        return OmegaConf.create(
            jobs.verl_config(settings.load(list(overrides)), role, model="m", solver="s", train_file="t", stage_dir="d")
        )

    @pytest.mark.parametrize(
        ("text", "reward", "answered"),
        [("so \\boxed{1/2}", 1.0, 1.0), ("\\boxed{0.25}", 0.0, 1.0), ("0.5", 0.0, 0.0)],
    )
    def test_the_solver_earns_1_for_an_equal_answer(text, reward, answered):
        manager = SolverRewardManager(config("solver"), Tokens())
        result = asyncio.run(manager.run_single(rollout(text, label="0.5")))
        assert result["reward_score"] == reward
        quiet = dict.fromkeys(COLUMNS, 0.0)
        assert result["reward_extra_info"] == {"answered": answered, "right": reward, **quiet}

    def test_a_response_that_was_cut_off_has_no_answer():
        manager = SolverRewardManager(config("solver", "solver.format_weight=0.1"), Tokens())
        for finished, reward, answered in ((True, 0.9, 1.0), (False, 0.0, 0.0)):
            given = rollout("\\boxed{7}. And the next", label="7", finished=finished)
            result = asyncio.run(manager.run_single(given))
            assert (result["reward_score"], result["reward_extra_info"]["answered"]) == (reward, answered)

    def test_what_grading_cost_is_told_with_each_rollout():
        manager = SolverRewardManager(config("solver", "grading.timeout_s=1"), Tokens())
        texts = ["\\boxed{|x+1|}", "\\boxed{|x+1|}", "\\boxed{\\lfloor 9^{9^{9}}/7 \\rfloor}"]
        results = [asyncio.run(manager.run_single(rollout(text, label="|1+x|"))) for text in texts]
        cost = [[result["reward_extra_info"][name] for name in COLUMNS] for result in results]
        # timeouts, kills, cached, asked, errors: a worker is asked, the cache knows, a worker is stopped
        assert cost == [[0, 0, 0, 1, 0], [0, 0, 1, 0, 0], [1, 1, 0, 1, 0]]
        manager.grader.close()

    @pytest.mark.parametrize(("text", "answer"), [("so \\boxed{1/2}", "1/2"), ("1/2", None)])
    def test_where_answers_vote_the_manager_only_reads_them(text, answer):
        job = config("solver", "method=ttrl", "model=ttrl_tiny")
        assert job.reward.reward_manager.name == "AnswerManager"
        result = asyncio.run(AnswerManager(job, Tokens(), reward_router_address=None).run_single(rollout(text)))
        assert result == {"reward_score": 0.0, "reward_extra_info": {"answer": answer}}

    def challenger(replies: list[str | None], *overrides: str) -> tuple[ChallengerRewardManager, list[str]]:
        manager = ChallengerRewardManager(config("challenger", *overrides), Tokens(), None, "host:1", Tokens())
        asked: list[str] = []

        async def ask(question: str) -> list[str | None]:
            asked.append(question)
            return replies

        manager._ask = ask
        return manager, asked

    def test_the_released_format_is_a_share_of_the_solvers_reward():
        manager = SolverRewardManager(config("solver", "solver.format_weight=0.1"), Tokens())
        rewards = [
            asyncio.run(manager.run_single(rollout(text, label="7")))["reward_score"]
            for text in (
                "<think>3+4</think> \\boxed{7}",  # .9 x 1 + .1 x 1
                "\\boxed{7}",  # .9 x 1
                "<think>3+4</think> \\boxed{8}",  # .1
                "<think>3+4 \\boxed{8}",
                "</think><think> \\boxed{8}",
            )
        ]
        assert rewards == pytest.approx([1.0, 0.9, 0.1, 0.0, 0.0])

    def test_a_question_is_voted_on():
        manager, asked = challenger(["3", "3.0", "4", None])
        result = asyncio.run(manager.run_single(rollout("<question> 1+2 </question> \\boxed{3}")))
        # 3 and 3.0 are one class: p = 2/4
        assert asked == ["1+2"]
        assert result["reward_score"] == 0.5
        quiet = dict.fromkeys(COLUMNS, 0.0)
        assert result["reward_extra_info"] == {
            "question": "1+2", "well_formed": 1.0, "agreement": 0.5, "answered": 0.75, **quiet,
        }  # fmt: skip

    def test_unanswered_replies_can_be_left_out_of_the_agreement():
        manager, _ = challenger(["3", "3.0", "4", None], "unanswered=answered")
        result = asyncio.run(manager.run_single(rollout("<question>1+2</question>")))
        assert result["reward_extra_info"]["agreement"] == pytest.approx(2 / 3)

    def test_an_answer_that_calls_the_question_ill_posed_is_no_class():
        replies = ["ILL-POSED", "ill-posed", "\\text{ILL-POSED}", "3"]
        manager, _ = challenger(replies, "curation.ill_posed_share=0.3")
        assert asyncio.run(manager.run_single(rollout("<question>1+2</question>")))["reward_score"] == 0.25
        manager, _ = challenger(replies)  # not asked for, so an answer like any other
        assert asyncio.run(manager.run_single(rollout("<question>1+2</question>")))["reward_score"] > 0.25

    def test_a_question_may_need_the_challengers_own_answer():
        texts = ["<question>1+2</question>", "<question>1+2</question> \\boxed{3}"]
        for box, expected in (("optional", 2), ("dataset", 2), ("always", 1)):
            manager, asked = challenger(["3"], f"question_box={box}")
            for text in texts:
                asyncio.run(manager.run_single(rollout(text)))
            assert len(asked) == expected

    def test_a_malformed_question_is_never_asked():
        manager, asked = challenger(["3"])
        result = asyncio.run(manager.run_single(rollout("1+2 = \\boxed{3}")))
        assert asked == []
        assert result["reward_score"] == 0.0
        assert result["reward_extra_info"]["well_formed"] == 0.0
        assert math.isnan(result["reward_extra_info"]["agreement"])

    Reply = Callable[[int], Awaitable[web.Response]]

    def voted(*ends: str) -> web.Response:
        """Votes for 3, as vLLM's server tells them, each with how it ended."""
        return web.json_response({"choices": [{"text": "\\boxed{3}", "finish_reason": end} for end in ends]})

    def asked_of(reply: Reply, *questions: str) -> tuple[list[list[str | None]], int]:
        """What a manager makes of the votes of a server which answers its k-th request with `reply(k)`, and how many
        requests there were.
        """
        requests: list[str] = []

        async def handler(request: web.Request) -> web.Response:
            requests.append(await request.text())
            return await reply(len(requests))

        async def work() -> list[list[str | None]]:
            app = web.Application()
            app.router.add_post("/v1/completions", handler)
            async with TestServer(app) as server:
                address = f"{server.host}:{server.port}"
                manager = ChallengerRewardManager(config("challenger", "votes=2"), Tokens(), None, address, Tokens())
                try:
                    return await asyncio.gather(*[manager._within_limit(manager._ask(text)) for text in questions])
                finally:
                    await manager.session.close()

        try:
            return asyncio.run(work()), len(requests)
        except RuntimeError as error:
            error.add_note(f"{len(requests)} requests")
            raise

    @pytest.fixture(autouse=True)
    def no_pauses(monkeypatch):
        monkeypatch.setattr(challenger_manager, "PAUSE_S", 0.0)

    def test_votes_come_over_http_and_a_cut_off_reply_is_none():
        async def reply(k: int) -> web.Response:
            return voted("stop", "length")

        assert asked_of(reply, "1+2") == ([["3", None]], 1)

    def test_a_server_that_fails_once_is_asked_again():
        async def reply(k: int) -> web.Response:
            return web.Response(status=500) if k == 1 else voted("stop", "stop")

        assert asked_of(reply, "1+2") == ([["3", "3"]], 2)

    def test_a_server_that_fails_every_time_gives_no_reward_but_an_error():
        async def reply(k: int) -> web.Response:
            return web.Response(status=500)

        with pytest.raises(RuntimeError, match="no votes in 3 tries.*500") as failed:
            asked_of(reply, "1+2")
        assert failed.value.__notes__ == ["3 requests"]

    @pytest.mark.parametrize("ends", [["stop"], [], ["stop", "abort"]])
    def test_missing_and_broken_off_votes_give_no_reward_but_an_error(ends):
        async def reply(k: int) -> web.Response:
            return voted(*ends)

        with pytest.raises(RuntimeError, match=f"asked for 2 votes and gave {len(ends)}"):
            asked_of(reply, "1+2")

    def test_a_silent_server_is_given_up(monkeypatch):
        async def reply(k: int) -> web.Response:
            await asyncio.sleep(5)
            raise AssertionError("nobody waits so long")

        monkeypatch.setattr(challenger_manager, "SILENCE_S", 0.3)
        with pytest.raises(RuntimeError, match="not answered any question for 0.3 s"):
            asked_of(reply, "1+2")

    def test_a_question_may_wait_while_others_are_answered(monkeypatch):
        async def reply(k: int) -> web.Response:
            await asyncio.sleep(0.7 * k)
            return voted("stop", "stop")

        monkeypatch.setattr(challenger_manager, "SILENCE_S", 2.0)
        # answered after 0.7, 1.4, 2.1 and 2.8 s
        assert asked_of(reply, *["1+2"] * 4) == ([["3", "3"]] * 4, 4)
