"""Whether there is room for what a stage writes, and what is said when there was none in the middle of it."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import gettempdir

from omegaconf import DictConfig

from verl_rzero.base.errors import NO_ROOM, NO_ROOM_WORDS, StageFailed, UserError
from verl_rzero.data import run_dir
from verl_rzero.engine import checkpoints, memory, model_check, weights
from verl_rzero.methods.kinds import Stage
from verl_rzero.run import model_fits
from verl_rzero.settings import Settings, machine

MARGIN = 64 * 2**20
"""Bytes that have to be free beside the estimate, for logs, numbers, a tokenizer, the report and event files; and as
many in the directory for temporary files, of which Ray's logs take a few megabytes.
"""

FULL = 2**20
"""Where fewer bytes are free, a stage that failed without a word is taken to have failed of that: on a full disk its
log can't be written either.
"""

LAST_LINES = 200
"""Of a failed attempt's log: where the error stands that ended it. Before, a full disk may have been lived with."""

_FLOAT32 = 4


@dataclass(frozen=True)
class Room:
    """What the stages of a run write.

    `saved` is how many bytes a kind of stage saves its model in, None where the model's size can't be known yet.
    """

    run: Path
    settings: Settings
    saved: Mapping[str, int] | None

    def needs(self, stages: Sequence[Stage]) -> dict[str, int]:
        """Bytes that these stages write together, by what they are, without the margin."""
        found: dict[str, int] = {}
        for stage in stages:
            model = (self.saved or {}).get(stage.kind.name, 0)
            for what, size in stage.kind.writes(self.settings, stage.round, model).items():
                found[what] = found.get(what, 0) + size
        return found

    def check(self, stages: Sequence[Stage]) -> None:
        """Raises UserError where stages that are about to start together would not have room.

        What an attempt before left in their directories counts as free, if it is deleted first, and so do checkpoints.
        """
        needs, names = self.needs(stages), " and ".join(stage.id for stage in stages)
        needed = sum(needs.values()) + MARGIN
        temporary = temporary_directory()
        uses_temporary = any(stage.kind.uses_engine for stage in stages)
        if uses_temporary and _same_file_system(self.run, temporary):
            needed += MARGIN
        free = machine.free_bytes(self.run) + sum(self._left_before(stage) for stage in stages)
        if free < needed:
            raise UserError(
                f"{self.run}: there is no room for {names}: up to {in_bytes(needed)} are needed "
                f"({in_words(needs, needed)}), and {in_bytes(free)} are free on this file system. Nothing of it was "
                f"started, and what is done stays. Make room there (df -h {self.run}), or move this directory to a "
                "larger file system and write run_dir=<where it is then>; the same command continues from here."
            )
        free = machine.free_bytes(temporary)
        if uses_temporary and free < MARGIN:
            raise UserError(
                f"{temporary}: there is no room for the temporary files of {names}: {in_bytes(MARGIN)} are needed, and "
                f"{in_bytes(free)} are free. Nothing of it was started, and what is done stays. Make room there, or "
                "name another directory in the environment variables TMPDIR and RAY_TMPDIR; the same command continues."
            )

    def of_all(self, to_do: Sequence[Stage]) -> str:
        """What all stages that are to do write, beside what is free, in a line."""
        needs = self.needs(to_do)
        needed, free = sum(needs.values()) + MARGIN, machine.free_bytes(self.run)
        unknown = " and models, whose size is not known yet" if self.saved is None else ""
        words = f"all stages to do write up to {in_bytes(needed)}{unknown} ({in_words(needs, needed)})"
        line = f"Disk: {words}; {in_bytes(free)} are free in {self.run}."
        return line if needed <= free else f"warning: {line} The run stops before the first stage that has no room."

    @contextmanager
    def explained(self, stages: Sequence[Stage]) -> Iterator[None]:
        """Turns a disk that is full in the middle of these stages into one UserError that says what to do."""
        logs = {stage.id: stage.directory(self.run) / run_dir.LOG for stage in stages}
        begins = {name: log.stat().st_size if log.is_file() else 0 for name, log in logs.items()}
        try:
            yield
        except OSError as error:
            if error.errno not in NO_ROOM:
                raise
            raise self._ran_out(stages, str(error)) from error
        except StageFailed as error:
            at = self._at(stages)
            said = last_words_of_room(logs[at.id], begins[at.id])
            if said is None and not self._is_full():
                raise
            raise self._ran_out(stages, said or f"{error}, without a word of why") from error

    @property
    def _resumes(self) -> bool:
        return self.settings.checkpoint_every > 0

    def _left_before(self, stage: Stage) -> int:
        """Bytes of what an unfinished attempt left and the next one's start deletes, or that is a part of what the
        stage needs: its checkpoints.
        """
        here = stage.directory(self.run)
        if not here.is_dir():
            return 0
        stays = run_dir.kept_of_an_attempt(here, self._resumes) - {run_dir.CHECKPOINTS}
        files = (path for path in here.rglob("*") if path.relative_to(here).parts[0] not in stays)
        return sum(path.lstat().st_size for path in files if path.is_file())

    def _at(self, stages: Sequence[Stage]) -> Stage:
        """The stage that was worked on: the first that isn't done."""
        return next((stage for stage in stages if not run_dir.is_done(stage.directory(self.run))), stages[-1])

    def _is_full(self) -> bool:
        return min(machine.free_bytes(self.run), machine.free_bytes(temporary_directory())) < FULL

    def _ran_out(self, stages: Sequence[Stage], said: str) -> UserError:
        """What to say; the disk gets back what the stages that aren't done have written and can't go on from."""
        at, temporary = self._at(stages), temporary_directory()
        log = at.directory(self.run) / run_dir.LOG
        failed = f"{at.id} stopped, as its files could not be written: {said}"
        with suppress(OSError):  # of a read-only file system, which keeps them
            for stage in stages:
                if not run_dir.is_done(stage.directory(self.run)):
                    run_dir.start_stage(stage.directory(self.run), self._resumes)
            run_dir.fail_stage(at.directory(self.run), failed)
        needed, free = sum(self.needs([at]).values()) + MARGIN, machine.free_bytes(self.run)
        return UserError(
            f"{failed} ({log}). It writes up to {in_bytes(needed)} to {self.run}, where {in_bytes(free)} are free, now "
            f"that what it can't go on from is deleted; in {temporary}, for temporary files, it is "
            f"{in_bytes(machine.free_bytes(temporary))}. What is done stays. Make room there (space: df -h, files: df "
            "-i, a quota: quota -s), or have a read-only file system mounted writable; the same command continues from "
            "here."
        )


