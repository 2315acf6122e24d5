"""Looking at a run: report, alarms, TensorBoard, W&B, status, the page.

Imports `base` to `methods`. Never here: anything that a run needs in order to go on.
"""
