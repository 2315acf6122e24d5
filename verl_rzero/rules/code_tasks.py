"""Tasks about programs: what is asked, and what a reply says (Absolute Zero, arXiv 2505.03335, section 3.2).

A task is a triplet (program, input, output) with output = program(input). Deduction asks for the output, abduction for
an input that gives the output, induction for a program, from a message and half of several pairs. Texts are Markdown
blocks fenced by three backticks, with the name of what is in them.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

from verl_rzero.rules.prompts import Messages, RolePrompt, turns
from verl_rzero.settings import Settings, TaskPrompts

Kind = Literal["deduction", "abduction", "induction"]
KINDS: tuple[Kind, ...] = ("deduction", "abduction", "induction")

ANSWERED_BY: dict[Kind, str] = {"deduction": "output", "abduction": "input", "induction": "python"}
"""The block that a solution stands in."""

_FENCE = re.compile(r"```([a-z]+)[ \t]*\n(.*?)```", re.DOTALL)
_IMPORT = re.compile(r"(?:^|[;:])[ \t]*(?:from[ \t]+([\w.]+)[ \t]+import|import[ \t]+([^;#\n]+))", re.MULTILINE)
_OPEN, _CLOSE = "<answer>", "</answer>"


@dataclass(frozen=True)
class Task:
    """A valid task. Of deduction and abduction there is one input and one output, of induction several and a message;
    all are literals as the executor writes them.
    """

    kind: Kind
    program: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    message: str = ""

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> Self:
        """A task of its fields with lists for tuples, as files hold it.

        Raises:
            TypeError, KeyError: these are not a task's fields.
        """
        return cls(**{**fields, "inputs": tuple(fields["inputs"]), "outputs": tuple(fields["outputs"])})

    @property
    def shown(self) -> int:
        """How many pairs the solver sees, the first; by the others its program is judged."""
        return len(self.inputs) // 2


def identity(kind: Kind, inputs: int) -> Task:
    """What self-play starts from where nothing was proposed before (section 3.3.1)."""
    given = tuple(map(str, range(inputs))) if kind == "induction" else ("'Hello world'",)
    return Task(kind, "def f(a):\n    return a", given, given, "It returns what it is given.")


@dataclass(frozen=True)
class Proposal:
    """What a proposer wrote, unchecked. For induction the program is the one that it was given."""

    kind: Kind
    program: str
    inputs: tuple[str, ...]
    message: str = ""


def proposal(kind: Kind, reply: str, given_program: str, inputs: int, think: bool) -> Proposal | None:
    """The proposal in a reply; None where it hasn't the form that was asked for.

    Args:
        given_program: for induction, the program whose task this is.
        inputs: for induction, how many inputs were asked for. More or fewer are another form.
        think: the form is <think>...</think> <answer>...</answer>, and what counts stands in the answer.
    """
    text = answer_part(reply) if think else reply
    if text is None:
        return None
    given = blocks(text, "input")
    if kind == "induction":
        message = blocks(text, "message")
        return Proposal(kind, given_program, tuple(given), message[-1]) if len(given) == inputs and message else None
    programs = blocks(text, "python")
    return Proposal(kind, programs[-1], (given[-1],)) if programs and given else None


def solution(kind: Kind, reply: str, think: bool) -> str | None:
    """What a reply answers to a task; None where it hasn't the form that was asked for."""
    text = answer_part(reply) if think else reply
    found = blocks(text, ANSWERED_BY[kind]) if text is not None else []
    return found[-1] if found else None


def blocks(text: str, name: str) -> list[str]:
    """Contents of the closed blocks of this name, in order, without those that hold nothing but blanks."""
    return [inside for word, inside in fenced(text) if word == name]


def fenced(text: str) -> list[tuple[str, str]]:
    """Name and content of every closed block, in order, without those that hold nothing but blanks."""
    return [(word, inside.strip("\n")) for word, inside in _FENCE.findall(text) if inside.strip()]


