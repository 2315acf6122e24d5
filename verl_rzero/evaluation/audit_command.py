"""Audit of a run's questions and labels: `python -m verl_rzero.audit <run> [oracle=truth] [n=200]`."""

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from verl_rzero import settings
from verl_rzero.base import tables
from verl_rzero.base.command_line import exit_code
from verl_rzero.base.errors import UserError
from verl_rzero.base.files import write_json
from verl_rzero.data import run_dir
from verl_rzero.evaluation import audit
from verl_rzero.settings import Settings, schema

FILE = "audit.json"

HELP = """\
How many pseudo-labels of each round are right, and how hard its questions are for every Solver of the run.

  python -m verl_rzero.audit <run> [oracle=truth|judge|<model directory>] [n=200] [evaluation.judge.<key>=...]

  oracle=  truth: what the run itself knows (model.truth); judge: an endpoint answers the questions;
           a model directory: its majority of as many answers as the run has votes
  n=       most questions taken of those that each round kept

Writes <run>/audit.json; replies are kept in <run>/audit and never asked twice.
"""


def request(words: Sequence[str]) -> tuple[Path, Settings, str, int]:
    """The run, its settings with the judge of the command line, the oracle and n; raises UserError."""
    runs = [word for word in words if "=" not in word]
    if len(runs) != 1 or not (Path(runs[0]).expanduser() / run_dir.SETTINGS).is_file():
        raise UserError(f"one directory of a run is needed, with its {run_dir.SETTINGS}.\n\n{HELP}")
    run = Path(runs[0]).expanduser().resolve()
    asked = settings.read(run / run_dir.SETTINGS)
    if asked.algorithm == "absolute_zero":
        raise UserError(f"{run}: a run of Absolute Zero has no labels to audit; programs were run instead.")
    if asked.algorithm == "ttrl":
        raise UserError(
            f"{run}: a run of TTRL keeps no votes, so there are no labels to audit; how many were true, where answers "
            "are known, is in its report.json (label_accuracy)."
        )
    given = {key: value for key, _, value in (word.partition("=") for word in words if "=" in word)}
    oracle, n = given.pop("oracle", "truth"), given.pop("n", "200")
    if not n.isdecimal() or int(n) < 1:
        raise UserError(f"n={n}: this is not a number of questions. Write n=200, for example.")
    known = ["oracle", "n", *(f"evaluation.judge.{field.name}" for field in fields(settings.Judge))]
    for key in given.keys() - {*known}:
        raise schema.unknown_key(key, known)
    judge = [word for word in words if word.startswith("evaluation.judge.")]
    return run, settings.changed(asked, judge), oracle, int(n)


def main(words: Sequence[str]) -> int:
    """The command line; exit codes as those of a run."""

    def work(words: Sequence[str]) -> None:
        run, asked, oracle, n = request(words)
        with run_dir.locked(run / "audit"):
            content = audit.audit(run, asked, oracle, n)
            write_json(run / FILE, content)
        print(tables.aligned(audit.rows_of_table(content)))
        print(f"\naudit  {run / FILE} (python -m verl_rzero.report {run} puts it into the page)")

    return exit_code(work, HELP, words, again="continues from here")
