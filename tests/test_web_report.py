"""report.html and the comparison in a real headless browser, from run directories with made-up results."""

import json
import os
import shutil
import time
from pathlib import Path

import made_run
import pytest
from made_run import asked
from playwright.sync_api import Browser, Page, sync_playwright

from verl_rzero.watch.web import comparison, page

LAUNCH = {
    "executable_path": os.environ.get("CHROMIUM", "/usr/bin/chromium"),
    "args": [
        "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
        "--disable-component-update", "--disable-sync",
    ],
}  # fmt: skip
"""Playwright starts it headless, with a fresh directory of its own for the user's data."""

HOSTILE = (
    '</script><img src=x onerror="window.hurt=1"><svg onload=window.hurt=2> \\href{javascript:hurt()}{x} $\\bad{$ '
)

# Agreement: 2 of 4, 1 of 4, 4 of 4, 3 of 4, nobody; then a text without a question. The band is 0.25 to 0.75.
QUESTIONS = [
    asked("What is $\\frac{1}{2}+1$ apples?", "\\frac{3}{2}", "\\frac{3}{2}", "2", None),
    asked("Name four numbers", "1", "2", "3", "4"),
    asked("2+2", "4", "4", "4", "4"),
    asked(HOSTILE, HOSTILE, HOSTILE, HOSTILE, "\ufffd<b>"),
    asked("Unanswerable\x00", None, None, None, None),
    ("no question in here <b>bold</b>", None, [], []),
]
NAMES = ["What is", "Name four", "2+2", "</script>", "Unanswerable", "no question"]


def truth(question: str) -> str | None:
    return {"2+2": "4", "Name four numbers": "2"}.get(question)


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright, playwright.chromium.launch(**LAUNCH) as browser:
        yield browser


class Opened:
    """A page in the browser, and everything that it complained about or asked for."""

    def __init__(self, browser: Browser, path: Path, **options) -> None:
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.page: Page = browser.new_page(**options)
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(path.as_uri())
        if self.page.locator("#questions form").count():
            self.page.wait_for_selector("#questions.ready")

    def rows(self) -> list[str]:
        """The beginnings of the questions in the list, in its order, as in NAMES."""
        texts = self.page.locator("#questions .ask").all_text_contents()
        return [next(name for name in NAMES if text.startswith(name)) for text in texts]

    def open(self, name: str) -> str:
        """Open a question; returns all text that is then to be seen of it."""
        item = self.page.locator("#questions li", has=self.page.locator(".ask", has_text=name))
        item.locator("button").click()
        item.locator(".raw").wait_for()
        for group in item.locator("details.class").all():
            group.locator("summary").click()
            group.locator(".reply").first.wait_for()  # drawn when the browser says that it is open
        return item.locator(".detail").inner_text()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    run = tmp_path_factory.mktemp("runs") / "first"
    made_run.base(run, 0.386, ["rounds=2", "votes=4"])
    made_run.a_round(run, 1, QUESTIONS, 0.6, truth=truth)
    made_run.a_round(run, 2, [asked("3+3", "6", "6", "7", "8")], 0.79)
    made_run.write_report(run)
    page.write(run)
    return run


@pytest.fixture
def opened(browser, run):
    opened = Opened(browser, run / page.PAGE)
    yield opened
    assert opened.complaints == []
    opened.page.close()


def test_the_page_asks_for_nothing_and_complains_of_nothing(opened, run):
    assert opened.requests == [(run / page.PAGE).as_uri()]
    assert opened.page.title() == "first: R-Zero on tiny"


def test_the_story_is_on_top(opened):
    assert opened.page.locator("h1").inner_text() == "Accuracy rose from 38.6\u202f% to 79.0\u202f% in 2 rounds"
    assert "+40.4 points" in opened.page.locator(".lead").inner_text()
    assert opened.page.locator("svg").count() >= 8


def only_first_round(opened: Opened) -> None:
    opened.page.select_option("[name=round]", "1")


