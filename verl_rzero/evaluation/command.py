"""Evaluation of any model by itself: `python -m verl_rzero.evaluate model=<dir> benchmarks=[math500, <file>, ...]`."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from verl_rzero import settings
from verl_rzero.base import tables
from verl_rzero.base.command_line import exit_code
from verl_rzero.base.errors import UserError, refusal
from verl_rzero.base.files import read_json, write_json
from verl_rzero.data import run_dir
from verl_rzero.engine import cluster
from verl_rzero.evaluation import judge, store
from verl_rzero.evaluation.load import FILES, load
from verl_rzero.grading.grader import same_answer
from verl_rzero.settings import Settings
from verl_rzero.settings.benchmarks import TABLE, LoadedBenchmark

RECIPE = "qwen3_4b_base"
RESULT = "result.json"

HELP = f"""\
Scores one model on benchmarks, as a run does after each of its rounds.

  python -m verl_rzero.evaluate model=<directory or hub name> benchmarks=[math500,/data/mine.parquet] [key=value ...]

  model=       a Hugging Face directory, or owner/name
  benchmarks=  names ({", ".join(TABLE)}),
               and parquet or JSONL files with columns question and answer
  to=          directory of the results, by default evaluations; what is there is not done again
  recipe=      model recipe whose prompts and lengths are used, by default {RECIPE}; tiny for models of the tiny world
  hardware=    as for a run; anything else is a setting of a run, as evaluation.k=8 or evaluation.judge.url=...
"""


def request(words: Sequence[str]) -> tuple[Settings, Path]:
    """The settings and the directory of the results from words as on the command line; raises UserError."""
    own, rest = _own_words(words)
    for name in ("model", "benchmarks"):
        if not own.get(name):
            raise UserError(f"{name}= is missing.\n\n{HELP}")
    paths = _named(own["benchmarks"])
    overrides = [f"model={own.get('recipe', RECIPE)}"]
    for name, path in paths.items():
        overrides.append(f"evaluation.benchmarks.{name}={{}}")
        overrides += [] if path is None else [f"evaluation.benchmarks.{name}.path='{path.absolute()}'"]
    overrides, _ = cluster.with_hardware([*overrides, *rest])
    asked = settings.load(overrides)
    local = Path(own["model"]).expanduser()
    model = replace(asked.model, path=str(local.resolve() if local.is_dir() else own["model"]), build=None, truth=None)
    only = {name: asked.evaluation.benchmarks[name] for name in paths}
    chosen = settings.with_benchmarks(asked, only, asked.evaluation.temperature)
    return settings.with_parts(chosen, model=model), Path(own.get("to", "evaluations")).absolute()


def evaluate_model(asked: Settings, to: Path) -> dict[str, dict[str, Any]]:
    """Scores per benchmark, from what is kept below `to` and what had to be asked. Raises UserError, StageFailed."""
    judge.api_key(asked.evaluation.judge)
    cluster.check_cluster(asked)
    loaded = [load(name, each.path, each.n) for name, each in asked.evaluation.benchmarks.items()]
    assert asked.model.path is not None
    to.mkdir(parents=True, exist_ok=True)
    cluster.check_nodes(asked, to)
    with run_dir.locked(to):
        places = store.ask_missing(asked, asked.model.path, loaded, to, "evaluation")
        return {each.name: _scored(asked, each, place) for each, place in zip(loaded, places, strict=True)}


def _scored(asked: Settings, benchmark: LoadedBenchmark, place: store.Place) -> dict[str, Any]:
    """The scores of replies that are all there; a judge that failed before is asked again."""
    from verl_rzero.evaluation.run import about, judged
    from verl_rzero.evaluation.scores import score

    path, wanted = place.dir / RESULT, about(asked, benchmark)
    if path.is_file():
        kept: dict[str, Any] = read_json(path)
        if kept["judge"] == wanted["judge"] and not kept.get("judge_failures"):
            return kept
        rows = place.rows() if kept["judge"] == wanted["judge"] else [_unjudged(row) for row in place.rows()]
    else:
        rows = [_unjudged(row) for row in place.rows()]
    rows = judged(asked.evaluation.judge, benchmark, rows)
    store.finish(place, rows)
    result = score(rows, same_answer if benchmark.grader == "math" else None) | wanted | {"model": asked.model.path}
    write_json(path, result)
    return result


def _unjudged(row: Any) -> Any:
    return replace(row, judged=[None] * len(row.judged))


def table(scores: dict[str, dict[str, Any]]) -> str:
    """The scores for a terminal, with their 95 % intervals."""
    has_judge = any("judge_greedy" in one for one in scores.values())
    columns = [
        "greedy",
        "mean_at_k",
        "pass_at_k",
        "maj_at_k",
        *(["judge_greedy", "judge_mean_at_k"] if has_judge else []),
    ]
    rows = [["", "n", *[name.replace("_at_", "@") for name in columns], "k", "answered", "cut off"]]
    for name, one in scores.items():
        cells = [_with_interval(one.get(column), one.get(f"{column}_interval")) for column in columns]
        rows.append(
            [name, str(one["n"]), *cells, str(one["k"]), f"{one['answered_share']:.3f}", f"{one['cut_off_share']:.3f}"]
        )
        if one.get("judge_failures"):
            rows[-1].append(f"the judge failed {one['judge_failures']} of {one['judge_asked']} times")
    width = max(map(len, rows))
    return tables.aligned([row + [""] * (width - len(row)) for row in rows])


def _with_interval(value: float | None, interval: Sequence[float] | None) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" + (f" [{interval[0]:.3f}, {interval[1]:.3f}]" if interval else "")


def _own_words(words: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    own, rest = {}, []
    for word in words:
        key, _, value = word.partition("=")
        if key in ("model", "benchmarks", "to", "recipe"):
            own[key] = value
        else:
            rest.append(word)
    return own, rest


def _named(value: str) -> dict[str, Path | None]:
    """The benchmarks behind `benchmarks=`: {name: file, or None for one that is known by its name}."""
    named: dict[str, Path | None] = {}
    for word in filter(None, (word.strip() for word in value.strip("[]").split(","))):
        path = Path(word).expanduser() if "/" in word or word.endswith(FILES) else None
        name = word if path is None else re.sub(r"\W", "_", path.stem)
        if name in named:
            raise refusal("benchmarks", value, f"two of them are called {name}", "Give one of the files another name.")
        named[name] = path
    return named


def main(words: Sequence[str]) -> int:
    """The command line; exit codes as those of a run."""

    def work(words: Sequence[str]) -> None:
        asked, to = request(words)
        print(table(evaluate_model(asked, to)))
        print(f"\nreplies and scores  {to}")

    return exit_code(work, HELP, words, again="continues from here")
