"""The command line of coevolve with fake stages: `fake_run.py [key=value ...]`.

The check of verl's configurations, a second each time, is left out but for FAKE_CHECKS_JOBS.
"""

import os
import sys
from pathlib import Path

from verl_rzero.run import coevolve

if __name__ == "__main__":
    if "FAKE_CHECKS_JOBS" not in os.environ:
        coevolve.check_jobs = lambda settings, run: {}
    stage = Path(__file__).with_name("fake_stage.py")
    sys.exit(coevolve.main(lambda run, ids, variables: [sys.executable, str(stage), str(run), *ids]))
