"""Audit of a run's questions and labels: `python -m verl_rzero.audit <run> [oracle=truth] [n=200]`."""

import sys

from verl_rzero.evaluation.audit_command import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
