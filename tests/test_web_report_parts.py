"""The pieces of report.html that need no browser: intervals, sentences, cut and packed texts, the command."""

import base64
import gzip
import json
import re
import shutil

import made_run
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from made_run import asked

from verl_rzero.data import run_dir
from verl_rzero.rules import curation
from verl_rzero.watch.web import charts, command, comparison, own_majority, pack, page, story, svg, tables, text
from verl_rzero.watch.web import interval_bars as intervals


def test_wilson():
    # Worked by hand for 1 of 2: centre (0.5 + 3.8415/4) / (1 + 3.8415/2) = 1.46036/2.92073 = 0.5,
    # half-width 1.96 sqrt(0.125 + 3.8415/16) / 2.92073 = 0.40547.
    assert intervals.wilson(0.5, 2) == pytest.approx((0.09453, 0.90547), abs=1e-4)
    assert intervals.wilson(0.0, 10) == pytest.approx((0.0, 0.27754), abs=1e-4)  # high end z^2/(n + z^2)
    assert intervals.wilson(1.0, 10) == pytest.approx((0.72246, 1.0), abs=1e-4)


def test_difference():
    # Newcombe's first example (1998, table II): 56/70 - 48/80 has the interval 0.0524 to 0.3339 by method 10.
    before, after = intervals.wilson(48 / 80, 80), intervals.wilson(56 / 70, 70)
    assert intervals.difference(48 / 80, before, 56 / 70, after) == pytest.approx((0.0524, 0.3339), abs=1e-4)


def test_the_evaluations_own_interval_goes_first():
    score = {"greedy": 0.5, "n": 2}
    assert intervals.greedy_interval(score)[0] == pytest.approx(0.09453, abs=1e-4)
    assert intervals.greedy_interval({**score, "greedy_interval": [0.4, 0.6]}) == (0.4, 0.6)


def test_an_audit_is_shown_where_there_is_one(tmp_path):
    assert tables.audited(tmp_path) == []
    labels = {"round": 1, "kept": 9, "questions": 5, "known": 4, "mean_agreement": 0.5, "label_accuracy": 0.75}
    content = {
        "oracle": "truth",
        "rounds": [{**labels, "label_accuracy_interval": [0.3, 0.95]}],
        "solvers": [0, 1],
        "matrix": [[0.125], [0.625]],
    }
    (tmp_path / "audit.json").write_text(json.dumps(content))
    (drawn,) = tables.audited(tmp_path)
    for cell in ("questions of", "9, 5, 4", "0.750 [0.300, 0.950]", "Solver 1 right", "0.625", "truth"):
        assert cell in drawn


def test_cut_keeps_the_end_where_the_answer_stands():
    # Of 10 characters 6 are from the start and 4 from the end; 20 - 10 are left out.
    assert text.cut("abcdefghijklmnopqrst", 10) == ("abcdef\n…\nqrst", 10)
    assert text.cut("abc", 3) == ("abc", 0)


def test_no_character_can_break_the_page():
    assert text.clean("a\ud800b\x00c\x1b\td\r\ne\n") == "a\ufffdb\u2400c\u241b\td\ne\n"
    assert text.escaped("<\"'&\udfff>") == "&lt;&quot;&#x27;&amp;\ufffd&gt;"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.31, "0.3 s"), (9.96, "10 s"), (59.6, "1 min"), (200, "3 min 20 s"), (7504, "2 h 5 min")],
)
def test_durations(seconds, words):
    assert text.duration(seconds).replace("\u202f", " ") == words


def test_ticks_are_round_and_cover_the_values():
    assert svg.ticks(0.386, 0.79) == pytest.approx([0.2, 0.4, 0.6, 0.8])
    assert svg.ticks(0, 1) == pytest.approx([0, 0.25, 0.5, 0.75, 1])
    assert svg.ticks(3, 3)[0] <= 3 < svg.ticks(3, 3)[-1]
    assert svg.ticks(0, 0)[-1] > 0


