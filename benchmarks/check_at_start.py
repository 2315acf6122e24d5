"""How long a start takes to compare the files of done stages: 12 stages of made-up files, the best of five times.

    python benchmarks/check_at_start.py                 16.4 MB in a model, 200 MB in all: all of it is hashed
    python benchmarks/check_at_start.py megabytes=70    above 64 MiB: models are not hashed

docs/reliability.md has what came out.
"""

import os
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from verl_rzero import settings
from verl_rzero.data import run_dir
from verl_rzero.methods import plan
from verl_rzero.methods.kinds import Stage
from verl_rzero.settings import Settings

STAGES, TIMES = 12, 5


def make(stage: Stage, run: Path, asked: Settings, megabytes: float) -> float:
    """A done stage with a model and four small files; the seconds that recording them took."""
    here = stage.directory(run)
    (here / "model").mkdir(parents=True)
    (here / "result.json").write_text("{}")
    for name in ("config.json", "tokenizer.json", "chat_template.jinja"):
        (here / "model" / name).write_bytes(os.urandom(100_000))
    (here / "model/model.safetensors").write_bytes(os.urandom(int(megabytes * 1e6)))
    began = time.perf_counter()
    files = run_dir.left_by(here)
    took_s = time.perf_counter() - began
    hashed = plan.settings_hash(stage, asked)
    made = run_dir.Manifest(stage.id, hashed, {}, list(stage.inputs), 0, {}, "", {}, "", "", 1.0, files)
    run_dir.finish_stage(here, made)
    return took_s


def main(megabytes: str = "megabytes=16.4") -> None:
    with TemporaryDirectory() as directory:
        run, asked = Path(directory), settings.load(["hardware=cpu", "rounds=2"])
        stages = plan.plan(asked)[:STAGES]
        recorded_s = sum(make(stage, run, asked, float(megabytes.removeprefix("megabytes="))) for stage in stages)
        sizes = [path.stat().st_size for path in run.rglob("*") if path.is_file()]
        compared_s = []
        for _ in range(TIMES):
            began = time.perf_counter()
            plan.check_done(stages, asked, run)
            compared_s.append(time.perf_counter() - began)
    print(f"{len(stages)} stages, {len(sizes)} files, {sum(sizes) / 1e6:.0f} MB")
    print(f"recorded in {recorded_s:.2f} s, compared at a start in {min(compared_s):.2f} s")


if __name__ == "__main__":
    main(*sys.argv[1:])
