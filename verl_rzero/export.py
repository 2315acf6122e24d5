"""A round's model and questions with Hugging Face cards: `python -m verl_rzero.export <run> round=3 to=<dir>`."""

import sys

from verl_rzero.base.command_line import exit_code
from verl_rzero.publish.export_run import USAGE, main

if __name__ == "__main__":
    sys.exit(exit_code(main, USAGE))