def report_of(*accuracies: float, benchmark: str = "tiny", n: int = 500) -> dict:
    """A report with only what the story needs: the base model's accuracy and each round's."""
    parts = [{"evaluation": {benchmark: {"greedy": a, "mean_at_k": a, "k": 8, "n": n}}} for a in accuracies]
    nothing = dict.fromkeys(("challenger", "questions", "votes", "curation", "solver"))
    return {
        "settings": {"rounds": len(parts) - 1, "votes": 10, "evaluation": {"benchmarks": {benchmark: {}}, "k": 8}},
        "base": {"model": {}, "seconds": {}, **parts[0]},
        "rounds": [{"round": t, "seconds": {}, **nothing, **part} for t, part in enumerate(parts[1:], 1)],
    }


def test_a_change_within_chance_is_not_called_a_rise():
    # 2 points of 500 questions: the half-width of a difference is about 6 points.
    told = report_of(0.50, 0.52)
    assert story.headline(told).startswith("Accuracy did not clearly change in 1 round")
    assert "which as many questions could show by chance" in story.sentences(told, "")[0]
    assert story.headline(report_of(0.50, 0.60)).startswith("Accuracy rose")
    assert story.headline(report_of(0.60, 0.50)).startswith("Accuracy fell")


def test_the_best_round_is_named_when_it_is_not_the_last():
    assert "It was highest after round 1." in story.sentences(report_of(0.3, 0.9, 0.8), "")[0]
    assert "highest" not in story.sentences(report_of(0.3, 0.8, 0.9), "")[0]
    assert "highest in the base model" in story.sentences(report_of(0.9, 0.8), "")[0]


def test_more_than_two_benchmarks_are_told_in_groups():
    # 500 questions each: +40 points are clear, -30 are, +2 are not.
    told = report_of(0.3, 0.7)
    scores = [part["evaluation"] for part in (told["base"], *told["rounds"])]
    for name, accuracies in (("aime", (0.5, 0.2)), ("gsm", (0.5, 0.52))):
        told["settings"]["evaluation"]["benchmarks"][name] = {}
        for score, accuracy in zip(scores, accuracies, strict=True):
            score[name] = {"greedy": accuracy, "mean_at_k": accuracy, "k": 8, "n": 500}
    assert story.headline(told) == "Accuracy rose on 1 of 3 benchmarks and fell on 1 in 1 round"
    text_of = story.sentences(told, "")[0].replace("\u202f", " ")
    assert text_of.startswith(
        "Greedy accuracy clearly rose on tiny (30.0 % to 70.0 %); it clearly fell on aime (50.0 % to 20.0 %); "
        "it did not clearly change on gsm (50.0 % to 52.0 %)."
    )
    told["settings"] |= {"data": "gsm", "ttrl": {"votes": 16}}
    assert "clearly change on gsm (trained on) (50.0" in story.sentences(told, "")[0]


def test_accuracy_without_samples_and_with_a_judge():
    told = report_of(0.3, 0.7)
    for part in (told["base"], *told["rounds"]):
        part["evaluation"]["tiny"] |= {"k": 0, "mean_at_k": None, "mean_at_k_interval": None}
    (drawn,) = charts.accuracy(told)
    assert "sampled</text>" not in drawn
    assert ">judge</text>" not in drawn
    told["rounds"][0]["evaluation"]["tiny"]["judge_greedy"] = 0.75
    (drawn,) = charts.accuracy(told)
    assert ">judge</text>" in drawn


def test_the_benchmark_that_chooses_is_marked_and_not_reported():
    told = report_of(0.3, 0.7)
    told["settings"]["evaluation"]["choose_by"] = "tiny"
    told["best_round"] = {"round": 1, "benchmark": "tiny"}
    assert story.changes(told) == []
    assert "tiny, which is there for choosing and not reported, chose round 1." in story.sentences(told, "")
    assert "tiny (used for choosing)" in charts.accuracy(told)[0]


def test_names_of_benchmarks_are_escaped():
    assert "&lt;b&gt;" in story.sentences(report_of(0.3, 0.9, benchmark="<b>"), "")[0]


@pytest.fixture
def run(tmp_path):
    made_run.base(tmp_path, 0.4, ["rounds=2", "votes=4"])
    made_run.a_round(tmp_path, 1, [asked("1+1", "2", "2", "3", "3"), asked("2+2", "4", "4", "4", "4")], 0.6)
    made_run.write_report(tmp_path)
    return tmp_path


