"""Language models that improve themselves without data, on stock verl: R-Zero and its kin.

What is offered here is imported from where it lives when first asked for; `import verl_rzero` itself loads nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from verl_rzero.grading.grader import same_answer
    from verl_rzero.rules.answers import last_boxed, question_block
    from verl_rzero.rules.curation import curate
    from verl_rzero.rules.repetition import bleu_distances, cluster_shares
    from verl_rzero.rules.reward import challenger_reward
    from verl_rzero.rules.uncertainty import uncertainty_reward
    from verl_rzero.rules.voting import vote

__version__ = "0.1.0"

__all__ = [
    "bleu_distances",
    "challenger_reward",
    "cluster_shares",
    "curate",
    "last_boxed",
    "question_block",
    "same_answer",
    "uncertainty_reward",
    "vote",
]

_LIVES_IN = {
    "bleu_distances": "rules.repetition",
    "challenger_reward": "rules.reward",
    "cluster_shares": "rules.repetition",
    "curate": "rules.curation",
    "last_boxed": "rules.answers",
    "question_block": "rules.answers",
    "same_answer": "grading.grader",
    "uncertainty_reward": "rules.uncertainty",
    "vote": "rules.voting",
}


def __getattr__(name: str) -> Any:
    if name not in _LIVES_IN:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_LIVES_IN[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
