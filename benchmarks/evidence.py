"""R-Zero and its controls: several seeds, each with a base model of its own that all its runs share.

    python benchmarks/evidence.py <directory> [--model tiny|smollm2|code_tiny] [--seeds 0 1 2] [--at-once 1]
                                  [--runs rzero base_challenger ttrl ...] [key=value ...]

Runs what is not done yet, in the order of --runs, so it can be stopped and continued; then prints tables in Markdown.
A model's first run (rzero, zero) comes first: its base models and benchmarks are the others'. --table prints the
tables alone.
"""

import argparse
import json
import math
import statistics
import subprocess
import sys
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from scipy.stats import t

from verl_rzero.english_sums import benchmark as english_sums
from verl_rzero.english_sums import grammar
from verl_rzero.rules import code_tasks

_TTRL = ["method=ttrl", "model=ttrl_tiny", "solver.steps=15", "solver.batch_size=64", "solver.minibatch_size=32"]
"""With as many Solver steps and rollouts as R-Zero's recipe for the tiny world."""

_SAFEGUARDS = [
    "challenger.repetition_scope=rounds",
    "curation.ill_posed_share=0.3",
    "curation.min_answered=6",
    "curation.min_margin_ratio=1.6",
    "curation.rank_band=[0.3,0.7]",
    "curation.duplicates=drop_across_rounds",
    "curation.replay_share=0.1",
]
"""What other people's papers found on larger models."""

_ZERO = ["method=absolute_zero", "model=code_tiny"]

RUNS = {
    "tiny": {
        "rzero": [],
        "base_challenger": ["challenger.steps=0"],
        "frozen": ["challenger.train_rounds=1"],
        "random": ["challenger.uncertainty=random"],
        "no_penalty": ["challenger.repetition_weight=0"],
        "no_filter": ["band=[0,1]"],
        "shared": ["roles=shared"],
        "released": ["method=released", "rounds=3"],
        "robust": ["method=robust"],
        "near_base_wide": ["method=robust", "solver.steps_times=1", "solver.towards_start=0"],
        "near_base_wide_longer": ["method=robust", "solver.towards_start=0"],
        "longer": ["solver.steps_times=2"],
        "longer_quarter": ["solver.steps_times=2", "solver.towards_start=0.25"],
        "near_base_soup": [
            "method=robust",
            "band=[0.25,0.75]",
            "solver.steps_times=1",
            "solver.towards_start=0.5",
        ],
        "safeguards": _SAFEGUARDS,
        "ttrl": _TTRL,
        "ttrl_weak": [*_TTRL, "model.build_steps=300"],
    },
    "smollm2": {
        "rzero": ["model=smollm2"],
        "base_challenger": ["model=smollm2", "challenger.steps=0"],
        "robust": ["model=smollm2", "method=robust"],
        "stage_start": ["model=smollm2", "challenger.reference=stage_start"],
        "paper_band": ["model=smollm2", "band=[0.25,0.75]", "challenger.uncertainty=paper"],
        "ttrl": ["method=ttrl", "model=ttrl_smollm2"],
        "ttrl_half": ["method=ttrl", "model=ttrl_smollm2", "solver.towards_start=0.5"],
    },
    "code_tiny": {
        "zero": _ZERO,
        "solver_only": [*_ZERO, "self_play.propose=false"],
        "no_references": [*_ZERO, "self_play.references=0"],
        "deduction": [*_ZERO, "self_play.kinds=[deduction]", "solver.batch_size=48", "solver.minibatch_size=48"],
    },
}
"""Model -> run -> what it overrides: a few words each. The first makes the base model."""

_MAKERS = {next(iter(runs)) for runs in RUNS.values()}


def maker(kinds: Collection[str]) -> str:
    """Among kinds of runs the one that makes base models, and that the others are compared with."""
    return next(kind for kind in kinds if kind in _MAKERS)


KINDS = {"smollm2": grammar.KINDS, "code_tiny": code_tasks.KINDS}
"""The benchmarks of a model that has several."""


def given(base: Path, model: str, name: str, seed: int) -> list[str]:
    """What a run takes from R-Zero's of its seed, whose base stage left a model and benchmarks in `base`.

    TTRL's questions are drawn for it; on the tiny world it builds the base model again, with questions beside it.
    """
    ttrl = name.startswith("ttrl")
    if name in _MAKERS or (ttrl and model == "tiny"):
        return [f"model.build_seed={seed}"]
    made = {path.stem.removeprefix("benchmark_"): path for path in sorted(base.glob("benchmark_*.parquet"))}
    if not made:
        sys.exit(f"{base} has no base model: run {maker(RUNS[model])} on seed {seed} first")
    if ttrl:
        made["unlabelled"] = base / "unlabelled.parquet"
        english_sums.write(made["unlabelled"], english_sums.UNLABELLED, 192, seed)
    paths = [f"evaluation.benchmarks.{benchmark}.path={path}" for benchmark, path in made.items()]
    return ["model.build=null", f"model.path={base / 'model'}", *paths]


def run(directory: Path, model: str, name: str, seed: int, overrides: list[str]) -> None:
    """One run to its end, from where it stands; its output goes to a log beside it."""
    here, base = directory / f"{name}_{seed}", (directory / f"{maker(RUNS[model])}_{seed}/base/model").resolve()
    words = given(base, model, name, seed)
    command = [sys.executable, "-m", "verl_rzero.coevolve", f"run_dir={here}", f"seed={seed}", *words]
    with (directory / f"{name}_{seed}.log").open("a") as log:
        code = subprocess.call([*command, *RUNS[model][name], *overrides], stdout=log, stderr=log)
    print(f"{here.name}: exit code {code}", flush=True)


