"""A world small enough to make its own base model in a minute, in which the truth of every question is known.

Imports `base` to `rules`. Never here: anything that training reads, but the base model.
"""

from verl_rzero.tiny_world.task import truth

__all__ = ["truth"]
