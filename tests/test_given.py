"""Questions that a run is given without labels, and what is refused before anything starts."""

import json

import pytest

from verl_rzero import settings
from verl_rzero.base.errors import UserError
from verl_rzero.data import given
from verl_rzero.data.given import GivenQuestion, read_given
from verl_rzero.methods import plan
from verl_rzero.methods.inputs import StageInputs
from verl_rzero.methods.work import given_questions
from verl_rzero.rules.solver_data import as_often_as_needed


def file_of(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_answers_may_be_missing(tmp_path):
    rows = [{"question": " 1+2 ", "answer": 3}, {"question": "3+4"}, {"question": "5+6", "answer": ""}]
    found = read_given(file_of(tmp_path / "q.jsonl", rows))
    assert found == [GivenQuestion("1+2", "3"), GivenQuestion("3+4", None), GivenQuestion("5+6", None)]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "it holds no rows"),
        ('{"question": "1"}\n{"text": "2"}\n', "row 2 has no question, but text"),
        ('{"question": " "}\n', "row 1 has no question"),
        ("[1]\n", "line 1 is not a JSON object"),
        ("question,answer\n", "line 1 is not JSON"),
    ],
)
def test_what_cannot_be_trained_on_is_refused(tmp_path, text, says):
    path = tmp_path / "q.jsonl"
    path.write_text(text)
    with pytest.raises(UserError, match=says):
        given.check(asked(path))


def asked(path, *words):
    return settings.load(["method=ttrl", "model=ttrl_tiny", f"data={path}", "too_few=stop", *words])


def test_too_few_for_a_batch_are_refused_unless_that_is_asked_for(tmp_path, capsys):
    path = file_of(tmp_path / "q.jsonl", [{"question": "1+2", "answer": "3"}, {"question": "2+3"}])
    with pytest.raises(UserError, match=r"solver.batch_size=32: .* holds only 2. Write solver.batch_size=2"):
        given.check(asked(path))
    given.check(asked(path, "too_few=repeat"))
    assert "2 from" in capsys.readouterr().out


@pytest.mark.parametrize(("count", "at_least", "expected"), [(3, 8, 9), (3, 3, 3), (3, 1, 3)])
def test_questions_come_as_often_as_a_batch_needs(count, at_least, expected):
    asked_for = [GivenQuestion(str(i), None) for i in range(count)]
    repeated = as_often_as_needed(asked_for, at_least)
    assert len(repeated) == expected
    assert repeated[:count] == asked_for


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["data=null"], "data=null: there are no questions to train on"),
        (["data=nowhere.jsonl"], "no such file, and no such benchmark .tiny, unlabelled."),
        (["data=mmlu_pro", "evaluation.benchmarks.mmlu_pro={}"], "not numbers to vote on"),
        (["ttrl.votes=4"], "ttrl.votes=4: solver.rollouts=8 of them are trained on. Write ttrl.votes=8 or more"),
        (["solver.format_weight=0.1"], "solver.format_weight=0.1: where answers vote, nothing is given for a form"),
        ([f"anchors.path={__file__}", "anchors.share=0.1"], "human examples have no place among questions"),
        (["ttrl.vote_by=texts"], "ttrl.vote_by=texts: not one of equality, text"),
        (["algorithm=ttlr"], "Write algorithm=ttrl"),
    ],
)
def test_what_cannot_be_set_is_refused(words, says):
    with pytest.raises(UserError, match=says):
        settings.load(["method=ttrl", "model=ttrl_tiny", *words])


def test_how_questions_fill_a_batch_is_among_what_its_training_depends_on():
    words = ["method=ttrl", "model=ttrl_tiny", "rounds=1"]
    before, after = settings.load(words), settings.load([*words, "too_few=shrink"])
    differing = [s.id for s in plan.plan(before) if plan.settings_hash(s, before) != plan.settings_hash(s, after)]
    assert differing == ["round_1/solver"]


def test_questions_are_for_ttrl_only(tmp_path):
    with pytest.raises(UserError, match="algorithm=rzero asks its own questions. Write method=ttrl"):
        settings.load([f"data={file_of(tmp_path / 'q.jsonl', [])}"])


def test_a_ttrl_run_trains_on_the_given_file_and_looks_in_between(tmp_path):
    path = file_of(tmp_path / "q.jsonl", [{"question": "1+2"}])
    chosen = asked(path, f"run_dir={tmp_path}/run", "rounds=2", "too_few=repeat")
    assert [stage.id for stage in plan.plan(chosen)] == [
        "base/model", "base/evaluation", "round_1/solver", "round_1/evaluation", "round_2/solver", "round_2/evaluation",
    ]  # fmt: skip
    inputs = {stage.id: stage.inputs for stage in plan.plan(chosen)}
    assert inputs["round_1/solver"] == ("base/model",)
    assert inputs["round_2/solver"] == ("base/model", "round_1/solver")
    (tmp_path / "run").mkdir()
    settings.save(chosen, tmp_path / "run/settings.yaml")
    assert given_questions(StageInputs(tmp_path / "run", "round_1/solver")) == [GivenQuestion("1+2", None)]


def test_each_round_has_all_questions_in_an_order_of_its_own(tmp_path):
    path = file_of(tmp_path / "q.jsonl", [{"question": f"{i}+2"} for i in range(20)])
    chosen = asked(path, f"run_dir={tmp_path}/run", "rounds=2", "too_few=repeat")
    (tmp_path / "run").mkdir()
    settings.save(chosen, tmp_path / "run/settings.yaml")
    first, again, second = (given_questions(StageInputs(tmp_path / "run", f"round_{i}/solver")) for i in (1, 1, 2))
    assert first == again
    assert first != second
    assert {item.question for item in first} == {item.question for item in second} == {f"{i}+2" for i in range(20)}
