"""verl has no training engine for a CPU: its `model.external_lib` imports this, which puts ours into its registry."""

from verl_rzero.engine.cpu import training

training.register()
