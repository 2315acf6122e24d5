"""The sizes of the code world's model, by the names of its config.json. Loads nothing."""

from verl_rzero.tiny_world.shape import SHAPE as TINY

SHAPE = {**TINY, "vocab_size": 158}
"""Of a Qwen3 of 0.22M parameters: the tiny world's but for its tokens."""
