"""The sizes of the models that recipes name, by which their memory is told before they are on this machine.

By the names of a config.json. They were written down without the hub at hand, and held against the published numbers of
weights (tests/test_memory.py); a model that is here is read itself.
"""

from typing import Any


def _sizes(
    hidden: int, layers: int, heads: int, kv_heads: int, mlp: int, vocabulary: int, tied: bool
) -> dict[str, Any]:
    return {
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "head_dim": 128,
        "intermediate_size": mlp,
        "vocab_size": vocabulary,
        "tie_word_embeddings": tied,
    }


_QWEN2_5_3B = _sizes(2048, 36, 16, 2, 11008, 151936, True)
_QWEN2_5_7B = _sizes(3584, 28, 28, 4, 18944, 152064, False)
_LLAMA_3B = _sizes(3072, 28, 24, 8, 8192, 128256, True)
_LLAMA_8B = _sizes(4096, 32, 32, 8, 14336, 128256, False)

SIZES = {
    "Qwen/Qwen3-0.6B-Base": _sizes(1024, 28, 16, 8, 3072, 151936, True),
    "Qwen/Qwen3-1.7B-Base": _sizes(2048, 28, 16, 8, 6144, 151936, True),
    "Qwen/Qwen3-4B-Base": _sizes(2560, 36, 32, 8, 9728, 151936, True),
    "Qwen/Qwen3-8B-Base": _sizes(4096, 36, 32, 8, 12288, 151936, False),
    "Qwen/Qwen2.5-Math-1.5B": _sizes(1536, 28, 12, 2, 8960, 151936, True),
    "Qwen/Qwen2.5-3B": _QWEN2_5_3B,
    "Qwen/Qwen2.5-Coder-3B": _QWEN2_5_3B,
    "Qwen/Qwen2.5-7B": _QWEN2_5_7B,
    "Qwen/Qwen2.5-Math-7B": _QWEN2_5_7B,
    "Qwen/Qwen2.5-Coder-7B": _QWEN2_5_7B,
    "OctoThinker/OctoThinker-3B-Hybrid-Base": _LLAMA_3B,
    "OctoThinker/OctoThinker-8B-Hybrid-Base": _LLAMA_8B,
    "meta-llama/Llama-3.1-8B": _LLAMA_8B,
}
"""Hub name -> sizes."""
