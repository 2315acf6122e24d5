"""What a run leaves in the directory for temporary files: nothing."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from verl_rzero import settings
from verl_rzero.engine import environment

FAKE_RUN = Path(__file__).with_name("fake_run.py")
NAMES = ("VLLM_RPC_BASE_PATH", "TMPDIR", "RAY_TMPDIR")


@pytest.fixture
def usual(tmp_path, monkeypatch):
    """A directory for temporary files, of a short name."""
    with tempfile.TemporaryDirectory(prefix="t", dir="/tmp") as directory:
        monkeypatch.setattr(tempfile, "tempdir", directory)
        for name in NAMES:
            monkeypatch.delenv(name, raising=False)
        yield directory


def asked(device: str) -> settings.Settings:
    return settings.load(
        [f"hardware={'cpu' if device == 'cpu' else '1gpu'}", "model=small" if device == "cuda" else "model=tiny"]
    )


def test_on_a_cpu_everything_but_rays_goes_away_with_the_run(usual):
    with environment.temporary_files(asked("cpu")) as directory:
        assert os.environ["VLLM_RPC_BASE_PATH"] == os.environ["TMPDIR"] == str(directory)
        assert os.environ["RAY_TMPDIR"] == usual
        code = "import tempfile; open(tempfile.gettempdir() + '/ckpt_0.lock', 'w')"
        subprocess.run([sys.executable, "-c", code], check=True)
        assert [path.name for path in directory.iterdir()] == ["ckpt_0.lock"]
    assert not directory.exists()
    assert not {*NAMES} & {*os.environ}


def test_on_a_gpu_only_the_sockets_do(usual):
    with environment.temporary_files(asked("cuda")) as directory:
        assert os.environ["VLLM_RPC_BASE_PATH"] == str(directory)
        assert not {"TMPDIR", "RAY_TMPDIR"} & {*os.environ}


def test_what_was_set_before_is_set_again_also_after_a_failure(usual, monkeypatch):
    monkeypatch.setenv("TMPDIR", usual)
    monkeypatch.setenv("RAY_TMPDIR", "/elsewhere")
    context = environment.temporary_files(asked("cpu"))
    context.__enter__()
    assert os.environ["RAY_TMPDIR"] == "/elsewhere"
    context.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
    assert (os.environ["TMPDIR"], os.environ["RAY_TMPDIR"]) == (usual, "/elsewhere")
    assert os.listdir(usual) == []


def test_the_names_of_sockets_fit(usual, monkeypatch):
    """A socket's path may have 107 bytes; vLLM's is a UUID of 36."""
    long = Path(usual) / ("d" * 60)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    with environment.temporary_files(asked("cpu")) as directory:
        assert len(f"{directory}/{'u' * 36}") <= 107
        assert directory.parent == Path("/tmp")


def test_a_run_leaves_nothing(usual, tmp_path):
    command = [sys.executable, str(FAKE_RUN), f"run_dir={tmp_path / 'run'}", "hardware=cpu", "rounds=0"]
    done = subprocess.run(command, env={**os.environ, "TMPDIR": usual, "FAKE_LEAVES_FILES": "1"}, capture_output=True)
    assert done.returncode == 0
    assert (tmp_path / "run/temporary.txt").read_text().startswith(f"{usual}/rzero-")
    assert os.listdir(usual) == []
