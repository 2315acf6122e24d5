"""How the code world's model is asked: markers instead of sentences, for a model that has never read any.

recipes/model/code_tiny.yaml has the same templates; a test holds that.
"""

from collections.abc import Sequence

from verl_rzero.rules.code_tasks import Kind, Task, propose_messages, solve_messages
from verl_rzero.settings import TaskPrompts

PROPOSE, SOLVE = "<|propose|>", "<|solve|>"
DEDUCTION, ABDUCTION, INDUCTION = "<|deduction|>", "<|abduction|>", "<|induction|>"
INDUCTION_INPUTS = 4  # of an induction task, the first half of which is shown
REFERENCES = 3  # the most that a proposer is shown

PROMPTS = TaskPrompts(
    system=None,
    propose_deduction=f"{PROPOSE}{DEDUCTION}{{references}}",
    propose_abduction=f"{PROPOSE}{ABDUCTION}{{references}}",
    propose_induction=f"{PROPOSE}{INDUCTION}{{program}}",
    solve_deduction=f"{SOLVE}{DEDUCTION}{{program}}\n{{input}}",
    solve_abduction=f"{SOLVE}{ABDUCTION}{{program}}\n{{output}}",
    solve_induction=f"{SOLVE}{INDUCTION}{{pairs}}\n{{message}}",
)


def proposing(kind: Kind, references: Sequence[Task] = (), program: str = "") -> str:
    """The user turn that asks for a task: with earlier ones, or for induction with the program it is to be about."""
    return propose_messages(PROMPTS, kind, references, program, INDUCTION_INPUTS)[-1]["content"]


def solving(task: Task) -> str:
    """The user turn that asks for a task's solution."""
    return solve_messages(PROMPTS, task)[-1]["content"]
