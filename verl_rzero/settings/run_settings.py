"""All settings of a run in one frozen dataclass; its parts stand in `parts.py` and `thresholds.py`."""

from dataclasses import dataclass, field

from verl_rzero.settings.evaluation import Evaluation
from verl_rzero.settings.parts import (
    ALGORITHMS,
    LOGGERS,
    QUESTION_BOX,
    Anchors,
    Challenger,
    Curation,
    Grading,
    Hardware,
    Lora,
    Model,
    Prompts,
    Sampling,
    Solver,
    Ttrl,
)
from verl_rzero.settings.schema import doc
from verl_rzero.settings.self_play import Execution, SelfPlay
from verl_rzero.settings.thresholds import Monitors

OPEN_DICTS = ("challenger.verl", "solver.verl", "hardware.verl")
"""Below these any key of verl's own configuration may stand."""


@dataclass(frozen=True)
class Settings:
    run_dir: str = field(metadata=doc("directory of the run; the same command continues what is there"))
    rounds: int = field(
        metadata=doc("rounds of the algorithm; 0 only measures the base model", at_least=0, at_most=1000)
    )
    seed: int = field(metadata=doc("seed of the run", at_least=0))
    dry_run: bool = field(metadata=doc("print the plan, check every job's settings, start nothing"))
    checkpoint_every: int = field(
        metadata=doc(
            "training steps after which a job leaves a checkpoint, optimizer included, from which it goes on after an "
            "interruption; 0: none, an interrupted job starts anew",
            at_least=0,
        )
    )
    attempts: int = field(
        metadata=doc(
            "times that a stage is begun before the run stops, where its process dies or stalls; an error that says "
            "what to put right stops it at once",
            at_least=1,
        )
    )
    stalled_after_s: float | None = field(
        metadata=doc("a stage that has said nothing of its progress for so long is ended; null: never", above=0)
    )
    algorithm: str = field(
        metadata=doc(
            "rzero: a Challenger and a Solver in turn; ttrl: a Solver on the majority of its own answers to given "
            "questions; absolute_zero: one model that proposes code tasks and solves them",
            choices=ALGORITHMS,
        )
    )
    data: str | None = field(
        metadata=doc(
            "algorithm ttrl: the questions to train on: a parquet or JSONL file (column question; a column answer is "
            "only ever used for measuring), or one of evaluation.benchmarks; else null"
        )
    )
    votes: int = field(
        metadata=doc("m: answers of the Solver to each question, in the reward and the dataset", at_least=2)
    )
    dataset_votes: int | None = field(
        metadata=doc("answers to each question in the dataset, where they are not votes; null for votes", at_least=2)
    )
    unanswered: str = field(
        metadata=doc(
            "whether agreement is a share of all answers or of those that hold one", choices=("all", "answered")
        )
    )
    question_box: str = field(
        metadata=doc("where a question counts only with the Challenger's own boxed answer", choices=QUESTION_BOX)
    )
    roles: str = field(
        metadata=doc(
            "a Challenger and a Solver that alternate, or one model that plays both", choices=("two", "shared")
        )
    )
    candidates: int = field(metadata=doc("N: questions asked of the trained Challenger in a round", at_least=1))
    band: tuple[float, float] = field(
        metadata=doc("agreement between which a question is kept, ends included", at_least=0, at_most=1)
    )
    too_few: str = field(
        metadata=doc(
            "when fewer questions are kept than a Solver batch: stop, shrink the batch, or repeat questions in it",
            choices=("stop", "shrink", "repeat"),
        )
    )
    logger: tuple[str, ...] = field(
        metadata=doc(
            "where numbers go: tensorboard, wandb (one run over all), and console, mlflow, ... (verl's)",
            choices=LOGGERS,
        )
    )
    model: Model
    prompts: Prompts
    challenger: Challenger
    solver: Solver
    lora: Lora
    ttrl: Ttrl
    self_play: SelfPlay
    execution: Execution
    curation: Curation
    anchors: Anchors
    sampling: Sampling
    evaluation: Evaluation
    monitors: Monitors
    grading: Grading
    hardware: Hardware

    @property
    def votes_of_dataset(self) -> int:
        """Answers to each question of the dataset: `dataset_votes`, and `votes` where that is null."""
        return self.dataset_votes or self.votes
