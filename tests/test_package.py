"""What is built can be used without the checkout."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_a_built_package_has_its_recipes(tmp_path):
    """Also those of the groups, which stand beside the package in the checkout."""
    build = [sys.executable, "setup.py", "-q", "build_py", "--build-lib", str(tmp_path / "lib")]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    code = (
        "from verl_rzero import settings; from verl_rzero.settings import compose; "
        "settings.load(['hardware=1gpu']); print(compose.recipes_dir())"
    )
    used = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path / "lib")},
        capture_output=True,
        text=True,
    )
    assert used.stderr == ""
    assert (tmp_path / "lib/verl_rzero/watch/web/assets/page.html").is_file()
    assert used.stdout.strip() == str(tmp_path / "lib/verl_rzero/recipes")
