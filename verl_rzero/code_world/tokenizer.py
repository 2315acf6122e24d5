"""The tokenizer of the code world: a token per number, per line of a program but its constant, per fence of a block.

Loads transformers.
"""

from transformers import PreTrainedTokenizerFast

from verl_rzero.code_world.grammar import HEAD, OPERATIONS, RETURN, SAME
from verl_rzero.code_world.prompts import ABDUCTION, DEDUCTION, INDUCTION, PROPOSE, SOLVE
from verl_rzero.rules.code_tasks import identity
from verl_rzero.tiny_world.task import ANSWER
from verl_rzero.tiny_world.tokenizer import tokenizer_of

_PARTS = [part for operation in OPERATIONS.values() for part in f"\n    {operation.text}".split("{}") if part]
SYMBOLS = [
    *(PROPOSE, SOLVE, DEDUCTION, ABDUCTION, INDUCTION, ANSWER),
    *[f"{before}```{name}\n" for before in ("\n", "") for name in ("python", "input", "output", "message")],
    *("\n```\n", "\n```"),
    HEAD,
    f"\n{RETURN}",
    *sorted(dict.fromkeys(_PARTS), key=len, reverse=True),
    *(f" {word} " for word in OPERATIONS),
    *(f"{word} " for word in OPERATIONS),
    *OPERATIONS,
    SAME,
    identity("deduction", 1).inputs[0],
    *("\n", ", ", "=", "<", "-"),
    *map(str, reversed(range(100))),
]
"""Of two that begin alike the longer one comes first."""


def make_tokenizer() -> PreTrainedTokenizerFast:
    """Other text than this world's becomes `<unk>`, symbol by symbol."""
    return tokenizer_of(SYMBOLS)
