"""Stands in for verl_rzero.run.stage: `fake_stage.py RUN STAGE...` writes made-up results, or does what FAKE_* says.

FAKE_HANG, FAKE_FAIL, FAKE_SILENT name a stage that hangs, fails with a message, or ends well without results; the first
two in its first FAKE_TIMES attempts only, if that is set, and FAKE_FAIL with the exit code FAKE_CODE. The first two and
base/model leave a sleeping process in a session of its own behind, as an engine might. With
FAKE_LEAVES_FILES each stage leaves a temporary file. With FAKE_MODELS, a number of bytes, stages that have a model
leave one. FAKE_NO_ROOM=STAGE:MESSAGE fails as a program does whose disk says MESSAGE; FAKE_FILLS names a stage that
writes to its directory until the disk is full.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from verl_rzero.base.files import write_json

RESULTS = {
    "model": {"model": "model", "steps": [1, 2]},
    "challenger": {"model": "model", "steps": [{"step": 1, "reward_mean": 0.5}]},
    "questions": {"generated": 8, "well_formed": 7, "distinct": 6},
    "votes": {
        "questions": 7, "mean_agreement": 0.5, "agreement_histogram": [0, 7, 0], "answered_share": 1.0,
        "pseudo_label_accuracy": 0.75,
    },
    "curation": {"kept": 3, "rejected": {"too easy": 4, "too hard": 1}, "kept_label_accuracy": None},
    "solver": {"model": "model", "steps": []},
    "evaluation": {"tiny": {"greedy": 0.25, "mean_at_k": 0.125, "k": 8, "n": 4}},
}  # fmt: skip


def do(run: Path, stage: str) -> None:
    here = run / stage
    if stage in (os.environ.get("FAKE_HANG"), os.environ.get("FAKE_FAIL"), "base/model"):
        subprocess.Popen(["sleep", "300"], start_new_session=True)
    with (run / "started.txt").open("a", encoding="utf-8") as file:
        file.write(stage + "\n")
    position = {"done": 1, "total": 4, "unit": "step", "note": "reward 0.5", "time": time.time(), "began": 0.0}
    write_json(here / "progress.json", position)
    if stage != sys.argv[2]:
        with (here / "stage.log").open("ab") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
    print(f"working on {stage}", flush=True)
    if "FAKE_LEAVES_FILES" in os.environ:
        _, path = tempfile.mkstemp()
        (run / "temporary.txt").write_text(path)
    attempt = (run / "started.txt").read_text(encoding="utf-8").split().count(stage)
    struck = attempt <= int(os.environ.get("FAKE_TIMES", "100"))
    if os.environ.get("FAKE_HANG") == stage and struck:
        time.sleep(300)
    if os.environ.get("FAKE_FAIL") == stage and struck:
        print("error: no more questions", file=sys.stderr)
        sys.exit(int(os.environ.get("FAKE_CODE", "1")))
    failing, _, message = os.environ.get("FAKE_NO_ROOM", "").partition(":")
    if failing == stage:
        raise OSError(message)
    if os.environ.get("FAKE_FILLS") == stage:
        fill(here / "weights.bin")
    result = RESULTS[stage.rpartition("/")[2]]
    if "FAKE_MODELS" in os.environ and "model" in result:
        (here / "model").mkdir()
        (here / "model/weights.bin").write_bytes(bytes(int(os.environ["FAKE_MODELS"])))
        (here / "model/config.json").write_text("{}")
    if os.environ.get("FAKE_SILENT") != stage:
        write_json(here / "result.json", result)


def fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(2**20))


if __name__ == "__main__":
    directory, *stage_ids = sys.argv[1:]
    for before, stage_id in zip([None, *stage_ids], stage_ids, strict=False):
        while before and not (Path(directory) / before / "DONE").exists():  # a real one takes longer than that
            time.sleep(0.01)
        do(Path(directory), stage_id)
