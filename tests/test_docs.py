"""What the documentation says of files, columns, settings and tests is so."""

import ast
import re
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace

import pytest

from verl_rzero import settings
from verl_rzero.base.progress import Position
from verl_rzero.data import records, run_dir
from verl_rzero.engine import jobs, verl_tree
from verl_rzero.engine.reliances import RELIANCES
from verl_rzero.engine.self_play_numbers import SelfPlayNumbers
from verl_rzero.grading.counts import GradingCounts
from verl_rzero.methods import plan
from verl_rzero.rules import curation
from verl_rzero.rules.task_buffers import TaskBuffers
from verl_rzero.settings import benchmarks, schema
from verl_rzero.watch import report

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("*.md", "docs/*.md", "docker/*.md", "recipes/*.md", "examples/**/*.md")
PAGES = sorted(page for folder in FOLDERS for page in ROOT.glob(folder))
RUN_DIRECTORY = (ROOT / "docs/run_directory.md").read_text(encoding="utf-8")

COMMANDS = sorted(
    {
        command
        for page in PAGES
        for command in re.findall(
            r"bash (?:/opt/verl_rzero/)?recipes/run_rzero\.sh([^\n`#]*)",
            page.read_text(encoding="utf-8").replace("\\\n", " "),
        )
        if "=" in command and "..." not in command
    }
)


RELIED_ON = [(each, each.theirs.split(":")) for each in RELIANCES]


def rows(section: str) -> list[list[str]]:
    """The rows of the first table behind `section` in docs/run_directory.md, as lists of cells."""
    _, _, behind = RUN_DIRECTORY.partition(section)
    lines = re.search(r"\n((?:\|.*\n)+)", behind)
    assert lines is not None, section
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[1].splitlines()[2:]]


def words(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def named(section: str) -> list[str]:
    """What stands in backquotes in the first column of the table behind `section`."""
    return [word for row in rows(section) for word in words(row[0])]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8")):
        assert target.startswith("https://") or (page.parent / target).exists(), target


def test_every_page_is_in_the_index():
    index = (ROOT / "docs/README.md").read_text(encoding="utf-8")
    for page in ROOT.glob("docs/*.md"):
        assert page.name == "README.md" or f"({page.name})" in index, page.name


@pytest.mark.parametrize("page", [page for page in PAGES if page.parent.name == "docs"], ids=lambda page: page.name)
def test_files_that_a_page_names_exist(page):
    text = page.read_text(encoding="utf-8")
    for path in re.findall(r"`((?:verl_rzero|tests|recipes|requirements|docker)/[\w./]+)`", text):
        assert (ROOT / path).exists(), path


@pytest.mark.parametrize("page", [page for page in PAGES if page.parent.name == "docs"], ids=lambda page: page.name)
def test_settings_that_a_page_names_exist(page):
    known = [key.name for key in schema.keys(settings.Settings)]
    text = page.read_text(encoding="utf-8")
    for name in re.findall(r"\b((?:challenger|solver|hardware|sampling|model|monitors|evaluation)\.[a-z_.]+)=", text):
        assert any(name == key or name.startswith(f"{key}.") for key in known), name


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_possible_settings(command):
    assert settings.load([word for word in command.split() if "=" in word])


def test_overrides_of_verl_exist():
    text = (ROOT / "docs/gpu.md").read_text(encoding="utf-8")
    config = jobs.verl_config(
        settings.load(["model=small", "hardware=8gpu"]),
        "challenger",
        model="m",
        train_file="t",
        stage_dir="s",
        solver="m",
    )
    keys = set(re.findall(r"(?:hardware|challenger|solver)\.verl\.([a-z_0-9.]+)", text))
    assert len(keys) > 5
    for key in keys:
        opened = any(key.startswith(f"{node}.") for node in verl_tree.OPEN)
        assert opened or key in verl_tree.names(config), key


def test_columns():
    question = named("`questions.parquet`: all")
    assert question == records.columns(records.Question)
    assert named("`votes.parquet`: one") == records.columns(records.VotedQuestion)
    assert named("`decisions.parquet`: what") == records.columns(records.Decision)
    assert named("`solver_train.parquet` and") == records.columns(records.SolverRow)
    assert named("`answers.parquet`: one") == records.columns(records.Answered)


def test_what_grading_cost():
    (sentence,) = (part for part in RUN_DIRECTORY.split("\n\n") if part.startswith("`grading` is what"))
    assert set(words(sentence)) == {"grading", *(field.name for field in fields(GradingCounts))}


def test_files_of_a_stage():
    text = " ".join(" ".join(row) for row in rows("In each are"))
    files = [run_dir.DONE, run_dir.MANIFEST, run_dir.RESULT, run_dir.LOG, "progress.json", run_dir.FAILED, "parts/"]
    assert named("In each are") == files
    assert ", ".join(field.name for field in fields(run_dir.Manifest)) in text
    assert ", ".join(field.name for field in fields(Position)) in text


def test_the_report(tmp_path):
    (tmp_path / "round_1").mkdir()
    content = report.build(tmp_path, settings.load(["rounds=1"]))
    outline = dict(re.findall(r"^(settings|base|rounds|best_round|alarms) +(.+)$", RUN_DIRECTORY, re.MULTILINE))
    assert list(content) == list(outline)
    assert list(content["base"]) == outline["base"].split(", ")
    assert list(content["rounds"][0]) == outline["rounds"].removeprefix("a list: ").split(", ")


def test_the_table_of_benchmarks():
    page = (ROOT / "docs/evaluation.md").read_text(encoding="utf-8")
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in page.splitlines()]
    found = {line[0].strip("`"): line[1:] for line in lines if len(line) == 7 and line[0].startswith("`")}
    assert list(found) == list(benchmarks.TABLE)
    for name, (hub, split, size, columns, grader, k) in found.items():
        row = benchmarks.TABLE[name]
        assert hub == ", ".join(filter(None, [row.hub, row.subset]))
        assert (split, size, grader, k) == (row.split, f"{row.size:,}", row.grader, str(row.k))
        assert re.sub(r" \(.*?\)", "", columns).split(", ") == [*filter(None, [row.question, row.options, row.answer])]


