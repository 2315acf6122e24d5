"""A label from a prompt's own answers: the majority among them (TTRL, arXiv 2504.16084, section 2)."""

from dataclasses import dataclass
from math import log

from verl_rzero.rules.voting import Vote


@dataclass(frozen=True)
class OwnMajority:
    """What the N answers to one question make of the first T of them.

    rewards_T: 1.0 where the answer is in the majority's class, else 0.0; all 0.0 when nobody answered.
    distinct: classes among the N answers.
    entropy: of the classes' shares of the answered ones, in nats; 0.0 when nobody answered.
    """

    rewards_T: tuple[float, ...]
    distinct: int
    entropy: float


def own_majority(voted: Vote, trained_on: int) -> OwnMajority:
    """Reward the first `trained_on` answers by the vote of all N.

    The N are drawn alike, so the first T are as good a choice as any; it is the one of the authors' code. A missing
    answer (nothing boxed, or cut off) is in no class and never rewarded.

    Raises:
        ValueError: more answers to train on than there are.
    """
    if not 0 < trained_on <= len(voted.classes):
        raise ValueError(f"{trained_on} of {len(voted.classes)} answers can't be trained on")
    sizes = voted.sizes
    winner = sizes[0][0] if sizes else None
    shares = [size / voted.answered for _, size in sizes]
    return OwnMajority(
        tuple(float(number == winner) for number in voted.classes[:trained_on]),
        len(sizes),
        sum((-share * log(share) for share in shares), 0.0),
    )
