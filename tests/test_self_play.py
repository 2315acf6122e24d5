"""A step of self-play: what is proposed, run, solved, earned and remembered. Programs are really run."""

import asyncio
import dataclasses
import json
import re
import time
from random import Random
from types import SimpleNamespace

import pytest

from verl_rzero import settings
from verl_rzero.engine import code_checks
from verl_rzero.engine.samplers import Trajectory
from verl_rzero.engine.self_play import ProposesAndSolves, to_propose
from verl_rzero.engine.self_play_numbers import SelfPlayNumbers
from verl_rzero.executor import Executor
from verl_rzero.rules.code_tasks import Proposal, Task, block, identity
from verl_rzero.rules.task_buffers import TaskBuffers
from verl_rzero.settings.self_play_rules import rows_of_a_step

ADDS = "def f(a):\n    return a + 1"
RAISES = "def f(a):\n    return a / 0"
FORGETS = "def f(a):\n    return list({'x', 'y', 'z', 'w', str(a)})"


@pytest.fixture(scope="module")
def programs():
    with Executor() as executor:
        yield executor


def play(**changes):
    prompts = settings.TaskPrompts(
        None,
        "propose deduction {references}",
        "propose abduction {references}",
        "propose induction {program} {count}",
        "solve deduction {program} {input}",
        "solve abduction {program} {output}",
        "solve induction {pairs} {message}",
    )
    asked = settings.load(["method=absolute_zero", "model=small", "model.path=owner/name"]).self_play
    defaults = {"prompts": prompts, "think": False, "references": 2, "induction_inputs": 4}
    return dataclasses.replace(asked, **{**defaults, **changes})


class Model:
    """Answers each prompt with the next of the replies to its first two words; remembers what it was asked."""

    def __init__(self, **replies: list[str]) -> None:
        self.replies = {name.replace("_", " "): iter(texts) for name, texts in replies.items()}
        self.calls: list[list[str]] = []

    async def __call__(self, n, prompts):
        assert n == 1
        texts = [messages[-1]["content"] for _, messages in prompts]
        self.calls.append(texts)
        replies = [next(self.replies[" ".join(text.split()[:2])]) for text in texts]
        return [
            Trajectory(0, [i], SimpleNamespace(ids=[i], finished=True), {"reward_extra_info": {"text": reply}})
            for i, reply in enumerate(replies)
        ]


def proposes(program, given):
    return block("python", program) + block("input", given)


def answers(kind, text):
    return block({"deduction": "output", "abduction": "input", "induction": "python"}[kind], text)


def earned(trajectories):
    return [
        (each.row, each.group, each.result["reward_score"], each.result["reward_extra_info"]["passed"])
        for each in trajectories
    ]


def test_a_step_in_which_all_estimates_are_trained_on(programs):
    """Two tasks of a kind, two solutions each: rows of two. The second proposal raises, so that an earlier task is
    solved in its place; of the first one's solutions one of two is right, which is worth 1 - 1/2."""
    earlier = Task("deduction", "def f(a):\n    return a * 2", ("5",), ("10",))
    model = Model(
        propose_deduction=[proposes(ADDS, "41"), proposes(RAISES, "1")],
        solve_deduction=[answers("deduction", each) for each in ("42", "43", "10", "10")],
    )
    buffers = TaskBuffers(9, [earlier])
    sampler = ProposesAndSolves(
        play(kinds=("deduction",), estimates="train"), 2, 2, buffers, programs, lambda _: True, "0"
    )
    stored = asyncio.run(sampler(model))
    assert earned(stored) == [
        (0, "propose deduction", 0.5, True),
        (0, "propose deduction", -0.5, False),
        (1, "solve deduction", 1.0, True),
        (1, "solve deduction", -0.5, False),
        (2, "solve deduction", 1.0, True),
        (2, "solve deduction", 1.0, True),
    ]
    assert [each.outputs for each in buffers.tasks()] == [("10",), ("42",)]
    assert [(each.valid, each.reason, each.solved, each.reward) for each in sampler.proposed] == [
        (True, None, 0.5, 0.5),
        (False, "raised", None, -0.5),
    ]
    assert len(model.calls) == 2  # all proposals at once, then all solutions at once


