"""verl, Ray and vLLM behind our hooks: jobs, trainers, reward managers, rollouts, sampling without training.

Imports `base`, `grading`, `settings`, `data`, `rules`. Never here: what comes before or after a job in a run.
"""