def test_filters(opened):
    assert opened.page.locator("#questions .count").inner_text() == "7 questions"
    only_first_round(opened)
    assert opened.rows() == NAMES
    opened.page.select_option("[name=decision]", "kept")
    assert opened.rows() == ["What is", "Name four", "</script>"]
    opened.page.select_option("[name=decision]", "rejected")
    assert opened.rows() == ["2+2", "Unanswerable", "no question"]
    opened.page.select_option("[name=reason]", "above_band")
    assert opened.rows() == ["2+2"]
    assert opened.page.locator("#questions .count").inner_text() == "1 of 7 questions"
    opened.page.click(".reset")
    only_first_round(opened)
    opened.page.fill("[name=from]", "0.5")
    opened.page.fill("[name=to]", "0.75")
    assert opened.rows() == ["What is", "</script>"]


def test_the_label_can_be_asked_for_where_the_truth_is_known(opened):
    opened.page.select_option("[name=right]", "true")
    assert opened.rows() == ["2+2"]
    opened.page.select_option("[name=right]", "false")  # of four different answers the first is the label, 1
    assert opened.rows() == ["Name four"]


def test_search_is_for_all_words_of_question_and_label(opened):
    opened.page.fill("[name=text]", "NUMBERS name")
    assert opened.rows() == ["Name four"]
    opened.page.fill("[name=text]", "frac{3}")  # only in the label
    assert opened.rows() == ["What is"]
    opened.page.fill("[name=text]", "numbers nowhere")
    assert opened.rows() == []


def test_sorting(opened):
    only_first_round(opened)
    opened.page.select_option("[name=sort]", "agreement")
    assert opened.rows() == ["Unanswerable", "Name four", "What is", "</script>", "2+2", "no question"]
    opened.page.select_option("[name=sort]", "agreement-down")
    assert opened.rows() == ["2+2", "</script>", "What is", "Name four", "Unanswerable", "no question"]
    opened.page.select_option("[name=sort]", "half")
    assert opened.rows()[0] == "What is"
    opened.page.select_option("[name=sort]", "classes")
    assert opened.rows()[0] == "Name four"


def test_an_opened_question_shows_text_answers_by_class_label_and_truth(opened):
    seen = opened.open("Name four")
    assert "<question>Name four numbers</question>" in seen
    assert "The true answer is 2; the label is not." in seen
    assert "Kept." in seen
    classes = opened.page.locator(".class > summary").all_inner_texts()
    assert [text.split()[0] for text in classes] == ["1", "2", "3", "4"]
    assert "label" in classes[0]
    assert opened.page.locator(".reply").all_text_contents()[3].startswith("So it is")


def test_a_row_has_a_square_for_each_answer_of_the_dataset(browser, tmp_path):
    made_run.base(tmp_path, 0.386, ["method=released", "rounds=1"])
    made_run.a_round(tmp_path, 1, [asked("2+2", *"44444", "5", None, None, None)], 0.6)
    made_run.write_report(tmp_path)
    page.write(tmp_path)
    opened = Opened(browser, tmp_path / page.PAGE)
    marks = opened.page.locator("#questions .row .votes")
    assert marks.get_attribute("title") == "5 of 9 agree"
    assert (marks.locator("i").count(), marks.locator("i.none").count()) == (9, 3)
    assert "5 of 9 answers agree, 6 answered." in opened.open("2+2")
    opened.page.close()


def test_equal_answers_stand_together_and_missing_ones_last(opened):
    opened.open("What is")
    assert opened.page.locator(".class .more").all_inner_texts() == ["2 replies", "1 reply", "1 reply"]
    assert opened.page.locator(".class .answer").last.inner_text() == "no answer"


def test_maths_is_rendered_when_it_is_opened(opened):
    assert opened.page.locator("math").count() == 0
    opened.open("What is")
    assert opened.page.locator(".detail .question mfrac").count() == 1
    assert opened.page.locator(".answer mfrac").count() == 1
    assert opened.page.locator(".reply mfrac").count() == 2
    opened.page.locator("#questions .open button").click()
    opened.page.check("[name=source]")
    assert "$\\frac{1}{2}+1$" in opened.open("What is")
    assert opened.page.locator("math").count() == 0


