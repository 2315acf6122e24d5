"""The audit of a small run whose replies are already there, or come from a fake engine or endpoint."""

import asyncio
from dataclasses import replace
from pathlib import Path

import made_run
import pytest
from judge_server import endpoint
from test_evaluation import Engine
from test_stage import voted

from verl_rzero import settings
from verl_rzero.base.errors import UserError
from verl_rzero.base.files import write_json
from verl_rzero.data import records, run_dir
from verl_rzero.data.records import Decision, VotedQuestion
from verl_rzero.evaluation import audit, store, work
from verl_rzero.evaluation import audit_command as command

ASKED = settings.load(["rounds=3", "votes=2"])


@pytest.fixture
def run(tmp_path):
    """Two rounds; of round 1 the questions 0, 1, 2 were kept, of round 2 the questions 0 and 1.

    Labels are all 7. Truths are 7, 8, 7 in round 1, in round 2 unknown and 8.
    """
    here = tmp_path / "run"
    settings.save(replace(ASKED, run_dir=str(here)), make(here) / "settings.yaml")
    truths = {1: ["7", "8", "7", "9"], 2: [None, "8"]}
    kept = {1: [0, 1, 2], 2: [0, 1]}
    for t in (1, 2):
        asked = [replace(voted(i, 5, truth=truth), round=t) for i, truth in enumerate(truths[t])]
        records.write(make(here / f"round_{t}/votes") / "votes.parquet", asked, VotedQuestion)
        decisions = [
            Decision(item.id, *(("kept", None) if item.id in kept[t] else ("rejected", "below_band"))) for item in asked
        ]
        records.write(make(here / f"round_{t}/curation") / "decisions.parquet", decisions, Decision)
        model(here / f"round_{t}/solver", t)
        (here / f"round_{t}/solver/DONE").touch()
    model(here / "base/model", 0)
    return here


def make(path: Path) -> Path:
    path.mkdir(parents=True)
    return path


def model(stage: Path, t: int) -> None:
    (make(stage / "model") / "model.safetensors").write_text(f"weights {t}")
    (stage / "model/config.json").write_text("{}")
    write_json(stage / "result.json", {"model": "model"})


@pytest.fixture
def engines(monkeypatch):
    """In place of the process that asks a model: a fake engine; Solver t answers 7 to what the number t is below."""
    started = []

    def answer(asked, path, benchmarks, to, title):
        here = to / store.model_key(path)
        places = store.prepare(asked, path, benchmarks, here)
        if not all(place.answered for place in places):
            strength = int((Path(path) / "model.safetensors").read_text().split()[-1])
            started.append((title, strength))

            def says(question: str, temperature: float, seed: int | None) -> str:
                greedy_of_the_strong = strength == 9 and not temperature  # what counts there is the majority
                return r"\boxed{7}" if int(question[0]) < strength and not greedy_of_the_strong else r"\boxed{8}"

            async def start(*_):
                return Engine(says)

            asyncio.run(work.work(here, start))
        return places

    monkeypatch.setattr(store, "ask_missing", answer)
    return started


def test_known_truth(run, engines):
    content = audit.audit(run, settings.read(run / run_dir.SETTINGS), "truth", 200)
    first, second = content["rounds"]
    assert (first["round"], first["kept"], first["questions"], first["known"]) == (1, 3, 3, 3)
    assert first["label_accuracy"] == 2 / 3  # question 3 was not kept
    assert first["label_accuracy_interval"] == pytest.approx([0.2077, 0.9385], abs=1e-4)  # Wilson of 2 in 3
    assert first["mean_agreement"] == 0.5
    assert (second["questions"], second["known"], second["label_accuracy"]) == (2, 1, 0.0)
    # Questions 0, 1, 2 with truths 7, 8, 7; Solver 0 says 8 8 8, Solver 1 says 7 8 8, Solver 2 says 7 7 8.
    assert content["solvers"] == [0, 1, 2]
    assert content["matrix"] == [[1 / 3, 1.0], [2 / 3, 1.0], [1 / 3, 0.0]]
    assert [title for title, _ in engines] == [f"audit: Solver {t}" for t in (0, 1, 2)]
    assert audit.audit(run, settings.read(run / run_dir.SETTINGS), "truth", 200) == content
    assert len(engines) == 3  # nothing is asked twice


