"""The settings of Absolute Zero: one model that proposes and solves code tasks, and the programs that are run."""

from dataclasses import dataclass, field

from verl_rzero.settings.schema import doc

KINDS = ("deduction", "abduction", "induction")
"""Of tasks, as in rules/code_tasks.py, which this module doesn't import; a test holds that they're the same."""

REWARDS = ("paper", "released")
STATISTICS = ("response", "token")
SOLVES = ("this_step", "previous_step")
ESTIMATES = ("discard", "train")


@dataclass(frozen=True)
class TaskPrompts:
    """{references}, {program}, {input}, {output}, {pairs}, {message} and {count} stand for parts of a task."""

    system: str | None = field(metadata=doc("system turn of all six prompts; null for none"))
    propose_deduction: str = field(metadata=doc("asks for a program and an input; {references} stands for others"))
    propose_abduction: str = field(metadata=doc("asks for a program and an input; {references} stands for others"))
    propose_induction: str = field(metadata=doc("asks for a message and {count} inputs for {program}"))
    solve_deduction: str = field(metadata=doc("asks for the output of {program} on {input}"))
    solve_abduction: str = field(metadata=doc("asks for an input on which {program} gives {output}"))
    solve_induction: str = field(metadata=doc("asks for a program from {pairs} and {message}"))


@dataclass(frozen=True)
class SelfPlay:
    """Beside the `solver` settings, whose batch_size counts the tasks of each kind that are proposed in a step and that
    are solved, and whose rollouts the solutions that estimate how often a task is solved. A step is one update.
    """

    kinds: tuple[str, ...] = field(metadata=doc("kinds of tasks that are proposed and solved", choices=KINDS))
    propose: bool = field(
        metadata=doc("whether proposals are trained on; without, the model learns only to solve (an ablation)")
    )
    estimates: str = field(
        metadata=doc(
            "of how often a task is solved, by solver.rollouts solutions. discard: one solution more to each task is "
            "trained on (the paper); train: all of them are",
            choices=ESTIMATES,
        )
    )
    solves: str = field(
        metadata=doc(
            "which tasks are solved for training: those that this step proposed (the paper), or the one before "
            "(released)",
            choices=SOLVES,
        )
    )
    rewards: str = field(
        metadata=doc(
            "of proposers. paper: -0.5 for a task that isn't valid, 0 for one that is always or never solved; "
            "released: -1 and -0.5",
            choices=REWARDS,
        )
    )
    statistic: str = field(
        metadata=doc(
            "what advantages are normalised by within a role and kind: mean and deviation over responses (equation 8), "
            "or over tokens, so that longer responses count more (released)",
            choices=STATISTICS,
        )
    )
    think: bool = field(
        metadata=doc("whether a reply's form is <think>...</think> <answer>...</answer>, and only its answer is read")
    )
    references: int = field(metadata=doc("earlier tasks that a proposer is shown; 0 for none", at_least=0))
    induction_inputs: int = field(metadata=doc("inputs of an induction task; half are hidden", at_least=2))
    buffer: int = field(metadata=doc("tasks of each kind that are remembered, the newest", at_least=1))
    seeds: int = field(metadata=doc("valid tasks of each kind to collect before training; 0: the identity", at_least=0))
    banned_imports: tuple[str, ...] = field(
        metadata=doc("a proposed program that imports one of these modules is not valid")
    )
    prompts: TaskPrompts


@dataclass(frozen=True)
class Execution:
    """How programs are run (verl_rzero/executor)."""

    isolation: str = field(
        metadata=doc(
            "full: confined by the kernel, or refused; process: limits only, files and network open to programs",
            choices=("full", "process"),
        )
    )
    sandbox_fusion: str | None = field(
        metadata=doc("address of a SandboxFusion server that runs them instead; null: this machine does")
    )
    cpu_s: float = field(metadata=doc("processor time of one run", above=0))
    wall_s: float = field(metadata=doc("time of one run by the clock", above=0))
    memory_mb: int = field(metadata=doc("memory of one run", at_least=1))
    result_bytes: int = field(metadata=doc("of one result; a larger one is a failure, never cut", at_least=1))