def reports(directory: Path) -> dict[str, dict[str, Any]]:
    """The reports of the runs that have ended at least one round, by directory name."""
    found = {path.parent.name: json.loads(path.read_text()) for path in sorted(directory.glob("*/report.json"))}
    return {name: report for name, report in found.items() if scores(report, "greedy")[1:]}


def scores(report: dict[str, Any], score: str, benchmark: str | None = None) -> list[float]:
    """The score of the base and of each round that is evaluated: of one held-out benchmark, or the mean of all."""
    parts = [part["evaluation"] for part in (report["base"], *report["rounds"]) if part["evaluation"]]
    names = [benchmark] if benchmark else [name for name in (parts[0] if parts else ()) if name != "unlabelled"]
    return [statistics.mean(part[name][score] for name in names) for part in parts]


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
            item["votes"]["pseudo_label_accuracy"]
            if item["votes"]
            else item["solver"]["steps"][-1].get("label_accuracy", math.nan)
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


def is_whole(name: str, report: dict[str, Any], kind: str, after: int) -> bool:
    """Whether it is a run of this kind with so many rounds."""
    return name.rpartition("_")[0] == kind and len(scores(report, "greedy")) > after


def benchmark_table(
    found: dict[str, dict[str, Any]], kinds: Sequence[str], benchmarks: Sequence[str], after: int
) -> str:
    """A row a kind of run and benchmark: means over its seeds after a round, and of the difference from the base's."""
    lines = ["| run | seeds | benchmark | greedy | - base's | sampled | - base's |", "|---|---|---|---|---|---|---|"]
    for kind in kinds:
        of_kind = [report for name, report in found.items() if is_whole(name, report, kind, after)]
        for benchmark in (*benchmarks, None) if of_kind else ():
            cells = [kind, str(len(of_kind)), benchmark or "all"]
            for score in ("greedy", "mean_at_k"):
                of_seeds = [scores(report, score, benchmark) for report in of_kind]
                cells.append(f"{statistics.mean(values[after] for values in of_seeds):.3f}")
                cells.append(with_interval([values[after] - values[0] for values in of_seeds], sign="+"))
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def mean_table(found: dict[str, dict[str, Any]], kinds: Sequence[str], after: int) -> str:
    """A row a kind of run: means over its seeds after a round, and the difference from the first kind, seed by seed."""
    lines = [
        f"| run | seeds | greedy, round {after} | sampled, round {after} | greedy less the first's | sampled less it |",
        "|---|---|---|---|---|---|",
    ]
    first = maker(kinds)
    for kind in kinds:
        seeds = [name.removeprefix(f"{kind}_") for name, report in found.items() if is_whole(name, report, kind, after)]
        if not seeds:
            continue
        cells = [kind, ", ".join(seeds)]
        own = {
            score: [scores(found[f"{kind}_{seed}"], score)[after] for seed in seeds]
            for score in ("greedy", "mean_at_k")
        }
        cells += [with_interval(values) for values in own.values()]
        for score, values in own.items():
            leads = [
                value - scores(found[f"{first}_{seed}"], score)[after]
                for seed, value in zip(seeds, values, strict=True)
                if f"{first}_{seed}" in found and len(scores(found[f"{first}_{seed}"], score)) > after
            ]
            cells.append("-" if kind == first or not leads else with_interval(leads, sign="+"))
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def with_interval(values: list[float], sign: str = "") -> str:
    """The mean over seeds, and from three seeds on its 95 % interval by Student's t."""
    count, mean = len(values), statistics.mean(values)
    if count < 3:
        return f"{mean:{sign}.3f}"
    half = t.ppf(0.975, count - 1) * statistics.stdev(values) / math.sqrt(count)
    return f"{mean:{sign}.3f} [{mean - half:{sign}.3f}, {mean + half:{sign}.3f}]"


def main() -> None:
    """Do the runs that are not done, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--model", choices=list(RUNS), default="tiny")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--runs", nargs="+", help="left out: all of the model")
    parser.add_argument("--at-once", type=int, default=1, help="runs at the same time")
    parser.add_argument("--after", type=int, default=3, metavar="ROUND", help="that the tables of means are of")
    parser.add_argument("--table", action="store_true", help="start nothing, print the tables")
    args, overrides = parser.parse_known_args()
    named = args.runs or list(RUNS[args.model])
    runs = [word for word in named if "=" not in word]
    overrides += [word for word in named if "=" in word]
    if unknown := {*runs} - {*RUNS[args.model]}:
        parser.error(f"--runs: {', '.join(sorted(unknown))}: not among {', '.join(RUNS[args.model])}")
    args.directory.mkdir(parents=True, exist_ok=True)
    if not args.table:
        first = maker(RUNS[args.model])
        for kinds in ([first], [kind for kind in runs if kind != first]):
            to_do = [(kind, seed) for kind in kinds if kind in runs for seed in args.seeds]
            with ThreadPoolExecutor(args.at_once) as pool:
                list(pool.map(lambda item: run(args.directory, args.model, *item, overrides), to_do))
    found = reports(args.directory)
    tables = [run_table(found), mean_table(found, list(RUNS[args.model]), args.after)]
    if args.model in KINDS:
        tables.append(benchmark_table(found, list(RUNS[args.model]), KINDS[args.model], args.after))
    print(*tables, sep="\n\n")


if __name__ == "__main__":
    main()
