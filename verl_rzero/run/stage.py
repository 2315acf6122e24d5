"""Stages in turn in one process: `python -m verl_rzero.run.stage <run> <stage id>...`. The orchestrator starts it."""

import os
import sys
from pathlib import Path

from verl_rzero.base.errors import UserError
from verl_rzero.base.files import write_json
from verl_rzero.data import run_dir
from verl_rzero.engine import environment
from verl_rzero.engine.engines import Engines
from verl_rzero.methods import plan
from verl_rzero.methods.inputs import StageInputs


def main(run: str, *stage_ids: str) -> int:
    """Do the stages in turn and write their results; returns the exit code, 2 for what the user can put right."""
    engines = Engines()
    for stage_id in stage_ids:
        stage = StageInputs(Path(run), stage_id, engines)
        os.environ |= environment.variables(stage.settings) | os.environ
        if stage_id != stage_ids[0]:
            _print_to(stage.dir / run_dir.LOG)
        try:
            write_json(stage.dir / run_dir.RESULT, plan.kind(stage.settings, stage.kind).work(stage))
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
    return 0


def _print_to(log: Path) -> None:
    """Send what this process prints from here on to the end of `log`."""
    sys.stdout.flush()
    sys.stderr.flush()
    with log.open("ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
