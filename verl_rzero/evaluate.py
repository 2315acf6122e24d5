"""Evaluation of any model by itself: `python -m verl_rzero.evaluate model=<dir> benchmarks=[math500]`."""

import sys

from verl_rzero.evaluation.command import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
