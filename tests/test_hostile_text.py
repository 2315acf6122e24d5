"""Hostile texts of models on every way through a run: nothing hangs, breaks, is executed or gets out of its place.

The long form, with 10,000 texts and 10 MB lines, is `python benchmarks/hostile.py`.
"""

import base64
import gzip
import hashlib
import json
import re
import time
from html.parser import HTMLParser

import made_run
import pytest
from hostile import BOMBS, MONSTERS, texts
from hostile_paths import OF_MANY, OF_ONE, acts
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from verl_rzero.base import command_line, display
from verl_rzero.base.errors import StageFailed, UserError
from verl_rzero.base.progress import Position
from verl_rzero.base.rows import read_rows
from verl_rzero.base.text import encodable
from verl_rzero.data import records
from verl_rzero.evaluation import graders, judge
from verl_rzero.executor import NotLiterals, arguments
from verl_rzero.grading.grader import Grader, GradingCounts, Tally
from verl_rzero.methods import plan
from verl_rzero.publish import cards, dataset_card, export_run, markdown
from verl_rzero.rules.code_tasks import KINDS
from verl_rzero.rules.voting import vote, vote_by_text
from verl_rzero.settings import load
from verl_rzero.watch import status, tensorboard_run, tracking
from verl_rzero.watch.points import Point
from verl_rzero.watch.web import page
from verl_rzero.watch.web.text import clean

OFTEN = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
LONG = {"reply": 300_000}
"""Characters at which quadratic time shows, 50,000 where nothing is said: what is linear takes a tenth of a second."""


@pytest.mark.parametrize("path", OF_ONE)
@OFTEN
@given(texts())
def test_one_text(path, text):
    OF_ONE[path](text)


@pytest.mark.parametrize("path", OF_MANY)
@settings(OFTEN, max_examples=8)
@given(st.lists(texts(800), min_size=1, max_size=5))
def test_many_texts(path, given):
    OF_MANY[path](given)


@pytest.mark.parametrize("path", sorted({*OF_ONE} - {"literals"}))
def test_time_is_linear_in_the_length(path):
    """Of each monster; literals are read up to a length only, which the next test looks at."""
    slowest = {}
    for name, made in MONSTERS.items():
        text, begin = made(LONG.get(path, 50_000)), time.process_time()
        OF_ONE[path](text)
        slowest[name] = time.process_time() - begin
    assert max(slowest.values()) < 1.0, sorted(slowest.items(), key=lambda each: -each[1])[:3]


def test_literals_are_read_up_to_a_length():
    for made in MONSTERS.values():
        begin = time.process_time()
        OF_ONE["literals"](made(30_000))
        OF_ONE["literals"](made(100_000))
        assert time.process_time() - begin < 3.0
    with pytest.raises(NotLiterals, match="longer than"):
        arguments("1," * 50_000)


# Answers.


def test_an_empty_or_blank_answer_is_no_answer():
    blanks = ["", " ", "\t\n", "\u200b", "\u2800", "\u3164", "\u115f", "\ufe0f", "\u034f", r"\text{ }", r"\,", "{}"]
    blanks += ["$$", ".", ",", "\x00", "\u200b" * 3000, r"\, " * 1000, " " * 3000, "{" * 1500 + "}" * 1500]
    for blank in blanks:
        assert vote([blank, blank, "5"]).label == "5", repr(blank[:20])
        assert vote([blank, "5"]).classes == (-1, 0)
        assert vote_by_text([blank, "5"]).label == "5"
        assert vote([blank, "5"], denominator="answered").agreement == 1.0
    assert vote(["", None]).label is None


def test_what_only_looks_blank_at_first_is_an_answer():
    for answer in (" " * 3000 + "7", r"\, " * 1000 + "7", r"\quadx" * 500, "0", "-", "x"):
        assert vote([answer, None]).answered == 1


@pytest.mark.parametrize("bomb", ["9^{9^{9^{9^{9}}}}", r"\sum_{k=1}^{10^{9}} k^{k}", "{" * 900 + "x" + "}" * 900])
def test_the_engine_comes_to_an_end_and_goes_on(bomb):
    grader = Grader(timeout_s=0.3, memory_mb=256)
    assert grader.same(bomb, "x+1") is False
    assert grader.same(r"\sqrt{8}", r"2\sqrt{2}") is True
    grader.close()


