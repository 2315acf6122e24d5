"""Files that people bring: what is read of them, and how an error names what is wrong."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from verl_rzero.base.errors import UserError
from verl_rzero.base.rows import check_columns, read_rows
from verl_rzero.data import anchors
from verl_rzero.sft import labels

ROWS = [{"question": "a\u2028b\x85c", "answer": 1}, {"question": "d", "answer": None}]


def test_the_same_rows_from_every_kind_of_file(tmp_path):
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "a.parquet")
    lines = [json.dumps(row, ensure_ascii=False) for row in ROWS]
    (tmp_path / "a.jsonl").write_text("\n\n".join(lines) + "\n", encoding="utf-8")
    (tmp_path / "a.json").write_text("[" + ",\n".join(lines) + "]", encoding="utf-8")
    (tmp_path / "lines.json").write_text("\n".join(lines), encoding="utf-8")
    for name in ("a.parquet", "a.jsonl", "a.json", "lines.json"):
        assert read_rows(tmp_path / name, "it") == ROWS, name


def test_an_end_of_line_inside_a_text_ends_no_row(tmp_path):
    # Both U+2028 and U+0085 are ends of lines to str.splitlines, and may stand in a JSON text as they are.
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps(ROWS[0], ensure_ascii=False), encoding="utf-8")
    assert anchors.load(path) == [anchors.Anchor(ROWS[0]["question"], "1")]
    assert labels.read(path) == [labels.Labelled(ROWS[0]["question"], "\\boxed{1}")]


def test_of_a_parquet_file_only_some_columns(tmp_path):
    pq.write_table(pa.table({"a": [1], "b": [2], "c": [3]}), tmp_path / "a.parquet")
    assert read_rows(tmp_path / "a.parquet", "it", only=("a", "c", "d")) == [{"a": 1, "c": 3}]
    assert read_rows(tmp_path / "a.parquet", "it", only=("d",)) == [{"a": 1, "b": 2, "c": 3}]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.parquet", b"text", "it: this is no parquet file ("),
        ("a.jsonl", b'{"a": 1}\n\n{"a"', "it: line 3 is not JSON ("),
        ("a.jsonl", b'{"a": 1}\n[{"a": 1}]', "it: line 2 is not a JSON object."),
        ("a.json", b'[{"a": 1}, 2]', "it: entry 2 is not a JSON object."),
        ("a.json", b'[{"a": 1}', "it: this is not JSON ("),
        ("a.jsonl", b'{"a": "\xff"}', "it: this is not UTF-8 text ("),
    ],
)
def test_a_file_that_cannot_be_read_says_where(tmp_path, name, content, said):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError) as refused:
        read_rows(tmp_path / name, "it")
    assert str(refused.value).startswith(said)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"answer": "1"}, "it: row 6 has no question, but answer."),
        ({"question": " \n", "answer": None, "level": 3}, "it: row 6 has no question and no answer, but level."),
        ({}, "it: row 6 has no question and no answer. Fill"),
        ({"question": "0", "answer": 0}, None),
    ],
)
def test_a_row_without_a_column_is_named_with_what_it_has(row, said):
    rows = [{"question": "1", "answer": "1"}, row]
    if said is None:
        check_columns(rows, ("question", "answer"), "it", first=5)
        return
    with pytest.raises(UserError) as refused:
        check_columns(rows, ("question", "answer"), "it", first=5)
    assert str(refused.value).startswith(said)
