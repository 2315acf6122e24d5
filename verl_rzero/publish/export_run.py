"""A model of a run and what it learned from, for others: `python -m verl_rzero.export <run> round=3 to=<directory>`."""

import hashlib
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from verl_rzero import settings
from verl_rzero.base import command_line
from verl_rzero.base.errors import UserError, refusal
from verl_rzero.base.files import read_json, write_atomically, write_json
from verl_rzero.data import records, run_dir, run_words
from verl_rzero.data.outputs import model_of
from verl_rzero.engine.checkpoints import make_portable
from verl_rzero.methods import plan
from verl_rzero.publish import cards, dataset_card, hub, lineage, words
from verl_rzero.publish.cards import Exported

USAGE = """\
A model of a run as a Hugging Face directory, with its card, and all questions and votes it comes from as a dataset
(not of a TTRL run, whose questions are given and whose votes aren't kept).

  python -m verl_rzero.export <run> round=3 to=<directory> [key=value ...]

  round=3|best           the round whose model it is; best: as report.json says
  to=<directory>         gets model/ and dataset/; new, empty, or made by this command before
  role=solver            or challenger
  license=apache-2.0     the licence you give it, as the Hub abbreviates it; left open in the cards without it
  base_model=owner/name  what the base model is called on the Hub, where the run has it from a local directory

  push=true to=owner/name   prepare it in <run>/export/, then upload it: model owner/name, dataset owner/name-questions
  private=true              false makes both public
"""

KEYS = ("round", "to", "push", "role", "license", "base_model", "private")
PARTS = ("model", "dataset")
EXAMPLE_CHARS = 1000
"""A longer question of the run is no example for a card."""


def export(run: Path, made: Exported, to: Path) -> None:
    """Write `to`/model and, of a run that has one, `to`/dataset.

    Raises UserError where `to` holds anything that isn't this command's.
    """
    check_target(to)
    source = trained_model(run, made.round, made.role)
    facts = {"role": made.role, "round": made.round, "weights": _hash_of(made), "code_version": made.code_version}
    to.mkdir(parents=True, exist_ok=True)
    _write_part(to / "model", cards.model_card(made), facts, lambda here: _copy_model(run, source, here))
    if made.has_dataset:
        _write_part(to / "dataset", dataset_card.dataset_card(made), facts, lambda here: write_dataset(run, made, here))
    elif (to / "dataset").exists():
        shutil.rmtree(to / "dataset")  # another run's, by this command


def _write_part(target: Path, card: str, facts: dict[str, Any], fill: Callable[[Path], None]) -> None:
    """Replace `target` by a directory that is complete."""
    partial = target.with_name(f".{target.name}.partial")
    if partial.exists():
        shutil.rmtree(partial)
    partial.mkdir()
    fill(partial)
    write_atomically(partial / "README.md", card)
    write_json(partial / hub.MARK, {"made_by": "verl_rzero.export", **facts, "card_sha256": _sha256(card)})
    if target.exists():
        shutil.rmtree(target)
    partial.rename(target)


def check_target(to: Path) -> None:
    """Raises UserError where `to` holds something that was not made by this command, or a card edited since."""
    if to.exists() and not to.is_dir():
        raise refusal("to", to, "this is a file", "Write to=<a new directory>.")
    ours = {*PARTS, *(f".{part}.partial" for part in PARTS)}
    for entry in sorted(to.iterdir()) if to.is_dir() else ():
        mark = entry / hub.MARK
        if entry.name not in ours or (entry.name in PARTS and not mark.is_file()):
            why = f"{entry.name} in it was not made by this command"
            raise refusal("to", to, why, "Write to=<a new directory>.")
        if entry.name in PARTS and _sha256(_card_text(entry)) != read_json(mark)["card_sha256"]:
            why = f"{entry.name}/README.md was edited since it was made"
            raise refusal("to", to, why, "Write to=<a new directory>, or delete this one.")


def _card_text(part: Path) -> str:
    path = part / "README.md"
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def trained_model(run: Path, number: int, role: str) -> Path:
    """The directory of a model that was trained in this round; raises UserError where none was."""
    stage_dir = run / f"round_{number}" / role
    if not run_dir.is_done(stage_dir):
        have = [str(n) for n in range(1, 1 + len(list(run.glob("round_*")))) if _is_done(run, n, role)]
        instead = f"Done are: {', '.join(have)}." if have else "No round has one yet."
        raise refusal("round", number, f"the {role} of this round is not done", instead)
    model = model_of(stage_dir)
    if Path(model) != stage_dir / "model":
        raise refusal("role", role, f"it was not trained in round {number}", f"It is still {model}.")
    if not (stage_dir / "model/config.json").is_file():
        raise UserError(f"{stage_dir}/model: the model is no longer there.")
    return stage_dir / "model"


def _is_done(run: Path, number: int, role: str) -> bool:
    return run_dir.is_done(run / f"round_{number}" / role)


def _copy_model(run: Path, source: Path, here: Path) -> None:
    for path in sorted(source.iterdir()):
        if path.is_file():
            shutil.copyfile(path, here / path.name)
    make_portable(here, model_of(run / "base/model"))  # stages do so too; what leaves the machine must be