@pytest.fixture
def ttrl(tmp_path):
    made_run.ttrl(tmp_path, [0.4, 0.5, 0.6])
    return made_run.write_report(tmp_path)


def cells(html: str) -> list[list[str]]:
    """The first table's cells, its head first."""
    rows = re.findall(r"<tr>(.*?)</tr>", html)
    return [[cell.replace("\u202f", " ") for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row)] for row in rows]


def test_a_ttrl_run_has_its_own_columns(ttrl):
    # From the last step of each round's Solver; the data's benchmark is marked.
    assert cells(tables.rounds_table(ttrl)) == [
        ["", "tiny", "unlabelled (trained on)", "majority share", "labels true", "rewards true", "took"],
        ["base", "40.0 %", "50.0 %", "–", "–", "–", "20 s"],
        ["round 1", "50.0 %", "60.0 %", "25.0 %", "50.0 %", "75.0 %", "20 s"],
        ["round 2", "60.0 %", "70.0 %", "25.0 %", "50.0 %", "75.0 %", "20 s"],
    ]


def test_an_r_zero_run_has_the_columns_of_its_stages(run):
    report = json.loads((run / run_dir.REPORT).read_text())
    del report["settings"]["algorithm"], report["settings"]["data"]  # as earlier versions wrote them
    head, _, first = cells(tables.rounds_table(report))
    assert head == ["", "greedy", "mean@8", "agreement", "kept", "labels true", "of kept", "distinct", "took"]
    assert first == ["round 1", "60.0 %", "55.0 %", "50.0 %", "50.0 %", "75.0 %", "50.0 %", "100.0 %", "1 min"]
    assert story.missing(report) == "This run is not finished: round 2 of 2 is at training the Challenger."


def test_the_story_of_a_ttrl_run(ttrl):
    told = " ".join(story.sentences(ttrl, "")).replace("\u202f", " ")
    assert "trained on the questions of unlabelled, without their answers: the most frequent of its own 16" in told
    assert "In the last step of rounds 1 and 2, 25 % and 25 % of the answers were the majority\u2019s; " in told
    assert "the majority was true for 50 % and 50 % of the questions, and 75 % and 75 % of the rewards" in told
    assert "Greedy accuracy on unlabelled (trained on) went from 50.0 % to 70.0 %" in told
    assert "Challenger" not in told


def test_the_story_of_a_ttrl_run_whose_truth_is_not_known(tmp_path):
    made_run.ttrl(tmp_path, [0.4, 0.5], known=False)
    told = story.sentences(made_run.write_report(tmp_path), "")[1].replace("\u202f", " ")
    assert told.endswith("In the last step of round 1, 25 % of the answers were the majority\u2019s.")


@pytest.mark.parametrize(
    ("greedy_R", "missing"),
    [
        ([0.4], "round 1 of 2 is at training the Solver."),
        ([0.4, None], "round 1 of 2 is at evaluation."),
        ([0.4, 0.5], "round 2 of 2 is at training the Solver."),
        ([0.4, 0.5, 0.6], ""),
    ],
)
def test_what_a_ttrl_run_still_has_to_do(tmp_path, greedy_R, missing):
    made_run.ttrl(tmp_path, greedy_R)
    assert story.missing(made_run.write_report(tmp_path)).removeprefix("This run is not finished: ") == missing


def test_questions_from_a_file_are_named_without_its_directory(ttrl):
    ttrl["settings"]["data"] = "/home/somebody/<given>.jsonl"
    told = " ".join([*story.sentences(ttrl, ""), own_majority.measured_on(ttrl)])
    assert "trained on the questions of &lt;given&gt;.jsonl" in told
    assert "Where one is also among those of &lt;given&gt;.jsonl, it is trained on, and not held out." in told
    assert "somebody" not in told


def blocks(html: str) -> dict:
    found = re.findall(r'class="block" id="([\w-]+)">([^<]+)<', html)
    return {name: json.loads(gzip.decompress(base64.b64decode(data))) for name, data in found}


