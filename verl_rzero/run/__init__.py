"""The orchestrator: which stage is next, its process, what is looked at before a run and after a stage.

Imports all but `publish` and `sft`. Never here: a rule of a method.
"""