def block(name: str, inside: str) -> str:
    return f"```{name}\n{inside}\n```\n"


def answer_part(reply: str) -> str | None:
    """What stands in <answer>...</answer>, after <think>...</think>; None where that is not the reply's form."""
    thought = reply.find("</think>")
    start = reply.find(_OPEN, thought)
    end = reply.find(_CLOSE, start)
    whole = reply.lstrip().startswith("<think>") and thought >= 0 and start >= 0 and end >= 0
    between = reply[thought + len("</think>") : start] if whole else ""
    return reply[start + len(_OPEN) : end] if whole and not between.strip() else None


def imported(program: str) -> set[str]:
    """Names of the modules that import statements name, whole and their first parts. The text is searched, not parsed:
    a line of a text or a comment that reads like such a statement counts too.
    """
    names = {name for name, _ in _IMPORT.findall(program) if name}
    listed = (part.split()[:1] for _, parts in _IMPORT.findall(program) for part in parts.split(","))
    names |= {word for words in listed for word in words}
    return names | {name.split(".")[0] for name in names}


def propose_messages(
    prompts: TaskPrompts, kind: Kind, references: Sequence[Task], program: str, inputs: int
) -> Messages:
    """What a proposer is asked.

    Args:
        references: earlier tasks that it is shown, to be different from (deduction and abduction).
        program: the one whose task it is to make (induction).
        inputs: how many inputs it is to write (induction).
    """
    shown = "".join(block("python", each.program) + _pairs(each, 1) + "\n" for each in references).rstrip("\n")
    given = block("python", program).rstrip("\n") if program else ""
    return _filled(prompts, "propose", kind, references=shown, program=given, count=str(inputs))


def solve_messages(prompts: TaskPrompts, task: Task) -> Messages:
    """What a solver is asked: never what it is to find."""
    return _filled(
        prompts,
        "solve",
        task.kind,
        program=block("python", task.program).rstrip("\n"),
        input=block("input", task.inputs[0]).rstrip("\n"),
        output=block("output", task.outputs[0]).rstrip("\n"),
        pairs=_pairs(task, task.shown).rstrip("\n"),
        message=task.message,
    )


def role_prompts(settings: Settings) -> list[RolePrompt]:
    """The prompts of a run, about the identity function, with what its replies are searched for."""
    play, found = settings.self_play, []
    thought = ("<think>", "<answer>") if play.think else ()
    longest = settings.model.prompt_tokens + settings.model.question_tokens
    for kind in [kind for kind in KINDS if kind in play.kinds]:
        task = identity(kind, play.induction_inputs)
        program = task.program if kind == "induction" else ""
        asked = propose_messages(play.prompts, kind, [] if program else [task], program, play.induction_inputs)
        wanted = ("```input", "```message" if program else "```python")
        for role, messages, read_for in (
            ("propose", asked, wanted),
            ("solve", solve_messages(play.prompts, task), (f"```{ANSWERED_BY[kind]}",)),
        ):
            keys = f"self_play.prompts.system and self_play.prompts.{role}_{kind}"
            name = f"{kind} {role}r"
            found.append(
                RolePrompt(name, "self_play.prompts.system", messages, "", longest, (*read_for, *thought), keys)
            )
    return found


def _pairs(task: Task, count: int) -> str:
    pairs = list(zip(task.inputs, task.outputs, strict=True))[:count]
    return "".join(block("input", given) + block("output", made) for given, made in pairs)


def _filled(prompts: TaskPrompts, role: str, kind: Kind, **values: str) -> Messages:
    """The template with its places filled at one go: what is put in is not searched for places again."""
    template: str = getattr(prompts, f"{role}_{kind}")
    places = re.compile("|".join(re.escape(f"{{{name}}}") for name in values))
    return turns(prompts.system, places.sub(lambda found: values[found.group()[1:-1]], template))