def test_reasons_of_rejection():
    sentence = next(line for line in RUN_DIRECTORY.split("\n\n") if line.startswith("Reasons of rejection"))
    assert tuple(words(sentence)[: len(curation.REASONS)]) == curation.REASONS


def test_all_that_we_rely_on_inside_verl_is_told():
    page = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if re.match(r"\| `[a-z_./]+py", line)]
    told = [f"| `{each.ours}` | `{name}` in `{module}` | {each.use} |" for each, (module, name) in RELIED_ON]
    assert rows == told


def test_numbers_of_a_step():
    """The trainer is read and not imported, which would take seconds."""
    source = (ROOT / "verl_rzero/engine/trainer.py").read_text(encoding="utf-8")
    assigned = {
        ast.unparse(node.targets[0]): node.value for node in ast.parse(source).body if isinstance(node, ast.Assign)
    }
    counted = (ROOT / "verl_rzero/grading/counts.py").read_text(encoding="utf-8")
    judged = (ROOT / "verl_rzero/engine/batch_rewards.py").read_text(encoding="utf-8")
    ours = [
        *re.findall(r'"rzero/(\w+)"', source + counted),
        *re.findall(r'"(\w+)": _mean|"(\w+)": (?:len|float)\(', judged),
    ]
    ours = {name for found in ours for name in ([found] if isinstance(found, str) else found) if name}
    row = {"role": ["propose", "solve"], "kind": ["deduction"] * 2, "has_form": [True] * 2, "passed": [True] * 2}
    numbers = SelfPlayNumbers(SimpleNamespace(buffers=TaskBuffers(1), program_seconds=1.0))
    ours |= {*numbers({**row, "solved": [0.5, -1.0]}, 1).numbers}
    given = {"step", "reward_mean", *ast.literal_eval(assigned["METRIC_NAMES"]).values(), *ours}
    assert {*named("A step, here")} == given


def test_what_may_change_between_starts():
    # Else they do nothing, and no stage depends on them.
    asked = settings.load(
        ["lora.rank=8", "solver.towards_start=0.5", "challenger.kl_times=3", "sampling.wait_for=0.9"]
        + ["solver.steps_times=2"]
    )
    leaves = schema.flat(settings.as_dict(asked))
    free = leaves.keys() - run_dir.chosen_settings(asked, plan.ALL_DEPENDS).keys() - {"run_dir", "dry_run"}
    sentence = RUN_DIRECTORY.partition("Free to change between starts:")[2].partition("; not")[0]
    named_or_below = lambda key: any(key == word or key.startswith(f"{word}.") for word in words(sentence))  # noqa: E731
    assert {key for key in leaves if named_or_below(key)} == free
