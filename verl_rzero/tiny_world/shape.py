"""The sizes of the tiny world's model, by the names of its config.json. Loads nothing."""

SHAPE = {
    "hidden_size": 64,
    "intermediate_size": 192,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "head_dim": 32,
    "vocab_size": 24,
    "tie_word_embeddings": True,
}
"""Of a Qwen3 of 0.21M parameters. vLLM's attention on a CPU refuses a head_dim below 32."""

POSITIONS = 512
"""Tokens that a sequence may have."""
