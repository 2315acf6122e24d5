"""Programs that a language model wrote, run where they can do no harm, and their results compared here.

    from verl_rzero.executor import run
    run("def f(a, b):\n    return a + b", "[1], [2]").value  # [1, 2]

Imports nothing of ours. Never here: what a result is worth (rewards), where programs come from (prompts, answers).
"""

from verl_rzero.executor.border import MAX_DEPTH
from verl_rzero.executor.default import run, run_many
from verl_rzero.executor.executor import Executor
from verl_rzero.executor.limits import Limits
from verl_rzero.executor.literals import NotLiterals, arguments
from verl_rzero.executor.process import Isolation, IsolationError
from verl_rzero.executor.result import Failure, Result
from verl_rzero.executor.runner import Runner, Task
from verl_rzero.executor.sandbox_fusion import SandboxFusion, ServerError
from verl_rzero.executor.values import equal, show

__all__ = [
    "MAX_DEPTH",
    "Executor",
    "Failure",
    "Isolation",
    "IsolationError",
    "Limits",
    "NotLiterals",
    "Result",
    "Runner",
    "SandboxFusion",
    "ServerError",
    "Task",
    "arguments",
    "equal",
    "run",
    "run_many",
    "show",
]
