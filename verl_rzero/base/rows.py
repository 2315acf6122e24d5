"""Rows of files that people bring: parquet, or JSON with an object in each line.

`called` is how an error names the file, as `data=/a/labels.jsonl`.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from verl_rzero.base.errors import UserError
from verl_rzero.base.text import all_encodable

Row = dict[str, Any]


def read_rows(path: Path, called: str, only: Sequence[str] = ()) -> list[Row]:
    """All rows, in order. What doesn't end in .parquet is JSON; one that ends in .json may be one array of objects.
    Lone surrogates, which JSON can write, are U+FFFD: no tokenizer and no parquet file takes them.

    Args:
        only: of a parquet file's columns only these are read, unless it has none of them.

    Raises:
        UserError: it is no parquet file, or not JSON; or a line, which is then named, holds no object.
    """
    return _parquet(path, called, only) if path.suffix == ".parquet" else _json(path, called)


def check_columns(rows: Sequence[Row], names: Sequence[str], called: str, *, first: int) -> None:
    """Raises UserError for a row in which one of the columns is missing, null or blank; rows count from `first`."""
    for number, row in enumerate(rows, first):
        filled = [name for name, value in row.items() if value is not None and str(value).strip()]
        missing = [name for name in names if name not in filled]
        if missing:
            but = f", but {', '.join(filled)}" if filled else ""
            raise UserError(
                f"{called}: row {number} has no {' and no '.join(missing)}{but}. Fill it in, or take the row out."
            )


def _parquet(path: Path, called: str, only: Sequence[str]) -> list[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except pa.ArrowInvalid as error:
        raise UserError(f"{called}: this is no parquet file ({error}). Write it anew as parquet or JSONL.") from error
    wanted = [name for name in table.column_names if name in only] or table.column_names
    rows: list[Row] = table.select(wanted).to_pylist()
    return rows


def _json(path: Path, called: str) -> list[Row]:
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{called}: this is not UTF-8 text ({error}). Write it anew as UTF-8.") from error
    if path.suffix == ".json" and text.lstrip().startswith("["):
        values = [(f"entry {number}", value) for number, value in enumerate(_value(text, called, "this"), 1)]
    else:
        lines = enumerate(text.split("\n"), 1)  # JSON may hold other ends of lines as characters
        values = [(f"line {n}", _value(line, called, f"line {n}")) for n, line in lines if line.strip()]
    for where, value in values:
        if not isinstance(value, dict):
            raise UserError(f"{called}: {where} is not a JSON object. Write one JSON object a line.")
    return [value for _, value in values]


def _value(text: str, called: str, where: str) -> Any:
    try:
        return all_encodable(json.loads(text))
    except (ValueError, RecursionError) as error:  # no JSON; a number with too many digits; lists in lists in lists
        raise UserError(f"{called}: {where} is not JSON ({error}). Write one JSON object a line.") from error
