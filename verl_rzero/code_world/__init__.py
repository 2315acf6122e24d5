"""A world of small programs for a model that proposes and solves tasks about them, with a base model of its own.

Imports `base` to `rules`, and from `tiny_world` what any tiny base model is made with. Never here: anything that
training reads, but the base model; running of code that a model wrote.
"""

from verl_rzero.code_world.prompts import PROMPTS

__all__ = ["PROMPTS"]
