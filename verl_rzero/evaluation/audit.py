"""How hard the kept questions of each round were, and how many of their pseudo-labels are right, by an oracle.

The paper's analysis of difficulty: each round's pseudo-labels against an oracle's answers, and every Solver on every
round's questions.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from verl_rzero import settings
from verl_rzero.base.errors import UserError
from verl_rzero.data import records, run_dir
from verl_rzero.data.outputs import kept_questions, solver_of
from verl_rzero.data.records import VotedQuestion
from verl_rzero.evaluation import judge, store
from verl_rzero.evaluation.intervals import wilson
from verl_rzero.evaluation.load import load
from verl_rzero.grading.grader import Grader
from verl_rzero.rules.answers import last_boxed
from verl_rzero.rules.voting import vote
from verl_rzero.settings import Benchmark, Settings

Oracle = Callable[[Sequence[VotedQuestion], int], list[str | None]]
"""Of a round's questions and its number: the true answers, None where it knows none."""

SOLVE = "Please reason step by step, and put your final answer within \\boxed{}."
"""What a judge endpoint is asked when it is the oracle."""


@dataclass(frozen=True)
class Round:
    """The questions of one round that are audited: `questions` of the `kept`, with the oracle's answers."""

    number: int
    kept: int
    questions: list[VotedQuestion]
    answers: list[str | None]


def audit(run: Path, asked: Settings, oracle: str, n: int) -> dict[str, Any]:
    """The audit of every round that is done, as in `<run>/audit.json`.

    Args:
        oracle: "truth" (known to the run), "judge" (evaluation.judge answers the questions), or a model whose
            majority answers are taken for true.
        n: most questions taken of each round, at random but always the same.

    Raises:
        UserError: no round is done, or the oracle is not there.
        StageFailed: a model could not be asked.
    """
    finished = [t for t in range(1, asked.rounds + 1) if run_dir.is_done(run / f"round_{t}/solver")]
    if not finished:
        raise UserError(f"{run}: no round is done yet, so there is nothing to audit. Let the run do its first round.")
    (run / "audit").mkdir(exist_ok=True)
    know = _oracle(run, asked, oracle)
    rounds = []
    for t in finished:
        kept = kept_questions(run, t)
        drawn = Random(f"audit {asked.seed} {t}").sample(kept, min(n, len(kept)))
        rounds.append(Round(t, len(kept), drawn, know(drawn, t)))
    if not any(answer is not None for each in rounds for answer in each.answers):
        raise UserError(f"oracle={oracle} knows the answer to none of the questions. Write oracle=<model directory>.")
    grader = Grader(asked.grading.timeout_s)
    labels = [label_numbers(each, grader.same) for each in rounds]
    grader.close()
    solvers = [0, *finished]
    matrix = [_accuracies(run, asked, t, rounds) for t in solvers]
    return {"oracle": oracle, "n": n, "rounds": labels, "solvers": solvers, "matrix": matrix}


def label_numbers(audited: Round, same: Callable[[str, str], bool]) -> dict[str, Any]:
    """Accuracy of the pseudo-labels where the oracle knows the answer, with its 95 % interval."""
    known = [(q, a) for q, a in zip(audited.questions, audited.answers, strict=True) if a is not None]
    right = sum(question.label is not None and same(question.label, answer) for question, answer in known)
    return {
        "round": audited.number,
        "kept": audited.kept,
        "questions": len(audited.questions),
        "known": len(known),
        "label_accuracy": right / len(known) if known else None,
        "label_accuracy_interval": list(wilson(right / len(known), len(known))) if known else None,
        "mean_agreement": sum(question.agreement for question in audited.questions) / len(audited.questions),
    }


def _accuracies(run: Path, asked: Settings, solver: int, rounds: Sequence[Round]) -> list[float | None]:
    """Share of right greedy answers of S(solver) to the questions of each round; None where nothing is known."""
    known = [each for each in rounds if any(answer is not None for answer in each.answers)]
    rows = _replies(run, asked, solver_of(run, solver), known, f"audit: Solver {solver}", k=0)
    shares = {
        each.number: sum(row.right[0] for row in given) / len(given) for each, given in zip(known, rows, strict=True)
    }
    return [shares.get(each.number) for each in rounds]


