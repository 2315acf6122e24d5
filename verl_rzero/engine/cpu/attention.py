"""Causal attention over packed sequences on a CPU, without a padded token in any other layer.

verl's `use_remove_padding` hands the model one row of concatenated sequences and expects flash-attention's varlen
kernel. There is none for CPUs; this one unpacks queries, keys and values to (sequences, longest), attends by matrix
products where sequences are short and else by torch's scaled_dot_product_attention, and packs again. Registered with
transformers as `attn_implementation="packed_sdpa"`.
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
        position_ids: (1, tokens); every 0 starts a sequence.

    Returns:
        (1, tokens, heads, head_dim) and None (no attention weights).

    Raises:
        ValueError: more than one row, or no position ids: this is not verl's packed layout.
    """
    if query.shape[0] != 1 or position_ids is None:
        raise ValueError("packed_sdpa takes one packed row with position ids: set use_remove_padding=True")
    starts = torch.nonzero(position_ids[0] == 0).squeeze(1)
    total = query.shape[2]
    if len(starts) <= 1:
        out = _sdpa(query, key, value, scaling, dropout)
        return out.transpose(1, 2), None
    lengths = torch.diff(starts, append=starts.new_tensor([total]))
    longest = int(lengths.max())
    row = torch.repeat_interleave(torch.arange(len(starts)), lengths)
    flat = row * longest + position_ids[0]  # where each token stands in the (sequences, longest) grid

    def unpack(x: torch.Tensor) -> torch.Tensor:  # (1, h, tokens, d) -> (sequences, h, longest, d)
        grid = x.new_zeros(len(starts) * longest, x.shape[1], x.shape[3])
        return (
            grid.index_copy(0, flat, x[0].transpose(0, 1)).view(len(starts), longest, *grid.shape[1:]).transpose(1, 2)
        )

    out = _sdpa(unpack(query), unpack(key), unpack(value), scaling, dropout)
    return out.transpose(1, 2).flatten(0, 1).index_select(0, flat).unsqueeze(0), None


def _sdpa(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scaling: float | None, dropout: float
) -> torch.Tensor:
    sequences, heads, tokens, _ = query.shape
    if sequences * heads * tokens**2 <= MOST_SCORES and not dropout:
        return _by_matrices(query, key, value, scaling)
    return torch.nn.functional.scaled_dot_product_attention(
        query, key, value, dropout_p=dropout, is_causal=True, scale=scaling, enable_gqa=query.shape[1] != key.shape[1]
    )


def _by_matrices(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scaling: float | None) -> torch.Tensor:
    """Causal attention by its formula; (sequences, heads, tokens, head_dim), key and value may have fewer heads."""
    tokens, head_dim = query.shape[2:]
    if query.shape[1] != key.shape[1]:
        key, value = (x.repeat_interleave(query.shape[1] // x.shape[1], dim=1) for x in (key, value))
    scores = query * (head_dim**-0.5 if scaling is None else scaling) @ key.transpose(-1, -2)
    later = torch.full((tokens, tokens), -torch.inf, dtype=query.dtype).triu(1)
    return (scores + later).softmax(-1, dtype=torch.float32).to(value.dtype) @ value
