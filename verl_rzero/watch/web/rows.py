"""Rows of parquet files that may hold any bytes."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any


def batches(path: Path, columns: list[str]) -> Iterator[list[dict[str, Any]]]:
    """Rows in portions, so that replies are cut before all are in memory. Bytes that aren't UTF-8 become U+FFFD."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    def as_bytes(kind: pa.DataType) -> pa.DataType:
        if pa.types.is_list(kind):
            return pa.list_(as_bytes(kind.value_type))
        return pa.binary() if pa.types.is_string(kind) else kind

    # By itself pyarrow reads a whole row group ahead, and there is but one in the file of a round.
    file = pq.ParquetFile(path, memory_map=True, pre_buffer=False)
    for batch in file.iter_batches(batch_size=256, columns=columns, use_threads=False):
        wanted = pa.schema([(field.name, as_bytes(field.type)) for field in batch.schema])
        yield [{name: _decoded(value) for name, value in row.items()} for row in batch.cast(wanted).to_pylist()]


def _decoded(value: Any) -> Any:
    if isinstance(value, list):
        return [_decoded(item) for item in value]
    return value.decode("utf-8", errors="replace") if isinstance(value, bytes) else value