def test_a_vote_of_bombs_waits_for_as_many_limits_as_there_are_answers():
    class Stuck:
        asked = 0

        def compare(self, a, b):
            self.asked += 1
            return False, GradingCounts(comparisons=1, by_worker=1, timeouts=1)

    # 20 answers, 190 pairs; the last two are equal by notation, which still decides.
    answers = [rf"\sum_{{k=1}}^{{10^{{{n}}}}} k^k" for n in range(18)] + [r"x=\sqrt{2}", r"\sqrt{2}"]
    stuck = Stuck()
    tally = Tally(stuck, patience=20)
    made = vote(answers, tally.same)
    assert stuck.asked == 20
    assert made.classes == (*range(18), 18, 18)
    assert tally.counts.comparisons > 150
    assert tally.counts.timeouts > 20


def test_the_engine_takes_any_characters():
    grader = Grader(timeout_s=5.0)
    for text in ("\ud800+\\alpha^{2}", "1\x00+\\pi", "\x1b[31m\\sqrt{2}", "\u202e\\sqrt{3}", "\U0001f600\\sqrt{5}"):
        assert grader.same(text, r"\sqrt{7}") is False
    assert grader.counts().died == 0
    grader.close()


def test_a_letter_is_found_in_linear_time():
    # cubic and quadratic before: minutes at these lengths
    begin = time.process_time()
    for text in (
        r"\boxed{answer" + " " * 1_900 + "%}",
        r"\boxed{answer" + " " * 100_000 + "%}",
        r"\boxed{the" + " " * 100_000 + "final" + " " * 100_000 + "%}",
        "The answer is:" + " " * 100_000 + "%",
        r"\boxed{" + r"\text{" * 20_000 + "B" + "}" * 20_001,
    ):
        assert graders.chosen_letter(text, 4) is None
    assert time.process_time() - begin < 2.0
    assert graders.chosen_letter(r"\boxed{\text{\textbf{B}}}", 4) == "B"
    assert graders.chosen_letter("The answer is:  **(C)**.", 4) == "C"


@pytest.mark.parametrize("reply", ["[" * 50_000, '{"a":' * 50_000, "9" * 5_000, "```" + " " * 50_000 + "x", "```" * 9])
def test_a_judge_that_says_anything_fails_and_raises_nothing_else(reply):
    begin = time.process_time()
    with pytest.raises(judge.JudgeFailed):
        judge.verdict(reply)
    with pytest.raises(judge.JudgeFailed):
        judge._content(reply.encode())
    assert time.process_time() - begin < 1.0


def test_what_a_judge_says_between_thoughts_and_fences():
    for reply in ('<think>\nno</think>\n```json\n{"equivalent": true}\n```', "```yes```", "Yes.", "<think></think>yes"):
        assert judge.verdict(reply) is True


# Files.


def test_lone_surrogates_are_stored_as_one_replacement_and_nul_as_it_is(tmp_path):
    text = "a\ud800\x00\udfff\U0001f600"
    row = records.Question(0, 1, text, text, None, True, 0, "m")
    records.write(tmp_path / "rows.parquet", [row], records.Question)
    (back,) = records.read(tmp_path / "rows.parquet", records.Question)
    assert back.raw == back.question == "a\ufffd\x00\ufffd\U0001f600"


def test_files_that_people_bring_hold_no_lone_surrogates_and_no_bombs(tmp_path):
    path = tmp_path / "given.jsonl"
    path.write_text('{"question": "a\\ud800", "more": ["\\udfff", {"\\ud83d": 1}]}\n')
    assert read_rows(path, "data") == [{"question": "a\ufffd", "more": ["\ufffd", {"\ufffd": 1}]}]
    for bomb in ("[" * 5_000, '{"n": ' + "9" * 5_000 + "}"):
        path.write_text(bomb)
        with pytest.raises(UserError, match="line 1 is not JSON"):
            read_rows(path, "data")


def test_an_engine_hands_over_texts_that_can_be_stored():
    from verl_rzero.engine.engines import Engine

    class Tokenizer:
        def decode(self, ids, skip_special_tokens):
            return "a\ud800"

    class Sampled:
        ids = ()

    assert Engine([], Tokenizer()).text(Sampled()) == "a\ufffd"


# A run's page, its cards, its metrics.

SOME = sorted(MONSTERS)
HURT = "hurt"


def hostile_run(run):
    """A run whose questions, replies and answers are monsters."""
    made_run.base(run, 0.386, ["rounds=1", "votes=4"])
    of = [encodable(MONSTERS[name](300)) for name in SOME] + BOMBS
    questions = [(text, text, [text, of[i - 1], "5", ""], [text, of[i - 1], "5", None]) for i, text in enumerate(of)]
    made_run.a_round(run, 1, questions, 0.6, truth=lambda text: text)
    made_run.write_report(run)
    return of


