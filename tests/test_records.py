"""Records survive their parquet files."""

import pytest

from verl_rzero.data import records


def test_questions_and_votes_read_back_as_written(tmp_path):
    questions = [
        records.Question(0, 1, "raw <question>1+1</question>", "1+1", "2", True, 7, "abc"),
        records.Question(1, 1, "nothing \x00 北京", None, None, False, 7, "abc"),
    ]
    votes = [
        records.VotedQuestion(
            0, 1, "1+1", ["a", "b"], ["2", None], [0, -1], "2", agreement=0.5, margin=0.5, answered=1, seed=3, model="m"
        ),
        records.VotedQuestion(
            1, 1, "1+2", ["a"], [None], [-1], None, agreement=0.0, margin=0.0, answered=0, seed=3, model="m", truth="3"
        ),
    ]
    for rows, kind in ((questions, records.Question), (votes, records.VotedQuestion), ([], records.SolverRow)):
        records.write(tmp_path / "rows.parquet", rows, kind)
        assert records.read(tmp_path / "rows.parquet", kind) == rows
    assert [path.name for path in tmp_path.iterdir()] == ["rows.parquet"]


def test_a_solver_row_is_what_verl_reads(tmp_path):
    row = records.SolverRow(
        data_source="rzero",
        prompt=[{"role": "user", "content": "1+1"}],
        ability="math",
        reward_model={"style": "rule", "ground_truth": "2"},
        extra_info={"index": 0, "id": 5, "round": 2, "agreement": 0.5},
    )
    records.write(tmp_path / "rows.parquet", [row], records.SolverRow)
    assert records.read(tmp_path / "rows.parquet", records.SolverRow) == [row]


def test_many_records_are_written_in_portions_that_can_be_read(tmp_path):
    import pyarrow.parquet as pq

    rows = [records.BufferedTask("deduction", "p", [str(n)], ["1"], "") for n in range(2 * records.ROWS + 1)]
    records.write(tmp_path / "rows.parquet", rows, records.BufferedTask)
    assert records.read(tmp_path / "rows.parquet", records.BufferedTask) == rows
    file = pq.ParquetFile(tmp_path / "rows.parquet")
    assert [file.metadata.row_group(n).num_rows for n in range(file.num_row_groups)] == [records.ROWS, records.ROWS, 1]


def test_long_records_are_written_in_smaller_portions(tmp_path, monkeypatch):
    import pyarrow.parquet as pq

    monkeypatch.setattr(records, "CHARS", 100)
    rows = [records.BufferedTask("deduction", "p" * 40, ["1"], ["1"], "") for _ in range(3)]  # 51 characters each
    records.write(tmp_path / "rows.parquet", rows, records.BufferedTask)
    assert records.read(tmp_path / "rows.parquet", records.BufferedTask) == rows
    assert pq.ParquetFile(tmp_path / "rows.parquet").num_row_groups == 3


def test_a_file_of_another_kind_is_refused(tmp_path):
    records.write(tmp_path / "rows.parquet", [], records.Question)
    with pytest.raises(ValueError, match="VotedQuestion"):
        records.read(tmp_path / "rows.parquet", records.VotedQuestion)
