"""Run directories with made-up results, in the files and columns of real ones."""

import json
from collections.abc import Callable
from pathlib import Path

from verl_rzero import settings
from verl_rzero.data import records, run_dir
from verl_rzero.rules import curation
from verl_rzero.rules.code_tasks import KINDS
from verl_rzero.rules.voting import agreement_histogram, vote
from verl_rzero.watch import report

BAND = (0.25, 0.75)

Asked = tuple[str, str | None, list[str], list[str | None]]
"""Of one question: the Challenger's whole text, the question in it, the Solver's replies and their answers."""


def asked(question: str, *answers: str | None) -> Asked:
    """A question whose answers are given, with plain texts around them."""
    replies = ["I don't know" if answer is None else f"So it is \\boxed{{{answer}}}" for answer in answers]
    return f"<question>{question}</question>\n\n\\boxed{{0}}", question, replies, list(answers)


def done(run: Path, stage: str, result: dict, seconds: float = 10.0) -> Path:
    here = run / stage
    here.mkdir(parents=True, exist_ok=True)
    (here / "result.json").write_text(json.dumps(result))
    at = "2026-11-20T15:33:57+00:00"
    made = run_dir.Manifest(stage, "0" * 16, {}, [], 0, {}, "c0de", {"verl": "0.9.1"}, at, at, seconds)
    run_dir.finish_stage(here, made)
    return here


def base(run: Path, greedy: float, overrides: list[str]) -> None:
    run.mkdir(parents=True, exist_ok=True)
    settings.save(settings.load([f"run_dir='{run}'", *overrides]), run / "settings.yaml")
    done(run, "base/model", {"model": "model"})
    done(run, "base/evaluation", scores(greedy))


def scores(greedy: float) -> dict:
    return {"tiny": {"greedy": greedy, "mean_at_k": greedy - 0.05, "k": 8, "n": 500}}


def steps(count: int) -> list[dict]:
    return [{"step": n, "reward_mean": 0.1 * n, "kl": 0.01 * n, "seconds_rollout": 1.5} for n in range(1, count + 1)]


def a_round(
    run: Path,
    number: int,
    questions: list[Asked],
    greedy: float,
    *,
    until: str = "evaluation",
    truth: Callable[[str], str | None] = lambda question: None,
) -> None:
    """Round `number` with these questions, its stages done up to and with `until`."""
    here = run / f"round_{number}"
    voted: list[records.VotedQuestion] = []
    for kind in ("challenger", "questions", "votes", "curation", "solver", "evaluation"):
        stage = here / kind
        stage.mkdir(parents=True, exist_ok=True)
        if kind == "questions":
            records.write(stage / "questions.parquet", _questions(number, questions), records.Question)
        if kind == "votes":
            voted = _voted(number, questions, truth)
            records.write(stage / "votes.parquet", voted, records.VotedQuestion)
        if kind == "curation":
            made = curation.decisions(voted, curation.curate(voted, band=BAND))
            records.write(stage / "decisions.parquet", made, records.Decision)
        done(run, f"round_{number}/{kind}", _result(kind, questions, voted, greedy))
        if kind == until:
            return


def ttrl(run: Path, greedy_R: list[float | None], *, rounds: int = 2, known: bool = True) -> None:
    """A run of TTRL on the benchmark `unlabelled`, which scores 0.1 more than the other one.

    `greedy_R` is the accuracy of the base model and of each done round; of a last None only the Solver is done. The
    true answers of the given questions are `known`, or not.
    """
    base(run, greedy_R[0], ["model=ttrl_tiny", "method=ttrl", f"rounds={rounds}"])
    done(run, "base/evaluation", ttrl_scores(greedy_R[0]))
    for number, greedy in enumerate(greedy_R[1:], 1):
        done(run, f"round_{number}/solver", {"model": "model", "steps": ttrl_steps(3, known)})
        if greedy is not None:
            done(run, f"round_{number}/evaluation", ttrl_scores(greedy))


def ttrl_scores(greedy: float) -> dict:
    return {**scores(greedy), "unlabelled": scores(greedy + 0.1)["tiny"]}