def write_dataset(run: Path, made: Exported, here: Path) -> None:
    """`questions/` and `votes/`, a parquet file for each round; the votes with what curation decided."""
    import pyarrow.parquet as pq

    for kind in ("questions", "votes"):
        (here / kind).mkdir()
    for number in range(1, made.round + 1):
        round_dir = run / f"round_{number}"
        name = f"round_{number}.parquet"
        pq.write_table(pq.read_table(round_dir / "questions/questions.parquet"), here / "questions" / name)
        _write_votes(round_dir, here / "votes" / name)


def _write_votes(round_dir: Path, to: Path) -> None:
    """The votes with what became of each, in the portions that they were written in."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = [pa.field("kept", pa.bool_()), pa.field("reason", pa.string())]
    reasons = iter(decisions(round_dir))
    votes = pq.ParquetFile(round_dir / "votes/votes.parquet")
    with votes, pq.ParquetWriter(to, pa.schema([*votes.schema_arrow, *columns])) as file:
        for group in range(votes.num_row_groups):
            table = votes.read_row_group(group)
            of_group = [next(reasons) for _ in range(len(table))]
            table = table.append_column(columns[0], pa.array([reason is None for reason in of_group], pa.bool_()))
            file.write_table(table.append_column(columns[1], pa.array(of_group, pa.string())))


def decisions(round_dir: Path) -> list[str | None]:
    """For each row of votes.parquet why curation did not keep it, None where it did."""
    import pyarrow.parquet as pq

    decided = records.read(round_dir / "curation/decisions.parquet", records.Decision)
    reasons = {item.id: item.reason for item in decided}
    return [reasons[id] for id in pq.read_table(round_dir / "votes/votes.parquet", columns=["id"])["id"].to_pylist()]


def gather(run: Path, options: Mapping[str, str], repo: str | None) -> Exported:
    """What the cards tell; raises UserError for what isn't there."""
    asked = settings.recall(run / run_dir.SETTINGS)
    role = command_line.choice(options, "role", ("solver", "challenger"))
    method = plan.method(asked)
    if not method.has(role):
        raise refusal("role", role, f"a run of {method.title} trains no {role.capitalize()}", "Write role=solver.")
    number = chosen_round(run, options)
    trained_model(run, number, role)
    if not _is_done(run, number, "solver"):
        raise refusal("round", number, "this round is not over", "Wait for its Solver, or take another round.")
    manifest = run_dir.manifest(run / f"round_{number}" / role)
    return Exported(
        settings=asked,
        role=role,
        round=number,
        lineage=lineage.lineage(run, number, method),
        code_version=manifest.code_version,
        packages=manifest.packages,
        base_model=options.get("base_model", _hub_name(run)),
        license=options.get("license"),
        repo=repo,
        **(_rows(run, number) if method.has("votes") else {"rows": {}, "example": words.EXAMPLE}),
    )


def _rows(run: Path, upto: int) -> dict[str, Any]:
    """Rows of each config, and the first question as an example."""
    import pyarrow.parquet as pq

    files = {
        kind: [run / f"round_{n}" / kind / f"{kind}.parquet" for n in range(1, upto + 1)]
        for kind in ("questions", "votes")
    }
    rows = {kind: sum(pq.read_metadata(path).num_rows for path in paths) for kind, paths in files.items()}
    example = next(pq.ParquetFile(files["votes"][-1]).iter_batches(1, columns=["question"]))["question"][0].as_py()
    return {"rows": rows, "example": example if len(example) <= EXAMPLE_CHARS else words.EXAMPLE}


def chosen_round(run: Path, options: Mapping[str, str]) -> int:
    """`round=` as a number; raises UserError."""
    text = options.get("round")
    if text is None:
        raise UserError("round: not set. Write round=3 or round=best.")
    if text == "best":
        path = run / run_dir.REPORT
        try:
            best = read_json(path).get("best_round") if path.is_file() else None
        except ValueError as error:
            raise UserError(f"{path} can't be read: {error}. The run's command writes it anew.") from error
        if best is None:
            raise refusal("round", text, f"{run_dir.REPORT} doesn't name a best round", "Write a number.")
        if best["round"] == 0:
            raise refusal("round", text, "the best is the base model itself, no round's", "Write a number.")
        return int(best["round"])
    return command_line.whole_number("round", text)


def _hub_name(run: Path) -> str | None:
    """The base model's name on the Hub, None where the run built it or has it from a directory."""
    named = str(model_of(run / "base/model"))
    return None if Path(named).is_absolute() else named


def _hash_of(made: Exported) -> str | None:
    last = made.lineage[-1]
    return last.solver if made.role == "solver" else last.challenger


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def main(words: Sequence[str]) -> None:
    """The command line; raises UserError."""
    run, options = run_words.run_and_options(words, KEYS)
    push = command_line.choice(options, "push", ("false", "true")) == "true"
    private = command_line.choice(options, "private", ("true", "false")) == "true"
    if "to" not in options:
        raise UserError("to: not set. Write to=<a new directory>.")
    to, repo = Path(options["to"]).expanduser(), None
    if push:
        repo = hub.checked_name(options["to"])
        hub.check_login()
        to = run / "export" / repo.replace("/", "__")
    made = gather(run, options, repo)
    export(run, made, to)
    print(f"model    {to / 'model'}")
    if made.has_dataset:
        print(f"dataset  {to / 'dataset'}")
    if made.license is None:
        print("The cards state no licence. Look up the base model's terms; license=<name> writes one into each card.")
    if repo is not None:
        print(hub.push(to / "model", repo, "model", private))
    if made.dataset_repo is not None:
        print(hub.push(to / "dataset", made.dataset_repo, "dataset", private))
