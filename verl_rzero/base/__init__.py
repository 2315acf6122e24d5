"""What every room may need: errors, files that are whole or not there, rows that people bring, progress, terminal,
processes.

Imports nothing of ours. Never here: anything about models, questions or settings.
"""
