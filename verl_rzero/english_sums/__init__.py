"""Arithmetic as people write it, whose truth can be computed, and a small language model that can be prepared for it.

Imports `base` to `rules`. Never here: anything that training reads, but the base model.
"""

from verl_rzero.english_sums.grammar import truth

__all__ = ["truth"]
