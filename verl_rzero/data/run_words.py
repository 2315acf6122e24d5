"""The words of a command that looks at a run: its directory and key=value options."""

from collections.abc import Sequence
from pathlib import Path

from verl_rzero.base.errors import UserError
from verl_rzero.data import run_dir
from verl_rzero.settings import schema


def run_and_options(words: Sequence[str], known: Sequence[str]) -> tuple[Path, dict[str, str]]:
    """The run's directory and the values behind the keys; raises UserError for a word that is neither of them."""
    options: dict[str, str] = {}
    runs = []
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or Path(word).is_dir():
            runs.append(word)
        elif key not in known:
            raise schema.unknown_key(key, [*known])
        elif not value:
            raise UserError(f"{word}: nothing stands behind the equals sign.")
        elif key in options:
            raise UserError(f"{word}: {key} is given twice.")
        else:
            options[key] = value
    if len(runs) != 1:
        given = f"{len(runs)} are given: {', '.join(runs)}" if runs else "none is given"
        raise UserError(f"One run directory is needed, and {given}. --help shows how to write it.")
    return existing_run(Path(runs[0])), options


def existing_run(path: Path) -> Path:
    """The absolute directory of a run that was started; raises UserError where there is none."""
    run = path.expanduser().resolve()
    if not run.is_dir():
        raise UserError(f"{path}: there is no such directory.")
    if not (run / run_dir.SETTINGS).is_file():
        below = sorted(each.parent.name for each in run.glob(f"*/{run_dir.SETTINGS}"))
        instead = f"Runs below it: {', '.join(below)}." if below else "Write the directory given as run_dir=."
        raise UserError(f"{path}: this is not the directory of a run, it has no {run_dir.SETTINGS}. {instead}")
    return run
