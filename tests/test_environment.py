"""The set-up in front of the run: it installs nothing where everything is there, and says what it lacks."""

import os
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from verl_rzero.engine import environment

ROOT = Path(__file__).resolve().parents[1]
STACK = "gpu" if "torch==" + version("torch") in (ROOT / "requirements/gpu.txt").read_text().splitlines() else "cpu"
"""The one that these tests run on."""


@pytest.fixture
def checkout(tmp_path):
    """What the set-up needs of the checkout, without .venv."""
    for folder in ("recipes", "requirements", "verl_rzero"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("requirements.txt", "setup.py", "pyproject.toml", "README.md"):
        shutil.copyfile(ROOT / file, tmp_path / file)
    return tmp_path


def start(checkout: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = ["bash", str(checkout / "recipes/run_rzero.sh"), *words]
    defaults = {**os.environ, "PYTHON": sys.executable, "VERL_RZERO_STACK": STACK}
    return subprocess.run(command, env={**defaults, **environment}, capture_output=True, text=True)


def test_where_the_packages_are_nothing_is_installed(checkout):
    done = start(checkout, "dry_run=true", "hardware=cpu", f"run_dir={checkout}/run")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"Packages for the {STACK}: VERL_RZERO_STACK says so" in done.stdout
    assert "Nothing was started." in done.stdout
    assert not (checkout / ".venv").exists()


def test_a_refused_setting_ends_the_command_with_its_exit_code(checkout):
    done = start(checkout, "votes=0")
    assert done.returncode == 2
    assert "error: votes=0" in done.stderr


def test_an_unknown_stack_is_refused(checkout):
    done = start(checkout, VERL_RZERO_STACK="tpu")
    assert (done.returncode, done.stderr) == (2, "error: VERL_RZERO_STACK=tpu: write cpu or gpu.\n")


def test_without_a_fitting_python_it_says_so(checkout):
    done = start(checkout, PYTHON="false")
    assert done.returncode == 2
    assert "Python 3.11 or 3.12" in done.stderr


def test_an_installation_that_fails_shows_why_and_is_tried_again(checkout):
    (checkout / "requirements.txt").write_text("no-such-package-of-verl-rzero==1\n")
    for _ in range(2):
        done = start(checkout, PIP_NO_INDEX="1", PIP_FIND_LINKS=str(checkout), PIP_CONFIG_FILE=os.devnull)
        assert done.returncode == 2
        assert "No matching distribution found" in done.stderr
        assert ".venv/install.log" in done.stderr
        assert not (checkout / ".venv/installed").exists()


def test_after_an_installation_it_is_known_which_lists_are_there(checkout):
    script = """
        source recipes/environment.sh
        find_python() { base_python=true; mkdir .venv; }
        step() { :; }
        stack=gpu
        is_complete requirements.txt && exit 10
        install requirements.txt requirements/gpu.txt
        is_complete requirements.txt requirements/gpu.txt || exit 11
        is_complete requirements.txt requirements/dev.txt && exit 12
        echo "new==1" >>requirements.txt
        is_complete requirements.txt && exit 13
        exit 0
    """
    assert subprocess.run(["bash", "-uo", "pipefail", "-c", script], cwd=checkout, capture_output=True).returncode == 0


def test_ray_shows_its_token_to_a_cluster_that_it_joins(tmp_path, monkeypatch):
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray/auth_token").touch()
    assert environment.of_ray() == environment.ALONE
    monkeypatch.setenv("RAY_ADDRESS", "auto")
    assert not environment.ALONE.keys() & environment.of_ray().keys()
    assert environment.ray_token(tmp_path) == {"RAY_AUTH_MODE": "token"}
    assert environment.ray_token(tmp_path / "elsewhere") == {}
    monkeypatch.setenv("RAY_AUTH_TOKEN", "x")
    assert environment.ray_token(tmp_path / "elsewhere") == {"RAY_AUTH_MODE": "token"}


LISTENS = """
import contextlib, psutil, ray
ray.init("local", num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
ports = []
for process in psutil.Process().children(recursive=True):
    with contextlib.suppress(psutil.Error):  # it has ended meanwhile
        ports += [each.laddr.ip for each in process.net_connections("tcp") if each.status == "LISTEN"]
print(ray.util.get_node_ip_address(), *sorted({*ports}))
"""


def test_a_ray_of_our_own_listens_on_this_machine_alone():
    env = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"} | environment.ALONE
    done = subprocess.run([sys.executable, "-c", LISTENS], env=env, capture_output=True, text=True, timeout=120)
    address, *ports = done.stdout.split()
    assert address == "127.0.0.1"
    assert ports
    assert {*ports} <= {"127.0.0.1", "::ffff:127.0.0.1", "::1"}
