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
    lengths = torch.diff(begins, append=begins.new_tensor([len(positions)]))
    is_branch = positions[begins] > 0
    branches = begins[is_branch], lengths[is_branch]
    sequences = begins[~is_branch], lengths[~is_branch]
    query, key, value = (x[0].transpose(0, 1) for x in (query, key, value))  # (tokens, heads, head_dim)
    keys, values = _grid(key, *sequences), _grid(value, *sequences)
    out = _attend(_grid(query, *sequences), keys, values, None, scaling, dropout)
    found = [(_tokens(*sequences), out)]
    if is_branch.any():
        trunk = is_branch.logical_not().cumsum(0)[is_branch] - 1  # number of the sequence that a branch continues
        shared = positions[branches[0]]
        stem, longest = int(shared.max()), int(branches[1].max())
        own = torch.ones(longest, longest, dtype=torch.bool).tril().expand(len(trunk), -1, -1)
        of_stem = (torch.arange(stem) < shared[:, None])[:, None].expand(-1, longest, -1)
        out = _attend(
            _grid(query, *branches),
            torch.cat([keys[trunk, :, :stem], _grid(key, *branches)], dim=2),
            torch.cat([values[trunk, :, :stem], _grid(value, *branches)], dim=2),
            torch.cat([of_stem, own], dim=2)[:, None],
            scaling,
            dropout,
        )
        found.append((_tokens(*branches), out))
    places = torch.cat([at for (at, _), _ in found])
    flat = torch.cat([out.transpose(1, 2).flatten(0, 1).index_select(0, inside) for (_, inside), out in found])
    return flat[places.argsort()].unsqueeze(0), None


def _tokens(begins: torch.Tensor, lengths: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Of each token of these pieces of the row: its place in the row, and in the (pieces, longest) grid, flat."""
    row = torch.repeat_interleave(torch.arange(len(begins)), lengths)
    within = torch.arange(len(row)) - torch.repeat_interleave(lengths.cumsum(0) - lengths, lengths)
    return begins[row] + within, row * int(lengths.max()) + within


def _grid(x: torch.Tensor, begins: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """(tokens, h, d) -> (pieces, h, longest, d), 0 behind a piece's end."""
    at, inside = _tokens(begins, lengths)
    grid = x.new_zeros(len(begins) * int(lengths.max()), *x.shape[1:])
    return grid.index_copy(0, inside, x.index_select(0, at)).view(len(begins), -1, *x.shape[1:]).transpose(1, 2)


def _attend(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    visible: torch.Tensor | None,
    scaling: float | None,
    dropout: float,
) -> torch.Tensor:
    """All (pieces, heads, tokens, head_dim), key and value with fewer heads or as many. `visible`, bool: which keys a
    query sees; None for causal attention.
    """
    pieces, heads, tokens, _ = query.shape
    if pieces * heads * tokens * key.shape[2] <= MOST_SCORES and not dropout:
        return _by_matrices(query, key, value, visible, scaling)
    return torch.nn.functional.scaled_dot_product_attention(
        query,
        key,
        value,
        attn_mask=visible,
        dropout_p=dropout,
        is_causal=visible is None,
        scale=scaling,
        enable_gqa=heads != key.shape[1],
    )


def _by_matrices(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, visible: torch.Tensor | None, scaling: float | None
) -> torch.Tensor:
    """Attention by its formula."""
    if query.shape[1] != key.shape[1]:
        key, value = (x.repeat_interleave(query.shape[1] // x.shape[1], dim=1) for x in (key, value))
    if visible is None:
        visible = torch.ones(query.shape[2], key.shape[2], dtype=torch.bool).tril()
    scores = query * (query.shape[-1] ** -0.5 if scaling is None else scaling) @ key.transpose(-1, -2)
    hidden = torch.zeros(visible.shape, dtype=query.dtype).masked_fill_(visible.logical_not(), -torch.inf)
    return (scores + hidden).softmax(-1, dtype=torch.float32).to(value.dtype) @ value
