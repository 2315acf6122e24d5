"""The parts of a run's settings: one frozen dataclass each, every key with its meaning and its limits."""

from dataclasses import dataclass, field
from typing import Any

from verl_rzero.settings.schema import doc

UNCERTAINTY_FORMS = ("paper", "released", "variance", "learnability", "band", "zpd", "random")
"""The forms of challenger.uncertainty, which this module doesn't import; a test holds that they're the same."""

LINKAGES = ("average", "complete", "single")
REPETITION_SCOPES = ("batch", "rounds")
REFERENCES = ("stage_start", "base")
DUPLICATES = ("keep", "drop", "drop_across_rounds")
VOTE_BY = ("equality", "text")
ALGORITHMS = ("rzero", "ttrl", "absolute_zero")
CPU_DTYPES = ("auto", "float32", "bfloat16")
LOGGERS = (
    "console", "tensorboard", "wandb", "mlflow", "swanlab", "vemlp_wandb", "clearml", "trackio", "file", "rl_insight",
)  # fmt: skip
"""verl's, which this module doesn't import; a test holds that they're the same."""
QUESTION_BOX = ("optional", "dataset", "always")


@dataclass(frozen=True)
class Model:
    name: str = field(metadata=doc("what the model is called in the report"))
    path: str | None = field(
        metadata=doc(
            "directory or hub name of the base model; null when it is built here. With build=smollm2: of the source"
        )
    )
    truth: str | None = field(
        metadata=doc("module:function that knows the true answer of a question; only ever used for measuring")
    )
    build: str | None = field(
        metadata=doc(
            "makes the base model when a run starts: tiny_world, code_world from scratch, smollm2 from a chat model",
            choices=("tiny_world", "code_world", "smollm2"),
        )
    )
    build_seed: int = field(metadata=doc("seed of the base model that is built here", at_least=0))
    build_steps: int = field(metadata=doc("training steps of a base model from scratch", at_least=1))
    prompt_tokens: int = field(metadata=doc("longest prompt, but for the question in it", at_least=4))
    question_tokens: int = field(metadata=doc("longest text of the Challenger", at_least=8))
    answer_tokens: int = field(metadata=doc("longest text of the Solver", at_least=4))


@dataclass(frozen=True)
class Prompts:
    challenger_system: str | None = field(metadata=doc("system turn of the Challenger; null for none"))
    challenger_user: str = field(metadata=doc("user turn of the Challenger, the same for every question"))
    solver_system: str | None = field(metadata=doc("system turn of the Solver; null for none"))
    solver_user: str = field(metadata=doc("user turn of the Solver; {question} stands for the question"))
    validity: str | None = field(
        metadata=doc(
            "with curation.ill_posed_share: told to a voting Solver beside its system turn; asks for ILL-POSED"
        )
    )


@dataclass(frozen=True)
class Training:
    """A GRPO job, the same for every role: its batch, its update, its rollouts."""

    steps: int = field(metadata=doc("GRPO steps a round; 0 leaves the model as it is", at_least=0))
    batch_size: int = field(metadata=doc("prompts in a step", at_least=1))
    rollouts: int = field(metadata=doc("responses to each prompt: the group that GRPO compares", at_least=2))
    minibatch_size: int = field(metadata=doc("prompts in one optimizer update", at_least=1))
    lr: float = field(metadata=doc("learning rate", above=0))
    weight_decay: float = field(metadata=doc("AdamW's weight decay", at_least=0))
    kl: float = field(metadata=doc("weight of the KL loss against the reference", at_least=0))
    reference: str = field(
        metadata=doc("model the KL loss is against: that of the stage's start, or base", choices=REFERENCES)
    )
    clip_low: float = field(metadata=doc("PPO ratio clip below 1", above=0, at_most=1))
    clip_high: float = field(metadata=doc("PPO ratio clip above 1", above=0))
    temperature: float = field(metadata=doc("of the rollouts", above=0))
    top_p: float = field(metadata=doc("of the rollouts", above=0, at_most=1))
    top_k: int = field(metadata=doc("of the rollouts; -1 for all tokens", at_least=-1))
    verl: dict[str, Any] = field(metadata=doc("any key of verl's own configuration, for this job"))

    @property
    def kl_weight(self) -> float:
        """Of the KL loss in the end."""
        return self.kl

    @property
    def steps_in_all(self) -> int:
        """GRPO steps a round in the end."""
        return self.steps


