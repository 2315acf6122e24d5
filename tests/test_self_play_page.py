"""What a run of Absolute Zero tells: the page, the table, the alarms."""

import made_run
import pytest

from verl_rzero.data.records import ProposedTask
from verl_rzero.watch import monitors, report
from verl_rzero.watch.web import page

HOSTILE = "</script><img src=x onerror=hurt()>"
TASKS = [
    ProposedTask(1, "deduction", "def f(a):\n    return a + 1", ["41"], ["42"], "", True, None, 0.25, 0.75, "raw"),
    ProposedTask(1, "abduction", "", [], [], "", False, "nondeterministic", None, -0.5, HOSTILE),
    ProposedTask(2, "induction", "def f(a):\n    return a", ["1", "2"], ["1", "2"], HOSTILE, True, None, 1.0, 0.0, "r"),
]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    directory = tmp_path_factory.mktemp("made") / "zero"
    made_run.absolute_zero(directory, [0.2, 0.3, 0.5], TASKS)
    return directory


@pytest.fixture(scope="module")
def html(run):
    made_run.write_report(run)
    return page.write(run).read_text()


def test_the_page_shows_tasks_who_solved_them_and_what_they_earned(html):
    assert "Round 2, deduction: 1 of 1" in html
    assert "step 1, solved 25\u202f%, earned 0.75" in html
    assert "def f(a):\n    return a + 1" in html
    assert "f(41) = 42" in html
    assert "not valid: nondeterministic, earned -0.50" in html


def test_hostile_text_of_tasks_can_not_act(html):
    assert HOSTILE not in html
    assert html.count("&lt;/script&gt;&lt;img src=x onerror=hurt()&gt;") == 4  # two tasks in two rounds


def test_the_page_tells_the_story_by_kind(html):
    assert "Absolute Zero on <b>small</b>" in html
    for title in ("Solved by kind", "Valid proposals", "What proposals are worth", "Buffers"):
        assert title in html
    assert "75\u202f% and 75\u202f% of the model" in html
    assert 'id="challenger"' not in html


def test_the_table_has_a_row_a_round(run):
    lines = report.table(made_run.write_report(run)).splitlines()
    assert lines[0].split()[-4:] == ["valid", "solved", "learnability", "seconds"]
    assert lines[-1].split()[-4:-1] == ["0.750", "0.400", "0.300"]


def test_a_round_that_is_not_done_is_named(tmp_path):
    made_run.absolute_zero(tmp_path / "zero", [0.2, 0.3], TASKS)
    (tmp_path / "zero/round_1/evaluation/DONE").unlink()
    made_run.write_report(tmp_path / "zero")
    assert "round 1 of 1 is at evaluation" in page.write(tmp_path / "zero").read_text()


def test_proposals_that_are_worth_nothing_raise_an_alarm(run):
    content = made_run.write_report(run)
    assert [alarm["name"] for alarm in content["alarms"]] == []
    for step in content["rounds"][1]["solver"]["steps"]:
        step |= {"learnability": 0.01, "well_formed_share": 0.2}
    from verl_rzero import settings

    raised = monitors.raised(content, settings.load([]).monitors)
    assert [(alarm["stage"], alarm["name"]) for alarm in raised] == [
        ("round_2/solver", "few_valid"),
        ("round_2/solver", "nothing_to_learn"),
    ]
