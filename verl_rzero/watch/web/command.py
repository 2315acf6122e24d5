"""`python -m verl_rzero.report <run> [<run> ...] [to=<file>] [reply_chars=<number>]`."""

import sys
import textwrap
from pathlib import Path

from verl_rzero.base.errors import UserError, refusal
from verl_rzero.data import run_dir
from verl_rzero.settings import read
from verl_rzero.watch import report
from verl_rzero.watch.web import comparison, page

HELP = """\
python -m verl_rzero.report <run>                              makes <run>/report.json and <run>/report.html anew
python -m verl_rzero.report <run> <run> ... [to=<file>]        compares runs, in ./comparison.html or <file>

reply_chars=<number>    the length to which a reply is cut in a run's page; by itself 300 to 4000, by how many there are
"""


def main(words: list[str]) -> int:
    """The command line; returns the exit code, 2 for what the user can put right."""
    if not words or {"-h", "--help"} & {*words}:
        print(HELP, end="")
        return 0
    try:
        options = dict(word.split("=", 1) for word in words if word.startswith(("to=", "reply_chars=")))
        runs = [Path(word).expanduser() for word in words if not word.startswith(("to=", "reply_chars="))]
        print(_make(runs, options))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _make(runs: list[Path], options: dict[str, str]) -> Path:
    if not runs:
        raise UserError("No run is named. Write python -m verl_rzero.report <run> [<run> ...].")
    twice = [run for run in runs if sum(run.resolve() == other.resolve() for other in runs) > 1]
    if twice:
        raise UserError(f"{twice[0]}: this run is named twice. Name it once.")
    for run in runs:
        _refresh(run)
    if len(runs) > 1:
        if "reply_chars" in options:
            why = "a comparison shows no replies"
            raise refusal("reply_chars", options["reply_chars"], why, "Leave it out, or name one run.")
        return comparison.write(runs, _target(Path(options.get("to", "comparison.html")).expanduser()))
    if "to" in options:
        why = "a single run's page lies in the run"
        raise refusal("to", options["to"], why, "Leave it out, or name more than one run.")
    return page.write(runs[0], _reply_chars(options))


def _refresh(run: Path) -> None:
    """Make report.json anew. It stays as it is where the settings can't be read: another version, another machine."""
    if not (run / run_dir.SETTINGS).is_file():
        raise UserError(f"{run}: there is no {run_dir.SETTINGS} of a run here. Write the directory of a run.")
    try:
        report.write(run, read(run / run_dir.SETTINGS))
    except UserError as error:
        if not (run / run_dir.REPORT).is_file():
            raise
        why = textwrap.shorten(str(error), 200, placeholder=" ...")
        print(f"{run}: {run_dir.REPORT} stays as it is, as its settings can't be read: {why}", file=sys.stderr)


def _target(path: Path) -> Path:
    if not path.resolve().parent.is_dir():
        raise refusal("to", path, f"there is no directory {path.resolve().parent}", "Make it, or write another file.")
    if path.is_dir():
        raise refusal("to", path, "this is a directory", f"Write to={path / 'comparison.html'}.")
    return path


def _reply_chars(options: dict[str, str]) -> int | None:
    given = options.get("reply_chars")
    if given is None:
        return None
    if not given.isdecimal() or int(given) < 1:
        raise refusal(
            "reply_chars", given, "this is not a whole number above 0", "Write reply_chars=2000, for example."
        )
    return int(given)
