"""Benchmarks with known answers: loaded, asked, graded, judged, audited. Only ever measures.

Imports `base` to `engine`. Never here: anything that a reward, a vote or a filter reads.
"""