class Seen(HTMLParser):
    """Tags with attributes, and the text outside scripts and styles."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict]] = []
        self.scripts: list[str] = []
        self.text: list[str] = []
        self._in = ""

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._in = tag if tag in ("script", "style") else ""
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag):
        self._in = ""

    def handle_data(self, data):
        if self._in == "script":
            self.scripts[-1] += data
        elif not self._in:
            self.text.append(data)


TAGS = {
    "html", "head", "meta", "title", "style", "body", "main", "header", "nav", "a", "h1", "h2", "h3", "p", "div",
    "b", "i", "section", "figure", "figcaption", "span", "details", "summary", "table", "thead", "tbody", "tr", "th",
    "td", "code", "small", "ul", "ol", "li", "svg", "g", "path", "rect", "line", "text", "circle", "polyline",
    "polygon", "pre", "form", "label", "input", "select", "option", "button", "script", "noscript", "output", "link",
    "desc",
}  # fmt: skip


def seen(path):
    """The page parsed, after a look at all that could act in it."""
    html = path.read_text(encoding="utf-8")
    found = Seen()
    found.feed(html)
    found.close()
    assert {tag for tag, _ in found.tags} <= TAGS
    (policy,) = [attrs["content"] for tag, attrs in found.tags if attrs.get("http-equiv") == "Content-Security-Policy"]
    for tag, attrs in found.tags:
        assert not [
            name for name in attrs if name.startswith("on") or name in ("src", "srcdoc", "action", "formaction")
        ]
        assert attrs.get("href", "#").startswith("#") or (tag, attrs["href"]) == ("link", "data:,"), attrs
    scripts = [attrs for tag, attrs in found.tags if tag == "script"]
    for attrs, code in zip(scripts, found.scripts, strict=True):
        if attrs.get("type") == "text/plain":
            assert re.fullmatch(r"[A-Za-z0-9+/=]*", code)
        else:
            assert base64.b64encode(hashlib.sha256(code.encode()).digest()).decode() in policy
    return found


def test_a_page_of_monsters_opens_and_holds_them_as_text(tmp_path):
    run = tmp_path / '<b onclick=hurt()>"&$title'
    of = hostile_run(run)
    found = seen(page.write(run))
    blocks = [
        json.loads(gzip.decompress(base64.b64decode(code)))
        for (_, attrs), code in zip([each for each in found.tags if each[0] == "script"], found.scripts, strict=True)
        if attrs.get("type") == "text/plain" and not attrs["id"].endswith("index")
    ]
    shown = [row["question"][0] for block in blocks for row in block]
    assert shown == [clean(text) for text in of]
    assert not any(acts(text) for text in shown)


def test_a_page_of_hostile_tasks_holds_them_as_text(tmp_path):
    joined = ["".join(MONSTERS[name](60) for name in SOME[first : first + 8]) for first in range(0, len(SOME), 8)]
    tasks = [
        records.ProposedTask(1, KINDS[i % 3], t, [t], [t], t, valid, None if valid else t, 0.5, 0.5, t)
        for i, t in enumerate(joined)
        for valid in (True, False)
    ]
    made_run.absolute_zero(tmp_path / "run", [0.1, 0.2], tasks)  # no more of a kind than are shown
    made_run.write_report(tmp_path / "run")
    text = "".join(seen(page.write(tmp_path / "run")).text)
    for task in tasks:
        assert clean(task.raw).strip() in text


def test_no_text_of_a_model_is_among_the_metrics(tmp_path):
    of = hostile_run(tmp_path / "run")
    report = made_run.write_report(tmp_path / "run")
    assert not [text for text in of if len(text) > 3 and text in json.dumps(report, ensure_ascii=False)]
    board = tensorboard_run.TensorBoard(tmp_path / "run")
    for stage in plan.plan(load(["rounds=1", "votes=4", f"run_dir='{tmp_path}/run'"])):
        values = tracking.round_values(stage, report)
        assert all(isinstance(value, float) for value in values.values())
        board.start(stage)
        board.add(stage, [Point("round", stage.round, 0.0, values)])
        board.finish(stage)
    written = b"".join(path.read_bytes() for path in (tmp_path / "run/tensorboard").iterdir())
    assert b"round/seconds/votes" in written
    assert HURT.encode() not in written


def exported(example: str) -> cards.Exported:
    asked = load(["rounds=1", "hardware=cpu"])
    rows = {"votes": 1, "questions": 1}
    return cards.Exported(asked, "solver", 1, [cards.Origin(0, "s", [])], "c0de", {}, None, None, None, example, rows)


def outside_of_fences(card: str) -> str:
    """What a reader of Markdown takes for text."""
    kept, fence = [], ""
    for line in re.split(r"\r\n|\r|\n", card):
        run = re.match(r" {0,3}(`{3,})", line)
        if fence:
            if run and len(run[1]) >= len(fence) and not line.strip().strip("`"):
                fence = ""
        elif run:
            fence = run[1]
        else:
            kept.append(line)
    assert not fence
    return "\n".join(kept)


def test_an_example_stays_in_its_block_of_a_card():
    plain = exported("1+1")
    as_text, head = outside_of_fences(cards.model_card(plain)), cards.model_card(plain).split("\n---\n")[0]
    dataset = dataset_card.dataset_card(plain)
    joined = ["".join(MONSTERS[name](60) for name in SOME[first::12]) for first in range(12)]
    for example in [*joined, "'''\n```\n# owned", '"""', "\\", "'"]:
        card = cards.model_card(exported(example))
        assert outside_of_fences(card) == as_text
        assert card.split("\n---\n")[0] == head
        code = card.partition("python\n")[2]
        compile(re.split(r"\n`{3,}\n", code)[0], "card", "exec")  # a program still, whose text is a text
        assert dataset_card.dataset_card(exported(example)) == dataset
        card.encode()