def test_a_step_as_in_the_paper(programs):
    """The estimates are thrown away, one solution more to each task is trained on, all sampled together."""
    model = Model(
        propose_deduction=[proposes(ADDS, "1"), "no form"],
        propose_abduction=[proposes(ADDS, "1"), proposes(ADDS, "2")],
        solve_deduction=[answers("deduction", each) for each in ("2", "2", "2", "'Hello world'")],
        solve_abduction=[answers("abduction", each) for each in ("1", "0", "7", "7", "1", "7")],
    )
    sampler = ProposesAndSolves(
        play(kinds=("deduction", "abduction")), 2, 2, TaskBuffers(9), programs, lambda _: True, "0"
    )
    stored = asyncio.run(sampler(model))
    assert earned(stored) == [
        (0, "propose deduction", 0.0, True),  # always solved
        (0, "propose deduction", -1.0, False),
        (1, "propose abduction", 0.5, True),
        (1, "propose abduction", 0.0, True),  # never solved
        (2, "solve deduction", 1.0, True),
        (2, "solve deduction", 1.0, True),  # of the identity, as nothing else was there
        (3, "solve abduction", 1.0, True),
        (3, "solve abduction", -0.5, False),
    ]
    assert [len(call) for call in model.calls] == [4, 3 * 2 + 4]


def test_the_released_way_solves_what_the_step_before_proposed(programs):
    """Solutions are sampled together with the next proposals; the first step's are to the identity."""
    model = Model(
        propose_deduction=[proposes(ADDS, "1"), proposes(ADDS, "2"), "", ""],
        solve_deduction=[answers("deduction", each) for each in ("1", "'Hello world'", "2", "0", "3", "3", "2", "3")],
    )
    asked = play(kinds=("deduction",), solves="previous_step", rewards="released")
    sampler = ProposesAndSolves(asked, 2, 2, TaskBuffers(9), programs, lambda _: True, "0")
    first, second = asyncio.run(sampler(model)), asyncio.run(sampler(model))
    assert [each[2] for each in earned(first)] == [0.5, -0.5, -0.5, 1.0]  # always solved: -0.5 as released
    assert [each[2] for each in earned(second)] == [-1.0, -1.0, 1.0, 1.0]
    assert [len(call) for call in model.calls] == [4, 4, 4]  # no second phase where nothing is valid


def test_without_training_the_proposer_its_tasks_are_solved_all_the_same(programs):
    model = Model(propose_deduction=[proposes(ADDS, "1")] * 2, solve_deduction=[answers("deduction", "2")] * 4)
    asked = play(kinds=("deduction",), propose=False, estimates="train")
    stored = asyncio.run(ProposesAndSolves(asked, 2, 2, TaskBuffers(9), programs, lambda _: True, "0")(model))
    assert [each.row for each in stored] == [0, 0, 1, 1]
    assert {each.group for each in stored} == {"solve deduction"}


def test_no_estimate_is_sampled_that_nobody_is_paid_by(programs):
    """Two valid proposals, one solution to each that is trained on, and no 2 x 2 that would be thrown away."""
    model = Model(propose_deduction=[proposes(ADDS, "1")] * 2, solve_deduction=[answers("deduction", "2")] * 2)
    sampler = ProposesAndSolves(
        play(kinds=("deduction",), propose=False), 2, 2, TaskBuffers(9), programs, lambda _: True, "0"
    )
    stored = asyncio.run(sampler(model))
    assert [len(call) for call in model.calls] == [2, 2]
    assert earned(stored) == [(0, "solve deduction", 1.0, True)] * 2
    assert [(each.valid, each.solved, each.reward) for each in sampler.proposed] == [(True, None, 0.0)] * 2


@pytest.mark.parametrize("estimates", ["discard", "train"])
@pytest.mark.parametrize("propose", [True, False])
def test_a_job_has_as_many_rows_as_the_sampler_fills(programs, estimates, propose):
    words = ["method=absolute_zero", "model=small", "model.path=owner/name", f"self_play.estimates={estimates}"]
    words += ["solver.batch_size=4", "solver.rollouts=2", "self_play.kinds=[deduction]", "solver.minibatch_size=4"]
    asked = settings.load([*words, f"self_play.propose={propose}"])
    own = play(kinds=("deduction",), estimates=estimates, propose=propose)
    model = Model(propose_deduction=[proposes(ADDS, "1")] * 4, solve_deduction=[answers("deduction", "2")] * 12)
    stored = asyncio.run(ProposesAndSolves(own, 4, 2, TaskBuffers(9), programs, lambda _: True, "0")(model))
    assert [each.row for each in stored] == [
        row for row in range(rows_of_a_step(asked.self_play, asked.solver)) for _ in range(2)
    ]