@dataclass(frozen=True)
class Challenger(Training):
    kl_times: float = field(
        metadata=doc("what challenger.kl, which is a model's, is multiplied by: this is a method's", at_least=0)
    )
    train_rounds: int | None = field(
        metadata=doc("train it in this many rounds and freeze it after that; null for all", at_least=0)
    )
    uncertainty: str = field(
        metadata=doc("form of the uncertainty reward at agreement p; paper: 1-2|p-1/2|", choices=UNCERTAINTY_FORMS)
    )
    uncertainty_band: tuple[float, float] = field(
        metadata=doc("form band: agreements whose reward is 1, ends included", at_least=0, at_most=1)
    )
    uncertainty_peak: float = field(
        metadata=doc("form zpd: agreement whose reward is 1; it falls to 0 at both ends", above=0, at_most=0.99)
    )
    repetition_weight: float = field(metadata=doc("lambda, the weight of the repetition penalty", at_least=0))
    repetition_threshold: float = field(
        metadata=doc("BLEU distance below which questions form one cluster", at_least=0, at_most=1)
    )
    repetition_tokens: str = field(
        metadata=doc(
            "what BLEU compares: words between spaces (the paper), or numbers, words, single symbols, CJK characters",
            choices=("whitespace", "math"),
        )
    )
    repetition_linkage: str = field(
        metadata=doc("distance of two clusters: that of their average, farthest or nearest pair", choices=LINKAGES)
    )
    repetition_scope: str = field(
        metadata=doc(
            "penalise repetition of the step's questions, or of earlier rounds' too", choices=REPETITION_SCOPES
        )
    )
    repetition_memory: int = field(
        metadata=doc(
            "scope rounds: how many earlier questions are remembered, drawn evenly from all rounds", at_least=1
        )
    )
    repetition_on_invalid: bool = field(
        metadata=doc("whether a malformed text, a cluster of its own, pays the repetition penalty too")
    )
    invalid_reward: float = field(metadata=doc("reward of a text that holds no well-formed question"))
    floor: float | None = field(metadata=doc("lowest reward of a well-formed question; null for none"))

    @property
    def kl_weight(self) -> float:
        return self.kl * self.kl_times


@dataclass(frozen=True)
class Solver(Training):
    steps_times: float = field(
        metadata=doc("what solver.steps, which is a model's, is multiplied by: this is a method's", above=0)
    )
    format_weight: float = field(
        metadata=doc(
            "share of the reward that is given for the form <think>...</think> and a box after it, right or wrong",
            at_least=0,
            at_most=1,
        )
    )
    towards_start: float = field(
        metadata=doc(
            "share of the stage's start in the model that it leaves, the mean of both's weights; 0 for none of it",
            at_least=0,
            at_most=0.9,
        )
    )

    @property
    def steps_in_all(self) -> int:
        return max(round(self.steps * self.steps_times), min(self.steps, 1))


@dataclass(frozen=True)
class Lora:
    """An adapter of small matrices that is trained in place of the weights, and then added to them."""

    rank: int = field(metadata=doc("size of an adapter's matrices; 0 trains all weights", at_least=0))
    alpha: int = field(metadata=doc("what is added to the weights is alpha / rank times the adapter", at_least=1))


@dataclass(frozen=True)
class Ttrl:
    votes: int = field(
        metadata=doc(
            "answers to each question whose majority is its label; the first solver.rollouts of them are trained on",
            at_least=2,
        )
    )
    vote_by: str = field(
        metadata=doc("what votes together: answers that are equal mathematically, or the same text", choices=VOTE_BY)
    )


