"""The methods' rules, each a pure function that cites its equation: answers, votes, rewards, curation, prompts.

Imports `base` to `data` (its records). Never here: a process, an engine, a clock, a file that is written.
"""