def test_an_output_that_is_longer_when_it_is_written_out_is_compared_all_the_same(programs):
    # 65,536 bytes as JSON and more as Python writes it: "1, " for "1,".
    proposed = Proposal("deduction", "def f(n):\n    return list(range(n))", ("12000",))
    (task,) = code_checks.validated([proposed], (), programs)
    assert len(task.outputs[0]) > 65_536
    written = str(list(range(12000))).replace(" ", "")
    assert len(written) < 65_536
    assert code_checks.right([task, task], ["[0, 1, 2]", written], programs) == [False, True]
    abduction = dataclasses.replace(task, kind="abduction")
    assert code_checks.right([abduction, abduction], ["12000", "3"], programs) == [True, False]


def test_what_is_valid(programs):
    proposals = [
        Proposal("deduction", ADDS, ("41",)),
        Proposal("deduction", "def f(a, b):\n    return [a, b]", ("{'k': 1.0},\n'x'  # two",)),
        Proposal("deduction", FORGETS, ("1",)),
        Proposal("deduction", ADDS, ("__import__('os')",)),
        Proposal("abduction", "import random\ndef f(a):\n    return a", ("1",)),
        Proposal("abduction", "def f(a):\n    return object()", ("1",)),
        None,
    ]
    found = code_checks.validated(proposals, ["random"], programs)
    assert found[:2] == [
        Task("deduction", ADDS, ("41",), ("42",)),
        Task("deduction", proposals[1].program, ("{'k': 1.0}, 'x'",), ("[{'k': 1.0}, 'x']",)),
    ]
    assert found[2:] == ["nondeterministic", "inputs", "banned_import", "not_data", "form"]


def test_what_is_right(programs):
    deduction, abduction = Task("deduction", ADDS, ("1",), ("2",)), Task("abduction", ADDS, ("1",), ("2",))
    wrong = ["3", "'2'", "[2]", "2, 2", "f(1)", "1 + 1", "print('2') or 2", "2) or (2", None]
    assert code_checks.right([deduction] * 9, wrong, programs) == [False] * 9
    assert code_checks.right([deduction] * 2, ["2", "2.0"], programs) == [True, True]  # equal in Python
    tries = ["1", "True", "0", "print('True') or 1", "1) or (1", None, "'1'"]
    assert code_checks.right([abduction] * 7, tries, programs) == [True, True, False, False, False, False, False]


def test_an_induction_task_is_judged_by_its_hidden_pairs(programs):
    task = Task("induction", ADDS, ("1", "2", "3", "4"), ("2", "3", "4", "5"), "It counts.")
    tries = [
        "def f(a):\n    return 1 + a",
        "def f(a):\n    return {1: 2, 2: 3}.get(a)",  # by heart: only what was shown
        "class Liar:\n    def __eq__(self, other):\n        return True\ndef f(a):\n    return Liar()",
        "n = 3\ndef f(a):\n    global n\n    n += 1\n    return n",  # counts its calls: each pair has a fresh program
        "def f(a",
        None,
    ]
    assert code_checks.right([task] * 6, tries, programs) == [True, False, False, False, False, False]
    found = code_checks.validated(
        [Proposal("induction", ADDS, ("1", "[2][0]"), "x"), Proposal("induction", ADDS, ("1", " 2"), "x")], [], programs
    )
    assert found == ["inputs", Task("induction", ADDS, ("1", "2"), ("2", "3"), "x")]


def test_prompts_that_are_too_long_lose_earlier_tasks_and_long_programs():
    buffers = TaskBuffers(9, [Task("deduction", f"def f(a): return {n}", ("0",), (str(n),)) for n in range(3)])
    asked = play(references=3)
    for most in (3, 2, 1, 0):
        shown = to_propose(
            asked, "deduction", buffers, lambda messages, most=most: _programs(messages) <= most, Random(0)
        )
        assert _programs(shown.messages) == most
    short = to_propose(asked, "induction", buffers, lambda _: False, Random(0))
    assert short.program == identity("induction", 1).program


