"""The settings part `monitors`: at which values the alarms of monitors.py are raised."""

from dataclasses import dataclass, field

from verl_rzero.settings.schema import doc


@dataclass(frozen=True)
class Monitors:
    """One threshold for one or two alarms; null switches them off. No stage depends on any of these."""

    on_alarm: str = field(
        metadata=doc("what an alarm does: warn, or stop after the stage that raised it", choices=("warn", "stop"))
    )
    early_stop_rounds: int | None = field(
        metadata=doc("end when evaluation.choose_by has not improved for so many rounds; null: never", at_least=1)
    )
    well_formed: float | None = field(
        metadata=doc("alarm below this share of texts that hold a question", at_least=0, at_most=1)
    )
    learnability: float | None = field(
        metadata=doc("alarm below this mean learnability of the tasks that are proposed", at_least=0, at_most=1)
    )
    answered: float | None = field(
        metadata=doc("alarm below this share of replies that hold an answer", at_least=0, at_most=1)
    )
    cut_off: float | None = field(
        metadata=doc("alarm above this share of texts that were cut off at the longest length", at_least=0, at_most=1)
    )
    largest_cluster: float | None = field(
        metadata=doc("alarm above this share of a Challenger batch in one cluster of like questions", at_least=0)
    )
    distinct: float | None = field(
        metadata=doc("alarm below this share of distinct questions among the well-formed ones", at_least=0, at_most=1)
    )
    distinct_2: float | None = field(
        metadata=doc("alarm below this share of distinct pairs of tokens in the first 256 questions", at_least=0)
    )
    agreement_drift: float | None = field(
        metadata=doc("alarm when the mean agreement is further than this from 1/2", at_least=0, at_most=0.5)
    )
    length_change: float | None = field(
        metadata=doc("alarm when texts become this many times longer or shorter in training or a round", above=1)
    )
    kl: float | None = field(metadata=doc("alarm above this KL from the reference model", above=0))
    entropy: float | None = field(metadata=doc("alarm below this entropy of the next token, in nats", at_least=0))
    kept: float | None = field(metadata=doc("alarm below this share of questions kept", at_least=0, at_most=1))
    kept_agreement: float | None = field(
        metadata=doc("alarm below this mean agreement of the kept questions' labels", at_least=0, at_most=1)
    )
    heldout_drop: float | None = field(
        metadata=doc("alarm when greedy held-out accuracy is this far below the best so far", at_least=0, at_most=1)
    )
