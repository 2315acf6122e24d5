"""A model directory looked at without an engine: what is read of it, and how damage is named."""

import json
from pathlib import Path

import pytest

from verl_rzero.base.errors import UserError
from verl_rzero.engine import weights


def save(path: Path, **shapes: list[int]) -> None:
    """A safetensors file of float32 tensors, all zero."""
    header, end = {"__metadata__": {"format": "pt"}}, 0
    for name, shape in shapes.items():
        count = 1
        for size in shape:
            count *= size
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [end, end + 4 * count]}
        end += 4 * count
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(end))


def split(directory: Path) -> None:
    """Two files with an index: a of 2 x 3 and b of 4 weights, c of none but one (a scalar)."""
    save(directory / "one.safetensors", a=[2, 3])
    save(directory / "two.safetensors", b=[4], c=[])
    index = {"weight_map": {"a": "one.safetensors", "b": "two.safetensors", "c": "two.safetensors"}}
    (directory / weights.INDEX).write_text(json.dumps(index))


def refused(directory: Path) -> str:
    with pytest.raises(UserError) as error:
        weights.tensors(directory, whole=True)
    assert str(error.value).startswith(f"model.path={directory}: ")
    return str(error.value)


def test_weights_are_counted_over_all_files(tmp_path):
    split(tmp_path)
    assert weights.tensors(tmp_path, whole=True) == {"a": 6, "b": 4, "c": 1}


def test_weights_in_one_file(tmp_path):
    save(tmp_path / weights.ONE_FILE, a=[2, 3])
    assert weights.tensors(tmp_path, whole=True) == {"a": 6}


def test_real_weights_have_such_headers(tmp_path):
    import torch
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(2, 3), "b": torch.zeros(5, dtype=torch.bfloat16)}, tmp_path / weights.ONE_FILE)
    assert weights.tensors(tmp_path, whole=True) == {"a": 6, "b": 5}


def test_older_weights_have_no_header_to_read(tmp_path):
    (tmp_path / "pytorch_model.bin").write_bytes(b"?")
    assert weights.tensors(tmp_path, whole=True) is None


def test_no_weights_at_all(tmp_path):
    assert "it holds no weights" in refused(tmp_path)
    assert weights.tensors(tmp_path, whole=False) is None


def test_a_file_of_the_index_that_is_not_there(tmp_path):
    split(tmp_path)
    (tmp_path / "two.safetensors").unlink()
    assert "names files that are not there: two.safetensors" in refused(tmp_path)
    assert weights.tensors(tmp_path, whole=False) is None


def test_a_tensor_of_the_index_that_is_in_another_file(tmp_path):
    split(tmp_path)
    save(tmp_path / "one.safetensors", z=[2])
    assert "looks for a in one.safetensors, which does not hold it" in refused(tmp_path)


def test_a_file_that_is_cut_short(tmp_path):
    path = tmp_path / weights.ONE_FILE
    save(path, a=[2, 3])
    whole = path.stat().st_size
    path.write_bytes(path.read_bytes()[:-1])
    assert f"has {whole - 1} bytes, and its header speaks of {whole}. Copy or download" in refused(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 8",
        b"\x05\0\0\0\0\0\0\0[1,2]",
        b"\x08\0\0\0\0\0\0\0{'a': 1}",
        b'\x07\0\0\0\0\0\0\0{"a":1}',
    ],
    ids=["empty", "a pointer of Git LFS", "a list", "not JSON", "no tensors"],
)
def test_a_file_without_a_header(tmp_path, content):
    (tmp_path / weights.ONE_FILE).write_bytes(content)
    assert "model.safetensors has no header of a safetensors file" in refused(tmp_path)


@pytest.mark.parametrize("content", ["{", "[]", "{}"])
def test_an_index_that_is_damaged(tmp_path, content):
    (tmp_path / weights.INDEX).write_text(content)
    assert weights.INDEX in refused(tmp_path)


@pytest.mark.parametrize(
    ("files", "why"),
    [
        ({}, "it holds no config.json"),
        ({"adapter_config.json": "{}"}, "this is an adapter, not a whole model"),
        ({"config.json": "{"}, "config.json is not JSON"),
        ({"config.json": "3"}, "config.json is not a JSON object"),
    ],
)
def test_a_config_that_can_not_be_read(tmp_path, files, why):
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=why):
        weights.config(tmp_path)
