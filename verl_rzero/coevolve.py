"""A run from its base model to its last round: `python -m verl_rzero.coevolve [key=value ...]`."""

import sys
from typing import NoReturn

from verl_rzero.run.coevolve import main


def cli() -> NoReturn:
    """The console script."""
    sys.exit(main())


if __name__ == "__main__":
    cli()
