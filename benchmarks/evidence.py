"""R-Zero and its controls on the tiny world: several seeds, each with a base model of its own that all its runs share.

    python benchmarks/evidence.py <directory> [--seeds 0 1 2] [--runs rzero base_challenger ttrl ...] [--at-once 1]
                                  [key=value ...]

Runs what is not done yet, in the order of --runs, so it can be stopped and continued; then prints tables in Markdown.
`rzero` comes first: its base models and benchmarks are the others'. --table prints the tables alone.
"""

import argparse
import json
import math
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from scipy.stats import t

_TTRL = ["method=ttrl", "model=ttrl_tiny", "solver.steps=15", "solver.batch_size=64", "solver.minibatch_size=32"]
"""With as many Solver steps and rollouts as R-Zero's recipe for the tiny world."""

RUNS = {
    "rzero": [],
    "base_challenger": ["challenger.steps=0"],
    "frozen": ["challenger.train_rounds=1"],
    "random": ["challenger.uncertainty=random"],
    "no_penalty": ["challenger.repetition_weight=0"],
    "no_filter": ["band=[0,1]"],
    "shared": ["roles=shared"],
    "released": ["method=released", "rounds=3"],
    "robust": ["method=robust"],
    "ttrl": _TTRL,
    "ttrl_weak": [*_TTRL, "model.build_steps=300"],
}
"""What each run overrides: a few words each. TTRL builds the base model of its seed again, with questions beside it."""


def run(directory: Path, name: str, seed: int, overrides: list[str]) -> None:
    """One run to its end, from where it stands; its output goes to a log beside it."""
    here, base = directory / f"{name}_{seed}", (directory / f"rzero_{seed}/base/model").resolve()
    model = [f"model.build_seed={seed}"]
    if not name.startswith(("rzero", "ttrl")):
        benchmark = f"evaluation.benchmarks.tiny.path={base / 'benchmark_tiny.parquet'}"
        model = ["model.build=null", f"model.path={base / 'model'}", benchmark]
    command = [sys.executable, "-m", "verl_rzero.coevolve", f"run_dir={here}", f"seed={seed}", *model]
    with (directory / f"{name}_{seed}.log").open("a") as log:
        code = subprocess.call([*command, *RUNS[name], *overrides], stdout=log, stderr=log)
    print(f"{here.name}: exit code {code}", flush=True)


def reports(directory: Path) -> dict[str, dict[str, Any]]:
    """The reports of the runs that have ended at least one round, by directory name."""
    found = {path.parent.name: json.loads(path.read_text()) for path in sorted(directory.glob("*/report.json"))}
    return {name: report for name, report in found.items() if scores(report, "greedy")[1:]}


def scores(report: dict[str, Any], score: str) -> list[float]:
    """The score of the base and of each round that is evaluated."""
    parts = [report["base"], *report["rounds"]]
    return [part["evaluation"]["tiny"][score] for part in parts if part["evaluation"]]


def run_table(found: dict[str, dict[str, Any]]) -> str:
    """A row a run: greedy and sampled accuracy of the base and each round, label accuracy and kept share."""
    lines = [
        "| run | greedy: base, rounds | sampled: base, rounds | label accuracy | kept share | seconds |",
        "|---|---|---|---|---|---|",
    ]
    for name, report in found.items():
        rounds = [item for item in report["rounds"] if item["evaluation"]]
        kept = [item["curation"]["kept"] / item["votes"]["questions"] for item in rounds if item["votes"]]
        labels = [
            item["votes"]["pseudo_label_accuracy"] if item["votes"] else item["solver"]["steps"][-1]["label_accuracy"]
            for item in rounds
        ]
        seconds = sum(sum(part["seconds"].values()) for part in [report["base"], *rounds])
        cells = [
            name,
            " ".join(f"{score:.3f}" for score in scores(report, "greedy")),
            " ".join(f"{score:.3f}" for score in scores(report, "mean_at_k")),
            " ".join(f"{label:.2f}" for label in labels),
            " ".join(f"{share:.2f}" for share in kept) or "-",
            f"{seconds:.0f}",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def mean_table(found: dict[str, dict[str, Any]]) -> str:
    """A row a kind of run: means over its seeds after round 3, and the difference from R-Zero on the same seeds."""
    lines = [
        "| run | seeds | greedy, round 3 | sampled, round 3 | greedy - R-Zero's | sampled - R-Zero's |",
        "|---|---|---|---|---|---|",
    ]
    for kind in RUNS:
        seeds = [
            name.removeprefix(f"{kind}_")
            for name, report in found.items()
            if name.startswith(f"{kind}_") and len(scores(report, "greedy")) > 3
        ]
        if not seeds:
            continue
        cells = [kind, ", ".join(seeds)]
        own = {
            score: [scores(found[f"{kind}_{seed}"], score)[3] for seed in seeds] for score in ("greedy", "mean_at_k")
        }
        cells += [with_interval(values) for values in own.values()]
        for score, values in own.items():
            leads = [
                value - scores(found[f"rzero_{seed}"], score)[3]
                for seed, value in zip(seeds, values, strict=True)
                if f"rzero_{seed}" in found and len(scores(found[f"rzero_{seed}"], score)) > 3
            ]
            cells.append("-" if kind == "rzero" or not leads else with_interval(leads, sign="+"))
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def with_interval(values: list[float], sign: str = "") -> str:
    """The mean over seeds, and from three seeds on its 95 % interval by Student's t."""
    count, mean = len(values), sum(values) / len(values)
    if count < 3:
        return f"{mean:{sign}.3f}"
    variance = sum((value - mean) ** 2 for value in values) / (count - 1)
    half = t.ppf(0.975, count - 1) * math.sqrt(variance / count)
    return f"{mean:{sign}.3f} [{mean - half:{sign}.3f}, {mean + half:{sign}.3f}]"


def main() -> None:
    """Do the runs that are not done, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--runs", choices=list(RUNS), nargs="+", default=list(RUNS))
    parser.add_argument("--at-once", type=int, default=1, help="runs at the same time")
    parser.add_argument("--table", action="store_true", help="start nothing, print the tables")
    args, overrides = parser.parse_known_args()
    args.directory.mkdir(parents=True, exist_ok=True)
    if not args.table:
        for kinds in (["rzero"], [kind for kind in args.runs if kind != "rzero"]):  # rzero makes the base models
            to_do = [(kind, seed) for kind in kinds if kind in args.runs for seed in args.seeds]
            with ThreadPoolExecutor(args.at_once) as pool:
                list(pool.map(lambda item: run(args.directory, item[0], item[1], overrides), to_do))
    found = reports(args.directory)
    print(run_table(found), mean_table(found), sep="\n\n")


if __name__ == "__main__":
    main()
