"""The reports of runs made anew: `python -m verl_rzero.report <run> [<run> ...]`."""

import sys

from verl_rzero.watch.web.command import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
