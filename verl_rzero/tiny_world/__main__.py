"""Command line of the tiny world.

python -m verl_rzero.tiny_world build     out=<directory> seed=0 steps=1200
python -m verl_rzero.tiny_world benchmark out=<file.parquet> n=500 seed=0
python -m verl_rzero.tiny_world labelled  out=<file.parquet> n=500 seed=0
"""

import json
import sys
from collections.abc import Callable, Sequence
from typing import Any

from verl_rzero.base.errors import UserError


def main(arguments: Sequence[str]) -> None:
    commands: dict[str, Callable[[Sequence[str]], None]] = {
        "build": _build,
        "benchmark": _benchmark,
        "labelled": _labelled,
    }
    if not arguments or arguments[0] not in commands:
        raise UserError(str(__doc__).strip())
    commands[arguments[0]](arguments[1:])


def _build(arguments: Sequence[str]) -> None:
    from verl_rzero.tiny_world import base_model

    given = _parse(arguments, {"out": None, "seed": 0, "steps": base_model.STEPS})
    numbers = base_model.build(given["out"], given["seed"], given["steps"], _show)
    print(json.dumps(numbers))


def _benchmark(arguments: Sequence[str]) -> None:
    from verl_rzero.tiny_world import benchmark

    given = _parse(arguments, {"out": None, "n": 500, "seed": 0})
    benchmark.write(given["out"], given["n"], given["seed"])
    print(f"{given['out']}: {given['n']} questions")


def _labelled(arguments: Sequence[str]) -> None:
    from verl_rzero.tiny_world import labelled

    given = _parse(arguments, {"out": None, "n": 500, "seed": 0})
    labelled.write(given["out"], given["n"], given["seed"])
    print(f"{given['out']}: {given['n']} labelled questions, none of them held out")


def _show(done: int, total: int, note: str) -> None:
    if done % 100 == 0 or done == total:
        print(f"step {done}/{total} {note}", flush=True)


def _parse(arguments: Sequence[str], defaults: dict[str, Any]) -> dict[str, Any]:
    """key=value arguments over the defaults. A default of None means required text, a number means a number."""
    given = dict(defaults)
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if not equals or key not in defaults:
            raise UserError(f"{argument}: expected one of {', '.join(f'{key}=' for key in defaults)}")
        if defaults[key] is not None and not value.isdecimal():
            raise UserError(f"{argument}: {key} takes a whole number, not below 0")
        given[key] = value if defaults[key] is None else int(value)
    missing = [key for key, value in given.items() if value in (None, "")]
    if missing:
        raise UserError(f"{missing[0]}= is missing")
    return given


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except UserError as error:
        sys.exit(str(error))