def _programs(messages):
    return len(re.findall("```python", messages[-1]["content"]))


def test_a_task_that_no_prompt_holds_is_none(programs):
    model = Model(propose_deduction=[proposes(ADDS, "1")] * 2, solve_deduction=[answers("deduction", "0")] * 4)
    asked = play(kinds=("deduction",), estimates="train")
    sampler = ProposesAndSolves(
        asked, 2, 2, TaskBuffers(9), programs, lambda messages: "solve" not in messages[-1]["content"], "0"
    )
    asyncio.run(sampler(model))
    assert [(each.reason, each.reward) for each in sampler.proposed] == [("too_long", -0.5)] * 2


@pytest.mark.parametrize("solves", ["this_step", "previous_step"])
def test_self_play_goes_on_from_its_state_as_if_nothing_had_been(programs, solves):
    """Two steps, and a third of another sampler that was put where the first one stood, as JSON holds it."""
    asked = play(kinds=("deduction", "abduction"), solves=solves)

    def model(step):
        replies = [proposes(ADDS.replace("1", str(step)), str(n)) for n in range(2)]
        return Model(
            propose_deduction=replies,
            propose_abduction=replies,
            solve_deduction=[answers("deduction", str(n)) for n in range(12)],
            solve_abduction=[answers("abduction", str(n)) for n in range(12)],
        )

    def made(buffers):
        return ProposesAndSolves(asked, 2, 2, buffers, programs, lambda _: True, "0")

    first = made(TaskBuffers(3))
    for step in (1, 2):
        asyncio.run(first(model(step)))
    state = json.loads(json.dumps(first.state()))
    second = made(TaskBuffers(3, [identity("deduction", 1)]))
    second.restore(state)
    calls = [model(3), model(3)]
    stored = [asyncio.run(sampler(each)) for sampler, each in zip((first, second), calls, strict=True)]
    assert earned(stored[0]) == earned(stored[1])
    assert calls[0].calls == calls[1].calls
    assert second.buffers.tasks() == first.buffers.tasks()
    assert second.proposed == first.proposed
    assert [each.step for each in second.proposed] == [step for step in (1, 2, 3) for _ in range(4)]


def test_the_seconds_of_a_step_that_programs_took(programs):
    sleeps = "import time\ndef f(a):\n    time.sleep(0.2)\n    return a"
    model = Model(propose_deduction=[proposes(sleeps, "1")] * 4, solve_deduction=[answers("deduction", "1")] * 8)
    asked = play(kinds=("deduction",), estimates="train")
    sampler = ProposesAndSolves(asked, 2, 2, TaskBuffers(9), programs, lambda _: True, "0")
    for _ in range(2):  # the last step's, not the sum
        began = time.monotonic()
        asyncio.run(sampler(model))
        assert 0.4 <= sampler.program_seconds <= time.monotonic() - began


def test_a_steps_numbers():
    rows = {
        "role": ["propose", "propose", "propose", "solve", "solve"],
        "kind": ["deduction", "deduction", "abduction", "deduction", "abduction"],
        "has_form": [True, True, False, True, False],
        "passed": [True, False, False, True, False],
        "solved": [0.25, -1.0, -1.0, -1.0, -1.0],
    }
    sampler = SimpleNamespace(buffers=TaskBuffers(9, [identity("deduction", 1)]), program_seconds=1.5)
    numbers = SelfPlayNumbers(sampler)(rows, 1).numbers
    assert numbers["seconds_programs"] == 1.5
    assert numbers["answered_share"] == 0.5
    assert numbers["right_share"] == 0.5
    assert numbers["well_formed_share"] == pytest.approx(1 / 3)
    assert numbers["solve_rate"] == 0.25
    assert numbers["learnability"] == 0.75
    assert numbers["deduction_valid_share"] == 0.5
    assert numbers["abduction_valid_share"] == 0.0
    assert numbers["deduction_buffer"] == 1.0
    assert "induction_buffer" not in numbers
    assert "abduction_solve_rate" not in numbers  # no valid task, no share
