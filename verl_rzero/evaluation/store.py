"""Replies of a model that are kept: below one directory per model, one for each benchmark and protocol.

    <to>/<model>/<benchmark>_<protocol>/items.json       the questions as they were asked, and the true answers
                                        parts/           replies so far, while they are being given
                                        answers.parquet  all of them, graded
                                        result.json      the scores

What is there is never asked again: another model, protocol or content has another directory.
"""

import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path

from verl_rzero import settings
from verl_rzero.base import display, progress
from verl_rzero.base import processes as run_processes
from verl_rzero.base.files import read_json, write_json
from verl_rzero.data import parts, records, run_dir
from verl_rzero.data.records import Answered
from verl_rzero.engine import environment, processes
from verl_rzero.settings import Settings
from verl_rzero.settings.benchmarks import Item, LoadedBenchmark

ITEMS, ANSWERS, WORK = "items.json", "answers.parquet", "work.json"

_BESIDE_WEIGHTS = ("config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "vocab.json", "merges.txt")  # fmt: skip # noqa: E501
"""Files of a model directory that change what it is asked or how it answers."""


@dataclass(frozen=True)
class Place:
    """Where one benchmark's replies of one model under one protocol are kept."""

    dir: Path

    def rows(self) -> list[Answered]:
        """The graded replies, all of them."""
        return records.read(self.dir / ANSWERS, Answered)

    def benchmark(self) -> LoadedBenchmark:
        kept = read_json(self.dir / ITEMS)
        return LoadedBenchmark(kept["name"], kept["grader"], [Item(**item) for item in kept["items"]])

    @property
    def answered(self) -> bool:
        return (self.dir / ANSWERS).is_file()


def model_key(model: Path | str) -> str:
    """Name of the directory of a model's replies: it differs wherever the replies could.

    Sixteen hex digits of a model directory's weights, configuration and tokenizer (`outputs.model_hash` is of the
    weights only); a hub name stands for itself, with -- for its slash.
    """
    here = Path(model)
    if not here.is_dir():
        return str(model).replace("/", "--")
    digest = sha256()
    for path in sorted([*here.glob("*.safetensors"), *(here / name for name in _BESIDE_WEIGHTS)]):
        if path.is_file():
            digest.update(f"{path.name} {path.stat().st_size} ".encode())
            with path.open("rb") as file:
                while block := file.read(1 << 22):
                    digest.update(block)
    return digest.hexdigest()[:16]


def ask_missing(
    asked: Settings, model: Path | str, benchmarks: Sequence[LoadedBenchmark], to: Path, title: str
) -> list[Place]:
    """The places of the model's replies to the benchmarks, after having it give those that are not there yet.

    That is done in a process of its own, through the engines of a run, on all devices that `asked.hardware` names.

    Raises:
        StageFailed: the process failed; what it had done is kept, and the next call goes on from there.
    """
    here = to / model_key(model)
    places = prepare(asked, model, benchmarks, here)
    if all(place.answered for place in places):
        return places
    run_processes.end_processes(here)  # of a command that was killed
    command = [sys.executable, "-m", "verl_rzero.evaluation.work", str(here)]
    with (
        environment.temporary_files(asked),
        processes.running(command, here, here / run_dir.LOG) as process,
        display.StageLine(title) as line,
    ):
        processes.follow(process, title, here, line.watch)
    return places


def prepare(asked: Settings, model: Path | str, benchmarks: Sequence[LoadedBenchmark], here: Path) -> list[Place]:
    """Write down what is to be asked of the model, and return where the replies of every benchmark go."""
    from verl_rzero.evaluation.run import protocol

    here.mkdir(parents=True, exist_ok=True)
    places = [Place(here / f"{each.name}_{protocol(asked, each)}") for each in benchmarks]
    for each, place in zip(benchmarks, places, strict=True):
        if not place.answered:
            place.dir.mkdir(exist_ok=True)
            items = [asdict(item) for item in each.items]
            write_json(place.dir / ITEMS, {"name": each.name, "grader": each.grader, "items": items})
    settings.save(asked, here / run_dir.SETTINGS)
    write_json(here / WORK, {"model": str(model), "places": [place.dir.name for place in places if not place.answered]})
    for left_over in (run_dir.RESULT, progress.FILE):
        (here / left_over).unlink(missing_ok=True)
    return places


def finish(place: Place, rows: Sequence[Answered]) -> None:
    """Keep the replies whole, in place of their parts."""
    records.write(place.dir / ANSWERS, list(rows), Answered)
    shutil.rmtree(place.dir / parts.DIRECTORY, ignore_errors=True)


def to_do(here: Path) -> tuple[str, list[Place]]:
    """What `ask_missing` has written down for its process: the model and the places to fill."""
    asked = json.loads((here / WORK).read_text(encoding="utf-8"))
    return asked["model"], [Place(here / name) for name in asked["places"]]