def test_hostile_text_is_shown_and_does_nothing(opened):
    opened.page.fill("[name=text]", "onerror")
    seen = opened.open("</script>")
    assert HOSTILE.strip() in seen
    assert "\ufffd<b>" in seen
    assert opened.page.locator("img, main a, #questions b b, iframe, object").count() == 0
    assert opened.page.evaluate("window.hurt") is None


def test_control_characters_are_visible(opened):
    assert "Unanswerable\u2400" in opened.open("Unanswerable")


def test_a_text_without_a_question_can_be_read(opened):
    assert "no question in here <b>bold</b>" in opened.open("no question")


def test_settings_are_searched(opened):
    rows = opened.page.locator(".settings tr:visible")
    everything = rows.count()
    opened.page.fill("[name=setting]", "repetition penalty")
    assert 1 <= rows.count() < everything / 10
    assert "challenger.repetition_weight" in rows.first.inner_text()
    opened.page.fill("[name=setting]", "repetition nowhere")
    assert rows.count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_wider_than_a_phone(browser, run, scheme):
    opened = Opened(browser, run / page.PAGE, viewport={"width": 360, "height": 740}, color_scheme=scheme)
    opened.open("What is")
    assert opened.page.evaluate("document.documentElement.scrollWidth") == 360
    paper = opened.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (paper == "rgb(22, 22, 21)") == (scheme == "dark")
    opened.page.close()


def test_a_link_opens_its_question(browser, run):
    opened = Opened(browser, run / page.PAGE)
    opened.page.goto((run / page.PAGE).as_uri() + "#q-1-2")
    opened.page.reload()
    opened.page.wait_for_selector("#q-1-2 .raw")
    opened.page.close()


@pytest.mark.parametrize("until", ["challenger", "questions", "votes", "curation", "solver"])
def test_a_run_that_is_half_done(browser, tmp_path, until):
    made_run.base(tmp_path, 0.386, ["rounds=2", "votes=4"])
    made_run.a_round(tmp_path, 1, QUESTIONS, 0.6, until=until)
    (tmp_path / "round_2/challenger").mkdir(parents=True)  # started, and not done
    made_run.write_report(tmp_path)
    page.write(tmp_path)
    opened = Opened(browser, tmp_path / page.PAGE)
    assert opened.complaints == []
    assert "This run is not finished: round 1 of 2 is at" in opened.page.locator(".lead").inner_text()
    fates = opened.page.locator("#questions .fate").all_text_contents()
    not_decided = {"challenger": [], "questions": ["no votes"] * 5, "votes": ["not decided yet"] * 5}
    assert fates[:5] == not_decided.get(until, ["kept", "kept", "too easy", "kept", "no answer"])
    opened.page.close()


def test_a_run_that_has_not_begun(browser, tmp_path):
    made_run.base(tmp_path, 0.386, ["rounds=1"])
    shutil.rmtree(tmp_path / "base")
    made_run.write_report(tmp_path)
    page.write(tmp_path)
    opened = Opened(browser, tmp_path / page.PAGE)
    assert "making the base model is not done yet" in opened.page.locator(".lead").inner_text()
    assert opened.complaints == []
    opened.page.close()


def test_alarms_are_on_top(browser, run, tmp_path):
    copy = shutil.copytree(run, tmp_path / "run")
    content = json.loads((copy / "report.json").read_text())
    alarm = {"round": 2, "name": "distinct_share", "value": 0.12, "threshold": 0.3, "saw": "<i>few</i>", "try": "more"}
    (copy / "report.json").write_text(json.dumps({**content, "alarms": [alarm]}))
    page.write(copy)
    opened = Opened(browser, copy / page.PAGE)
    text = opened.page.locator("header .alarms").inner_text()
    assert "Round 2, distinct_share 0.12 against the threshold 0.3. <i>few</i> more" in text
    opened.page.close()
    (copy / "report.json").write_text(json.dumps({**content, "alarms": []}))
    assert "No alarm was raised." in page.write(copy).read_text()


