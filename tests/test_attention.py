"""Attention over a packed row equals attention over each sequence by itself."""

import pytest

torch = pytest.importorskip("torch")

from verl_rzero.engine.cpu import attention  # noqa: E402


def qwen(attention: str):
    from transformers import Qwen3Config, Qwen3ForCausalLM

    from verl_rzero.engine.cpu import attention as ours

    ours.register()
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=31,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        attn_implementation=attention,
    )
    return Qwen3ForCausalLM(config).eval()


def packed(lengths: list[int]):
    torch.manual_seed(1)
    rows = [torch.randint(0, 31, (length,)) for length in lengths]
    positions = torch.cat([torch.arange(length) for length in lengths])
    return rows, torch.cat(rows)[None], positions[None]


@pytest.mark.parametrize("most_scores", [0, 2**20])
@pytest.mark.parametrize("lengths", [[7], [5, 1, 9], [1, 1, 1, 4]])
def test_logits_and_gradients_are_those_of_single_sequences(monkeypatch, lengths, most_scores):
    monkeypatch.setattr(attention, "MOST_SCORES", most_scores)
    ours, plain = qwen("packed_sdpa"), qwen("sdpa")
    rows, ids, positions = packed(lengths)
    together = ours(input_ids=ids, position_ids=positions, use_cache=False).logits[0]
    alone = torch.cat([plain(input_ids=row[None], use_cache=False).logits[0] for row in rows])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)
    together.square().sum().backward()
    alone.square().sum().backward()
    for mine, theirs in zip(ours.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad, atol=1e-3, rtol=1e-3)


def test_the_scale_that_is_not_given_is_torchs():
    query, key, value = torch.randn(3, 1, 2, 5, 8, generator=torch.Generator().manual_seed(0)).unbind()
    wanted = torch.nn.functional.scaled_dot_product_attention(query, key, value, is_causal=True)
    found, _ = attention.packed_sdpa(None, query, key, value, None, position_ids=torch.arange(5)[None])
    torch.testing.assert_close(found.transpose(1, 2), wanted)


def test_few_scores_are_multiplied_out_and_many_are_left_to_torch(monkeypatch):
    taken = []
    monkeypatch.setattr(attention, "_by_matrices", lambda query, *_: taken.append(query.shape) or query)
    heads = {"query": 4, "key": 2, "value": 2}

    def attended(sequences: int, tokens: int) -> None:
        given = {name: torch.zeros(1, count, sequences * tokens, 8) for name, count in heads.items()}
        positions = torch.arange(tokens).repeat(sequences)[None]
        attention.packed_sdpa(None, **given, attention_mask=None, position_ids=positions)

    for sequences, tokens in ((4, 256), (4, 257), (5, 256), (1, 512), (1, 513)):
        attended(sequences, tokens)
    assert taken == [(4, 4, 256, 8), (1, 4, 512, 8)]


@pytest.mark.parametrize("most_scores", [0, 2**20])
def test_continuations_of_one_beginning_are_sequences_that_repeat_it(monkeypatch, most_scores):
    """Two sequences; the first has two other endings, after 3 and after 2 tokens of it, the second has one."""
    monkeypatch.setattr(attention, "MOST_SCORES", most_scores)
    model = qwen("packed_sdpa")
    rows, _, _ = packed([5, 4, 2, 6, 1, 3])
    trunk, other = rows[0], rows[3]
    whole = [
        trunk,
        torch.cat([trunk[:3], rows[1]]),
        torch.cat([trunk[:2], rows[2]]),
        other,
        torch.cat([other[:4], rows[5]]),
    ]
    ids = torch.cat([trunk, rows[1], rows[2], other, rows[5]])[None]
    positions = torch.tensor([[*range(5), *range(3, 7), *range(2, 4), *range(6), *range(4, 7)]])
    together = model(input_ids=ids, position_ids=positions, use_cache=False).logits[0]
    alone = [
        model(input_ids=row[None], position_ids=torch.arange(len(row))[None], use_cache=False).logits[0]
        for row in whole
    ]
    parts = [alone[0], alone[1][3:], alone[2][2:], alone[3], alone[4][4:]]
    torch.testing.assert_close(together, torch.cat(parts), atol=1e-5, rtol=1e-4)


def test_a_row_that_starts_in_the_middle_is_refused():
    with pytest.raises(ValueError, match="starts with position 0"):
        qwen("packed_sdpa")(
            input_ids=torch.zeros(1, 3, dtype=torch.long), position_ids=torch.tensor([[1, 2, 3]]), use_cache=False
        )


def test_two_rows_are_refused():
    with pytest.raises(ValueError, match="one packed row"):
        qwen("packed_sdpa")(input_ids=torch.zeros(2, 3, dtype=torch.long), use_cache=False)
