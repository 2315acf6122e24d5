"""A Hugging Face model directory looked at without an engine: its config.json and the headers of its weights."""

import json
from math import prod
from pathlib import Path
from typing import Any

from verl_rzero.base.errors import UserError, refusal

CONFIG = "config.json"
ONE_FILE = "model.safetensors"
INDEX = "model.safetensors.index.json"
OLD_FILES = ("pytorch_model.bin", "pytorch_model.bin.index.json")
"""Weights that are loaded too, but have no header that could be read here."""

LONGEST_HEADER = 100_000_000
"""Bytes; the format's own limit."""

COPY_ANEW = "Copy or download the model anew."


def config(directory: Path) -> dict[str, Any]:
    """The content of config.json. Raises UserError where it is not there or damaged."""
    path = directory / CONFIG
    if not path.is_file():
        if (directory / "adapter_config.json").is_file():
            why = "this is an adapter, not a whole model"
            raise refused(directory, why, "Merge it into its base model (peft: merge_and_unload) and save that.")
        raise refused(directory, f"it holds no {CONFIG}", "Write the directory of a Hugging Face model.")
    return read_json(directory, CONFIG)


def tensors(directory: Path, whole: bool) -> dict[str, int] | None:
    """How many weights each tensor has, from the headers of the safetensors files; None where there are none to read.

    Args:
        whole: whether all files must be there; what is missing in a hub's cache is downloaded later.

    Raises:
        UserError: files are missing, cut short, or hold other tensors than the index says.
    """
    if (directory / INDEX).is_file():
        file_of = read_json(directory, INDEX).get("weight_map")
        if not isinstance(file_of, dict):
            raise refused(directory, f"{INDEX} has no weight_map", COPY_ANEW)
        names = sorted({*file_of.values()})
    elif (directory / ONE_FILE).is_file():
        file_of, names = {}, [ONE_FILE]
    elif not whole or any((directory / name).is_file() for name in OLD_FILES):
        return None
    else:
        instead = f"It needs {ONE_FILE}, or {INDEX} with the files that this names."
        raise refused(directory, "it holds no weights", instead)
    missing = [name for name in names if not (directory / name).is_file()]
    if missing:
        if not whole:
            return None
        why = f"{INDEX} names files that are not there: {', '.join(missing)}"
        raise refused(directory, why, "Copy or download them too.")
    found: dict[str, int] = {}
    for name in names:
        here = _header(directory, name)
        if absent := [tensor for tensor, file in file_of.items() if file == name and tensor not in here]:
            raise refused(directory, f"{INDEX} looks for {absent[0]} in {name}, which does not hold it", COPY_ANEW)
        found |= here
    return found


def read_json(directory: Path, name: str) -> dict[str, Any]:
    """The object in one of its JSON files. Raises UserError where it is damaged."""
    try:
        content = json.loads((directory / name).read_text(encoding="utf-8"))
    except ValueError as error:  # of JSON and of UTF-8 alike
        raise refused(directory, f"{name} is not JSON ({error})", COPY_ANEW) from error
    if not isinstance(content, dict):
        raise refused(directory, f"{name} is not a JSON object", COPY_ANEW)
    return content


def refused(directory: Path | str, why: str, instead: str) -> UserError:
    """The refusal of a model."""
    return refusal("model.path", directory, why, instead)


def _header(directory: Path, name: str) -> dict[str, int]:
    """{tensor: number of its weights} of a safetensors file."""
    path = directory / name
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= LONGEST_HEADER:
            raise refused(directory, f"{name} has no header of a safetensors file", COPY_ANEW)
        text = file.read(length)
    try:
        header = json.loads(text)
        found = {key: value for key, value in header.items() if key != "__metadata__"}
        end = 8 + length + max((value["data_offsets"][1] for value in found.values()), default=0)
        counts = {key: prod(value["shape"]) for key, value in found.items()}
    except (ValueError, AttributeError, KeyError, IndexError, TypeError) as error:
        raise refused(directory, f"{name} has no header of a safetensors file", COPY_ANEW) from error
    if size < end:
        raise refused(directory, f"{name} has {size:,} bytes, and its header speaks of {end:,}", COPY_ANEW)
    return counts