def test_a_card_takes_no_question_longer_than_a_page(tmp_path):
    made_run.base(tmp_path, 0.4, ["rounds=1"])
    for question, kept in (("1+" * 10_000, False), ("1+1", True)):
        made_run.a_round(tmp_path, 1, [made_run.asked(question, "1", "2")], 0.6)
        assert (export_run._rows(tmp_path, 1)["example"] == question) is kept


def test_a_cell_of_a_card_ends_where_it_should():
    assert markdown.cell("a|b\\|c\n<img> `x` [y](z)") == r"a\|b\\\|c \<img> \`x\` \[y\](z)"


# Terminals.

ACTING = "".join(MONSTERS[name](60) for name in SOME)


class Terminal:
    """What is written to a terminal."""

    def __init__(self) -> None:
        self.written = ""

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> None:
        text.encode()
        self.written += text

    def flush(self) -> None: ...


def test_a_log_shown_by_status_does_nothing(tmp_path, capsys):
    made_run.base(tmp_path, 0.4, ["rounds=1"])
    here = tmp_path / "round_1/challenger"
    here.mkdir(parents=True)
    written = ACTING.encode("utf-8", errors="surrogatepass") + b"\x9b31m\xff\nthe \x1b[32mend\x1b[0m\n"
    (here / "stage.log").write_bytes(written)
    (here / "FAILED").write_text("ended \x1b]0;owned\x07\x9b2J")
    (here / "metrics.jsonl").write_text(json.dumps({"step": 1, "time": 0.0, "a\x1b[2J": 1.0}) + "\n")
    status.main([str(tmp_path), "lines=1000"])
    shown = capsys.readouterr().out
    assert not acts(shown)
    assert shown.endswith("  the end\n")
    assert "owned" in shown


def test_the_end_of_a_log_shown_by_a_command_does_nothing(tmp_path, capfd):
    log = tmp_path / "stage.log"
    log.write_bytes(ACTING.encode("utf-8", errors="surrogatepass") + b"\nthe \x1b[1mend")

    def fails(_words):
        raise StageFailed("round_1/votes", 1, log)

    def refuses(_words):
        raise UserError(f"data=x: line 1 is not JSON ({ACTING})")

    assert command_line.exit_code(fails, None, []) == 1
    assert command_line.exit_code(refuses, None, []) == 2
    display.say(ACTING)
    told = capfd.readouterr()
    assert not acts(told.err + told.out)
    assert "the end\n" in told.err


def test_the_end_of_a_log_is_read_without_the_rest_of_it(tmp_path):
    log = tmp_path / "stage.log"
    log.write_bytes(b"x" * 5_000_000 + b"\nend")
    assert len(display.tail(log)) < 100_000
    assert display.tail(log).endswith("\nend")


def test_the_line_of_a_stage_does_nothing():
    stream = Terminal()
    with display.StageLine("round_1/solver", stream) as line:
        line.watch(Position(1, 2, "step", "\x1b]0;owned\x07\x9b2J\ud800", 0.0, 0.0))
    assert not acts(stream.written.replace("\r\x1b[K", ""))
