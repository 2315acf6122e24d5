"""The examples run and show what they say."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import psutil
import yaml

from verl_rzero import settings
from verl_rzero.evaluation.load import load
from verl_rzero.tiny_world import task, truth

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


def test_votes_and_curation():
    ran = subprocess.run(
        [sys.executable, EXAMPLES / "votes_and_curation.py"], cwd=EXAMPLES.parent, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == (EXAMPLES / "votes_and_curation.txt").read_text(encoding="utf-8")


def test_own_benchmark():
    """Its answers are true, and none of its questions is one that the tiny world's base model was shown."""
    lines = (EXAMPLES / "own_benchmark/questions.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    assert all(list(row) == ["question", "answer"] for row in rows)
    assert [row["answer"] for row in rows] == [truth(row["question"]) for row in rows]
    assert all(task.is_held_out(row["question"]) for row in rows)
    loaded = load("mine", EXAMPLES / "own_benchmark/questions.jsonl", 18)
    assert [(item.question, item.answer) for item in loaded.items] == [(row["question"], row["answer"]) for row in rows]


SRUN = """#!/bin/bash
while [[ $1 == --* ]]; do shift; done
exec "$@"
"""
STUB = """#!/bin/bash
echo "settings: $*"
"$PWD/.venv/bin/python" -m verl_rzero.engine.nodes
"""


def test_the_slurm_script_makes_one_cluster_of_all_machines(tmp_path):
    """With Ray itself, two nodes on this machine; `srun` and `scontrol` are stand-ins, the run only looks around."""
    for name, text in (("srun", SRUN), ("scontrol", "#!/bin/bash\necho this\necho that\n")):
        (tmp_path / "bin" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes/run_rzero.sh").write_text(STUB)
    (tmp_path / ".venv").symlink_to(sys.prefix)
    env = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")} | {
        "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", "SLURM_SUBMIT_DIR": str(tmp_path), "SLURM_NNODES": "2",
        "SLURM_JOB_ID": str(os.getpid()), "SLURM_JOB_NODELIST": "x", "SLURM_GPUS_ON_NODE": "3",
        "SLURM_CPUS_ON_NODE": "4", "PYTHONPATH": str(EXAMPLES.parent),
    }  # fmt: skip
    ray = f"/tmp/ray-{os.getpid()}"
    try:
        ran = subprocess.run(
            ["bash", EXAMPLES / "slurm/rzero.sbatch", "votes=3"], env=env, capture_output=True, text=True, timeout=180
        )
    finally:
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.environ().get("RAY_TMPDIR") == ray:
                    process.kill()
        shutil.rmtree(ray, ignore_errors=True)
    assert ran.returncode == 0, ran.stderr
    assert "settings: hardware=cluster hardware.nodes=2 votes=3" in ran.stdout
    found = json.loads(ran.stdout.splitlines()[-1])["nodes"]
    assert [node["gpus"] for node in found] == [3, 3]


def test_the_kuberay_job_is_a_run_that_fits_its_pods():
    job = yaml.safe_load((EXAMPLES / "kuberay/rayjob.yaml").read_text(encoding="utf-8"))["spec"]
    words = job["entrypoint"].split()
    assert words[:2] == ["bash", "/opt/verl_rzero/recipes/run_rzero.sh"]
    asked = settings.load(words[2:])
    head, (workers,) = job["rayClusterSpec"]["headGroupSpec"], job["rayClusterSpec"]["workerGroupSpecs"]
    (container,) = workers["template"]["spec"]["containers"]
    assert workers["replicas"] == asked.hardware.nodes
    assert int(container["resources"]["limits"]["nvidia.com/gpu"]) == asked.hardware.gpus_per_node
    assert job["rayClusterSpec"]["rayVersion"] == version("ray")
    for group in (head, workers):
        mounts = {
            mount["mountPath"] for each in group["template"]["spec"]["containers"] for mount in each["volumeMounts"]
        }
        assert any(Path(asked.run_dir).is_relative_to(mount) for mount in mounts)


def test_every_example_is_in_the_list():
    listed = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    for entry in EXAMPLES.iterdir():
        assert entry.name == "README.md" or entry.name in listed, entry.name