@dataclass(frozen=True)
class Curation:
    rank_band: tuple[float, float] | None = field(
        metadata=doc(
            "keep also only this range of agreement's percentiles, 0 to 1; null for all", at_least=0, at_most=1
        )
    )
    min_answered: int = field(metadata=doc("fewest answers of the m that hold one", at_least=1))
    min_margin: float = field(metadata=doc("smallest lead of the label over the runner-up, in shares", at_least=0))
    min_margin_ratio: float = field(
        metadata=doc("smallest ratio of the label's votes to the runner-up's; 1 for none", at_least=1)
    )
    ill_posed_share: float | None = field(
        metadata=doc(
            "drop a question that this share of the Solver's answers or more calls ILL-POSED; null to not ask",
            above=0,
            at_most=1,
        )
    )
    duplicates: str = field(
        metadata=doc("what to do with a question asked before, blanks and case aside", choices=DUPLICATES)
    )
    question_chars: tuple[int, int] | None = field(
        metadata=doc("shortest and longest question in characters; null for any", at_least=0)
    )
    drop_questions_with: tuple[str, ...] = field(metadata=doc("drop questions that hold one of these, case aside"))
    drop_labels_with: tuple[str, ...] = field(metadata=doc("drop questions whose pseudo-label holds one of these"))
    replay_share: float = field(
        metadata=doc(
            "share of the Solver's data that comes from earlier rounds' kept questions", at_least=0, at_most=0.9
        )
    )


@dataclass(frozen=True)
class Anchors:
    path: str | None = field(
        metadata=doc("parquet or JSONL of human questions and answers. With it a run is NOT zero-data; null for none")
    )
    in_prompt: int = field(metadata=doc("how many of them each prompt of the Challenger shows", at_least=0))
    share: float = field(
        metadata=doc("share of the Solver's data that is labelled rows of them", at_least=0, at_most=0.9)
    )


@dataclass(frozen=True)
class SamplingOf:
    temperature: float = field(metadata=doc("sampling temperature", above=0))
    top_p: float = field(metadata=doc("nucleus", above=0, at_most=1))
    top_k: int = field(metadata=doc("most likely tokens to choose from; -1 for all", at_least=-1))


@dataclass(frozen=True)
class Sampling:
    wait_for: float = field(
        metadata=doc(
            "share of a step's rollouts, and of a stage's questions or votes, that are waited for; the others are then "
            "cut off where they are, as if at the limit of tokens. 1 for all; evaluation waits for all",
            above=0,
            at_most=1,
        )
    )
    questions: SamplingOf
    votes: SamplingOf


@dataclass(frozen=True)
class Grading:
    timeout_s: float = field(metadata=doc("seconds after which a comparison of two answers is given up", above=0))


@dataclass(frozen=True)
class Hardware:
    device: str = field(metadata=doc("cpu or cuda", choices=("cpu", "cuda")))
    gpus_per_node: int = field(metadata=doc("GPUs a job uses on each node; on a CPU, trainer processes", at_least=1))
    nodes: int = field(metadata=doc("machines in the Ray cluster", at_least=1))
    solver_gpus: int = field(
        metadata=doc(
            "how many of a node's GPUs serve the frozen Solver while the Challenger trains on the rest (on a CPU, "
            "serving processes beside the trainer); 0: both share all GPUs by turns",
            at_least=0,
        )
    )
    tensor_parallel: int = field(metadata=doc("GPUs that share one inference engine", at_least=1))
    gpu_gib: float | None = field(
        metadata=doc("memory of a GPU, for what a dry run tells and refuses; null: what nvidia-smi tells", above=0)
    )
    gpu_memory_utilization: float = field(
        metadata=doc("share of a GPU's memory for an inference engine", above=0, at_most=1)
    )
    actor_tokens_per_gpu: int = field(
        metadata=doc("token budget of a micro-batch in training; on a CPU less with a large vocabulary", at_least=1)
    )
    cpu_dtype: str = field(
        metadata=doc(
            "what models compute in on a CPU; auto: bfloat16 where the processor has instructions for it (avx512_bf16, "
            "amx_bf16) and the model is wide enough to gain by it, else float32",
            choices=CPU_DTYPES,
        )
    )
    verl: dict[str, Any] = field(metadata=doc("any key of verl's own configuration, for both jobs"))

    def train_gpus_per_node(self, role: str) -> int:
        """Processes of a node that train; on a CPU the served Solver has its slots beside the trainer's."""
        return self.gpus_per_node - (self.solver_gpus if role == "challenger" and self.device == "cuda" else 0)

    def train_gpus(self, role: str) -> int:
        """Processes that train, on all nodes together."""
        return self.nodes * self.train_gpus_per_node(role)
