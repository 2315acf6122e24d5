"""The next token on a CPU: drawn from the softmax with one random number, as vLLM's own sampler would draw it."""

from types import SimpleNamespace

import pytest
import torch
from vllm.v1.sample.ops.topk_topp_sampler import TopKTopPSampler

from verl_rzero.engine.cpu import sampling

DRAWS = 100_000


def generators(rows: int, first: int = 0) -> dict[int, torch.Generator]:
    return {row: torch.Generator().manual_seed(first + row) for row in range(rows)}


def shares(tokens: torch.Tensor, vocabulary: int) -> list[float]:
    return (torch.bincount(tokens, minlength=vocabulary) / len(tokens)).tolist()


@pytest.mark.parametrize("seeded", [False, True])
def test_tokens_come_as_often_as_their_softmax_says(seeded):
    wanted = [0.5, 0.05, 0.15, 0.0, 0.3]
    torch.manual_seed(0)
    logits = torch.tensor(wanted).log().expand(DRAWS, -1)
    drawn = sampling.draw(logits, {0: torch.Generator()} if seeded else {})
    assert shares(drawn, 5) == pytest.approx(wanted, abs=0.006)  # four standard errors


def test_seeds_give_what_the_softmax_says():
    wanted = [0.25, 0.75]
    drawn = sampling.draw(torch.tensor(wanted).log().expand(2000, -1), generators(2000))
    assert shares(drawn, 2) == pytest.approx(wanted, abs=0.04)


def test_a_seeded_row_does_not_depend_on_its_neighbours_nor_on_its_place():
    logits = torch.randn(8, 1000, generator=torch.Generator().manual_seed(1))
    together = [sampling.draw(logits, of_all)[3].item() for of_all in [generators(8)] for _ in range(5)]
    alone = [sampling.draw(logits[3:4], of_one)[0].item() for of_one in [generators(1, 3)] for _ in range(5)]
    assert together == alone
    assert len({*alone}) > 1


@pytest.mark.parametrize("number", [0.0, 1 - 2**-24])
@pytest.mark.parametrize("place", [0, 500, 49_151])
def test_the_ends_of_the_range_give_tokens_that_are_possible(monkeypatch, number, place):
    monkeypatch.setattr(torch, "rand", lambda *shape, **_: torch.full(shape, number))
    logits = torch.full((1, 49_152), -torch.inf)
    logits[0, place] = 3.0
    assert sampling.draw(logits, {}).tolist() == [place]


@pytest.mark.parametrize(
    ("mode", "returned"),
    [("raw_logprobs", None), ("processed_logits", [3.0, -torch.inf]), ("processed_logprobs", [0.0, -torch.inf])],
)
def test_what_was_drawn_from_is_returned_where_asked_for(mode, returned):
    logits, k = torch.tensor([[3.0, 2.0]]), torch.tensor([1])
    tokens, scores = sampling.forward_cpu(SimpleNamespace(logprobs_mode=mode), logits, {}, k, None)
    assert tokens.tolist() == [0]
    assert (scores if scores is None else scores[0].tolist()) == returned


def test_vllms_sampler_takes_it(monkeypatch):
    monkeypatch.setattr(TopKTopPSampler, "forward_cpu", TopKTopPSampler.forward_cpu)
    sampling.install()
    assert TopKTopPSampler("raw_logprobs").forward.__func__ is sampling.forward_cpu
