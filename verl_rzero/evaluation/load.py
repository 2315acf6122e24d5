"""Benchmarks from files, from datasets on disk and from the hub (or its cache, offline).

`python -m verl_rzero.evaluation.load '{"name": {"path": null, "n": null}}'` loads each and says what is wrong with it:
the orchestrator has it done in a process of its own, before anything starts, and stays small.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from verl_rzero.base.errors import UserError
from verl_rzero.base.rows import read_rows
from verl_rzero.evaluation.programs import task_of
from verl_rzero.settings.benchmarks import TABLE, LoadedBenchmark, Source, benchmark, source

FILES = (".parquet", ".jsonl", ".json")


def load(name: str, path: str | Path | None, n: int | None) -> LoadedBenchmark:
    """The first n questions (None: all) of the benchmark.

    Args:
        path: a parquet or JSONL file, a directory that `datasets` saved, or a copy of a hub repository; None: the hub
            or its cache, for a name in the table.

    Raises:
        UserError: it is not there, or can't be read as this benchmark.
    """
    known = source(name)
    rows = _from_hub(name, known) if path is None else _from_disk(name, known, Path(path).expanduser())
    found = benchmark(name, rows[:n])
    if found.grader == "program":
        for item in found.items:
            task_of(item.answer)
    return found


def check(asked: dict[str, dict[str, Any]]) -> None:
    """Load every benchmark once in a process of its own; raises UserError with what it says.

    Args:
        asked: {name: {"path": ..., "n": ...}}.
    """
    if not asked:
        return
    command = [sys.executable, "-m", "verl_rzero.evaluation.load", json.dumps(asked)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 2:
        raise UserError(done.stderr.strip().splitlines()[-1])
    if done.returncode:
        raise RuntimeError(f"benchmarks could not be loaded:\n{done.stderr}")


def _from_disk(name: str, known: Source, path: Path) -> list[dict[str, Any]]:
    if path.is_dir():
        return _from_directory(name, known, path)
    if not path.is_file():
        raise UserError(
            f"benchmark {name}: {path} is not there. Set evaluation.benchmarks.{name}.path to a parquet or JSONL file, "
            "or to a directory that holds the dataset."
        )
    if path.suffix not in FILES:
        raise UserError(f"benchmark {name}: {path} is none of {', '.join(FILES)}. Convert it to one of them.")
    return read_rows(path, f"benchmark {name}: {path}")


def _from_directory(name: str, known: Source, path: Path) -> list[dict[str, Any]]:
    import datasets

    saved = any((path / file).is_file() for file in ("state.json", "dataset_dict.json"))
    try:
        found = datasets.load_from_disk(str(path)) if saved else datasets.load_dataset(str(path), known.subset)
    except (FileNotFoundError, ValueError) as error:
        raise UserError(
            f"benchmark {name}: {path} holds no dataset that can be read ({_first_line(error)}). Write the path of a "
            "parquet or JSONL file, of a directory that datasets saved, or of a copy of the hub's repository."
        ) from error
    if isinstance(found, datasets.DatasetDict):
        if known.split not in found and len(found) > 1:
            raise UserError(
                f"benchmark {name}: {path} has splits {', '.join(found)}, no {known.split}. Write the path of a file."
            )
        found = found[known.split] if known.split in found else next(iter(found.values()))
    rows: list[dict[str, Any]] = found.to_list()
    return rows


def _from_hub(name: str, known: Source) -> list[dict[str, Any]]:
    if known.hub is None:
        raise UserError(
            f"benchmark {name}: nothing is known under this name. Write evaluation.benchmarks.{name}.path=<parquet or "
            f"JSONL file>, or one of {', '.join(TABLE)}."
        )
    import datasets

    try:
        rows: list[dict[str, Any]] = datasets.load_dataset(known.hub, known.subset, split=known.split).to_list()
    except (ConnectionError, FileNotFoundError, ValueError) as error:
        raise UserError(
            f"benchmark {name}: {known.hub} is neither in the Hugging Face cache nor to be had from the hub "
            f"({_first_line(error)}). Connect once to have it downloaded, or write evaluation.benchmarks.{name}.path="
            "<its parquet or JSONL file, or a directory with the dataset>."
        ) from error
    return rows


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def main(asked: str) -> int:
    for name, where in json.loads(asked).items():
        try:
            load(name, where["path"], where["n"])
        except UserError as error:
            print(error, file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