def test_blocks_hold_the_round(run):
    content = blocks(page.write(run).read_text())
    assert content["block-1-index"]["decision"] == ["kept", "rejected"]
    assert content["block-1-index"]["reason"] == [None, "above_band"]
    assert content["block-1-index"]["sizes"] == [[2, 2], [4]]
    assert content["block-1-0"][0]["replies"][0] == ["So it is \\boxed{2}", 0]


def test_what_the_challenger_is_rewarded_for_is_told_where_it_is_so(run):
    report = json.loads((run / "report.json").read_text())
    asked, part = report["settings"]["challenger"], report["rounds"][0]["challenger"]
    assert (asked["uncertainty"], bool(part["steps"])) == ("paper", True)
    assert "the Challenger is rewarded for one half." in " ".join(story.sentences(report, ""))
    asked["uncertainty"] = "zpd"
    assert "rewarded" not in " ".join(story.sentences(report, ""))
    asked["uncertainty"], part["steps"] = "paper", []
    for other in report["rounds"][1:]:
        other["challenger"] = part
    assert "rewarded" not in " ".join(story.sentences(report, ""))


def test_votes_are_counted_as_the_dataset_was_voted_on(tmp_path):
    # method=released rewards by 10 votes and makes the dataset by 9: 5 / 9 = 0.56 of 10 would be 6.
    made_run.base(tmp_path, 0.4, ["method=released", "rounds=1"])
    made_run.a_round(tmp_path, 1, [asked("1+1", *"222223334")], 0.6)
    told = made_run.write_report(tmp_path)
    (drawn,) = charts.agreement(told)
    assert re.findall(r"<th scope=row>(\d+ of \d+)</th><td>1</td>", drawn) == ["5 of 9"]
    assert any("Of the Solver\u2019s 9 answers" in sentence for sentence in story.sentences(told, ""))
    assert blocks(page.write(tmp_path).read_text())["block-1-index"]["votes"] == [9]


def test_the_agreement_is_drawn_when_the_votes_were_deleted(run):
    (run / "round_1/votes/votes.parquet").unlink()
    assert "2 of 4" in charts.agreement(made_run.write_report(run))[0]


def test_a_round_that_has_not_changed_is_not_packed_again(run, monkeypatch):
    page.write(run)
    made_run.a_round(run, 2, [asked("3+3", "6", "6", "7", "7")], 0.7)
    made_run.write_report(run)
    packed = []
    rows = pack._rows
    monkeypatch.setattr(pack, "_rows", lambda here, *rest: packed.append(here.name) or rows(here, *rest))
    html = page.write(run).read_text()
    assert packed == ["round_2"]
    assert {*blocks(html)} == {"block-1-index", "block-1-0", "block-2-index", "block-2-0"}
    (run / page.PAGE).unlink()
    assert page.write(run).read_text() == html
    assert packed == ["round_2"]


def test_a_damaged_old_page_does_not_matter(run):
    html = page.write(run).read_text()
    damaged = "\n".join(line for line in html.splitlines() if 'id="block-1-0"' not in line)
    (run / page.PAGE).write_text(damaged)
    assert page.write(run).read_text() == html


@pytest.mark.parametrize(
    "damage",
    [
        lambda kept: kept[:-1],
        lambda kept: kept.replace(b"block-1-0", b"block-1-9"),
        lambda kept: b"\n".join(kept.split(b"\n")[:2]),
        lambda kept: kept + b"\xff",
        lambda kept: kept.partition(b"\n")[2],
        lambda kept: b"",
    ],
)
def test_a_damaged_cache_does_not_matter(run, damage):
    html = page.write(run).read_text()
    kept = run / pack.CACHE / "round_1"
    kept.write_bytes(damage(whole := kept.read_bytes()))
    assert page.write(run).read_text() == html
    assert kept.read_bytes() == whole


def test_a_round_whose_votes_change_is_packed_again(run):
    page.write(run)
    made_run.a_round(run, 1, [asked("5+5", "10", "10", "11", "11")], 0.6)
    assert blocks(page.write(run).read_text())["block-1-index"]["question"] == ["5+5"]


