"""What can be set: every key with its meaning and limits, where its value comes from, what is refused.

Imports `base`, and of `executor` how a value is written. Never here: what a setting does, anything that is slow to
import.
"""

from verl_rzero.settings.evaluation import Benchmark, Evaluation, Judge
from verl_rzero.settings.files import (
    as_dict,
    changed,
    load,
    read,
    recall,
    save,
    text,
    with_benchmarks,
    with_parts,
)
from verl_rzero.settings.parts import (
    Anchors,
    Challenger,
    Curation,
    Grading,
    Hardware,
    Lora,
    Model,
    Prompts,
    Sampling,
    SamplingOf,
    Solver,
    Training,
    Ttrl,
)
from verl_rzero.settings.run_settings import Settings
from verl_rzero.settings.self_play import Execution, SelfPlay, TaskPrompts
from verl_rzero.settings.thresholds import Monitors

__all__ = [
    "Anchors",
    "Benchmark",
    "Challenger",
    "Curation",
    "Evaluation",
    "Execution",
    "Grading",
    "Hardware",
    "Judge",
    "Lora",
    "Model",
    "Monitors",
    "Prompts",
    "Sampling",
    "SamplingOf",
    "SelfPlay",
    "Settings",
    "Solver",
    "TaskPrompts",
    "Training",
    "Ttrl",
    "as_dict",
    "changed",
    "load",
    "read",
    "recall",
    "save",
    "text",
    "with_benchmarks",
    "with_parts",
]
