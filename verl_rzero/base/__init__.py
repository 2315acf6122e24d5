"""Errors, files that are whole or not there, rows that people bring, progress, terminal, processes: what every other room may need.

Imports nothing of ours. Never here: anything about models, questions or settings.
"""