def _replies(
    run: Path, asked: Settings, model: Path | str, rounds: Sequence[Round], title: str, *, k: int
) -> list[list[records.Answered]]:
    """A model's graded replies to the questions of each round that have an answer."""
    here = run / "audit"
    benchmarks = {f"round_{each.number}": here / f"round_{each.number}.parquet" for each in rounds}
    for each, path in zip(rounds, benchmarks.values(), strict=True):
        _write(path, each)
    chosen = {name: Benchmark(str(path), None, k, None) for name, path in benchmarks.items()}
    changed = settings.with_benchmarks(asked, chosen, asked.sampling.votes.temperature)
    loaded = [load(name, path, None) for name, path in benchmarks.items()]
    return [place.rows() for place in store.ask_missing(changed, model, loaded, here, title)]


def _write(path: Path, audited: Round) -> None:
    """The questions whose answer is known, as a benchmark file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    known = [(q.question, a) for q, a in zip(audited.questions, audited.answers, strict=True) if a is not None]
    questions, answers = zip(*known, strict=True)
    partial = path.with_suffix(".partial")
    pq.write_table(pa.table({"question": questions, "answer": answers}), partial)
    partial.replace(path)


def _oracle(run: Path, asked: Settings, oracle: str) -> Oracle:
    if oracle == "truth":
        return lambda questions, t: [item.truth for item in questions]
    if oracle == "judge":
        return _endpoint(asked)
    model = Path(oracle).expanduser().resolve()
    if not (model / "config.json").is_file():
        raise UserError(f"oracle={oracle}: no model directory. Write truth, judge, or a Hugging Face model directory.")

    def majority(questions: Sequence[VotedQuestion], t: int) -> list[str | None]:
        # Any answer may stand for the true one here: only the replies are used.
        whole = Round(t, len(questions), list(questions), ["0"] * len(questions))
        (rows,) = _replies(run, asked, model, [whole], f"audit: oracle, round {t}", k=asked.votes)
        grader = Grader(asked.grading.timeout_s)
        found = [vote(row.answers[1:], grader.same).label for row in rows]
        grader.close()
        return found

    return majority


def _endpoint(asked: Settings) -> Oracle:
    if asked.evaluation.judge.url is None:
        raise UserError("oracle=judge: there is no judge. Set evaluation.judge.url and evaluation.judge.model.")
    endpoint = judge.Endpoint(asked.evaluation.judge)

    def one(item: VotedQuestion) -> str | None:
        messages = [{"role": "system", "content": SOLVE}, {"role": "user", "content": item.question}]
        try:
            return last_boxed(endpoint.reply(messages))
        except judge.JudgeFailed:
            return None  # counted: `known` is then below `questions`

    def answers(questions: Sequence[VotedQuestion], t: int) -> list[str | None]:
        with ThreadPoolExecutor(asked.evaluation.judge.concurrency) as pool:
            return list(pool.map(one, questions))

    return answers


def rows_of_table(content: dict[str, Any]) -> list[list[str]]:
    """The audit as rows of cells: a column for each round's questions, a row for the labels and for each Solver."""
    rounds = content["rounds"]
    return [
        ["questions of", *(f"round {each['round']}" for each in rounds)],
        ["kept, audited, known", *(f"{each['kept']}, {each['questions']}, {each['known']}" for each in rounds)],
        ["mean agreement", *(_number(each["mean_agreement"]) for each in rounds)],
        ["labels right", *(_number(each["label_accuracy"], each["label_accuracy_interval"]) for each in rounds)],
        *(
            [f"Solver {solver} right" if solver else "base model right", *map(_number, row)]
            for solver, row in zip(content["solvers"], content["matrix"], strict=True)
        ),
    ]


def _number(value: float | None, interval: Sequence[float] | None = None) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" + (f" [{interval[0]:.3f}, {interval[1]:.3f}]" if interval else "")