def room(settings: Settings, run: Path, configs: Mapping[str, DictConfig]) -> Room:
    """Of a run whose jobs have these configurations of verl's; without one, a job saves its model once in float32."""
    count = parameters(settings, run)
    if count is None:
        return Room(run, settings, None)
    shape = model_fits.shape(settings)
    adapter = memory.adapter_size(shape, settings.lora.rank) if shape is not None else 0
    saved = {role: checkpoints.bytes_saved(config, count, adapter) for role, config in configs.items()}
    once = dict.fromkeys(("model", "challenger", "solver"), _FLOAT32 * count)
    needed = {**once, **saved}
    if settings.solver.towards_start:  # the mean beside what was trained
        needed["solver"] += _FLOAT32 * count
    return Room(run, settings, needed)


def parameters(settings: Settings, run: Path) -> int | None:
    """Weights of the run's base model: counted where it is here, else computed; None where neither can be done."""
    built = run / "base/model/model"
    path = str(built) if built.is_dir() else settings.model.path
    directory = model_check.located(path)[0] if path is not None else None
    if directory is not None and (tensors := weights.tensors(directory, whole=False)):
        return sum(tensors.values())
    shape = model_fits.shape(settings)
    return shape.parameters if shape is not None else None


def temporary_directory() -> Path:
    """Where engines keep temporary files: Ray its logs, and what it has no memory for."""
    return Path(os.environ.get("RAY_TMPDIR") or gettempdir())


def last_words_of_room(log: Path, begins: int) -> str | None:
    """The last line about a full, exhausted or read-only disk near the end of an attempt's log; None without one."""
    if not log.is_file():
        return None
    with log.open("rb") as file:
        file.seek(begins)
        lines = file.read().decode(errors="replace").splitlines()[-LAST_LINES:]
    return next((line.strip()[-300:] for line in reversed(lines) if any(word in line for word in NO_ROOM_WORDS)), None)


def in_bytes(size: int) -> str:
    """1.5 GiB, and below one of them 512.0 MiB."""
    return f"{size / 2**30:,.1f} GiB" if size >= 2**30 else f"{size / 2**20:.1f} MiB"


def in_words(needs: Mapping[str, int], needed: int) -> str:
    """The parts of an estimate that are worth a word, and the rest."""
    large = {what: size for what, size in needs.items() if size >= 2**20}
    rest = needed - sum(large.values())
    return ", ".join(f"{what} {in_bytes(size)}" for what, size in [*large.items(), ("logs and the like", rest)])


def _same_file_system(a: Path, b: Path) -> bool:
    """Of two directories, of which the first may not be there yet."""
    return next(each for each in (a, *a.parents) if each.exists()).stat().st_dev == b.stat().st_dev
