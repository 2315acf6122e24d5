"""The orchestrator: which stage is next, its process, what is looked at after it.

Imports all but `publish` and `sft`. Never here: a rule of a method.
"""
