"""The sizes of SmolLM2-135M, by the names of its config.json. Loads nothing."""

SHAPE = {
    "hidden_size": 576,
    "intermediate_size": 1536,
    "num_hidden_layers": 30,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "head_dim": 64,
    "vocab_size": 49152,
    "tie_word_embeddings": True,
}

POSITIONS = 8192
"""Tokens that a sequence may have."""
