"""Causal attention over packed sequences on a CPU, without a padded token in any other layer.

verl's `use_remove_padding` hands the model one row of concatenated sequences and expects flash-attention's varlen
kernel. There is none for CPUs; this one unpacks queries, keys and values to (sequences, longest), attends by matrix
products where sequences are short and else by torch's scaled_dot_product_attention, and packs again. Registered with
transformers as `attn_implementation="packed_sdpa"`.

A row may hold a prompt once for all of its responses (`prompts.py`): position ids say so. A 0 starts a sequence; where
they fall back to p > 0, another continuation of that sequence's first p tokens starts.
"""

import torch

NAME = "packed_sdpa"
MOST_SCORES = 2**20
"""Of one layer. Fewer are faster multiplied out than by torch's kernel, whose backward pass on short sequences is slow:
three times with 50 tokens each (docs/performance.md). The multiplied are kept until then: 6 MiB a layer."""


def register() -> None:
    """Make `attn_implementation="packed_sdpa"` known to transformers."""
    from transformers import AttentionInterface

    AttentionInterface.register(NAME, packed_sdpa)


def packed_sdpa(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    position_ids: torch.Tensor | None = None,
    **_: object,
) -> tuple[torch.Tensor, None]:
    """Attention of a transformers model over one packed row.

    Args:
        query: (1, heads, tokens, head_dim); `key` and `value` with (1, kv_heads, tokens, head_dim).
        position_ids: (1, tokens), with the pieces of the row, above.

    Returns:
        (1, tokens, heads, head_dim) and None (no attention weights).

    Raises:
        ValueError: more than one row, or no position ids, or none that start: this is not verl's packed layout.
    """
    if query.shape[0] != 1 or position_ids is None:
        raise ValueError("packed_sdpa takes one packed row with position ids: set use_remove_padding=True")
    positions = position_ids[0]
    if positions[0] != 0:
        raise ValueError("packed_sdpa takes a row that starts with position 0")
    begins = torch.nonzero(positions[1:] != positions[:-1] + 1).squeeze(1) + 1
    begins = torch.cat([begins.new_zeros(1), begins])
    if len(begins) == 1:
        return _attend(query, key, value, scaling, dropout).transpose(1, 2), None
    shared = positions[begins]  # tokens that a piece has from the sequence which it continues
    trunks = torch.where(shared == 0, begins, 0).cummax(0).values
    lengths = shared + torch.diff(begins, append=begins.new_tensor([len(positions)]))
    longest = int(lengths.max())
    piece = torch.repeat_interleave(torch.arange(len(begins)), lengths)
    within = torch.arange(len(piece)) - torch.repeat_interleave(lengths.cumsum(0) - lengths, lengths)
    own = within >= shared[piece]
    source = torch.where(own, begins[piece] - shared[piece], trunks[piece]) + within  # places in the row
    place = piece * longest + within  # in the (pieces, longest) grid, flat

    def unpack(x: torch.Tensor) -> torch.Tensor:  # (1, h, tokens, d) -> (pieces, h, longest, d)
        grid = x.new_zeros(len(begins) * longest, x.shape[1], x.shape[3])
        filled = grid.index_copy(0, place, x[0].transpose(0, 1).index_select(0, source))
        return filled.view(len(begins), longest, *grid.shape[1:]).transpose(1, 2)

    out = _attend(unpack(query), unpack(key), unpack(value), scaling, dropout)
    return out.transpose(1, 2).flatten(0, 1).index_select(0, place[own]).unsqueeze(0), None


def _attend(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scaling: float | None, dropout: float
) -> torch.Tensor:
    """Causal; all (pieces, heads, tokens, head_dim), key and value with fewer heads or as many."""
    pieces, heads, tokens, _ = query.shape
    if pieces * heads * tokens**2 <= MOST_SCORES and not dropout:
        return _by_matrices(query, key, value, scaling)
    return torch.nn.functional.scaled_dot_product_attention(
        query, key, value, dropout_p=dropout, is_causal=True, scale=scaling, enable_gqa=heads != key.shape[1]
    )


def _by_matrices(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scaling: float | None) -> torch.Tensor:
    """Causal attention by its formula."""
    tokens, head_dim = query.shape[2:]
    if query.shape[1] != key.shape[1]:
        key, value = (x.repeat_interleave(query.shape[1] // x.shape[1], dim=1) for x in (key, value))
    scores = query * (head_dim**-0.5 if scaling is None else scaling) @ key.transpose(-1, -2)
    later = torch.full((tokens, tokens), -torch.inf, dtype=query.dtype).triu(1)
    return (scores + later).softmax(-1, dtype=torch.float32).to(value.dtype) @ value
