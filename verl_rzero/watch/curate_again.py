"""A round's votes curated anew, without any engine: `python -m verl_rzero.curate <run> round=2 [key=value ...]`."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from verl_rzero import settings
from verl_rzero.base.command_line import whole_number
from verl_rzero.base.errors import UserError
from verl_rzero.base.files import write_json
from verl_rzero.base.tables import aligned
from verl_rzero.data import records, run_dir
from verl_rzero.data.outputs import kept_before, label_accuracy, votes_in
from verl_rzero.data.records import Decision, SolverRow, VotedQuestion
from verl_rzero.data.run_words import run_and_options
from verl_rzero.methods import plan
from verl_rzero.rules import curation, solver_data
from verl_rzero.settings import Curation, Settings

HELP = """\
Curate a round's votes anew and see what each rule takes. No engine is started, and the run stays as it is.

  python -m verl_rzero.curate <run> round=2                                  the run's own rules
  python -m verl_rzero.curate <run> round=2 band=[0.3,0.8] curation.min_margin_ratio=1.6
  python -m verl_rzero.curate <run> round=2 curation.duplicates=drop to=<dir>     also write the questions that are kept

Keys: round, to, band and curation.* but replay_share (python -m verl_rzero.coevolve --help says what they mean).
What is written holds the round's own questions: none that a run replays, repeats or takes from people.
"""

OWN = ("round", "to")
CURATION = tuple(f"curation.{field.name}" for field in dataclasses.fields(Curation) if field.name != "replay_share")

RULES: dict[str, tuple[str, ...]] = {
    "ill_posed": ("ill_posed_share",),
    "few_answers": ("min_answered",),
    "length": ("question_chars",),
    "dropped_text": ("drop_questions_with", "drop_labels_with"),
    "below_band": ("band",),
    "above_band": ("band",),
    "below_rank": ("rank_band",),
    "above_rank": ("rank_band",),
    "small_margin": ("min_margin", "min_margin_ratio"),
    "duplicate": ("duplicates",),
}
"""The arguments of `curation.curate` that each reason comes from; no_answer always holds."""


def curate_again(run: Path, round_: int, asked: Settings, to: Path | None) -> str:
    """What the rules of `asked` make of the round's votes, as lines for the terminal; `to` takes what they keep.

    Raises:
        UserError: the round has no votes yet, or `to` is not an empty directory.
    """
    votes = _votes(run, round_)
    looks_back = asked.curation.duplicates == "drop_across_rounds"
    earlier = [item.question for item in kept_before(run, round_)] if looks_back else []
    rules = curation.rules(asked)
    curated = curation.curate(votes, **rules, earlier=earlier)
    rows = [["", "first to reject", "rejects by itself"]]
    for reason in curation.REASONS:
        alone = _alone(votes, rules, reason, earlier)
        if curated.rejected[reason] or alone:
            rows.append([reason, str(curated.rejected[reason]), str(alone)])
    rows.append(["kept", str(len(curated.kept)), ""])
    rows += [[name, f"{value:.3f}", ""] for name, value in _of_kept(curated.kept).items()]
    if to is not None:
        _write(to, asked, votes, curated)
    return "\n".join([f"{run}: round {round_}, {len(votes)} voted questions", "", aligned(rows)])


def _alone(votes: list[VotedQuestion], rules: dict[str, Any], reason: str, earlier: list[str]) -> int:
    """How many questions the rule behind `reason` would reject if there were no other."""
    names = RULES.get(reason, ())
    only = {name: value for name, value in rules.items() if name in (*names, "denominator")}
    return curation.curate(votes, **{"band": (0.0, 1.0), **only}, earlier=earlier).rejected[reason]


def _of_kept(kept: list[VotedQuestion]) -> dict[str, float]:
    if not kept:
        return {}
    numbers = {"mean agreement of kept": sum(item.agreement for item in kept) / len(kept)}
    accuracy = label_accuracy(kept)
    return numbers if accuracy is None else {**numbers, "label accuracy of kept": accuracy}


def _votes(run: Path, round_: int) -> list[VotedQuestion]:
    path = run / f"round_{round_}/votes"
    if not run_dir.is_done(path):
        done = sorted(
            int(p.parent.name.removeprefix("round_")) for p in run.glob("round_*/votes") if run_dir.is_done(p)
        )
        raise UserError(f"{run}: round {round_} has no votes yet. Rounds that have: {done or 'none'}.")
    return votes_in(path)


def _write(to: Path, asked: Settings, votes: list[VotedQuestion], curated: curation.Curated) -> None:
    if to.exists() and not to.is_dir():
        raise UserError(f"to={to}: this is a file. Write to=<a new directory>.")
    if to.exists() and any(to.iterdir()):
        raise UserError(f"to={to}: this directory is not empty. Write to=<a new directory>.")
    to.mkdir(parents=True, exist_ok=True)
    records.write(to / "decisions.parquet", curation.decisions(votes, curated), Decision)
    rows = solver_data.kept_rows(asked, curated.kept)
    records.write(to / "solver_train.parquet", solver_data.copied(rows, 0) if rows else [], SolverRow)
    write_json(to / "rules.json", {"kept": len(curated.kept), "rejected": curated.rejected, **curation.rules(asked)})


def main(words: Sequence[str]) -> None:
    """Do what the words say. Raises UserError."""
    overrides = [word for word in words if word.startswith(("band=", "curation."))]
    run, own = run_and_options([word for word in words if word not in overrides], (*OWN, "band", *CURATION))
    its_own = settings.recall(run / run_dir.SETTINGS)
    if any(word.startswith("curation.replay_share=") for word in overrides):
        raise UserError("curation.replay_share: only the round's own questions are looked at here. Leave it out.")
    method = plan.method(its_own)
    if not method.has("votes"):
        raise UserError(f"{run}: a run of {method.title} keeps no votes, so there is nothing to curate.")
    if "round" not in own:
        raise UserError("Write round=<number of a round>.")
    asked = settings.changed(its_own, overrides)
    to = Path(own["to"]).expanduser() if "to" in own else None
    print(curate_again(run, whole_number("round", own["round"]), asked, to))
