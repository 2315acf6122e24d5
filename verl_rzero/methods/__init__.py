"""What a run is: its kinds of stages and each method's order of them, beside what each stage does.

Imports `base` to `evaluation`, `tiny_world`, `code_world`, `english_sums`. Never here: how stages are started,
watched or shown.
"""
