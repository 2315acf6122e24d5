"""A run's directory: its records and their files, what is done, what a stage left for others.

Imports `base`, `grading`, `settings`. Never here: a rule of a method, an engine.
"""
