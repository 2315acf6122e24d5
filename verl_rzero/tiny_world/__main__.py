"""Command line of the tiny world.

python -m verl_rzero.tiny_world build     out=<directory> seed=0 steps=1200
python -m verl_rzero.tiny_world benchmark out=<file.parquet> n=500 seed=0
python -m verl_rzero.tiny_world labelled  out=<file.parquet> n=500 seed=0
"""

import json
import sys
from collections.abc import Callable, Sequence

from verl_rzero.base.errors import UserError
from verl_rzero.tiny_world.arguments import parse, show


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

    given = parse(arguments, {"out": None, "seed": 0, "steps": base_model.STEPS})
    numbers = base_model.build(given["out"], given["seed"], given["steps"], show)
    print(json.dumps(numbers))


def _benchmark(arguments: Sequence[str]) -> None:
    from verl_rzero.tiny_world import benchmark

    given = parse(arguments, {"out": None, "n": 500, "seed": 0})
    benchmark.write(given["out"], given["n"], given["seed"])
    print(f"{given['out']}: {given['n']} questions")


def _labelled(arguments: Sequence[str]) -> None:
    from verl_rzero.tiny_world import labelled

    given = parse(arguments, {"out": None, "n": 500, "seed": 0})
    labelled.write(given["out"], given["n"], given["seed"])
    print(f"{given['out']}: {given['n']} labelled questions, none of them held out")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except UserError as error:
        sys.exit(str(error))
