"""A round's votes curated anew: `python -m verl_rzero.curate <run> round=2 [key=value ...]`."""

import sys

from verl_rzero.base.command_line import exit_code
from verl_rzero.watch.curate_again import HELP, main

if __name__ == "__main__":
    sys.exit(exit_code(main, HELP))
