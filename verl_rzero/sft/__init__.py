"""Supervised fine-tuning of a checkpoint on labelled data, with verl's own SFT trainer: `python -m verl_rzero.sft`.

Imports `base` to `engine`. Never here: self-play.
"""
