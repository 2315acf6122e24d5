"""Files that are whole or not there."""

import os

import pytest

from verl_rzero.base.files import read_json, write_json


def test_what_is_written_is_read(tmp_path):
    write_json(tmp_path / "a.json", {"x": [1, 0.5, None]})
    assert read_json(tmp_path / "a.json") == {"x": [1, 0.5, None]}
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_a_write_that_breaks_off_leaves_the_old_content(tmp_path, monkeypatch):
    write_json(tmp_path / "a.json", "old")

    def full_disk(descriptor: int) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="no space"):
        write_json(tmp_path / "a.json", "new")
    assert read_json(tmp_path / "a.json") == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_what_json_does_not_know_is_refused(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", float("nan"))
    assert list(tmp_path.iterdir()) == []
