"""When two answers are equal mathematically, decided where it can be stopped.

Imports `base`. Never here: what equality is used for (votes, rewards, scores).
"""

from verl_rzero.grading.grader import Grader, GradingCounts, Tally, same_answer

__all__ = ["Grader", "GradingCounts", "Tally", "same_answer"]
