"""The bench for ideas (benchmarks/rising) does what transformers and verl do, and each idea runs."""

import random
import sys
from itertools import permutations
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks" / "rising"))

import errors
import fast_model
import grpo
import ideas
import labels
import wrong_labels

from verl_rzero import settings
from verl_rzero.data import records
from verl_rzero.data.records import VotedQuestion
from verl_rzero.tiny_world import base_model, task, training
from verl_rzero.tiny_world.tokenizer import make_tokenizer

SMALL = [
    "candidates=12", "votes=4", "band=[0,1]", "challenger.steps=1", "challenger.batch_size=2", "challenger.rollouts=4",
    "challenger.minibatch_size=1", "solver.steps=1", "solver.batch_size=4", "solver.rollouts=4",
    "solver.minibatch_size=2", "evaluation.k=2", "model.answer_tokens=32",
]  # fmt: skip


@pytest.fixture(scope="module")
def tokenizer():
    return make_tokenizer()


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    with training.one_thread():
        yield


@pytest.fixture(scope="module")
def base(tokenizer, one_thread, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base model that has learned the forms, if not the sums."""
    path = tmp_path_factory.mktemp("rising") / "base"
    model = base_model.make_model(tokenizer, 1)
    stream = base_model.batches(tokenizer, task.wrong_facts(1), random.Random(1))
    training.train(model, stream, 150, lambda *_: None)
    training.save(model, tokenizer, {}, path)
    return path


@pytest.fixture(scope="module")
def theirs(base: Path):
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(base)


@pytest.fixture(scope="module")
def prompts(tokenizer) -> list[list[int]]:
    """Of several lengths, so that some are padded."""
    return [tokenizer(f"{task.SOLVE}{text}{task.ANSWER}")["input_ids"] for text in ("7+3", "1+2+3+4+5", "9+8+1", "3+1")]


def test_greedy_replies_are_those_of_transformers(base, theirs, prompts):
    ours = fast_model.sample(fast_model.load(base), prompts, 40, torch.Generator(), temperature=0.0)
    for prompt, reply in zip(prompts, ours, strict=True):
        whole = theirs.generate(torch.tensor([prompt]), max_new_tokens=40, do_sample=False)
        assert reply == whole[0, len(prompt) :].tolist()


def test_log_probabilities_are_those_of_transformers(base, theirs, prompts):
    weights = fast_model.load(base)
    replies = fast_model.sample(weights, prompts, 40, torch.Generator().manual_seed(3))
    ours = fast_model.log_probs(weights, prompts, replies)
    for prompt, reply, row in zip(prompts, replies, ours, strict=True):
        log_TV = theirs(torch.tensor([prompt + reply])).logits.log_softmax(-1)[0]
        expected = log_TV[len(prompt) - 1 : -1].gather(1, torch.tensor(reply)[:, None])[:, 0]
        assert torch.allclose(row[: len(reply)], expected, atol=1e-4)
        assert not row[len(reply) :].any()


def test_what_is_sampled_has_the_models_shares(base, prompts):
    weights = fast_model.load(base)
    drawn = fast_model.sample(weights, prompts[:1] * 2000, 1, torch.Generator().manual_seed(0))
    of_two = fast_model.sample(weights, prompts[:1] * 2000, 1, torch.Generator().manual_seed(0), top_p=0.6)
    tokens = range(24)
    share_V = fast_model.log_probs(weights, prompts[:1] * 24, [[token] for token in tokens])[:, 0].exp()
    found_V = torch.tensor([sum(reply == [token] for reply in drawn) / 2000 for token in tokens])
    assert torch.allclose(found_V, share_V, atol=0.04)
    ranked = sorted(tokens, key=lambda token: -share_V[token])
    enough = 1 + int((share_V[ranked].cumsum(0) < 0.6).sum())
    assert {reply[0] for reply in of_two} == set(ranked[:enough])


def test_advantages_are_verls():
    from verl.trainer.ppo.core_algos import compute_grpo_outcome_advantage

    rewards = [random.Random(i).random() for i in range(12)] + [1.0] * 4
    mask_BR, group_B = torch.ones(16, 1), np.repeat(np.arange(4), 4)
    expected, _ = compute_grpo_outcome_advantage(torch.tensor(rewards)[:, None], mask_BR, group_B)
    assert torch.allclose(grpo.advantages(rewards, 4), expected[:, 0], atol=1e-5)


def gradients_of(trainer: grpo.Trainer, do) -> list[dict[str, torch.Tensor]]:
    """Those of the updates that `do` makes."""
    found = []
    trainer.optimizer.register_step_pre_hook(
        lambda *_: found.append({name: weight.grad.clone() for name, weight in trainer.weights.items()})
    )
    do()
    return found


def test_an_update_follows_verls_loss(base, prompts, monkeypatch):
    """From a policy that has moved far enough for both clips, against verl's own loss functions."""
    from verl.trainer.ppo.core_algos import compute_policy_loss_vanilla, kl_penalty_forward
    from verl.workers.config import FSDPActorConfig

    monkeypatch.setattr(grpo, "GRADIENT_NORM", 1e9)
    job = settings.load(["model=tiny", "hardware=cpu"]).solver
    reference = fast_model.load(base)
    torch.manual_seed(0)
    moved = {name: weight + 0.1 * torch.randn(weight.shape) for name, weight in reference.items()}
    replies = fast_model.sample(reference, prompts, 30, torch.Generator().manual_seed(5))
    advantage_B = torch.tensor([1.0, -1.0, 0.7, -0.7])
    old = fast_model.log_probs(reference, prompts, replies)
    before = {i: old[i, : len(replies[i])] for i in range(4)}
    trainer = grpo.Trainer(moved, reference, job)
    (ours,) = gradients_of(
        trainer, lambda: trainer._update(prompts, replies, advantage_B, torch.arange(4), before, before)
    )

    weights = fast_model.copied(moved, trained=True)
    new = fast_model.log_probs(weights, prompts, replies)
    mask = (torch.arange(new.shape[1]) < torch.tensor([[len(reply)] for reply in replies])).float()
    config = FSDPActorConfig(
        strategy="fsdp2", rollout_n=1, ppo_mini_batch_size=4, use_dynamic_bsz=True,
        clip_ratio_low=job.clip_low, clip_ratio_high=job.clip_high,
    )  # fmt: skip
    policy, numbers = compute_policy_loss_vanilla(old, new, advantage_B[:, None] * mask, mask, "token-mean", config)
    assert numbers["actor/pg_clipfrac"] > 0
    assert numbers["actor/pg_clipfrac_lower"] > 0
    kl = (kl_penalty_forward(new, old, "low_var_kl") * mask).sum() / mask.sum()
    (policy + job.kl_weight * kl).backward()
    for name, weight in weights.items():
        assert torch.allclose(ours[name], weight.grad, rtol=1e-3, atol=1e-5), name


def test_a_step_makes_an_update_for_each_minibatch_with_short_gradients(base, prompts):
    job = settings.load(["model=tiny", "hardware=cpu", "solver.minibatch_size=1", "solver.rollouts=2"]).solver
    weights = fast_model.load(base)
    replies = fast_model.sample(weights, prompts, 30, torch.Generator().manual_seed(5))
    trainer = grpo.Trainer(weights, weights, job)
    found = gradients_of(trainer, lambda: trainer.step(prompts, replies, 50 * torch.tensor([1.0, -1.0, 1.0, -1.0])))
    lengths = [torch.cat([each.flatten() for each in gradients.values()]).norm() for gradients in found]
    assert torch.allclose(torch.stack(lengths), torch.ones(2), atol=1e-3)


@pytest.mark.parametrize("name", ideas.ALL)
def test_every_idea_runs(name, base, tmp_path):
    assert ideas.ALL[name].reason
    run = ideas.ALL[name](base, 1, tmp_path / "run", SMALL)
    run.benchmark = run.benchmark[:10]
    run.run(2)
    lines = (tmp_path / "run/rounds.jsonl").read_text().splitlines()
    assert len(lines) == 3


@pytest.mark.parametrize(("name", "share"), [("paper", 0.0), ("near_base_quarter", 0.25), ("soup", 0.5)])
def test_the_solver_goes_as_far_as_the_settings_say(name, share, base, tmp_path):
    run = ideas.ALL[name](base, 1, tmp_path / "run", SMALL)
    trained = {key: weight + 1.0 for key, weight in run.solver.items()}
    for key, weight in run.after(trained).items():
        assert torch.allclose(weight, run.solver[key] + (1 - share), atol=1e-6)


def test_what_is_asked_before_is_of_the_round_before(base, tmp_path):
    run = ideas.ALL["asked_before"](base, 1, tmp_path / "run", SMALL)
    run.benchmark = run.benchmark[:2]
    run.run(3)
    votes = [records.read(tmp_path / f"run/votes_{number}.parquet", VotedQuestion) for number in (1, 2, 3)]
    assert [{item.round for item in each} for each in votes] == [{1}, {1}, {2}]
    assert [item.raws for item in votes[0]] != [item.raws for item in votes[1]]  # round 1 asks twice


def test_confirmed_keeps_only_what_both_majorities_say(base, tmp_path, monkeypatch):
    run = ideas.ALL["confirmed"](base, 1, tmp_path / "run", [*SMALL, "votes=4"])
    other = fast_model.copied(run.base)
    run.base = other
    said = {id(run.solver): [["1", "1"], ["2", "3"], ["5", "5"]], id(other): [["1", "4"], ["3", "3"], ["6", "6"]]}
    monkeypatch.setattr(run, "answered", lambda weights, texts, n: said[id(weights)])
    asked = [SimpleNamespace(id=i, round=1, question=text) for i, text in enumerate(("1+2", "2+3", "3+4"))]
    kept = run.curated(run.votes(asked))
    assert [item.question for item in kept] == ["1+2"]


@pytest.fixture
def typical(base, tmp_path) -> ideas.PaidIfTypical:
    """With a limit of .01 on the least likely token, which its texts are known to be above or below of."""
    run = ideas.PaidIfTypical(base, 1, tmp_path / "run", [*SMALL, "votes=4"])
    run.least, run.judge = 0.01, run.base
    return run


TYPICAL, ATYPICAL = "7+3", "7+++3"


def test_the_least_likely_token_of_a_question_is_that_of_transformers(typical, theirs, tokenizer):
    prompt = [*tokenizer(f"{task.ASK}{task.ANSWER}")["input_ids"]]
    block = [*tokenizer(f"<question>{TYPICAL}</question>")["input_ids"]]
    with torch.no_grad():
        share_TV = theirs(torch.tensor([prompt + block])).logits[0].softmax(-1)
    expected = min(float(share_TV[len(prompt) + i - 1, token]) for i, token in enumerate(block))
    found = typical.least_likely([TYPICAL, "1+2+3+4+5+6+7"])
    assert found[0] == pytest.approx(expected, rel=1e-4)
    assert typical.least_likely([]) == []


def test_only_typical_questions_are_kept(typical):
    assert typical.typical([TYPICAL, ATYPICAL]) == [True, False]
    answers = [["1", "1", "2", "3"]] * 2
    asked = [SimpleNamespace(id=i, round=1, question=text) for i, text in enumerate((TYPICAL, ATYPICAL))]
    assert [item.question for item in typical.curated(typical.counted(asked, answers))] == [TYPICAL]


def test_the_challenger_is_paid_for_typical_questions_alone(typical, monkeypatch):
    asked = []
    monkeypatch.setattr(
        typical, "answered", lambda _, texts, n: asked.append(texts) or [["1", "1", "2", "3"]] * len(texts)
    )
    assert typical.agreements([ATYPICAL, TYPICAL, ATYPICAL]) == [0.0, 0.5, 0.0]
    assert asked == [[TYPICAL]]


def test_the_limit_is_what_nine_in_ten_of_the_base_models_questions_have(base, tmp_path, monkeypatch):
    run = ideas.Typical(base, 1, tmp_path / "run", SMALL)
    monkeypatch.setattr(run, "least_likely", lambda texts: [i / 10 for i in range(11)])
    run.run(0)
    assert run.least == pytest.approx(0.1)


def test_a_share_of_the_labels_is_the_commonest_wrong_answer():
    said = {0: ["3", "4", "4", None], 1: ["5", "5", "5", "5"], 2: ["6", "7", "8", "8"], 3: ["1", "2", "1", "2"]}
    asked = [
        VotedQuestion(
            id=i, round=1, question=f"q{i}", raws=[], answers=answers, classes=[], label="9", agreement=0.5, margin=0.0,
            answered=4, seed=0, model="s", truth=truth,
        )
        for (i, answers), truth in zip(said.items(), ("3", "5", "6", None), strict=True)
    ]  # fmt: skip
    assert [(item.id, item.label) for item in wrong_labels.labelled(asked, 0.0, 0)] == [(0, "3"), (2, "6")]
    assert [(item.id, item.label) for item in wrong_labels.labelled(asked, 1.0, 0)] == [(0, "4"), (2, "8")]
    assert sorted(item.label for item in wrong_labels.labelled(asked, 0.5, 0)) in (["3", "8"], ["4", "6"])


@pytest.mark.parametrize("question", ["7+3", "9+8+1+6", "5+5+2+9", "1+2+3+4+5+6", "9+9+9+9+9+8+7"])
def test_orders_that_meet_a_wrong_fact_are_counted_as_by_going_through_all(question):
    wrong = task.wrong_facts(4)
    orders = list(permutations(map(int, question.split("+"))))
    meet = [any((sum(order[:i]) % 45, order[i]) in wrong for i in range(1, len(order))) for order in orders]
    assert labels.share_of_orders_that_meet(question, wrong) == pytest.approx(sum(meet) / len(meet))


def test_a_text_that_is_no_sum_meets_no_facts():
    assert labels.share_of_orders_that_meet("7+", task.wrong_facts(4)) is None
    assert labels.share_of_orders_that_meet("9+9", {}) == 0.0


def test_a_working_is_read_as_it_stands():
    working = errors.read("9+2=11+3=14+7=20,\\boxed{20}")
    assert working == errors.Working(9, [(9, 2, 11), (11, 3, 14), (14, 7, 20)])
    assert working.has_each_term_once("7+3+9+2")
    assert not working.has_each_term_once("7+3+9+3")
    assert errors.read("\\boxed{3}") is None


def test_errors_are_in_facts_or_in_terms():
    said = {
        "1+2": ("1+2=3,", "3"),  # right
        "3+4": ("3+4=8,", "8"),  # a fact
        "5+6": ("5+5=10,", "10"),  # the terms
        "7+8": ("7+7=15,", "14"),  # both
        "2+9": ("2+9=11,", "12"),  # the box
        "4+5": ("", None),
    }
    workings, answers = zip(*said.values(), strict=True)
    line = errors.counted([*said], workings, answers, {(3, 4): 8, (1, 2): 9})
    assert line == (
        "right 0.167; each term once 0.500; right of the facts that the corpus has wrong 0.500, of others 0.6667; "
        "wrong in a fact 0.167, in the terms 0.333, in both 0.167"
    )
