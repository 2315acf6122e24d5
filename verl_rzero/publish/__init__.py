"""A trained model and its questions for other people: export, cards, upload.

Imports `base` to `watch`. Never here: training.
"""
