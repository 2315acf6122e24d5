"""Supervised fine-tuning after R-Zero beside fine-tuning alone: the same labels and updates, from the Solver of a run's
last measured round and from its base model.

    python benchmarks/sft_after_rzero.py <directory> <run> [<run> ...] [--labels 10 30 100 500] [key=value ...]

The runs are runs of the tiny world; key=value goes to verl_rzero.sft. Does what is not done yet, so it can be
stopped and continued; then prints a table in Markdown. Every model is measured on the run's own benchmark through
`coevolve rounds=0`; the models before fine-tuning have the numbers of the run.
"""

import argparse
import subprocess
import sys
from pathlib import Path
from statistics import mean
from typing import Any

from verl_rzero import settings
from verl_rzero.base.files import read_json
from verl_rzero.data import outputs, run_dir
from verl_rzero.run import stage
from verl_rzero.tiny_world import labelled

STARTS = ("base", "solver")
RECIPE = ["epochs=6", "batch_size=10", "lr=1e-3"]


def last_round(run: Path) -> int:
    """The last round whose Solver has been measured."""
    asked = settings.read(run / run_dir.SETTINGS)
    done = [t for t in range(1, asked.rounds + 1) if run_dir.is_done(run / f"round_{t}/evaluation")]
    if not done:
        sys.exit(f"{run}: no round has been measured yet.")
    return done[-1]


def start_of(run: Path, start: str) -> Path:
    """The directory of the base model, or of the last measured round's Solver."""
    return Path(outputs.model_of(run / ("base/model" if start == "base" else f"round_{last_round(run)}/solver")))


def do(words: list[str], log: Path) -> None:
    with log.open("a") as output:
        code = subprocess.call([sys.executable, "-m", *words], stdout=output, stderr=output)
    if code:
        sys.exit(f"{' '.join(words)}\nended with exit code {code}; its output is in {log}")


def fine_tuned(here: Path, run: Path, start: str, labels: Path, overrides: list[str]) -> None:
    """Train and measure one model below `here`."""
    here.mkdir(parents=True, exist_ok=True)
    if scores(here) is not None:
        return
    model = here / "model"
    do(["verl_rzero.sft", f"run={run}", f"model={start_of(run, start)}", f"data={labels}", f"to={model}",
        *RECIPE, *overrides], here / "log")  # fmt: skip
    asked = settings.read(run / run_dir.SETTINGS)
    benchmark = asked.evaluation.benchmarks["tiny"].path or run / "base/model" / stage.BENCHMARK.format("tiny")
    do(["verl_rzero.coevolve", f"run_dir={here / 'evaluation'}", "rounds=0", f"seed={asked.seed}", "model.build=null",
        f"model.path={model}", f"evaluation.benchmarks.tiny.path={benchmark}"], here / "log")  # fmt: skip
    print(here, scores(here), flush=True)


def scores(here: Path) -> dict[str, Any] | None:
    measured = run_dir.result(here / "evaluation/base/evaluation")
    return None if measured is None else measured["tiny"]


def before(run: Path, start: str) -> dict[str, Any]:
    """The scores that the run itself gave the model."""
    where = run / ("base/evaluation" if start == "base" else f"round_{last_round(run)}/evaluation")
    measured: dict[str, Any] = read_json(where / run_dir.RESULT)["tiny"]
    return measured


def table(directory: Path, runs: list[Path], sizes: list[int]) -> str:
    """A row for each run and number of labels, then the means over runs; accuracies, and differences in points."""
    lines = [
        "| labels | run | greedy: SFT | R-Zero, SFT | difference | mean@8: SFT | R-Zero, SFT | difference |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for n in [0, *sorted(sizes)]:
        found = []
        for run in runs:
            pair = [before(run, start) if n == 0 else scores(directory / f"{run.name}/{start}_{n}") for start in STARTS]
            if None in pair:
                continue
            found.append([part[key] for key in ("greedy", "mean_at_k") for part in pair if part is not None])
            lines.append(row(n, f"{run.name}, round {last_round(run)}", found[-1]))
        if len(found) > 1:
            lines.append(row(n, "mean", [mean(column) for column in zip(*found, strict=True)]))
    return "\n".join(lines)


def row(labels: int, name: str, numbers: list[float]) -> str:
    base, solver, base_k, solver_k = numbers
    cells = [f"{base:.3f}", f"{solver:.3f}", f"{100 * (solver - base):+.1f}"]
    cells += [f"{base_k:.3f}", f"{solver_k:.3f}", f"{100 * (solver_k - base_k):+.1f}"]
    return "| " + " | ".join([str(labels or "none"), name, *cells]) + " |"


def main() -> None:
    """Fine-tune what is not done yet, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("runs", nargs="+", help="directories of runs, then key=value for verl_rzero.sft")
    parser.add_argument("--labels", type=int, nargs="+", default=[10, 30, 100, 500])
    args = parser.parse_args()
    overrides = [word for word in args.runs if "=" in word]
    runs = [Path(word).resolve() for word in args.runs if "=" not in word]
    args.directory.mkdir(parents=True, exist_ok=True)
    for run in runs:
        seed = settings.read(run / run_dir.SETTINGS).seed
        for n in args.labels:
            labels = args.directory / f"{run.name}_labels_{n}.parquet"
            if not labels.exists():
                labelled.write(labels, n, seed)
            for start in STARTS:
                fine_tuned(args.directory / f"{run.name}/{start}_{n}", run, start, labels, [f"seed={seed}", *overrides])
    print(table(args.directory, runs, args.labels))


if __name__ == "__main__":
    main()
