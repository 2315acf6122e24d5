"""The tiny world's Qwen3 in few lines of PyTorch: log-probabilities to train on, and sampling with a cache.

Shapes: B sequences, T tokens, H heads of D. Weights have Hugging Face's names. tests/test_rising.py compares it with
transformers.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

from verl_rzero.tiny_world.shape import SHAPE
from verl_rzero.tiny_world.tokenizer import EOS, PAD, VOCABULARY

Weights = dict[str, torch.Tensor]
Ids = list[int]

LAYERS, HEADS, HEAD = SHAPE["num_hidden_layers"], SHAPE["num_attention_heads"], SHAPE["head_dim"]
EPSILON, ROPE_BASE = 1e-6, 10_000.0
ROWS = 128  # sampled together: few enough that their cache stays near the processor
END, PADDING = VOCABULARY[EOS], VOCABULARY[PAD]


def load(directory: Path | str) -> Weights:
    return load_file(Path(directory) / "model.safetensors")


def save(weights: Weights, path: Path) -> None:
    save_file({name: weight.detach().contiguous() for name, weight in weights.items()}, path)


def copied(weights: Weights, trained: bool = False) -> Weights:
    return {name: weight.detach().clone().requires_grad_(trained) for name, weight in weights.items()}


def log_probs(weights: Weights, prompts: Sequence[Ids], responses: Sequence[Ids]) -> torch.Tensor:
    """Of each token of the responses, given what stands before it: float32[B, longest response], 0 beyond the end."""
    rows = [[*prompt, *response] for prompt, response in zip(prompts, responses, strict=True)]
    ids_BT = torch.full((len(rows), max(map(len, rows))), PADDING)
    for row, ids in zip(ids_BT, rows, strict=True):
        row[: len(ids)] = torch.tensor(ids)
    # Padding stands on the right, where causal attention shows it to no token that counts.
    logits_BTV = _forward(weights, ids_BT[:, :-1], None, 0, None)
    log_BT = F.log_softmax(logits_BTV, -1).gather(-1, ids_BT[:, 1:, None])[..., 0]
    longest = max(map(len, responses))
    first_B = torch.tensor([len(prompt) - 1 for prompt in prompts])
    length_B = torch.tensor([len(response) for response in responses])
    column_R = torch.arange(longest)
    at_BR = (first_B[:, None] + column_R).clamp(max=log_BT.shape[1] - 1)
    return log_BT.gather(1, at_BR) * (column_R < length_B[:, None])


@torch.inference_mode()
def sample(
    weights: Weights,
    prompts: Sequence[Ids],
    tokens: int,
    generator: torch.Generator,
    temperature: float = 1.0,
    top_p: float = 1.0,
) -> list[Ids]:
    """A response to each prompt, its end token included unless cut off at `tokens`; temperature 0 is greedy."""
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    found: list[Ids] = [[] for _ in prompts]
    for start in range(0, len(order), ROWS):
        chunk = order[start : start + ROWS]
        replies = _sample_rows(weights, [prompts[i] for i in chunk], tokens, generator, temperature, top_p)
        for i, reply in zip(chunk, replies, strict=True):
            found[i] = reply
    return found


def _sample_rows(
    weights: Weights, prompts: list[Ids], tokens: int, generator: torch.Generator, temperature: float, top_p: float
) -> list[Ids]:
    longest = max(map(len, prompts))
    ids_BT = torch.tensor([[PADDING] * (longest - len(prompt)) + prompt for prompt in prompts])
    hidden_BT = torch.arange(longest + tokens) < torch.tensor([[longest - len(prompt)] for prompt in prompts])
    cache = torch.zeros(2, LAYERS, len(prompts), HEADS, longest + tokens, HEAD)
    replies = torch.full((len(prompts), tokens), PADDING)
    row_B = torch.arange(len(prompts))  # where in `replies` each sequence that goes on belongs
    step_BT, position = ids_BT, 0
    for step in range(tokens):
        logits_BV = _forward(weights, step_BT, cache, position, hidden_BT)[:, -1]
        position += step_BT.shape[1]
        next_B = _next(logits_BV, generator, temperature, top_p)
        replies[row_B, step] = next_B
        going_B = next_B != END
        if not going_B.any():
            break
        if going_B.sum() < 0.7 * len(going_B):
            cache = cache[:, :, going_B]
            row_B, hidden_BT, next_B = row_B[going_B], hidden_BT[going_B], next_B[going_B]
        step_BT = next_B[:, None]
    return [_until_end(reply) for reply in replies.tolist()]


def _until_end(reply: Ids) -> Ids:
    """Up to the end token; what a sequence went on to write while others were sampled is dropped."""
    return reply[: reply.index(END) + 1] if END in reply else reply


def _next(logits_BV: torch.Tensor, generator: torch.Generator, temperature: float, top_p: float) -> torch.Tensor:
    if not temperature:
        return logits_BV.argmax(-1)
    share_BV = (logits_BV / temperature).softmax(-1)
    if top_p < 1:
        sorted_BV, index_BV = share_BV.sort(descending=True)
        beyond_BV = sorted_BV.cumsum(-1) - sorted_BV >= top_p
        share_BV = share_BV.masked_fill(beyond_BV.scatter(1, index_BV, beyond_BV), 0.0)
    return torch.multinomial(share_BV, 1, generator=generator)[:, 0]


def _forward(
    weights: Weights,
    ids_BT: torch.Tensor,
    cache: torch.Tensor | None,
    position: int,
    hidden_BT: torch.Tensor | None,
) -> torch.Tensor:
    """Logits of the tokens at columns position, position + 1, ...; with a cache they attend to what it holds too.

    `hidden_BT` marks columns of left padding. Attention depends on distances alone, so columns serve as positions.
    """
    x_BTC = F.embedding(ids_BT, weights["model.embed_tokens.weight"])
    turn = _rotation(position, ids_BT.shape[1])
    seen_BTT = None if hidden_BT is None else _seen(hidden_BT, position, position + ids_BT.shape[1])
    for number, layer in _layers(weights):
        kept = None if cache is None else cache[:, number]
        x_BTC = x_BTC + _attention(_norm(x_BTC, layer["input_layernorm"]), layer, turn, kept, position, seen_BTT)
        h_BTC = _norm(x_BTC, layer["post_attention_layernorm"])
        gated = F.silu(F.linear(h_BTC, layer["mlp.gate_proj"])) * F.linear(h_BTC, layer["mlp.up_proj"])
        x_BTC = x_BTC + F.linear(gated, layer["mlp.down_proj"])
    return F.linear(_norm(x_BTC, weights["model.norm.weight"]), weights["model.embed_tokens.weight"])


def _layers(weights: Weights) -> Iterator[tuple[int, Weights]]:
    for number in range(LAYERS):
        start = f"model.layers.{number}."
        yield (
            number,
            {
                name.removeprefix(start).removesuffix(".weight"): weight
                for name, weight in weights.items()
                if name.startswith(start)
            },
        )


def _seen(hidden_BT: torch.Tensor, position: int, end: int) -> torch.Tensor:
    """What the tokens from `position` to `end` attend to: bool[B, end - position, end]."""
    column, row = torch.arange(end), torch.arange(position, end)[:, None]
    # A row of padding sees itself, lest it attend to nothing.
    return (~hidden_BT[:, None, :end] & (column <= row)) | (column == row)


def _attention(
    h_BTC: torch.Tensor,
    layer: Weights,
    turn: tuple[torch.Tensor, torch.Tensor],
    cache: torch.Tensor | None,
    position: int,
    seen_BTT: torch.Tensor | None,
) -> torch.Tensor:
    rows, count = h_BTC.shape[:2]

    def heads(name: str) -> torch.Tensor:
        return F.linear(h_BTC, layer[f"self_attn.{name}_proj"]).view(rows, count, HEADS, HEAD)

    q = _rotated(_norm(heads("q"), layer["self_attn.q_norm"]).transpose(1, 2), turn)
    k = _rotated(_norm(heads("k"), layer["self_attn.k_norm"]).transpose(1, 2), turn)
    v = heads("v").transpose(1, 2)
    if cache is None or seen_BTT is None:
        out = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    else:
        end = position + count
        cache[0, :, :, position:end], cache[1, :, :, position:end] = k, v
        k, v = cache[:, :, :, :end]
        out = F.scaled_dot_product_attention(q.to(k.dtype), k, v, attn_mask=seen_BTT[:, None]).to(q.dtype)
    return F.linear(out.transpose(1, 2).reshape(rows, count, -1), layer["self_attn.o_proj"])


def _norm(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return F.rms_norm(x, (x.shape[-1],), weight, EPSILON)


def _rotation(position: int, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    rate_D = ROPE_BASE ** (-torch.arange(0, HEAD, 2) / HEAD)
    angle_TD = torch.arange(position, position + count)[:, None] * torch.cat((rate_D, rate_D))
    return angle_TD.cos(), angle_TD.sin()


def _rotated(x: torch.Tensor, turn: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    first, second = x.chunk(2, -1)
    return x * turn[0] + torch.cat((-second, first), -1) * turn[1]