def test_a_stronger_model_s_majority(run, engines, tmp_path):
    model(tmp_path / "strong", 9)  # it says 7 to everything, so that all labels are right
    content = audit.audit(run, settings.read(run / run_dir.SETTINGS), str(tmp_path / "strong/model"), 200)
    assert [each["label_accuracy"] for each in content["rounds"]] == [1.0, 1.0]
    assert content["matrix"] == [[0.0, 0.0], [1 / 3, 0.5], [2 / 3, 1.0]]
    assert [strength for _, strength in engines] == [9, 9, 0, 1, 2]


def test_an_endpoint_as_the_oracle(run, engines):
    def reply(number, body):
        question = body["messages"][-1]["content"]
        return (200, r"so \boxed{8}") if question == "1+1" else (400, "no")

    with endpoint(reply) as server:
        words = [str(run), "oracle=judge", f"evaluation.judge.url={server.url}", "evaluation.judge.model=m", "n=2"]
        path, asked, oracle, n = command.request(words)
        content = audit.audit(path, asked, oracle, n)
    assert [each["questions"] for each in content["rounds"]] == [2, 2]
    assert sum(each["known"] for each in content["rounds"]) == 1 + ("1+1" in [q.question for q in drawn(run, 1)])
    assert content["rounds"][1]["label_accuracy"] == 0.0


def drawn(run, t):
    """The two questions of round 1 that an audit with n=2 takes."""
    from random import Random

    return Random(f"audit 0 {t}").sample(audit.kept_questions(run, t), 2)


def test_the_command_writes_the_audit_and_shows_it(run, engines, capsys):
    assert command.main([str(run)]) == 0
    shown = capsys.readouterr().out
    assert "labels right" in shown
    assert "0.667 [0.208, 0.939]" in shown
    assert "Solver 2 right" in shown
    assert (run / "audit.json").is_file()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "one directory of a run"),
        (["/nowhere"], "one directory of a run"),
        (["RUN", "n=0"], "n=0"),
        (["RUN", "orcale=truth"], "orcale: there is no such key. Did you mean oracle"),
        (["RUN", "oracle=judge"], "there is no judge"),
        (["RUN", "oracle=/nowhere"], "no model directory"),
        (["RUN", "evaluation.judge.url=http://x/v1"], "evaluation.judge.model=null"),
    ],
)
def test_what_cannot_be_audited_is_refused(run, capsys, words, message):
    assert command.main([str(run) if word == "RUN" else word for word in words]) == 2
    assert message in capsys.readouterr().err


def test_a_ttrl_run_is_refused_and_left_as_it_is(tmp_path, capsys):
    made_run.ttrl(tmp_path / "given", [0.4, 0.5])
    before = sorted(tmp_path.rglob("*"))
    assert command.main([str(tmp_path / "given")]) == 2
    said = capsys.readouterr().err
    assert f"error: {tmp_path}/given: a run of TTRL keeps no votes, so there are no labels to audit" in said
    assert said.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_a_run_without_a_round_is_refused(run, engines):
    for t in (1, 2):
        (run / f"round_{t}/solver/DONE").unlink()
    with pytest.raises(UserError, match="no round is done"):
        audit.audit(run, settings.read(run / run_dir.SETTINGS), "truth", 200)


def test_an_oracle_that_knows_nothing_is_refused(run, engines):
    path = run / "round_1/votes/votes.parquet"
    records.write(path, [replace(item, truth=None) for item in records.read(path, VotedQuestion)], VotedQuestion)
    path = run / "round_2/votes/votes.parquet"
    records.write(path, [replace(item, truth=None) for item in records.read(path, VotedQuestion)], VotedQuestion)
    with pytest.raises(UserError, match="oracle=truth knows the answer to none"):
        audit.audit(run, settings.read(run / run_dir.SETTINGS), "truth", 200)
    assert engines == []


def test_the_questions_are_the_same_every_time_and_no_more_than_n(run, engines):
    asked = settings.read(run / run_dir.SETTINGS)
    contents = [audit.audit(run, asked, "truth", 2) for _ in range(2)]
    assert contents[0] == contents[1]
    assert contents[0]["rounds"][0]["questions"] == 2
    assert contents[0]["rounds"][0]["kept"] == 3
