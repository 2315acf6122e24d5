"""What a step has found, and how its own processes hand that over."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from verl_rzero.base.files import read_json, write_json

FILE = "found.json"


@dataclass(frozen=True)
class Found:
    """Everything that was measured; the most important of it in a line; and why the step has failed, though what it
    started may have ended well.
    """

    numbers: dict[str, Any] = field(default_factory=dict)
    said: str = ""
    wrong: str = ""


def write(here: Path, found: Found) -> None:
    """Hand over what is known by now; a later call replaces it."""
    write_json(here / FILE, asdict(found))


def read(here: Path) -> Found:
    """What was handed over last; nothing, where nothing was."""
    return Found(**read_json(here / FILE)) if (here / FILE).is_file() else Found()
