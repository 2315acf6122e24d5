"""The files that a stage left when it was done, and whether they are still as they were.

Paths are relative to the stage's directory, so that a run may be moved or copied. What is promised: every file is
there and has its size; files up to `HASHED_ALWAYS` have their content; larger ones have theirs wherever the time of
their last change, in whole seconds, isn't the recorded one. What is not noticed is a larger file changed in place, its
size and time the same: hashing all models of a run at every start would take minutes.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from hashlib import file_digest
from pathlib import Path

from verl_rzero.base.display import say

HASHED_ALWAYS = 64 * 2**20
"""Bytes up to which a file is hashed at every start."""


@dataclass(frozen=True)
class LeftFile:
    """One file: its bytes, their SHA-256, and when it was last changed, in whole seconds since 1970 (archives and other
    file systems keep no more).
    """

    size: int
    sha256: str
    changed: int


def left(directory: Path, but: Collection[str]) -> dict[str, LeftFile]:
    """All files in and below `directory`, by their path in it; without the entries named in `but`, and hidden ones."""
    found = {}
    for path in sorted(directory.rglob("*")):
        inside = path.relative_to(directory)
        if path.is_file() and inside.parts[0] not in but and not any(part.startswith(".") for part in inside.parts):
            status = path.stat()
            found[inside.as_posix()] = LeftFile(status.st_size, sha256(path), int(status.st_mtime))
    return found


def differing(directory: Path, files: Mapping[str, LeftFile]) -> dict[str, str]:
    """Of the files that are not as they were: how they differ, in words."""
    said = ((name, _difference(directory / name, file)) for name, file in files.items())
    return {name: words for name, words in said if words is not None}


def sha256(path: Path) -> str:
    """Of a file's content, in hex."""
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


def _difference(path: Path, file: LeftFile) -> str | None:
    if not path.is_file():
        return "missing"
    status = path.stat()
    if status.st_size != file.size:
        return f"{status.st_size:,} bytes instead of {file.size:,}"
    if file.size > HASHED_ALWAYS:
        if int(status.st_mtime) == file.changed:
            return None
        say(f"{path} was changed, or copied without its time: all of its {file.size:,} bytes are compared.")
    return None if sha256(path) == file.sha256 else f"other content, of the same {file.size:,} bytes"