def ttrl_steps(count: int, known: bool) -> list[dict]:
    """As many; the majority's share rises evenly to 1/4."""
    votes = {"answered_share": 1.0, "distinct_answers": 4.0, "vote_entropy": 1.2}
    truth = {"label_accuracy": 0.5, "reward_accuracy": 0.75, "lucky_reward_accuracy": 0.6} if known else {}
    shares = [{"agreement_mean": 0.25 * n / count} for n in range(1, count + 1)]
    return [{**step, **share, **votes, **truth} for step, share in zip(steps(count), shares, strict=True)]


def absolute_zero(run: Path, greedy_R: list[float], tasks: list[records.ProposedTask]) -> None:
    """A run of Absolute Zero on three benchmarks of one score; every round proposed these tasks."""
    benchmarks = [f"+evaluation.benchmarks.{kind}={{path: {run}/{kind}.parquet}}" for kind in KINDS]
    run.mkdir(parents=True)
    for kind in KINDS:
        (run / f"{kind}.parquet").touch()
    words = ["model=small", f"model.path={run}", "method=absolute_zero", f"rounds={len(greedy_R) - 1}", *benchmarks]
    base(run, greedy_R[0], words)
    done(run, "base/evaluation", {kind: scores(greedy_R[0])["tiny"] for kind in KINDS})
    done(run, "base/seeds", {"proposed": 20, "deduction": 8})
    for number, greedy in enumerate(greedy_R[1:], 1):
        here = done(run, f"round_{number}/solver", {"model": "model", "steps": self_play_steps(3)})
        records.write(here / "tasks.parquet", tasks, records.ProposedTask)
        done(run, f"round_{number}/evaluation", {kind: scores(greedy)["tiny"] for kind in KINDS})


def self_play_steps(count: int) -> list[dict]:
    """As many; three in four proposals are valid, two in five of their solutions right."""
    of_all = {
        "answered_share": 1.0,
        "right_share": 0.5,
        "well_formed_share": 0.75,
        "solve_rate": 0.4,
        "learnability": 0.3,
    }
    of_kind = {"right_share": 0.5, "valid_share": 0.75, "solve_rate": 0.4, "learnability": 0.3, "buffer": 32.0}
    own = {f"{kind}_{name}": value for kind in KINDS for name, value in of_kind.items()}
    return [{**step, **of_all, **own} for step in steps(count)]


def write_report(run: Path) -> dict:
    return report.write(run, settings.read(run / "settings.yaml"))


def _questions(number: int, questions: list[Asked]) -> list[records.Question]:
    return [
        records.Question(id, number, raw, question, None, question is not None, id, "c")
        for id, (raw, question, _, _) in enumerate(questions)
    ]


def _voted(number: int, questions: list[Asked], truth: Callable) -> list[records.VotedQuestion]:
    voted = []
    for id, (_, question, replies, answers) in enumerate(questions):
        if question is not None:
            won = vote(answers, lambda a, b: a == b)
            voted.append(
                records.VotedQuestion(
                    id, number, question, replies, answers, list(won.classes), won.label, won.agreement, won.margin,
                    won.answered, id, "s", truth(question),
                )
            )  # fmt: skip
    return voted


def _result(kind: str, questions: list[Asked], voted: list[records.VotedQuestion], greedy: float) -> dict:
    well_formed = [question for _, question, _, _ in questions if question is not None]
    if kind == "questions":
        return {"generated": len(questions), "well_formed": len(well_formed), "distinct": len({*well_formed})}
    if kind == "votes":
        numbers = {"mean_agreement": 0.5, "answered_share": 1.0, "pseudo_label_accuracy": 0.75}
        counts = agreement_histogram([item.agreement for item in voted], max(len(item.raws) for item in voted))
        return {"questions": len(well_formed), "agreement_histogram": counts, **numbers}
    if kind == "curation":
        made = curation.curate(voted, band=BAND)
        return {"kept": len(made.kept), "rejected": made.rejected, "kept_label_accuracy": 0.5}
    return scores(greedy) if kind == "evaluation" else {"model": "model", "steps": steps(4)}
