"""Where a run is, running or not: `python -m verl_rzero.status <run>`."""

import sys

from verl_rzero.base.command_line import exit_code
from verl_rzero.watch.status import USAGE, main

if __name__ == "__main__":
    sys.exit(exit_code(main, USAGE))