def test_several_runs_are_compared(browser, run, tmp_path):
    other = tmp_path / "other<b>"
    made_run.base(other, 0.39, ["rounds=2", "votes=4", "seed=7"])
    made_run.a_round(other, 1, QUESTIONS, 0.5)
    made_run.write_report(other)
    to = comparison.write([run, other], tmp_path / "comparison.html")
    opened = Opened(browser, to)
    assert opened.complaints == []
    assert opened.requests == [to.as_uri()]
    lead = opened.page.locator(".lead").inner_text()
    assert "On tiny, first ended highest, at 79.0\u202f% greedy, before other<b> at 50.0\u202f%" in lead
    assert "Not finished: other<b>." in lead
    settings = opened.page.locator("#settings tbody tr").all_inner_texts()
    assert [row.split() for row in settings] == [["seed", "0", "7"]]
    assert opened.page.locator("a", has_text="first").get_attribute("href") == os.path.relpath(
        run / page.PAGE, to.parent
    )
    opened.page.close()


@pytest.fixture(scope="module")
def ttrl(tmp_path_factory):
    run = tmp_path_factory.mktemp("runs") / "given"
    made_run.ttrl(run, [0.4, 0.5, 0.6])
    made_run.write_report(run)
    page.write(run)
    return run


def test_the_page_of_a_ttrl_run(browser, ttrl):
    opened = Opened(browser, ttrl / page.PAGE, viewport={"width": 360, "height": 740})
    assert opened.complaints == []
    assert opened.page.title() == "given: TTRL on ttrl_tiny"
    text = opened.page.locator("body").inner_text()
    assert "TTRL on ttrl_tiny" in text
    assert "R-Zero" not in text.partition("Search")[0]  # a setting's meaning may name it
    assert "Challenger" not in text.partition("Search")[0]
    assert "Those of unlabelled are the ones trained on, and not held out." in text
    assert "never trained on" not in text
    charts = opened.page.locator("#solver figcaption").all_inner_texts()
    assert "Reward share of answers that agree with the majority of their question" in charts
    titles = opened.page.locator("#solver figcaption b").all_inner_texts()
    assert titles == ["Reward", "Majority", "Votes", "Entropy of the votes", "Answers", "KL"]
    assert opened.page.locator("#solver figure:nth-child(2) path.line").count() == 4
    assert opened.page.evaluate("document.documentElement.scrollWidth") == 360
    opened.page.close()


def test_a_ttrl_run_is_compared_with_an_r_zero_run(browser, run, ttrl, tmp_path):
    to = comparison.write([run, ttrl], tmp_path / "comparison.html")
    opened = Opened(browser, to)
    assert opened.complaints == []
    text = opened.page.locator("header").inner_text()
    assert "R-Zero and TTRL" in text
    assert "given was trained on the questions of unlabelled." in text
    assert "Not finished" not in text
    titles = opened.page.locator("#training figcaption b").all_inner_texts()
    assert titles == [
        "The Challenger\u2019s reward",
        "The Solver\u2019s reward",
        "Majority",
        "Majorities that are true",
    ]
    assert "unlabelled (trained on)" in opened.page.locator("#accuracy").inner_text()
    opened.page.close()


def test_twenty_thousand_questions(browser, tmp_path):
    """Loaded and searched within bounds that are several times what docs/report.md measured on two cores."""
    made_run.base(tmp_path, 0.386, ["rounds=1", "votes=4"])
    many = [asked(f"question {n} of many: {n * 7919 % 1000} + {n}?", "1", "1", str(n), None) for n in range(20_000)]
    made_run.a_round(tmp_path, 1, many, 0.6)
    made_run.write_report(tmp_path)
    page.write(tmp_path)
    started = time.monotonic()
    opened = Opened(browser, tmp_path / page.PAGE)
    loaded = time.monotonic()
    opened.page.fill("[name=text]", "question 19999 ")
    opened.page.wait_for_function("document.querySelector('.count').textContent === '1 of 20,000 questions'")
    opened.page.click("#questions .row")
    opened.page.wait_for_selector("#questions .raw")
    assert opened.page.locator("#questions .raw").inner_text().startswith("<question>question 19999 of")
    ended = time.monotonic()
    assert loaded - started < 8
    assert ended - loaded < 4
    assert opened.complaints == []
    opened.page.close()