def test_decisions_that_were_written_are_taken_as_they_are(run):
    rows = [{"id": 0, "decision": "rejected", "reason": "duplicate"}, {"id": 1, "decision": "kept", "reason": None}]
    pq.write_table(pa.Table.from_pylist(rows), run / "round_1/curation/decisions.parquet")
    index = blocks(page.write(run).read_text())["block-1-index"]
    assert (index["decision"], index["reason"]) == (["rejected", "kept"], ["duplicate", None])


def test_every_reason_of_rejection_has_a_name():
    assert {*curation.REASONS} <= {*charts.REASONS}


def test_huge_texts_and_broken_bytes(tmp_path):
    made_run.base(tmp_path, 0.4, ["rounds=1", "votes=2"])
    huge = "x" * 1_000_000
    made_run.a_round(tmp_path, 1, [(f"<question>{huge}</question>", huge, [huge + "end"], [huge])], 0.6)
    for name, column in (("questions", "question"), ("votes", "question")):
        path = tmp_path / f"round_1/{name}/{name}.parquet"
        table = pq.read_table(path)
        broken = pa.Array.from_buffers(pa.string(), 1, pa.array([b"a\xed\xa0\x80b"], pa.binary()).buffers())
        pq.write_table(table.set_column(table.column_names.index(column), column, broken), path)
    made_run.write_report(tmp_path)
    content = blocks(page.write(tmp_path).read_text())
    (opened,) = content["block-1-0"]
    assert opened["question"] == ["a\ufffd\ufffd\ufffdb", 0]
    reply, left_out = opened["replies"][0]
    assert (len(reply), left_out, reply[-3:]) == (4_003, 996_003, "end")
    assert len(content["block-1-index"]["label"][0]) == 403


def test_files_that_were_deleted_are_left_out(run):
    (run / "round_1/votes/votes.parquet").unlink()
    assert blocks(page.write(run).read_text())["block-1-index"]["reason"] == ["no_votes", "no_votes"]
    (run / "round_1/questions/questions.parquet").unlink()
    assert blocks(page.write(run).read_text()) == {}


def test_runs_are_named_as_shortly_as_tells_them_apart(tmp_path):
    assert comparison.names([tmp_path / "a/x", tmp_path / "b/y"]) == ["x", "y"]
    assert comparison.names([tmp_path / "a/x", tmp_path / "b/x"]) == ["a/x", "b/x"]


def test_the_command_makes_both_files_of_a_run_anew(run, capsys):
    (run / run_dir.REPORT).unlink()
    assert command.main([str(run), "reply_chars=12"]) == 0
    assert capsys.readouterr().out == f"{run / 'report.html'}\n"
    assert (run / run_dir.REPORT).is_file()
    assert blocks((run / "report.html").read_text())["block-1-0"][0]["replies"][0] == ["So it i\n…\ned{2}", 6]


def test_the_command_compares_runs(run, tmp_path, capsys):
    other = shutil.copytree(run, tmp_path / "other")
    to = tmp_path / "both.html"
    assert command.main([str(run), str(other), f"to={to}"]) == 0
    assert "2 runs compared" in to.read_text()


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["{run}/round_1"], "there is no settings.yaml of a run here"),
        (["to=x.html"], "No run is named"),
        (["{run}", "to=x.html"], "a single run's page lies in the run"),
        (["{run}", "reply_chars=many"], "this is not a whole number above 0"),
        (["{run}", "{other}", "to=/no/such/place.html"], "there is no directory /no/such"),
        (["{run}", "{run}"], "this run is named twice"),
        (["{run}", "{other}", "reply_chars=5"], "a comparison shows no replies"),
    ],
)
def test_what_the_command_refuses(run, words, why, capsys):
    other = run.parent / "other"
    if "{other}" in words:
        shutil.copytree(run, other, dirs_exist_ok=True)
    assert command.main([word.format(run=run, other=other) for word in words]) == 2
    assert why in capsys.readouterr().err


def test_a_run_of_another_version_keeps_its_report(run, capsys):
    with (run / "settings.yaml").open("a") as file:
        file.write("key_of_a_later_version: 1\n")
    before = (run / run_dir.REPORT).read_text()
    assert command.main([str(run)]) == 0
    assert "stays as it is" in capsys.readouterr().err
    assert (run / run_dir.REPORT).read_text() == before
